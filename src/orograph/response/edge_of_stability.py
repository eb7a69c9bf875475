"""What the central flow foresees of a training by gradient descent: how fast it sharpens, and how it oscillates at the edge.

Let S be λ_max of what is minimised, u its eigenvector, and ⊥ mean without the part along u, which oscillates. Below the edge of
stability the mean of the iterates follows gradient flow, along which S changes at the rate −∇S⊥·∇L⊥; at the edge S stays, held
by oscillations along u of the mean square

    σ² = 2 max(0, −∇S⊥·∇L⊥) / ‖∇S⊥‖²

(Damian, Nichani & Lee, arXiv 2209.15594: 2α/β; the central flow −∇L − ½σ²∇S of Cohen et al., arXiv 2410.24206). What is seen of
them at one moment is x² = (u·∇L/S)², the square of the distance along u from the middle of the valley.

What it is not: a flow that is integrated. It is what one state says of the steps that follow it, to leading order, for one
eigenvalue at the edge; of several at once, or of Adam's preconditioned flow, it says nothing.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from orograph.arguments import checked
from orograph.brief import brief
from orograph.errors import ConfigurationError
from orograph.objective import Objective
from orograph.response.third_order import curvature_gradients


@brief
@dataclass(frozen=True)
class CentralFlow:
    """What one state says of the steps that follow it.

    Attributes:
        rate: of S, in a unit of time of gradient flow: a step of gradient descent takes its learning rate, one with momentum β
            lr/(1 − β).
        oscillation: σ², the mean square of oscillations that would hold S; 0 where the flow does not sharpen.
        seen: x², that of this moment.
    """

    rate: float
    oscillation: float
    seen: float


@checked
def central_flow(
    objective: Objective, theta: Float[Tensor, " P"], sharpness: float, direction: Float[Tensor, " P"], *, decay: float = 0.0
) -> CentralFlow:
    """How fast gradient descent sharpens from here, and how it would oscillate at the edge of stability.

    Costs a gradient and about three products of the Hessian.

    Args:
        objective: L and its data, with its penalty.
        theta: `(P,)`, where.
        sharpness: S, the largest eigenvalue of the Hessian of what is minimised, weight decay included.
        direction: u, `(P,)`, its eigenvector.
        decay: w of a weight decay that adds to the gradient, as SGD's.

    Returns:
        Rate, σ² and x².

    Raises:
        ConfigurationError: a direction of length 0 or with NaN; or the module or the loss cannot be differentiated three times.

    Examples:
        >>> import torch, orograph as og
        >>> objective = og.Objective(torch.nn.Linear(2, 1), torch.nn.MSELoss(), [(torch.eye(2), torch.ones(2, 1))])
        >>> found = og.lanczos(og.HessianOperator.of(objective), k=1)
        >>> og.response.central_flow(objective, objective.theta, found.eigenvalues[0].item(), found.eigenvectors[0]).rate
        0.0
    """
    length = torch.linalg.vector_norm(direction.double()).item()
    if not 0 < length < float("inf"):
        raise ConfigurationError(f"`direction` has the length {length:g}; give the eigenvector of λ_max, of finite numbers.")
    along = direction.double() / length
    slope = objective.value_gradient(theta).double() + decay * theta.double()
    rise = curvature_gradients(objective, theta, direction[None])[0].double() / length**2
    displaced = torch.dot(along, slope).item()
    slope, rise = (each - torch.dot(along, each) * along for each in (slope, rise))
    rate, square = -torch.dot(rise, slope).item() + 0.0, torch.dot(rise, rise).item()
    oscillation = max(0.0, 2 * rate / square) if square > 0 else 0.0
    return CentralFlow(rate, oscillation, (displaced / sharpness) ** 2 if sharpness > 0 else float("nan"))
