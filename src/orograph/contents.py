"""What data hold: as words that differ where they do, and as values from 0 to 1."""

import hashlib
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils._pytree import tree_leaves

from orograph.intake import pairs


def digests(*sets: Any) -> tuple[str, str]:
    """SHA-256 of data as they come, and of their values alone, each leaf of the batches after one another.

    Args:
        sets: re-iterables of batches `(inputs, targets)`.
    """
    whole, values = hashlib.sha256(), hashlib.sha256()
    for data in sets:
        columns: dict[int, Any] = {}
        for batch in pairs(data):
            for place, leaf in enumerate(tree_leaves(batch)):
                column = columns.setdefault(place, hashlib.sha256())
                tensor = leaf.detach().cpu().contiguous() if isinstance(leaf, Tensor) else None
                said = repr(leaf if tensor is None else (tuple(tensor.shape), str(tensor.dtype))).encode()
                held = b"" if tensor is None or not tensor.numel() else tensor.flatten().view(torch.uint8).numpy().data
                whole.update(said)
                whole.update(held)
                column.update(said if tensor is None else held)
        for column in columns.values():
            values.update(column.digest())
    return whole.hexdigest(), values.hexdigest()


def unit_inputs(data: Any) -> Float[Tensor, "N ..."]:
    """All inputs, each one tensor a batch, scaled so that the least value is 0 and the largest 1."""
    inputs = torch.cat([inputs for inputs, _ in pairs(data)]).float()
    low, high = inputs.aminmax()
    return (inputs - low) / (high - low).clamp(min=torch.finfo(inputs.dtype).tiny)
