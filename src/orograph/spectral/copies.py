"""Has a Krylov space missed a copy of a multiple eigenvalue?

A space grown from one vector holds one eigenvector of each eigenvalue, and no residual shows the others. They are
eigenvectors of the deflated operator B = (I − VVᵀ)A(I − VVᵀ) too, from which the wanted pairs V are gone. So a random
vector orthogonal to V is followed: s Lanczos steps on B, started at random. (Orthogonal to V only, and to two random
probes multiplied before: a missed copy may lie just in what else the Krylov space or its pool holds, too weakly to be
seen.) A Ritz value beyond the limit proves a missed eigenvalue (Cauchy interlacing). If there is none, a missed eigenvalue
μ beyond the limit ℓ has escaped with probability (Kuczyński & Woźniakowski 1992, theorem 3.2, at ε = (ℓ − θ)/(ℓ − λ_min),
θ the largest Ritz value of B)

    p ≤ 1.648 √P exp(−√ε (2s − 1)),

and the chain goes on until p is small, or until its largest Ritz pair (θ, y) has converged so well that none can hide. The
eigenvector u of μ has a part (uᵀy)(μ − θ) of the residual r. With y = π(B)b for the first vector b of the chain, π a polynomial
that vanishes at the other Ritz values and grows beyond θ, |uᵀy| is at least |uᵀb|/τ, τ the weight of b in y; and |uᵀb| is
below p √(π/2P) for a random b with the probability p. So μ would show in r > (ℓ − θ) p √(π/2P)/τ.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import torch
from jaxtyping import Float64
from torch import Tensor

from orograph.spectral.krylov import Krylov

_ESCAPE = 0.01  # the accepted probability p
_EXHAUSTED = 1e-12  # of a vector's length: what is left is rounding of its weights


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
    """Lanczos steps on the deflated operator from a random vector, within the basis of a decomposition.

    What a vector of the chain has in the multiplied rows needs no product; what it has in the pool is turned into one row
    by a reflection, which is multiplied. So the basis keeps all it holds. Vectors are weights of its rows.

    Args:
        krylov: the decomposition, which grows.
        known: weights of the wanted pairs, one a column.
        probes: multiplied rows that are random directions too, orthogonal to the wanted pairs.
        limits: beyond which eigenvalues an unknown one would be wanted.
        spread: the extreme Ritz values of the whole operator, which those of the deflated one cannot exceed.
        seed: of the random vector.
    """

    def __init__(
        self,
        krylov: Krylov,
        known: Float64[Tensor, "m k"],
        probes: Sequence[int],
        limits: Limits,
        spread: tuple[float, float],
        seed: int,
    ) -> None:
        self.krylov, self.limits, self.spread, self.steps = krylov, limits, spread, 0
        self._known = known
        self._space = torch.eye(krylov.multiplied, dtype=torch.float64)[:, list(probes)]  # and the chain: orthonormal columns
        start, generator = torch.zeros(krylov.count, dtype=torch.float64), torch.Generator().manual_seed(seed)
        start[krylov.multiplied :] = torch.randn(krylov.pool, generator=generator, dtype=torch.float64)
        if krylov.pool:
            start[-1] = max(1, krylov.operator.size - krylov.count) ** 0.5  # all the space beyond, in the last vector
        if len(known) > known.shape[1]:  # there are rows beside the wanted pairs
            start[: len(known)] = torch.randn(len(known), generator=generator, dtype=torch.float64)
        self._next = self._outside(start)

    def advance(self) -> bool:
        """Multiply the next vector; False when there is none."""
        krylov, m = self.krylov, self.krylov.multiplied
        vector = _padded(self._next, krylov.count)
        inside, beyond = vector[:m], vector[m:]
        length = math.hypot(float(inside.norm()), float(beyond.norm()))
        if length <= _EXHAUSTED * (krylov.scale if self.steps else 0.0):
            return False
        unit = torch.where(inside.abs() > _EXHAUSTED * length, inside / length, 0.0)
        if (share := float(beyond.norm()) / length) > _EXHAUSTED:
            unit = torch.cat([unit, unit.new_tensor([-share if beyond[0] >= 0 else share])])  # its sign after the reflection
            aim(krylov, beyond)
            krylov.expand(1)
        self._space = torch.cat([_padded(self._space, krylov.multiplied), unit[:, None]], dim=1)
        self._next = self._outside(krylov.coefficients[: krylov.count, : krylov.multiplied] @ unit)
        self.steps += 1
        return True

    def verdict(self) -> Search:
        """What the vectors multiplied so far say of missed eigenvalues."""
        krylov, limits = self.krylov, self.limits
        images, values = self._solved()
        lowest, largest = float(values[0]), float(values[-1])
        if largest > limits.upper + limits.slack or lowest < limits.lower - limits.slack:
            return Search.FOUND
        size = krylov.operator.size
        floor = max(limits.lower - limits.slack, self.spread[0])
        ceiling = min(limits.upper + limits.slack, self.spread[1])
        sides = []
        if math.isfinite(limits.upper):
            escape = escape_probability(self.steps, largest, limits.upper + limits.slack, floor, size)
            sides.append((escape, limits.upper + limits.slack, 1))
        if math.isfinite(limits.lower):
            escape = escape_probability(self.steps, -lowest, limits.slack - limits.lower, -ceiling, size)
            sides.append((escape, limits.slack - limits.lower, -1))
        clear = all(escape <= _ESCAPE or self._shows(images, limit, sign) for escape, limit, sign in sides)
        return Search.CLEAR if clear or krylov.pool == 0 else Search.UNSURE

    def _shows(self, images: Float64[Tensor, "n s"], limit: float, sign: int) -> bool:
        """Whether the outermost Ritz pair of the chain alone is so good that an eigenvalue beyond the limit would show in it.

        `sign` is −1 for the lower end, where values and the limit are those of −B.
        """
        own, chain = images[:, -self.steps :], self._space[:, -self.steps :]
        projected = sign * (chain.T @ own[: len(chain)])
        values, weights = torch.linalg.eigh((projected + projected.T) / 2)
        residual = float(self._outside(own @ weights[:, -1]).norm())
        least = _ESCAPE * math.sqrt(math.pi / 2 / self.krylov.operator.size)
        return residual * abs(float(weights[0, -1])) <= (limit - float(values[-1])) * least

    def _solved(self) -> tuple[Float64[Tensor, "n s"], Float64[Tensor, " s"]]:
        """What the operator makes of the probes and the chain, and the Ritz values on them, ascending."""
        images = self.krylov.coefficients[: self.krylov.count, : self.krylov.multiplied] @ self._space
        projected = self._space.T @ images[: len(self._space)]
        return images, torch.linalg.eigvalsh((projected + projected.T) / 2)

    def _outside(self, vectors: Float64[Tensor, "n *b"]) -> Float64[Tensor, "n *b"]:
        """What is left of vectors without their parts along the wanted pairs, the probes and the chain; twice, to be exact."""
        for directions in (self._known, self._space) * 2:
            vectors = vectors - _padded(directions @ (directions.T @ vectors[: len(directions)]), len(vectors))
        return vectors


def _padded(weights: Float64[Tensor, "n *b"], rows: int) -> Float64[Tensor, "m *b"]:
    """Weights of more rows, zero."""
    return torch.cat([weights, weights.new_zeros(rows - len(weights), *weights.shape[1:])])


def aim(krylov: Krylov, direction: Float64[Tensor, " p"]) -> None:
    """Rotate the pool (a Householder reflection) so that its first vector is this combination of its vectors."""
    krylov.settle()
    mirror = direction / direction.norm()
    mirror[0] += 1.0 if mirror[0] >= 0 else -1.0
    mirror /= mirror.norm()
    coupling = krylov.coefficients[krylov.multiplied : krylov.count, : krylov.multiplied]
    coupling -= 2 * torch.outer(mirror, mirror @ coupling)
    rows = krylov.basis.rows[krylov.multiplied : krylov.count]
    local = mirror.to(rows)
    rows.addr_(local, local @ rows, alpha=-2)
