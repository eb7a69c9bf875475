"""Vectors of length P cut into one piece a process, so that a basis of them does not have to fit on one device.

Every process of a group holds the same columns' worth of every vector. Sums over entries are finished by an
all-reduce, whose result has the same bits everywhere, so that all processes take the same decisions. Without a group
there is one piece, the whole.

A *sharded* operator is given pieces and gives pieces: then there is no whole vector anywhere. Other operators of a group are
given the whole, and every process keeps its piece of what they give.
"""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.distributed
from jaxtyping import Float, Float64, Int8, Shaped
from torch import Tensor

_SPAN = 1 << 16  # random numbers drawn at a time, a multiple of the 16 that torch makes together
_SUM_SPAN = 1 << 11  # columns summed in the rows' own dtype
_TINY = 1e-15  # norms of float32 below which squares may have been too small for it


class Shards:
    """Which entries of vectors of length `size` this process holds.

    Args:
        size: P.
        group: a process group of `torch.distributed`; None for one process.
        sharded: whether the operator takes and gives pieces.
    """

    size: int
    group: Any
    sharded: bool
    rank: int
    widths: list[int]
    start: int
    stop: int

    def __init__(self, size: int, group: Any = None, *, sharded: bool = False) -> None:
        self.size, self.group, self.sharded = size, group, sharded
        ranks = 1 if group is None else torch.distributed.get_world_size(group)
        self.rank = 0 if group is None else torch.distributed.get_rank(group)
        edges = [size * i // ranks for i in range(ranks + 1)]
        self.widths = [b - a for a, b in itertools.pairwise(edges)]
        self.start, self.stop = edges[self.rank], edges[self.rank + 1]

    @property
    def width(self) -> int:
        """How many entries of each vector are here."""
        return self.stop - self.start

    def local(self, rows: Float[Tensor, "b P"]) -> Float[Tensor, "b W"]:
        """This process's part of whole vectors."""
        return rows[:, self.start : self.stop]

    def whole(self, rows: Float[Tensor, "b W"]) -> Float[Tensor, "b P"]:
        """Whole vectors out of every process's part."""
        if self.group is None:
            return rows
        padded = rows.new_zeros(max(self.widths), len(rows))
        padded[: self.width] = rows.T
        parts = self.gathered(padded)
        return torch.cat([part[:width] for part, width in zip(parts, self.widths, strict=True)]).T

    def gathered(self, values: Shaped[Tensor, "*n"]) -> list[Tensor]:
        """Every process's tensor of one shape, in the order of their parts."""
        if self.group is None:
            return [values]
        parts = [torch.empty_like(values) for _ in self.widths]
        torch.distributed.all_gather(parts, values.contiguous(), group=self.group)
        return parts

    def total(self, sums: Shaped[Tensor, "*n"]) -> Shaped[Tensor, "*n"]:
        """Sums over all entries, out of those over each process's."""
        if self.group is None:
            return sums
        sums = sums.contiguous()
        torch.distributed.all_reduce(sums, group=self.group)
        return sums

    def norms(self, rows: Float[Tensor, "b W"]) -> Float[Tensor, " b"]:
        """The norms of whole vectors, float64."""
        norms = _lengths(rows)
        return norms if self.group is None else self.total(norms.square()).sqrt()

    def given(self, rows: Float[Tensor, "b W"]) -> Float[Tensor, "b V"]:
        """What the operator is to multiply, out of every process's part of it."""
        return rows if self.sharded else self.whole(rows)

    def taken(self, rows: Float[Tensor, "b V"]) -> Float[Tensor, "b W"]:
        """This process's part of what the operator gave, or of what is as long."""
        return rows if self.sharded else self.local(rows)

    def longest(self, rows: Float[Tensor, "b V"]) -> float:
        """The largest norm of what the operator gave; finite if all entries of all processes are."""
        norms = self.norms(rows) if self.sharded else _lengths(rows)
        return float(norms.max())

    def sender(self, rank: int) -> int:
        """The number that a process of the group has among all."""
        return torch.distributed.get_global_rank(self.group, rank)

    def random(self, count: int, generator: torch.Generator, dtype: torch.dtype) -> Float[Tensor, "b W"]:
        """This process's part of Gaussian vectors on the CPU: the same vectors however many processes share them."""
        return torch.cat([self.gaussian(1, generator, dtype) for _ in range(count)])

    def gaussian(self, count: int, generator: torch.Generator, dtype: torch.dtype) -> Float[Tensor, "b W"]:
        """The same of vectors that are drawn all at once."""
        return self._drawn(count, lambda n: torch.randn(n, generator=generator, dtype=dtype), dtype)

    def signs(self, count: int, generator: torch.Generator) -> Int8[Tensor, "b W"]:
        """This process's part of vectors of random signs on the CPU: likewise the same."""
        bits = self._drawn(count, lambda n: torch.randint(0, 2, (n,), generator=generator, dtype=torch.int8), torch.int8)
        return 2 * bits - 1

    def _drawn(self, count: int, draw: Callable[[int], Tensor], dtype: torch.dtype) -> Shaped[Tensor, "b W"]:
        """This process's columns of so many rows, drawn one row after the other; of the others a span at a time is held."""
        if self.group is None:
            return draw(count * self.size).view(count, self.size)
        part = torch.empty(count, self.width, dtype=dtype)
        for start, stop in _spans(count * self.size):
            span = draw(stop - start)
            for row in range(start // self.size, (stop - 1) // self.size + 1):
                low, high = (min(max(row * self.size + edge, start), stop) for edge in (self.start, self.stop))
                if low < high:
                    first = low - row * self.size - self.start
                    part[row, first : first + high - low] = span[low - start : high - start]
        return part


def summing_span(rows: Float[Tensor, "*M n P"]) -> int:
    """How many columns of a dot product may be summed in the rows' dtype.

    A CPU kernel adds 10⁵ products into few registers: where a vector has a few large entries, what follows them is lost to
    rounding, and dot products are off by 1e-4 (measured). A span is short enough for that not to happen. GPUs sum in a tree.
    """
    return _SUM_SPAN if rows.device.type == "cpu" else rows.shape[-1]


def _lengths(rows: Float[Tensor, "b W"]) -> Float64[Tensor, " b"]:
    """The norms of rows. Widening every entry takes a CPU ten times as long as summing spans in float32 (measured); what lies
    outside its range is seen, and widened after all."""
    span = summing_span(rows)
    whole = rows.shape[1] // span * span
    if rows.dtype == torch.float32 and rows.device.type == "cpu" and whole:
        spans = torch.linalg.vector_norm(rows[:, :whole].unflatten(1, (-1, span)), dim=-1)
        norms = torch.linalg.vector_norm(torch.cat([spans, rows[:, whole:]], dim=1), dim=1, dtype=torch.float64)
        if all(_TINY < norm < float("inf") for norm in norms.tolist()):
            return norms
    return torch.linalg.vector_norm(rows, dim=1, dtype=torch.float64)


def shards_of(operator: Any) -> Shards:
    """Who holds what of the vectors of an operator (`operator.py`)."""
    return Shards(operator.size, operator.group, sharded=operator.sharded)


def _spans(total: int) -> Iterator[tuple[int, int]]:
    """Of so many numbers; the last is the longest, for a short one would be drawn by another routine."""
    edges = [*range(0, max(total - _SPAN, 1), _SPAN), total]
    return itertools.pairwise(edges)
