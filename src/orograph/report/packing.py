"""Numbers on their way into a page: JSON for what is short, base64 of little-endian bytes for arrays, read at once there."""

import base64
import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Shaped


def packed(values: Shaped[np.ndarray, "..."], *, exact: bool = False) -> dict[str, Any]:
    """An array as `{"shape", "type", "data"}`; float32 unless `exact`, NaN included."""
    kind = "<f8" if exact else "<f4"
    content = np.ascontiguousarray(values, dtype=kind).tobytes()
    return {"shape": list(values.shape), "type": kind[1:], "data": base64.b64encode(content).decode()}


def script_json(value: Any) -> str:
    """JSON that can stand in a `<script>` element whatever texts it holds; NaN and infinities are null and texts."""
    text = json.dumps(_plain(value), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value
