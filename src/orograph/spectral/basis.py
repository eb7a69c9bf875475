"""Storage for an orthonormal basis of Krylov vectors, and the dense arithmetic on it.

All work on the P-long vectors goes through a few matrix calls on one preallocated array: coefficients `Q w`, subtraction `w
− Qᵀc`, linear combinations `SᵀQ`. A basis larger than its budget lives in an unnamed temporary file that the operating
system pages (memory map).

The array has one row for each vector. Where vectors become combinations of each other, few rows have to be written anew: the
vectors are Q = M R, M a small triangular matrix, R the rows, and what is done to Q is done to M first. So vectors that are
nearly orthonormal are made so without a P-long operation.
"""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from orograph.curvature.shards import Shards, summing_span
from orograph.errors import RunError
from orograph.memory import format_bytes, parse_bytes

_SPAN = 1 << 15  # columns rotated at a time, so that a restart needs no second basis


class Basis:
    """Room for `capacity` vectors, or this process's part of them; rows are filled by the caller.

    On the given device when `capacity` vectors fit into `memory`, else in a memory-mapped file on the CPU, paged by the
    operating system.

    Raises:
        RunError: that file does not fit on the disk.
    """

    shards: Shards
    mapped: bool
    device: torch.device
    dtype: torch.dtype
    rows: Tensor  # filled by the caller; those from `written` on are the vectors themselves
    written: int

    def __init__(self, capacity: int, shards: Shards, *, dtype: torch.dtype, device: torch.device, memory: str | int) -> None:
        self.shards, size = shards, shards.width
        needed = capacity * size * dtype.itemsize
        self.mapped = needed > parse_bytes(memory)
        self.device, self.dtype = device, dtype
        if self.mapped:
            with _reserved(needed) as file:  # the map outlives the name
                self.rows = torch.from_file(file.name, shared=True, size=capacity * size, dtype=dtype).view(capacity, size)
        else:
            self.rows = torch.empty(capacity, size, dtype=dtype, device=device)
        self.written = 0
        self._mixing = torch.eye(capacity, dtype=torch.float64)  # M, lower triangular: a vector has parts of rows before its own

    def project_out(self, block: Float[Tensor, "b P"], count: int, first: int = 0) -> Float64[Tensor, "n b"]:
        """Subtract from the block (in place) its components along the vectors from `first` up to `count`; returns these
        components."""
        if first >= self.written:
            return self.subtract(block, self.rows[first:count])
        components = self.components(block, count, first)
        weights = self._mixing[first:count, :count].T @ components
        _add_combinations(block, -self._local(weights).T, self.rows[:count])
        return components

    def components(self, block: Float[Tensor, "b P"], count: int, first: int = 0) -> Float64[Tensor, "n b"]:
        """Dot products of the vectors from `first` up to `count` with those of the block."""
        return self._mixing[first:count, :count] @ self.dots(self.rows[:count], block.to(self.rows)).cpu()

    def subtract(self, block: Float[Tensor, "b P"], rows: Float[Tensor, "n P"]) -> Float64[Tensor, "n b"]:
        """Subtract from the block (in place) its components along orthonormal rows; returns these components."""
        components = self.dots(rows, block)
        _add_combinations(block, -components.T.to(rows.dtype), rows)
        return components.cpu()

    def combine(self, weights: Float64[Tensor, "n l"]) -> Float[Tensor, "l P"]:
        """The combinations Σᵢ weights[i, j]·vector i, or this process's part of them, on the operator's device."""
        local = self._local(self._of_rows(weights)).T.contiguous()
        result = torch.empty(len(local), self.rows.shape[1], dtype=self.dtype, device=self.rows.device)
        _combine(local, self.rows[: len(weights)], into=result)
        return result.to(self.device)

    def rotate(self, weights: Float64[Tensor, "n l"], first: int = 0, *, written: int = 0) -> None:
        """Replace the l vectors from `first` by combinations of the first n; what is behind them is moved there yet, or nothing.

        Only the rows from `written` on are written, span by span of columns; the other vectors must be made of none behind them.
        """
        of_rows, stop = self._of_rows(weights), first + weights.shape[1]
        start = max(first, written)
        local = self._local(of_rows[:, start - first :]).T.contiguous()
        for columns in self.rows[: len(weights)].split(_SPAN, dim=1):
            _combine(local, columns, into=columns[start:stop])
        self._mixing[first:] = 0
        self._mixing.diagonal()[first:] = 1
        self._mixing[first:start, : len(weights)] = of_rows[:, : start - first].T
        self.written = start if start > first else min(self.written, first)

    def move(self, sources: list[int], start: int) -> None:
        """Put the vectors `sources`, written ones, at `start`, `start + 1`, …"""
        self.rows[start : start + len(sources)] = self.rows[sources]

    def chosen(self, vectors: list[int]) -> Float[Tensor, "n P"]:
        """These vectors, ascending: a view where they are written side by side."""
        if vectors[0] < self.written:
            return self.combine(torch.eye(vectors[-1] + 1, dtype=torch.float64)[:, vectors]).to(self.rows)
        side_by_side = vectors[-1] - vectors[0] + 1 == len(vectors)
        return self.rows[vectors[0] : vectors[-1] + 1] if side_by_side else self.rows[vectors]

    def dots(self, rows: Float[Tensor, "n P"], block: Float[Tensor, "b P"]) -> Float64[Tensor, "n b"]:
        """Dot products in the rows' dtype over spans of columns, whose sums are taken in float64; over all processes."""
        total = torch.zeros(len(block), len(rows), dtype=torch.float64, device=rows.device)
        for part, columns in zip(_by_span(block), _by_span(rows), strict=True):
            total += (part @ columns.mT).sum(dim=0, dtype=torch.float64)
        return self.shards.total(total.T)

    def _of_rows(self, weights: Float64[Tensor, "n l"]) -> Float64[Tensor, "n l"]:
        """Weights of the rows of what these are weights of the vectors of."""
        return self._mixing[: len(weights), : len(weights)].T @ weights if self.written else weights

    def _local(self, weights: Float64[Tensor, "n l"]) -> Float[Tensor, "n l"]:
        return weights.to(self.rows.device, self.dtype)


def require_room(capacity: int, shards: Shards, *, dtype: torch.dtype, memory: str | int) -> None:
    """Check, before other work is done, that a basis of such a size can be made then.

    Raises:
        RunError: it would lie in a file that does not fit on the disk.
    """
    needed = capacity * shards.width * dtype.itemsize
    if needed > parse_bytes(memory):
        with _reserved(needed):
            pass


@contextlib.contextmanager
def _reserved(size: int) -> Iterator[Any]:
    with tempfile.NamedTemporaryFile(prefix="orograph-basis-") as file:
        _reserve(file, size)
        yield file


def _reserve(file: Any, size: int) -> None:
    """Space on the disk for all of a mapped file: without it, writing to the map would end the process by a signal.

    Raises:
        RunError: the disk has less.
    """
    if not hasattr(os, "posix_fallocate"):
        return
    try:
        os.posix_fallocate(file.fileno(), 0, size)
    except OSError as error:
        folder = os.path.dirname(file.name)
        raise RunError(
            f"a basis of {format_bytes(size)} is more than `memory` allows, and {folder} takes no file of that size "
            f"({error.strerror}); set TMPDIR to a folder with more space, give a larger `memory` or fewer eigenpairs."
        ) from None


def _add_combinations(block: Float[Tensor, "b P"], local: Float[Tensor, "b n"], rows: Float[Tensor, "n P"]) -> None:
    """Add to the block (in place) combinations of rows."""
    for part, columns in zip(_by_span(block), _by_span(rows), strict=True):
        part += local @ columns


def _combine(local: Float[Tensor, "l n"], rows: Float[Tensor, "n P"], into: Float[Tensor, "l P"]) -> None:
    """Combinations of rows, which `into` may be some of."""
    for part, columns in zip(_by_span(into), _by_span(rows), strict=True):
        part.copy_(local @ columns)


def _by_span(rows: Float[Tensor, "n P"]) -> tuple[Float[Tensor, "s n w"], Float[Tensor, "1 n r"]]:
    """Views of the columns: as many spans as there are, and what is left. Products of batches of spans, which stay in the cache,
    take half the time of one product with all columns where there are few rows on one side (measured)."""
    span = summing_span(rows)
    whole = rows.shape[1] // span * span
    return rows[:, :whole].unflatten(1, (-1, span)).transpose(0, 1), rows[None, :, whole:]
