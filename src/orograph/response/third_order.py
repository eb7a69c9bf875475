"""How curvature changes as θ moves: the gradient of vᵀHv, third derivatives of the loss along pairs of the spectrum.

For a simple eigenvalue dλ_i = ∇³L[v_i, v_i, dθ] (Hellmann 1937; Feynman 1939), so that ∇(v_iᵀHv_i) at fixed v_i is the
gradient of the eigenvalue itself. Along gradient flow the sharpness S = λ_1 changes at the rate −∇S·∇L: *progressive
sharpening*. At the edge of stability, S = 2/η, it is held there by oscillations along v_1 of mean square σ² with

    −∇S·∇L = ½ σ² ‖∇S‖²

to leading order in the flow (Damian, Nichani & Lee, arXiv 2209.15594; Cohen et al., arXiv 2410.24206), and the flow that the
mean follows is −∇L − ½σ²∇S, which is tangent to S = 2/η.

What it is not: the change of a pair inside a cluster, whose single vectors are arbitrary; only the sum over the cluster is.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from orograph.arguments import checked
from orograph.boundary import explained
from orograph.brief import brief
from orograph.calling import differentiable
from orograph.objective import Objective
from orograph.spectral.spectrum import Spectrum

_TAPES = 8  # a third derivative keeps what four gradients do twice over


@brief
@dataclass(frozen=True, eq=False)
class Sharpening:
    """How the k largest eigenvalues answer to the flow.

    Attributes:
        gradients: `(k, P)`, ∇λ_i of the plain loss.
        rates: `(k,)` float64, −∇λ_i·∇L: the change of λ_i in a unit of time of gradient flow.
        norms: `(k,)` float64, ‖∇λ_i‖.
        oscillation: σ², the mean square of oscillations along v_1 that holds the sharpness constant, 2·rate/‖∇S‖²; 0 where the
            flow lowers it by itself.
        clusters: `(start, stop)` of pairs whose single rates mean nothing, but their sum.
    """

    gradients: Float[Tensor, "k P"]
    rates: Float64[Tensor, " k"]
    norms: Float64[Tensor, " k"]
    oscillation: float
    clusters: Sequence[tuple[int, int]]


@checked
@differentiable()
def curvature_gradients(
    objective: Objective, theta: Float[Tensor, " P"], directions: Float[Tensor, "k P"]
) -> Float[Tensor, "k P"]:
    """∇_θ(vᵀH(θ)v) for fixed v, exactly, by three passes of reverse mode over all data.

    Costs about as much as three products of the Hessian for each direction, and keeps some eight times what a gradient does.

    Args:
        objective: loss and data.
        theta: `(P,)`, where.
        directions: `(k, P)`, one v a row, of any length.

    Returns:
        The third derivative of L along v, v and each entry of θ, `(k, P)` in the dtype of θ; zero of a quadratic.

    Raises:
        ConfigurationError: the module or the loss cannot be differentiated three times.

    Examples:
        >>> import torch, orograph as og
        >>> objective = og.Objective(torch.nn.Linear(2, 1), torch.nn.MSELoss(), [(torch.eye(2), torch.ones(2, 1))])
        >>> og.curvature_gradients(objective, objective.theta, torch.eye(3)[:1]).tolist()  # of a quadratic
        [[0.0, 0.0, 0.0]]
    """
    total = torch.zeros(len(directions), len(theta), dtype=torch.float64, device=theta.device)
    with explained(objective.model, "the third derivative cannot be computed"):
        for batch in objective.batches(max(1, objective.chunk // _TAPES)):
            point = theta.detach().requires_grad_()
            gradient = _slope(objective.summed(point, *batch), point)
            for row, direction in zip(total, directions.to(theta), strict=True):
                curvature = _slope(gradient @ direction, point) @ direction
                row += _slope(curvature, point, further=False)
    return (total / objective.count).to(theta)


@checked
def sharpening(objective: Objective, theta: Float[Tensor, " P"], spectrum: Spectrum) -> Sharpening:
    """The rates at which the largest eigenvalues change along gradient flow, and the oscillation that would hold the largest.

    Args:
        objective: loss and data whose Hessian the spectrum is of, without penalty.
        theta: `(P,)`, where.
        spectrum: its largest pairs.

    Returns:
        Gradients of the eigenvalues `(k, P)`, rates `(k,)` in the square of an eigenvalue's unit, and σ².

    Raises:
        ConfigurationError: the module or the loss cannot be differentiated three times.

    Examples:
        >>> import torch, orograph as og
        >>> objective = og.Objective(torch.nn.Linear(2, 1), torch.nn.MSELoss(), [(torch.eye(2), torch.ones(2, 1))])
        >>> spectrum = og.lanczos(og.HessianOperator.of(objective), k=1)
        >>> og.sharpening(objective, objective.theta, spectrum).rates.tolist()  # a quadratic is as sharp everywhere
        [0.0]
    """
    gradients = curvature_gradients(objective, theta, spectrum.eigenvectors.to(theta))
    wide, flow = gradients.double(), -objective.gradient(theta).double()
    rates, norms = (wide @ flow).cpu() + 0.0, wide.norm(dim=1).cpu()
    square = norms[0].item() ** 2
    oscillation = max(0.0, 2 * rates[0].item() / square) if square > 0 else 0.0
    return Sharpening(gradients, rates, norms, oscillation, spectrum.clusters)


def _slope(value: Float[Tensor, ""], point: Float[Tensor, " P"], *, further: bool = True) -> Float[Tensor, " P"]:
    """∇value, to be differentiated further or not; zero where it does not depend on the point."""
    if not value.requires_grad:
        return torch.zeros_like(point)
    return torch.autograd.grad(value, point, create_graph=further, retain_graph=True, materialize_grads=True)[0]
