"""Data that do not fit: batches are read again from where they come each time they are gone through, in place of being held.

Every pass has to see the same samples in the same order, or a loss, a gradient and a product would be of different functions. So
the data are read twice at the start, and a checksum of both passes compared: what shuffles, augments or can be read once only is
named.
"""

import hashlib
import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from jaxtyping import Float64, Int
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.data import DataLoader

from orograph.errors import DataError
from orograph.intake import Batch, pairs, placed
from orograph.process import keep_little
from orograph.samples import chosen, cut, lined_up, take
from orograph.transfer import Lane, ahead, lane_to

_HEAD = 32  # the part of the budget that the first batches, on which network and loss are tried, may take: one in so many


class Streamed:
    """The batches of a re-iterable, read anew at each pass.

    Args:
        data: gives the same pairs each time.
        place: puts a batch on the device, in the dtype.
        lane: the way there, for the next batch while one is worked on; None where there is none.
        head: the first batches, and the first whose samples cannot be cut where there is one.
        count: N, the number of samples.
    """

    head: list[Batch]
    count: int

    def __init__(
        self, data: Any, place: Callable[[Batch], Batch], head: list[Batch], count: int, lane: Lane | None = None
    ) -> None:
        self._data, self._place, self.head, self.count, self._lane = data, place, head, count, lane
        keep_little()

    def __iter__(self) -> Iterator[Batch]:
        return map(self._place, ahead(_again(self._data), self._lane))

    def __getitem__(self, place: int) -> Batch:
        return self.head[place]

    def cast(self, leaf: Callable[[Any], Any]) -> "Streamed":
        """The same with something done to each tensor, or other leaf, besides."""

        def place(batch: Batch) -> Batch:
            return tree_map(leaf, batch[0]), leaf(batch[1])

        head = [place(each) for each in self.head]
        return Streamed(self._data, lambda batch: place(self._place(batch)), head, self.count, self._lane)

    def chosen(self, samples: Int[Tensor, " n"]) -> list[Batch]:
        """Samples by their places among all, in the order asked for; these are held."""
        wanted, places = samples.cpu().unique(return_inverse=True)
        found, start = [], 0
        for batch in self:
            stop = start + len(batch[1])
            own = wanted[(wanted >= start) & (wanted < stop)] - start
            if len(own):
                found.append(take(batch, own.to(batch[1].device)))
            start = stop
        return chosen(list(cut(found, len(wanted))), places)


def chunked(batches: list[Batch] | Streamed, length: int) -> Iterator[Batch]:
    """All samples in order, so many together at most."""
    if isinstance(batches, Streamed):
        yield from cut(batches, length)
        return
    for batch in batches:
        for start in range(0, len(batch[1]), length):
            yield take(batch, slice(start, start + length))


class _Print:
    """What a pass over the data saw: the total does not depend on the order of the samples, the digest does."""

    def __init__(self) -> None:
        self.count, self.total, self._digest = 0, 0.0, hashlib.sha256()

    def add(self, batch: Batch) -> None:
        leaves = columns(batch)
        self.count += len(batch[1])
        self.total += fingerprints(leaves).sum().item()
        for leaf in leaves:
            values = (leaf if leaf.layout == torch.strided else leaf.to_dense()).detach().cpu().contiguous()
            self._digest.update(values.flatten().view(torch.uint8).numpy().data if values.numel() else b"")

    @property
    def digest(self) -> str:
        return self._digest.hexdigest()


def held_or_streamed(data: Any, *, device: torch.device, dtype: torch.dtype, budget: int) -> list[Batch] | Streamed:
    """The batches on one device and in one floating dtype: held where their bytes are within the budget, else to be read again.

    Raises:
        DataError: no samples, something that is no (inputs, targets) pair, a loader that drops samples; or, of data that are to
            be read again, other data the second time.
    """
    _require_all(data)

    def place(batch: Batch) -> Batch:
        return placed(batch, device, dtype)

    held: list[Batch] = []
    size, sizable = 0, not isinstance(data, list | tuple)
    for place_in_data, batch in enumerate(map(place, _again(data))):
        size += _bytes(batch)
        if size > budget and place_in_data:
            del held, batch
            return _streamed(data, place, budget, lane_to(device))
        if sizable and size > budget // 2:
            held.clear()  # what does not fit is not held until that is known
        else:
            held.append(batch)
    if sizable and size > budget // 2:
        held = [place(batch) for batch in _again(data)]
    if not sum(len(targets) for _, targets in held):
        raise DataError("the data have no samples; a stream that was read to its end before gives none again.")
    return held


def _streamed(data: Any, place: Callable[[Batch], Batch], budget: int, lane: Lane | None) -> Streamed:
    seen, head, room, cuttable = _Print(), list[Batch](), budget // _HEAD, True
    for pair in _again(data):
        seen.add(pair)
        batch = place(pair)
        room -= _bytes(batch)
        if not head or room >= 0 or (cuttable and not lined_up(batch)):
            head.append(batch)
        cuttable = cuttable and lined_up(batch)
    if not isinstance(data, list | tuple):  # what it holds cannot move
        _require_same(data, seen)
    return Streamed(data, place, head, seen.count, lane)


def _again(data: Any) -> Iterator[Batch]:
    """A pass over the data that leaves torch's random numbers alone: a loader draws a seed for its workers as it begins."""
    with torch.random.fork_rng(devices=[]):
        batches = pairs(data)
        first = next(batches, None)
    if first is not None:
        yield first
        yield from batches


def _require_same(data: Any, seen: _Print) -> None:
    """Raises:
    DataError: the data are other data, or in another order, than those that were seen.
    """
    again = _Print()
    with torch.random.fork_rng(devices=[]):
        torch.rand(1)  # what shuffles by torch's random numbers shall find others than the first time
        for batch in pairs(data):
            again.add(batch)
    if again.digest == seen.digest and again.count == seen.count:
        return
    if not again.count:
        raise DataError(
            f"the data give {seen.count} samples the first time and none the second: they can be read only once; pass a "
            "list of their batches."
        )
    if again.count != seen.count:
        raise DataError(f"the data have {seen.count} samples the first time and {again.count} the second.")
    if math.isclose(again.total, seen.total, rel_tol=1e-9):
        raise DataError("the data come in another order the second time; pass a loader with shuffle=False.")
    raise DataError("the data have another content the second time; switch off random augmentation.")


def _require_all(data: Any) -> None:
    """Raises:
    DataError: a loader that leaves its last samples out.
    """
    if not isinstance(data, DataLoader) or not data.drop_last or not data.batch_size or not hasattr(data.dataset, "__len__"):
        return
    left = len(data.dataset) % data.batch_size
    if left:
        raise DataError(f"the loader drops its last batch, {left} of {len(data.dataset)} samples; pass it drop_last=False.")


def columns(batch: Batch) -> list[Tensor]:
    """Every tensor leaf of inputs and targets."""
    return [leaf for leaf in tree_leaves(batch) if isinstance(leaf, Tensor)]


def fingerprints(columns: list[Tensor]) -> Float64[Tensor, " n"]:
    """One number a sample, which does not depend on its place."""
    count = len(columns[-1])  # of the targets; edges of a graph and the like belong to all
    total = torch.zeros(count, dtype=torch.float64, device=columns[-1].device)
    for scale, column in enumerate((each for each in columns if each.ndim and len(each) == count), start=1):
        flat = column.reshape(len(column), -1).double()
        weights = torch.arange(1, flat.shape[1] + 1, dtype=torch.float64, device=flat.device).sqrt()
        total += scale * (flat @ weights)
    return total


def _bytes(batch: Batch) -> int:
    return sum(leaf.nbytes if leaf.layout == torch.strided else leaf.values().nbytes for leaf in columns(batch))
