"""Has a Krylov space missed a copy of a multiple eigenvalue?

A space grown from one vector holds one eigenvector of each eigenvalue, and no residual shows the others. They are
eigenvectors of the deflated operator B = (I − VVᵀ)A(I − VVᵀ) too, from which the wanted pairs V are gone. So a random
vector orthogonal to V is followed: s Lanczos steps on B, started at random. (Orthogonal to V only: a missed copy may lie
just in what else the Krylov space or its pool holds, too weakly to be seen.) A Ritz value beyond the limit proves a missed
eigenvalue (Cauchy interlacing). If there is none, a missed eigenvalue μ beyond the limit ℓ has escaped with probability
(Kuczyński & Woźniakowski 1992, theorem 3.2, at ε = (ℓ − θ)/(ℓ − λ_min), θ the largest Ritz value of B)

    p ≤ 1.648 √P exp(−√ε (2s − 1)),

and the chain goes on until p is small, or until its largest Ritz pair has converged, short of the limit.
"""

import math
from dataclasses import dataclass
from enum import Enum

import torch

from orograph.spectral.krylov import Krylov

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


def judge(krylov: Krylov, start: int, steps: int, limits: Limits, spread: tuple[float, float]) -> Search:
    """What the search found with the vectors multiplied since `start`, the last `steps` of them a chain.

    `spread` are the extreme Ritz values of the whole operator, which those of the deflated one cannot exceed.
    """
    stop = krylov.multiplied
    chain = krylov.coefficients[start:stop, start:stop]
    values, weights = torch.linalg.eigh((chain + chain.T) / 2)
    ends = weights[:, [0, -1]]
    couplings = (krylov.coefficients[stop : krylov.count, start:stop] @ ends).norm(dim=0).tolist()
    lowest, largest = float(values[0]), float(values[-1])
    if largest > limits.upper + limits.slack or lowest < limits.lower - limits.slack:
        return Search.FOUND
    size = krylov.operator.size
    floor = max(limits.lower - limits.slack, spread[0])
    ceiling = min(limits.upper + limits.slack, spread[1])
    sides = []
    if math.isfinite(limits.upper):
        sides.append((couplings[1], escape_probability(steps, largest, limits.upper + limits.slack, floor, size)))
    if math.isfinite(limits.lower):
        sides.append((couplings[0], escape_probability(steps, -lowest, limits.slack - limits.lower, -ceiling, size)))
    clear = all(coupling <= limits.slack or escape <= _ESCAPE for coupling, escape in sides)
    return Search.CLEAR if clear or krylov.pool == 0 else Search.UNSURE
