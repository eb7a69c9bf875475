"""What it will cost to reach the critical points of a sweep: which points are trained, polished, followed, in how many products."""

import math
from dataclasses import dataclass

import torch

from orograph.curvature.hessian import HessianOperator
from orograph.objective import Objective
from orograph.store.cells import Cell
from orograph.sweep.plan import cells
from orograph.sweep.settings import SweepSettings
from orograph.training.polishing import Newton
from orograph.work.timing import seconds_of

# Products grow as the square root of the condition number, as 1/√λ. Seen on perceptrons 64-64, float32, τ = 1e-5:
# around the origin, 677 to polish at λ = 0.01 (mnist-5k) and 3,975 at 2e-4 (6,000 of MNIST): 68 and 56 times 1/√λ. A ladder of 450
# strengths up to 0.09 took 46,730 to follow, 15.6 times Σ 1/√λ: 55 where branches end, 8 where they go on, 0.5 beyond the last.
# Around a trained network, 147 to polish at 2e-4 (2.1 times), 1,121 for the 499 strengths that follow up to 0.1 (2 and a bit each).
_POLISHED, _FOLLOWED = 60.0, 15.6
_POLISHED_NEAR, _FOLLOWED_NEAR = 2.1, (2.0, 0.06)
_REMEMBERED = 64  # directions of the preconditioner when it is timed: as many as it keeps
_LOOKS = 4  # losses and gradients of a point, besides products: its beginning, a prediction, one or two corrections


@dataclass(frozen=True)
class Ways:
    """How the points of a sweep are reached.

    Attributes:
        trained: how many are trained.
        critical: how many are polished or followed.
        products: of all of these together, about.
    """

    trained: int
    critical: int
    products: float

    @property
    def each(self) -> int:
        """Products of one that is polished or followed."""
        return round(self.products / self.critical) if self.critical else 0


def ways(settings: SweepSettings, points: int | None = None) -> Ways:
    """How points are reached: as the schedule decides, if nothing fails.

    Args:
        settings: of the sweep.
        points: how many of its points are to be made, taken to be like all; None for all.
    """
    planned, trained, critical, products = cells(settings), 0, 0, 0.0
    before: Cell | None = None
    for cell in planned:
        near = before if before is not None and before.seed == cell.seed else None
        asked = settings.critical_at(cell.strength)
        follows = settings.follows and asked and near is not None and settings.critical_at(near.strength)
        trained += not follows
        if asked:
            critical += 1
            products += _products(settings, cell.strength, follows=follows)
        before = cell
    share = 1.0 if points is None else points / len(planned)
    return Ways(round(share * trained), round(share * critical), share * products)


def _products(settings: SweepSettings, strength: float, *, follows: bool) -> float:
    most = settings.training.polish_products
    if not strength:  # a minimum may lie at infinity
        return most
    near = settings.anchor.anchor.partition(":")[0] not in ("origin", "initial")
    if follows:
        least, rate = _FOLLOWED_NEAR if near else (0.0, _FOLLOWED)
    else:
        least, rate = 0.0, _POLISHED_NEAR if near else _POLISHED
    return min(most, least + rate / math.sqrt(strength))


def time_ways(found: Ways, objective: Objective, hessian: HessianOperator, product: float) -> float:
    """Seconds to reach all critical points: products, each with its preconditioner, and what is looked at besides."""
    if not found.critical:
        return 0.0
    newton, vector = Newton(objective, hessian, 1.0, 1), torch.randn_like(objective.theta)
    for _ in range(_REMEMBERED):
        direction = torch.randn_like(vector)
        newton.preconditioner.add(direction, direction)
    precondition = newton.preconditioner.frozen()
    beside = seconds_of(lambda: precondition(vector))
    look = seconds_of(lambda: (newton.value(objective.theta), newton.move(objective.theta)))
    return found.products * (product + beside) + found.critical * _LOOKS * look
