"""Vectors of length P cut into one piece a process, so that a basis of them does not have to fit on one device.

Every process of a group holds the same columns' worth of every vector. Sums over entries are finished by an
all-reduce, whose result has the same bits everywhere, so that all processes take the same decisions. Without a group
there is one piece, the whole.
"""

import itertools
from typing import Any

import torch
import torch.distributed
from jaxtyping import Float, Shaped
from torch import Tensor


class Shards:
    """Which entries of vectors of length `size` this process holds.

    Args:
        size: P.
        group: a process group of `torch.distributed`; None for one process.
    """

    def __init__(self, size: int, group: Any = None) -> None:
        self.group = group
        ranks = 1 if group is None else torch.distributed.get_world_size(group)
        rank = 0 if group is None else torch.distributed.get_rank(group)
        edges = [size * i // ranks for i in range(ranks + 1)]
        self.widths = [b - a for a, b in itertools.pairwise(edges)]
        self.start, self.stop = edges[rank], edges[rank + 1]

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
        norms = torch.linalg.vector_norm(rows, dim=1, dtype=torch.float64)
        return norms if self.group is None else self.total(norms.square()).sqrt()

    def random(self, count: int, size: int, generator: torch.Generator, dtype: torch.dtype) -> Float[Tensor, "b W"]:
        """This process's part of Gaussian vectors on the CPU: the same vectors however many processes share them."""
        return torch.cat([self.local(torch.randn(1, size, generator=generator, dtype=dtype)) for _ in range(count)])
