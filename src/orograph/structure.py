"""Tensors in whatever holds them: tuples, mappings, dataclasses, and the objects of other libraries.

torch's own trees know tuples, lists and dicts; for them the output of a `transformers` model, a dataclass or a distribution is
one leaf. Here a holder is a mapping, a sequence, or anything with attributes; of the latter a copy is made.
"""

import copy
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from orograph.errors import DataError

_DEEPEST = 8  # levels; what holds itself is left at that


def replaced(tree: Any, function: Callable[[Tensor], Tensor], level: int = 0) -> Any:
    """The same structure with `function` of every tensor in its place; the original keeps its own."""
    if isinstance(tree, Tensor):
        return function(tree)
    if level > _DEEPEST or isinstance(tree, type | nn.Module) or callable(tree):
        return tree
    if isinstance(tree, Mapping):
        found = {key: replaced(value, function, level + 1) for key, value in tree.items()}
        if type(tree) is dict:
            return found
        other: Any = copy.copy(tree)
        for key, value in found.items():
            other[key] = value
        return other
    if isinstance(tree, tuple | list):
        parts = [replaced(each, function, level + 1) for each in tree]
        return type(tree)(*parts) if hasattr(tree, "_fields") else type(tree)(parts)
    if not hasattr(tree, "__dict__"):
        return tree
    changed = {name: replaced(value, function, level + 1) for name, value in vars(tree).items()}
    if all(changed[name] is value for name, value in vars(tree).items()):
        return tree
    other = copy.copy(tree)
    for name, value in changed.items():
        object.__setattr__(other, name, value)  # of a frozen dataclass too
    return other


def tensors_of(tree: Any) -> list[Tensor]:
    """Every tensor in a structure, in order."""
    found: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        found.append(tensor)
        return tensor

    replaced(tree, keep)
    return found


def rebuilt(tree: Any, tensors: Iterable[Tensor]) -> Any:
    """The same structure with other tensors, in the order of `tensors_of`."""
    given = iter(tensors)
    return replaced(tree, lambda _: next(given))


def plain(tree: Any) -> Any:
    """What a batch holds as tuples, lists, dicts and tensors: arrays become tensors, mappings of other libraries become dicts.

    Raises:
        DataError: an object of another kind that holds tensors, which no one knows how to cut into samples.
    """
    if isinstance(tree, np.ndarray | np.generic):
        return _tensor(tree)
    if isinstance(tree, Mapping):
        return {key: plain(value) for key, value in tree.items()}
    if isinstance(tree, tuple | list):
        parts = [plain(each) for each in tree]
        return type(tree)(*parts) if hasattr(tree, "_fields") else type(tree)(parts)
    if not isinstance(tree, Tensor) and tensors_of(tree):
        raise DataError(
            f"inputs are a {type(tree).__name__}, whose tensors cannot be cut into samples; pass them as a tuple or a mapping, "
            "and let a module around yours put them together."
        )
    return tree


def _tensor(array: Any) -> Any:
    if array.dtype.kind not in "biufc":
        return array
    return torch.from_numpy(np.array(array))  # a copy, so that negative strides and read-only memory are welcome
