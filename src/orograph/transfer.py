"""Batches on their way to a device: the next one is read and copied while the one at hand is worked on.

A GPU works on what it was told while the program goes on. So the batch after the one that is handed over has been begun by
then: its tensors lie in pinned memory and are copied on a stream of their own
(https://docs.pytorch.org/docs/stable/notes/cuda.html#use-pinned-memory-buffers). On a CPU there is nowhere to copy to, and
batches are handed over as they are read.
"""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from orograph.intake import Batch


class Lane(Protocol):
    """A way to a device."""

    def begin(self, batch: Batch) -> Any:
        """Sets a batch on its way; gives what `arrived` takes."""
        ...

    def arrived(self, under_way: Any) -> Batch:
        """The batch, for what is computed from now on."""
        ...


def lane_to(device: torch.device) -> Lane | None:
    """The way to a device; None where batches are worked on where they are read."""
    return _Stream(device) if device.type == "cuda" else None


def ahead(batches: Iterable[Batch], lane: Lane | None) -> Iterator[Batch]:
    """The batches, each set on its way before the one before it is handed over."""
    if lane is None:
        yield from batches
        return
    last: list[Any] = []
    for batch in batches:
        last.append(lane.begin(batch))
        del batch
        if len(last) > 1:
            yield lane.arrived(last.pop(0))
    for under_way in last:
        yield lane.arrived(under_way)


class _Copied(NamedTuple):
    """A batch of which the copying has begun, and what tells that it has ended."""

    batch: Batch
    done: torch.cuda.Event


class _Stream:
    """Copies from pinned memory on a stream of their own."""

    def __init__(self, device: torch.device) -> None:
        self._device, self._stream = device, torch.cuda.Stream(device)

    def begin(self, batch: Batch) -> _Copied:
        with torch.cuda.stream(self._stream):
            copied = tree_map(self._copy, batch)
            done = torch.cuda.Event()
            done.record(self._stream)
        return _Copied(copied, done)

    def arrived(self, under_way: _Copied) -> Batch:
        now = torch.cuda.current_stream(self._device)
        now.wait_event(under_way.done)
        for leaf in tree_leaves(under_way.batch):
            if isinstance(leaf, Tensor) and leaf.is_cuda:
                leaf.record_stream(now)  # its memory is not given to others before what reads it has ended
        return under_way.batch

    def _copy(self, leaf: Any) -> Any:
        if not isinstance(leaf, Tensor):
            return leaf
        plain = leaf.device.type == "cpu" and leaf.layout == torch.strided and not leaf.is_pinned()
        return (leaf.pin_memory() if plain else leaf).to(self._device, non_blocking=True)
