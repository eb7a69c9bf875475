"""Batches as people bring them, as pairs of inputs and targets: what is none is named, with the way to make one.

Inputs are a tensor, or a tuple or mapping of tensors and of whatever else the module takes; targets are a tensor. Arrays are
taken for tensors.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.data import Dataset, IterableDataset

from orograph.calling import usable
from orograph.errors import DataError
from orograph.parameters import follow
from orograph.structure import plain

_LOADER = "pass torch.utils.data.DataLoader(data, batch_size=…, shuffle=False), or the whole as one batch: [(inputs, targets)]."


Inputs = Any  # a tensor, or a tuple or mapping of tensors that the module takes as arguments
Batch = tuple[Inputs, Tensor]


def placed(batch: Batch, device: torch.device, dtype: torch.dtype) -> Batch:
    """A batch on one device and in one floating dtype."""

    def place(leaf: Any) -> Any:
        return usable(follow(leaf.to(device), dtype)) if isinstance(leaf, Tensor) else leaf

    return tree_map(place, batch[0]), place(batch[1])


def pairs(data: Any) -> Iterator[tuple[Any, Tensor]]:
    """The pairs of a re-iterable of batches, or of one batch.

    Raises:
        DataError: samples instead of batches, something that can be read only once, or no pairs.
    """
    if isinstance(data, Dataset) and not isinstance(data, IterableDataset):
        raise DataError(f"the data are a {type(data).__name__} of single samples; {_LOADER}")
    if isinstance(data, Iterator):
        raise DataError("the data can be iterated only once; pass a list of (inputs, targets) or a DataLoader.")
    if isinstance(data, tuple) and len(data) == 2 and isinstance(data[1], Tensor | np.ndarray):
        data = [data]
    if (not isinstance(data, Iterable) and not hasattr(data, "__getitem__")) or isinstance(data, Mapping | str):
        raise DataError(f"the data are {type(data).__name__}, not batches; pass a list of (inputs, targets) or a DataLoader.")
    for index, batch in enumerate(data):
        yield _pair(index, batch)


def _pair(index: int, batch: Any) -> tuple[Any, Tensor]:
    if isinstance(batch, Mapping):
        names = ", ".join(map(str, batch))
        raise DataError(
            f"batch {index} is a mapping ({names}), not a pair (inputs, targets); pass [(batch, batch['labels']) for batch in …] "
            "with the entry that the loss compares with."
        )
    if not isinstance(batch, tuple | list) or len(batch) != 2:
        count = f" of {len(batch)}" if isinstance(batch, tuple | list) else ""
        raise DataError(
            f"batch {index} is {type(batch).__name__}{count}, not a pair (inputs, targets); several inputs are one tuple: "
            "((first, second), targets)."
        )
    inputs, targets = plain(batch[0]), plain(batch[1])
    if not isinstance(targets, Tensor):
        raise DataError(f"the targets of batch {index} are {type(targets).__name__}, not a tensor: no pair (inputs, targets).")
    leaves = [targets, *(leaf for leaf in tree_leaves(inputs) if isinstance(leaf, Tensor))]
    if any(leaf.is_nested for leaf in leaves):
        raise DataError(f"batch {index} has nested tensors; pad them to one length and pass a mask beside them.")
    if layouts := [leaf.layout for leaf in leaves if leaf.layout != torch.strided]:
        raise DataError(
            f"batch {index} has tensors of layout {str(layouts[0]).removeprefix('torch.')}, which cannot be cut into samples; "
            "pass them dense, as .to_dense() makes them, or make what belongs to all samples a buffer of the model."
        )
    if not targets.ndim:
        raise DataError(f"the targets of batch {index} have no dimension of samples: they are those of one sample; {_LOADER}")
    return inputs, targets
