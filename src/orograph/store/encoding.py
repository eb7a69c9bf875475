"""JSON whose bytes depend on the values alone: sorted keys, floats in the shortest form that reads back to the same number.

JSON has no NaN and no infinities: NaN becomes null, infinities the strings "Infinity" and "-Infinity".
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orograph.errors import RunError

_INFINITIES = {"Infinity": math.inf, "-Infinity": -math.inf}


def plain(value: Any) -> Any:
    """Mappings, sequences and scalars of any library as what JSON knows.

    Raises:
        TypeError: something else.
    """
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if hasattr(value, "tolist"):  # numpy and torch, arrays and scalars
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} cannot be recorded; pass numbers, text, lists or mappings")


def encode(value: Any) -> bytes:
    """The JSON of a value."""
    return (json.dumps(plain(value), sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def decode(path: Path) -> Any:
    """The value in a JSON file, with null as it stands.

    Raises:
        RunError: the file cannot be read or is no JSON.
    """
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise RunError(f"cannot read {path}: {error.strerror}.") from None
    except ValueError:
        raise RunError(f"{path} is damaged: it is no JSON; restore it, or delete it to have it made again.") from None


def with_floats(value: Any) -> Any:
    """What `plain` did to NaN and the infinities, undone."""
    if value is None:
        return math.nan
    if isinstance(value, dict):
        return {key: with_floats(item) for key, item in value.items()}
    if isinstance(value, list):
        return [with_floats(item) for item in value]
    return _INFINITIES.get(value, value) if isinstance(value, str) else value
