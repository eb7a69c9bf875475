"""From a critical point of L_eff at one λ to that of the same branch at another: predicted, then corrected.

On a branch dθ/dλ = −(H + 2λI)⁻¹ 2(θ − θ_ref). The prediction is the whole step of Newton's method at the new λ,

    θ − (H + 2λI)⁻¹ ∇L_eff(θ; λ),

which agrees with θ + (dθ/dλ)Δλ to first order and is exact where L is quadratic: one solve by conjugate gradients. The corrector
is Newton's method, judged by the gradient alone and solved as exactly as the last step was linear (Eisenstat & Walker 1996),
with the preconditioner that the prediction left. Where the prediction meets negative curvature or does not lower the gradient, or
where the corrector does not contract or goes further than a share of the prediction, the step in λ is halved (Allgower & Georg,
"Numerical continuation methods", 1990).

So it is where a prediction is longer than half of θ − θ_ref, which may pass the end of a branch, and where L_eff tells that
both ends lie on different branches: on one of minima dL_eff/dλ = q = ‖θ − θ_ref‖², which falls as λ grows, so that

    q_new Δλ ≤ L_eff,new − L_eff,old ≤ q_old Δλ.

It takes the loss at the end of each step, which for a way of one step is that of the point and needed anyway.

Where even a small step fails, the branch ends or is not to be told from others. Then the trust-region method of `polishing`,
which has learnt of the curvature by now, descends at the new λ from the last point on the branch to the next critical point.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from orograph.arguments import checked
from orograph.brief import brief
from orograph.curvature.counting import OnProduct, counter
from orograph.errors import ConfigurationError
from orograph.objective import Objective
from orograph.training.ends import End, one_branch
from orograph.training.polishing import MovableHessian, Newton, Polished

_SOLVED = 0.05  # residual of a prediction, relative to the gradient
_FORCING = 0.25  # largest residual of a correction, likewise
_ENOUGH = 0.5  # of the tolerance: no correction is solved further
_BETWEEN = 0.01  # of the gradient where a step begins: as far as points on the way are corrected
_LOWERED = 0.5  # share of the gradient that a prediction or a correction may leave
_SHORT = 0.35  # of the prediction: a corrector that goes as far may end on another branch
_LONG = 0.5  # of θ − θ_ref: no prediction is longer
_STILL = 100  # times the target: a smaller gradient is what the tolerance left, and its prediction may have any length
_INSIDE = 0.999  # of a length: what rounding tells from the whole of it
_ROUNDED = 100  # units in the last place of θ: a correction that is no longer cannot be made better
_HALVINGS = 6  # of the whole step, or of λ where that is less, before the branch is given up


@brief
@dataclass(frozen=True)
class Advanced:
    """Where a way along a branch ended.

    Attributes:
        theta: `(P,)`, the last point on the branch.
        strength: λ there.
        beyond: the λ that the last step did not reach; NaN where the objective's was reached.
        kept: whether that is the objective's λ.
        parts: into how many steps the way was divided.
        predicted: length of all predictions.
        corrected: length of all corrections.
        angle: between the first prediction and the way from the beginning to the end, in degrees; NaN where nothing moved.
        curvature: of L_eff along the last prediction, pᵀ(H + 2λI)p / ‖p‖²: λ_min is no larger, and it is 0 at a fold.
        products: Hessian-vector products spent on the branch.
        polished: the end as `polish` tells of it, from the beginning of the way on: `theta`, or where the branch was lost what
            lies below it at the objective's λ. Its products are all that were spent.
    """

    theta: Float[Tensor, " P"]
    strength: float
    beyond: float
    kept: bool
    parts: int
    predicted: float
    corrected: float
    angle: float
    curvature: float
    products: int
    polished: Polished


@checked
def advance(
    objective: Objective,
    theta: Float[Tensor, " P"],
    strength: float,
    *,
    hessian: MovableHessian,
    tolerance: float,
    max_products: int,
    on_product: OnProduct | None = None,
) -> Advanced:
    """Moves a critical point along its branch to the objective's λ.

    Args:
        objective: L with its data, θ_ref and the λ where it is to end.
        theta: `(P,)`, a critical point at another λ.
        strength: that λ.
        hessian: of L alone, at any θ.
        tolerance: τ of ‖∇L_eff‖ ≤ τ·max(1, 2λ‖θ − θ_ref‖) at the end.
        max_products: Hessian-vector products to spend at most.
        on_product: called with "continuing" and the products so far; see `orograph.curvature.counting`.

    Returns:
        The critical point there, or how far the branch could be followed and where the descent from its end led.

    Raises:
        ConfigurationError: the tolerance or the number of products is not positive.

    Examples:
        >>> import torch, orograph as og
        >>> problem = torch.nn.Linear(4, 2), torch.nn.CrossEntropyLoss(), [(torch.eye(4), torch.arange(4) % 2)]
        >>> objective = og.Objective(*problem, strength=0.01, dtype=torch.float64)
        >>> given = {"hessian": og.HessianOperator(*problem, dtype=torch.float64), "tolerance": 1e-8, "max_products": 200}
        >>> start = og.polish(objective, objective.theta, **given).theta
        >>> og.training.advance(objective.penalised(0.02, objective.anchor), start, 0.01, **given).kept
        True
    """
    if not tolerance > 0 or max_products < 1:
        raise ConfigurationError(f"`tolerance` {tolerance} and `max_products` {max_products} must be positive.")
    told = counter(on_product, "continuing")
    newton = Newton(objective, hessian, tolerance, max_products)
    goal, here, at = objective.strength, theta.detach(), strength
    value, norm, before = newton.value(here), math.nan, math.nan
    step, parts, predicted, corrected, steady, kept = goal - at, 0, 0.0, 0.0, True, False
    tangent, curvature, beyond = torch.zeros_like(here), math.nan, math.nan
    q = _offset(newton, here) ** 2
    end = End(value + (strength - goal) * q, q, math.nan)
    while not kept:
        last = abs(step) >= _INSIDE * abs(goal - at)
        to = goal if last else at + step
        newton.turn_to(to, tolerance)
        gradient = newton.move(here)
        norm = _norm(gradient)
        if math.isnan(before):
            before = norm
            end = replace(end, residual=max(_norm(gradient - 2 * (to - at) * newton.objective.offset(here)), newton.target(here)))
        still = norm <= _STILL * newton.target(here)
        if not last:
            newton.turn_to(to, max(tolerance, _BETWEEN * norm))
        found = _stepped(newton, here, gradient, told, still)
        curvature = found.curvature
        if not tangent.any():
            tangent = found.prediction
        new = None if found.theta is None else _reached(newton, found.theta, found.norm)
        if found.theta is None or new is None or not one_branch(end, new, to - at, _norm(found.theta - here)):
            step, steady, beyond = step / 2, False, to
            if abs(step) <= min(abs(goal - strength), at or math.inf) / 2**_HALVINGS or newton.products >= max_products:
                break
            continue
        here, at, end, norm, kept = found.theta, to, new, found.norm, last
        step, steady = step * (2 if steady else 1), True
        parts, predicted, corrected = parts + 1, predicted + _norm(found.prediction), corrected + found.corrected
    there, spent, level = here, newton.products, end.level
    if not kept:
        newton.turn_to(goal, tolerance)
        fallen = newton.run(here, told)
        there, norm, level = fallen.theta, fallen.gradient_norm, newton.value(fallen.theta)
    polished = newton.outcome(theta, there, change=level - value, before=before, norm=norm)
    angle = _angle(tangent, there - theta)
    return Advanced(here, at, math.nan if kept else beyond, kept, parts, predicted, corrected, angle, curvature, spent, polished)


def _reached(newton: Newton, theta: Tensor, norm: float) -> End:
    return End(newton.value(theta), _offset(newton, theta) ** 2, max(norm, newton.target(theta)))


@dataclass(frozen=True)
class _Step:
    """A step in λ: its prediction, the curvature along it, the corrected point (None where it is not to be trusted), the norm of
    the gradient there and the length of the corrections.
    """

    prediction: Tensor
    curvature: float
    theta: Tensor | None = None
    norm: float = math.nan
    corrected: float = 0.0


def _stepped(newton: Newton, here: Tensor, gradient: Tensor, told: Callable[[int], Any], still: bool) -> _Step:
    """From a point to Newton's λ, the Hessian standing there; a still one may move by any length."""
    norm, radius = _norm(gradient), max(1.0, _norm(here))
    if norm == 0:
        return _Step(torch.zeros_like(here), math.nan, here, norm)
    trial = newton.solve(gradient, radius, _SOLVED)
    told(newton.products)
    lost = _Step(trial.step, trial.curvature)
    length = _norm(trial.step)
    if not length < _INSIDE * radius:  # negative curvature ends there too
        return lost
    if not still and length > _LONG * max(_offset(newton, here), _offset(newton, here + trial.step)):
        return lost
    start = theta = here + trial.step
    gradient = newton.move(theta)
    left = _norm(gradient)
    if not left <= max(_LOWERED * norm, newton.target(theta)):
        return lost
    bent, norm = abs(left - trial.residual) / norm, left  # what the model did not foresee
    reach, aside = _SHORT * length, 0.0
    while norm > (target := newton.target(theta)) and newton.products < newton.max_products:
        trial = newton.solve(gradient, reach, min(_FORCING, max(bent, _ENOUGH * target / norm)))
        told(newton.products)
        moved = theta + trial.step
        if not max(_norm(trial.step), _norm(moved - start)) < _INSIDE * reach:
            return lost
        gradient = newton.move(moved)
        left = _norm(gradient)
        if left > max(_LOWERED * norm, newton.target(moved)):
            if _norm(trial.step) > _ROUNDED * newton.rounding * _norm(moved):
                return lost
            break
        newton.steps += 1
        theta, aside, bent, norm = moved, _norm(moved - start), abs(left - trial.residual) / norm, left
    return _Step(lost.prediction, lost.curvature, theta, norm, aside)


def _angle(one: Tensor, other: Tensor) -> float:
    """Between two directions, in degrees; NaN where one is none."""
    one, other = one.double(), other.double()
    size = (one.norm() * other.norm()).item()
    return math.degrees(math.acos(max(-1.0, min(1.0, torch.dot(one, other).item() / size)))) if size > 0 else math.nan


def _offset(newton: Newton, theta: Tensor) -> float:
    return _norm(newton.exact.offset(theta.double()))


def _norm(vector: Tensor) -> float:
    return vector.double().norm().item()
