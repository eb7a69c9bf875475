"""How high L_eff rises between the two branches of a loop: along the straight line, and along paths trained to lie low.

Every path rises at least as high as the true barrier, so the lowest is reported, and the straight one beside it. A path's own
height is the highest of the positions looked at, and what it does between them is not known: an estimate, no bound.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from orograph.arguments import checked
from orograph.brief import brief
from orograph.connectivity.band import nudged_elastic_band
from orograph.connectivity.barriers import curve_profile
from orograph.connectivity.curves import Curve, bezier, line
from orograph.connectivity.paths import train_curve
from orograph.objective import Objective

_POSITIONS = 41  # at which L_eff is looked at along a path
_CYCLES, _PIVOTS = 4, 5  # of the elastic band


@brief
@dataclass(frozen=True)
class BranchBarrier:
    """Barriers of L_eff between two states: the largest excess over the straight interpolation of the ends.

    Attributes:
        linear: along the straight line.
        bezier: along a trained Bézier curve; NaN where none was trained.
        band: along an elastic band; NaN where none was trained.
        distance: ‖θ_up − θ_down‖.
    """

    linear: float
    bezier: float
    band: float
    distance: float

    @property
    def best(self) -> float:
        """Of the lowest path."""
        return min(value for value in (self.linear, self.bezier, self.band) if not math.isnan(value))


@checked
def branch_barrier(
    objective: Objective, first: Float[Tensor, " P"], second: Float[Tensor, " P"], *, steps: int, seed: int
) -> BranchBarrier:
    """The barrier of L_eff, at the objective's own strength.

    Args:
        objective: on the training set, at the strength meant.
        first: a state, `(P,)`.
        second: the other, `(P,)`.
        steps: mini-batch gradients for each trained path; 0 takes the straight line only.
        seed: of batches and positions.

    Returns:
        Barriers in the unit of the loss, and the distance of the two states.
    """

    def height(curve: Curve) -> float:
        return curve_profile(objective, curve, points=_POSITIONS).barriers.objective

    distance = torch.linalg.vector_norm((first - second).double()).item()
    straight = height(line(first, second))
    if not steps:
        return BranchBarrier(straight, math.nan, math.nan, distance)
    bent = train_curve(objective, bezier(first, second, bends=2), steps=steps, seed=seed).curve
    each = max(1, steps // (_CYCLES * (_PIVOTS + 2)))
    band = nudged_elastic_band(objective, first, second, pivots=_PIVOTS, cycles=_CYCLES, steps=each, seed=seed).curve
    return BranchBarrier(straight, height(bent), height(band), distance)
