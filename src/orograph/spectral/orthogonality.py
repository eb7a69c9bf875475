"""How much orthogonality rows of a Krylov basis have lost, foretold from the coefficients alone.

Of rows with A q_j = Σ_l C[l, j] q_l, where q_{j+1} was made orthogonal to q_j and q_{j−1} only, symmetry of A gives the overlaps
with all rows before as (Simon 1984)

    C[j+1, j] q_iᵀq_{j+1} = Σ_l C[l, i] q_lᵀq_j − C[j, j] q_iᵀq_j − C[j−1, j] q_iᵀq_{j−1} + rounding.

The rounding is not known. A few random samples of it are followed at once, which tells the size of the overlaps within a small
factor where a bound by norms is a thousand times too large, for products of small matrices (NumPy's: of so few numbers, most of
the time of PyTorch's is in calling them). How large the samples have to be is measured whenever the overlaps are: products are
mostly ten to a hundred times as exact as their dtype promises.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64
from torch import Tensor

_SAMPLES = 4  # that all are ten times smaller than expected along a direction happens once in 25,000
_SAFETY = 10  # times the rounding measured: before none of 234 passes had a row lost a tenth of itself, with 3 two had
_FORGOTTEN = 3  # by so much it may seem less from one time to the next
_LEAST = 1e-3  # of what is foretold at first: rows that are orthogonal to the last bit by chance do not say that all will be
_ALONG = 0.1  # of the next product along a Ritz vector set aside
_SOON = 0.01  # of that: those worth taking out along with others


class Overlaps:
    """What the last row has along all rows before, and the row before it, in each of the samples; nothing at first."""

    last: np.ndarray
    before: np.ndarray
    level: float

    def __init__(self, capacity: int, seed: int) -> None:
        self._generator = np.random.default_rng(seed)
        self.last, self.before = np.zeros((capacity, _SAMPLES)), np.zeros((capacity, _SAMPLES))
        self._measured = 0.0  # the rounding, in terms of the one foretold at first
        self.level = 1.0  # of the samples, likewise

    def forget(self) -> None:
        """All rows are orthonormal."""
        self.last[:], self.before[:] = 0.0, 0.0

    def foretell(self, coefficients: Float64[np.ndarray, "c c"], count: int, rounding: float) -> Float64[np.ndarray, "n s"]:
        """What A q_j less its components along q_j and q_{j−1} has along each row up to q_j, the last of `count`, whose column of
        coefficients is there."""
        j, known = count - 1, coefficients[:count, :count]
        noise = self.level * rounding / count**0.5 * self._generator.standard_normal((count, _SAMPLES))
        overlaps = known.T @ self.last[:count] - known[j, j] * self.last[:count] + noise
        if j:
            overlaps -= known[j - 1, j] * self.before[:count]
        overlaps[j] = noise[j]
        return overlaps

    @property
    def most(self) -> float:
        """The size of the overlaps of the last row if products were no more exact than their dtype."""
        return size(self.last) / self.level

    def compare(self, along: Float64[Tensor, " n"]) -> None:
        """What the last row really has along the first ones."""
        if (foretold := size(self.last[: len(along)])) > 0:
            self._measured = max(self._measured / _FORGOTTEN, self.level * float(along.norm()) / foretold)
            self.level = min(1.0, max(_LEAST, _SAFETY * self._measured))

    def distrust(self) -> bool:
        """Rounding is as large as foretold at first, from now on; whether it was taken for less."""
        less, self._measured, self.level = self.level < 1, 1.0, 1.0
        return less

    def accept(self, overlaps: Float64[np.ndarray, "n s"]) -> None:
        """There is a next row, with these overlaps."""
        self.before, self.last = self.last, self.before
        self.last[: len(overlaps)] = overlaps


def size(overlaps: Float64[np.ndarray, "n s"]) -> float:
    """The root mean square over the samples of the norm."""
    return float(np.linalg.norm(overlaps)) / _SAMPLES**0.5


@dataclass(frozen=True)
class Aside:
    """Ritz vectors of outlying eigenvalues, the farthest first: themselves, as weights of the first rows of the basis, and their
    |θ|."""

    vectors: Float[Tensor, "a P"]
    weights: Float64[np.ndarray, "k a"]
    sizes: Float64[np.ndarray, " a"]

    @property
    def known(self) -> int:
        """Of how many rows they were made."""
        return len(self.weights)

    def due(self, overlaps: Float64[np.ndarray, "n s"], norm: float) -> int:
        """How many of the first are to be taken out of a rest of this norm with these overlaps: none as long as the next product,
        with a rest as long, has not much along any; else those, too, that would be due soon."""
        along = np.abs(self._along(overlaps)).max(axis=1) * np.maximum(self.sizes / norm, 1) / norm
        return int(np.flatnonzero(along > _SOON * _ALONG)[-1]) + 1 if (along > _ALONG).any() else 0

    def beside(self, overlaps: Float64[np.ndarray, "n s"]) -> float:
        """The size of what the overlaps are but for those along the vectors."""
        return math.sqrt(max(0.0, size(overlaps) ** 2 - size(self._along(overlaps)) ** 2))

    def _along(self, overlaps: Float64[np.ndarray, "n s"]) -> Float64[np.ndarray, "a s"]:
        return self.weights.T @ overlaps[: self.known]

    def removed(self, overlaps: Float64[np.ndarray, "n s"], many: int) -> Float64[np.ndarray, "n s"]:
        """The overlaps once so many of the first are taken out."""
        chosen, rest = self.weights[:, :many], overlaps.copy()
        rest[: self.known] -= chosen @ (chosen.T @ rest[: self.known])
        return rest


def nothing_aside(rows: Float[Tensor, "n P"]) -> Aside:
    """No Ritz vectors of these rows."""
    return Aside(rows[:0], np.zeros((0, 0)), np.zeros(0))
