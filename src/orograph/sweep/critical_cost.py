"""What it will cost to reach the critical points of a sweep: which are trained, polished or followed, in how many products."""

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

# Products grow as the square root of the condition number, as 1/√λ. Seen on perceptrons 64-64, float32, τ = 1e-5, around the
# origin: 677 to polish at λ = 0.01 (mnist-5k), 3,975 at 2e-4 (6,000 of MNIST), that is 68 and 56 times 1/√λ. To follow takes as
# many where the branch ends on the way, which a longer step meets more often: with steps of r = |Δ ln λ| of 0.54 (mnist-5k), 0.4,
# 0.13, 0.067, 0.036, 0.024, 0.016, 0.011, 0.008, 0.006 and 0.003 (449 steps up to 0.09) 51, 70 and 24, and on average 51, 64, 55,
# 36, 18, 12, 15, 10, 6 and 0.6 times 1/√λ. That is 1000 r, at most 60; there r and λ went together, and were not told apart.
# Around a trained network: 147 to polish at 2e-4 (2.1 times), 1,121 for 499 steps up to 0.1 (11 for the first, then 5 to 2).
# Digits, around the origin: 30 times 1/√λ to polish at 1e-3, then 69 and 95 to follow with steps of 0.68, both times to where the
# branch ended: half and one and a half times what is said here.
_POLISHED, _STEPPED = 60.0, 1000.0
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


NO_WAYS = Ways(0, 0, 0.0)


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
            products += _products(settings, cell.strength, near.strength if follows and near is not None else None)
        before = cell
    share = 1.0 if points is None else points / len(planned)
    return Ways(round(share * trained), round(share * critical), share * products)


def _products(settings: SweepSettings, strength: float, before: float | None) -> float:
    """Of one point: to polish it, or to follow a branch from the strength before."""
    most = settings.training.polish_products
    if not strength:  # a minimum may lie at infinity
        return most
    near, scale = settings.anchor.anchor.partition(":")[0] not in ("origin", "initial"), math.sqrt(strength)
    if near:
        least, rate = (0.0, _POLISHED_NEAR) if before is None else _FOLLOWED_NEAR
        return min(most, least + rate / scale)
    way = abs(math.log(strength / before)) if before else math.inf
    return min(most, 2 + min(_POLISHED, _STEPPED * way) / scale)


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
