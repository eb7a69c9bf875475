"""How far the loss rises by the step that sharpness-aware minimisation takes before its gradient (Foret et al., 2021).

SAM minimises L(θ + ρ∇L/‖∇L‖), its guess of max_{‖u‖≤ρ} L(θ + u) out of one gradient. What that rises above L(θ) is, to second
order, ρ‖∇L‖ + ½ρ² ∇LᵀH∇L/‖∇L‖². At a minimum the first term is small, and the second is the curvature along the last gradient.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from orograph.arguments import checked
from orograph.brief import brief
from orograph.curvature.hessian import HessianOperator
from orograph.curvature.operator import LinearOperator
from orograph.errors import ConfigurationError
from orograph.geometry.evaluation import losses_at, told
from orograph.geometry.finite_radius import rounding
from orograph.geometry.smoothness import is_smooth
from orograph.objective import Objective


@brief
@dataclass(frozen=True)
class SamSharpness:
    """The rise of the loss by one ascent step.

    Attributes:
        radius: ρ.
        rise: L(θ + ρ∇L/‖∇L‖) − L(θ).
        error: of rounding, one standard error.
        first_order: ρ‖∇L‖.
        second_order: ½ρ² ∇LᵀH∇L/‖∇L‖²; without the kinks of a loss that is not C².
        gradient_norm: ‖∇L‖.
        curvature: ∇LᵀH∇L/‖∇L‖².
        smooth: whether the loss is C² in θ.
    """

    radius: float
    rise: float
    error: float
    first_order: float
    second_order: float
    gradient_norm: float
    curvature: float
    smooth: bool

    @property
    def predicted(self) -> float:
        """What the rise is to second order."""
        return self.first_order + self.second_order


@checked
def sam_sharpness(
    objective: Objective,
    theta: Float[Tensor, " P"],
    *,
    radius: float = 0.05,
    seed: int = 0,
    hessian: LinearOperator | None = None,
) -> SamSharpness:
    """L(θ + ρ∇L/‖∇L‖) − L(θ), and what gradient and Hessian predict of it.

    Costs a gradient, a Hessian product and 18 evaluations of L. The gradient is that of all data, where SAM takes one of a
    mini-batch; and one step is no maximum: `worst_case` looks for the largest rise within a radius.

    Args:
        objective: loss and data; its penalty plays no part.
        theta: `(P,)`, where.
        radius: ρ, absolute; 0.05 is that of Foret et al. (2021).
        seed: of the rounding that is drawn.
        hessian: of L at θ, where it has been made.

    Returns:
        The rise with its rounding, and both terms of the prediction, in the loss's unit.

    Raises:
        ConfigurationError: ρ is not positive, or the gradient is zero or not finite.
        DataError: the loss is NaN.

    Examples:
        >>> import torch, orograph as og
        >>> objective = og.Objective(torch.nn.Linear(2, 1, bias=False), torch.nn.MSELoss(), [(torch.eye(2), torch.zeros(2, 1))])
        >>> found = og.sam_sharpness(objective, torch.tensor([3.0, 4.0]), radius=0.5)
        >>> round(found.rise, 5), round(found.first_order, 5), round(found.second_order, 5)  # L = ½‖θ‖²
        (2.625, 2.5, 0.125)
    """
    if not 0 < radius < float("inf"):
        raise ConfigurationError(f"`radius` {radius} must be positive and finite.")
    plain = objective.penalised(0.0)
    gradient = plain.gradient(theta).double()
    norm = torch.linalg.vector_norm(gradient).item()
    if not norm < float("inf"):
        raise ConfigurationError(f"the gradient has the norm {norm:g}; look for NaN in the parameters, the data or the loss.")
    if not norm:
        raise ConfigurationError(
            f"the gradient has the norm {norm:g}, and no direction to step into; `worst_case` looks around a critical point."
        )
    unit = (gradient / norm).to(theta)
    here, there = told(losses_at(plain, torch.stack([theta, theta + radius * unit]))).tolist()
    operator = HessianOperator.of(plain.moved(theta)) if hessian is None else hessian
    curvature = torch.dot(unit.double(), (operator @ unit).double()).item()
    return SamSharpness(
        radius,
        there - here,
        2**0.5 * rounding(plain, theta, seed),
        radius * norm,
        radius**2 * curvature / 2,
        norm,
        curvature,
        is_smooth(plain),
    )
