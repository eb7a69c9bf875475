"""From a critical point of L_eff at one λ to that of the same branch at another: predicted, then corrected.

On a branch dθ/dλ = −(H + 2λI)⁻¹ 2(θ − θ_ref). The prediction is the whole step of Newton's method at the new λ,

    θ − (H + 2λI)⁻¹ ∇L_eff(θ; λ),

which agrees with θ + (dθ/dλ)Δλ to first order and is exact where L is quadratic: one solve by conjugate gradients. The corrector
is the Newton method of `polishing`, with the preconditioner that the prediction left. Where the prediction meets negative
curvature, does not lower the gradient, or is corrected by more than a share of its length, the step in λ is halved (Allgower &
Georg, "Numerical continuation methods", 1990); where even a small step fails, the branch ends or is not to be told from others.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from jaxtyping import Float
from torch import Tensor

from orograph.arguments import checked
from orograph.curvature.counting import OnProduct, counter
from orograph.errors import ConfigurationError
from orograph.objective import Objective
from orograph.training.polishing import MovableHessian, Newton, Polished

_SOLVED = 0.05  # residual of a prediction, relative to the gradient
_BETWEEN = 0.01  # of the gradient where a step begins: as far as points on the way are corrected
_LOWERED = 0.5  # share of the gradient that a prediction may leave
_SHORT = 0.35  # of the prediction: a corrector that goes as far may end on another branch
_INSIDE = 0.999  # of a length: what rounding tells from the whole of it
_HALVINGS = 6  # of the whole step, before the branch is given up


@dataclass(frozen=True)
class Advanced:
    """Where a way along a branch ended.

    Attributes:
        theta: `(P,)`, the last point on the branch.
        strength: λ there.
        kept: whether that is the objective's λ.
        parts: into how many steps the way was divided.
        predicted: length of all predictions.
        corrected: length of all corrections.
        products: Hessian-vector products spent.
        polished: the end as `polish` tells of it, from the beginning of the way on; None where the branch was lost.
    """

    theta: Float[Tensor, " P"]
    strength: float
    kept: bool
    parts: int
    predicted: float
    corrected: float
    products: int
    polished: Polished | None


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
        The critical point there, or how far the branch could be followed.

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
    value, first = newton.value(here), math.nan
    step, parts, predicted, corrected = goal - at, 0, 0.0, 0.0
    end: Polished | None = None
    while end is None or at != goal:
        last = abs(step) >= _INSIDE * abs(goal - at)
        to = goal if last else at + step
        newton.turn_to(to, tolerance)
        gradient = newton.move(here)
        norm = _norm(gradient)
        first = norm if math.isnan(first) else first
        if not last:
            newton.turn_to(to, max(tolerance, _BETWEEN * norm))
        found = _stepped(newton, here, gradient, told)
        if found is None or not (last or found[0].converged):
            step /= 2
            if abs(step) <= abs(goal - strength) / 2**_HALVINGS or newton.products >= max_products:
                break
            continue
        end, length, aside = found
        here, at, step = end.theta, to, 2 * step
        parts, predicted, corrected = parts + 1, predicted + length, corrected + aside
    if end is not None:
        end = replace(
            end,
            products=newton.products,
            evaluations=newton.evaluations,
            distance=_norm(here - theta),
            objective_change=newton.value(here) - value,
            gradient_norm_before=first,
        )
    kept = at == goal and end is not None
    return Advanced(here, at, kept, parts, predicted, corrected, newton.products, end if kept else None)


def _stepped(newton: Newton, here: Tensor, gradient: Tensor, told: Callable[[int], Any]) -> tuple[Polished, float, float] | None:
    """The critical point at Newton's λ, predicted and corrected; None where that is not to be trusted."""
    norm, radius = _norm(gradient), max(1.0, _norm(here))
    if norm == 0:
        return newton.run(here, told, gradient=gradient), 0.0, 0.0
    trial = newton.solve(gradient, radius, _SOLVED)
    told(newton.products)
    length = _norm(trial.step)
    if not length < _INSIDE * radius:  # negative curvature ends there too
        return None
    there = here + trial.step
    after = newton.move(there)
    if not _norm(after) <= max(_LOWERED * norm, newton.target(there)):
        return None
    reach = _SHORT * length
    end = newton.run(there, told, gradient=after, reach=reach)
    if end.distance > _INSIDE * reach:
        return None
    return end, length, end.distance


def _norm(vector: Tensor) -> float:
    return vector.double().norm().item()
