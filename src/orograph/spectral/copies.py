"""Has a Krylov space missed a copy of a multiple eigenvalue?

A space grown from one vector holds one eigenvector of each eigenvalue, and no residual shows the others. They are
eigenvectors of the deflated operator B = (I − VVᵀ)A(I − VVᵀ) too, from which the wanted pairs V are gone. So a random
vector orthogonal to V is followed: s Lanczos steps on B, started at random. (Orthogonal to V only: a missed
copy may lie just in what else the Krylov space or its pool holds, too weakly to be seen.) A Ritz value beyond the limit
proves a missed eigenvalue (Cauchy interlacing). If there is none, a missed eigenvalue μ beyond the limit ℓ has escaped with
probability (Kuczyński & Woźniakowski 1992, theorem 3.2, at ε = (ℓ − θ)/(ℓ − λ_min), θ the largest Ritz value of B)

    p ≤ 1.648 √P exp(−√ε (2s − 1)),

and the chain goes on until p is small, or until its largest Ritz pair (θ, y) has converged so well that none can hide. The
eigenvector u of μ has a part (uᵀy)(μ − θ) of the residual r. With y = π(B)b for the first vector b of the chain, π a polynomial
that vanishes at the other Ritz values and grows beyond θ, |uᵀy| is at least |uᵀb|/τ, τ the weight of b in y; and |uᵀb| is
below p √(π/2P) for a random b with the probability p. So μ would show in r > (ℓ − θ) p √(π/2P)/τ.
"""

import math
from dataclasses import dataclass
from enum import Enum

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from orograph.spectral.krylov import ENOUGH, Krylov

_ESCAPE = 0.01  # the accepted probability p


class Search(Enum):
    """What a chain of random vectors says of the deflated operator."""

    FOUND = "an eigenvalue beyond the limits"
    CLEAR = "none, almost surely"
    UNSURE = "go on"


@dataclass(frozen=True)
class Limits:
    """Eigenvalues below `lower` or above `upper` would have been wanted; ±inf where a side does not matter."""

    lower: float
    upper: float
    slack: float  # differences below it do not count


def escape_probability(steps: int, largest: float, limit: float, lowest: float, size: int) -> float:
    """The bound p on missing an eigenvalue above `limit`, after so many steps whose largest Ritz value is `largest`."""
    share = (limit - largest) / max(limit - lowest, 1e-300)
    return 1.648 * math.sqrt(size) * math.exp(-math.sqrt(max(share, 0.0)) * (2 * steps - 1))


class Chain:
    """Lanczos steps on the deflated operator from a random vector, orthogonal to the wanted pairs.

    A step reads these and the chain alone, mostly a quarter as many vectors as the basis has.

    Args:
        krylov: the decomposition whose operator this is; counts products.
        known: the wanted eigenvectors, unit rows.
        deepest: steps at most.
        limits: beyond which eigenvalues an unknown one would be wanted.
        spread: the extreme Ritz values of the whole operator, so far as they are known.
        seed: of the random vector; not that of the decomposition, which has missed what its own start lacks.
    """

    def __init__(
        self,
        krylov: Krylov,
        known: Float[Tensor, "k W"],
        deepest: int,
        limits: Limits,
        spread: tuple[float, float],
        seed: int,
    ) -> None:
        self.krylov, self.limits, self.spread, self.steps = krylov, limits, spread, 0
        self._beside = krylov.operator.size - len(known)  # how many dimensions there are beside the wanted pairs
        capacity = min(deepest, self._beside)
        self._known, self._rows, self._count = known, known.new_empty(capacity, known.shape[1]), 0  # orthonormal
        self._projected = torch.zeros(capacity, capacity, dtype=torch.float64)  # onto them; its upper half
        self._rest = 1.0  # the norm of what the last product has beyond all rows
        vector = krylov.shards.random(1, torch.Generator().manual_seed(seed), known.dtype).to(known)
        self._append(vector, self._clean(vector)[1])

    def advance(self) -> bool:
        """Multiply the next vector; False when there is none."""
        if self.steps == self._count:
            return False
        image = self.krylov.product(self._rows[self.steps : self.steps + 1]).to(self._known, copy=True).contiguous()
        own, norm = self._clean(image)
        self._projected[: self._count, self.steps] = own
        self._rest = norm if norm > self.krylov.floor else 0.0
        self.steps += 1
        if self._rest and self._count < len(self._rows):
            self._append(image, norm)
        return True

    def verdict(self) -> Search:
        """What the vectors multiplied so far say of missed eigenvalues."""
        limits, size, (values, weights) = self.limits, self.krylov.operator.size, self._ritz()
        lowest, largest = float(values[0]), float(values[-1])
        if largest > limits.upper + limits.slack or lowest < limits.lower - limits.slack:
            return Search.FOUND
        floor = max(limits.lower - limits.slack, min(self.spread[0], lowest))
        ceiling = min(limits.upper + limits.slack, max(self.spread[1], largest))
        sides = []
        if math.isfinite(limits.upper):
            escape = escape_probability(self.steps, largest, limits.upper + limits.slack, floor, size)
            sides.append((escape, limits.upper + limits.slack, largest, weights[:, -1]))
        if math.isfinite(limits.lower):
            escape = escape_probability(self.steps, -lowest, limits.slack - limits.lower, -ceiling, size)
            sides.append((escape, limits.slack - limits.lower, -lowest, weights[:, 0]))
        clear = all(escape <= _ESCAPE or self._shows(limit, end, vector) for escape, limit, end, vector in sides)
        return Search.CLEAR if clear or self.steps == self._beside else Search.UNSURE

    def values(self) -> Float64[Tensor, " s"]:
        """Its Ritz values, ascending."""
        return self._ritz()[0]

    def found(self) -> Float[Tensor, "f W"]:
        """The Ritz vectors beyond the limits."""
        values, weights = self._ritz()
        beyond = (values > self.limits.upper + self.limits.slack) | (values < self.limits.lower - self.limits.slack)
        return weights[:, beyond].T.to(self._rows) @ self._rows[: len(weights)]

    def _shows(self, limit: float, largest: float, vector: Float64[Tensor, " s"]) -> bool:
        """Whether the outermost Ritz pair is so good that an eigenvalue beyond the limit would show in it; of the lower end,
        values and the limit are those of −B."""
        residual = self._rest * abs(float(vector[-1]))
        least = _ESCAPE * math.sqrt(math.pi / 2 / self.krylov.operator.size)
        return residual * abs(float(vector[0])) <= (limit - largest) * least

    def _ritz(self) -> tuple[Float64[Tensor, " s"], Float64[Tensor, "s s"]]:
        """Ritz values, ascending, and vectors."""
        return torch.linalg.eigh(self._projected[: self.steps, : self.steps], UPLO="U")

    def _clean(self, vector: Float[Tensor, "1 W"]) -> tuple[Float64[Tensor, " n"], float]:
        """Subtract from the vector (in place) what it has along the wanted pairs and all rows, until its norm stays; returns
        what it had along the rows, and the norm of the rest."""
        norm = self.krylov.norm(vector)
        for rows in (self._known, self._rows[: self._count]):
            along, before = torch.zeros(len(rows), dtype=torch.float64), math.inf
            while 0 < norm <= ENOUGH * before:
                along += self.krylov.basis.subtract(vector, rows)[:, 0]
                before, norm = norm, self.krylov.norm(vector)
        return along, norm

    def _append(self, vector: Float[Tensor, "1 W"], norm: float) -> None:
        torch.div(vector[0], norm, out=self._rows[self._count])
        self._count += 1
