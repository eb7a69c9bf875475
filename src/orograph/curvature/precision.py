"""Products of reduced precision where the hardware has them, for as long as one product lasts.

`fast` lets GEMMs and convolutions round their operands to TF32 (a GPU) or BF16 (a CPU with BF16 instructions) and accumulate in
float32. Elsewhere it is the same as `high`.
"""

import contextlib
from collections.abc import Iterator
from typing import Literal

import torch

Precision = Literal["high", "fast"]


def fast_kind(device: torch.device, dtype: torch.dtype) -> str | None:
    """`"TF32"` or `"BF16"` where products of this dtype can be made faster on this device, else None."""
    if dtype != torch.float32:
        return None
    if device.type == "cuda":
        return "TF32" if torch.cuda.get_device_capability(device)[0] >= 8 else None
    if device.type == "cpu" and torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return "BF16"
    return None


@contextlib.contextmanager
def products_in(precision: Precision, device: torch.device, dtype: torch.dtype) -> Iterator[None]:
    """Within it GEMMs have this precision; after it, what was set before holds again."""
    kind = fast_kind(device, dtype) if precision == "fast" else None
    before, convolutions = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    try:
        torch.set_float32_matmul_precision({None: "highest", "TF32": "high", "BF16": "medium"}[kind])
        torch.backends.cudnn.allow_tf32 = kind == "TF32"
        yield
    finally:
        torch.set_float32_matmul_precision(before)
        torch.backends.cudnn.allow_tf32 = convolutions
