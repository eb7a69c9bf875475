"""Companions of sharpness that do not change when a ReLU network is rescaled layer by layer, or change less.

Plain eigenvalues can be made large or small without changing the function (Dinh et al., 2017). ‖θ‖²λ_max and ‖θ‖² tr H are
free of the overall scale; relative flatness (Petzka et al., 2021) of a layer and the Fisher–Rao norm (Liang et al., 2019) are
invariant to layer-wise rescaling.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from orograph.arguments import checked
from orograph.brief import brief
from orograph.curvature.counting import OnProduct, renamed
from orograph.curvature.operator import FunctionOperator, LinearOperator
from orograph.errors import ConfigurationError, unknown
from orograph.geometry.directional import sample_slopes
from orograph.objective import Objective
from orograph.parameters import Layout
from orograph.spectral.intervals import Estimate
from orograph.spectral.traces import trace as estimated_trace


@brief
@dataclass(frozen=True)
class ScaledSharpness:
    """Eigenvalue and trace in units of ‖θ‖⁻².

    Attributes:
        squared_norm: ‖θ‖².
        scaled_largest: ‖θ‖²λ_max.
        scaled_trace: ‖θ‖² tr H.
    """

    squared_norm: float
    scaled_largest: float
    scaled_trace: Estimate


@checked
def scaled_sharpness(
    theta: Float[Tensor, " P"], *, largest: float, trace: float, trace_error: float = math.nan, degrees: float = math.inf
) -> ScaledSharpness:
    """λ_max and tr H, with its standard error, times ‖θ‖².

    Free of the overall scale of θ, where plain eigenvalues are not (Dinh et al., 2017).

    Args:
        theta: `(P,)`.
        largest: λ_max.
        trace: tr H.
        trace_error: its standard error.
        degrees: degrees of freedom of that error.

    Returns:
        ‖θ‖², ‖θ‖²λ_max and ‖θ‖² tr H, in the unit of the loss.

    Examples:
        >>> import torch, orograph as og
        >>> og.scaled_sharpness(torch.tensor([3.0, 4.0]), largest=2.0, trace=5.0).scaled_largest
        50.0
    """
    square = theta.double().square().sum().item()
    return ScaledSharpness(square, square * largest, Estimate(square * trace, square * trace_error, degrees=degrees))


@checked
def relative_flatness(
    operator: LinearOperator,
    theta: Float[Tensor, " P"],
    layout: Layout,
    name: str,
    *,
    probes: int = 30,
    seed: int = 0,
    on_product: OnProduct | None = None,
) -> Estimate:
    """κ = Σ_{s,s'} ⟨w_s, w_s'⟩ tr(H_{s,s'}) of one layer's weight W with rows w_s (Petzka et al., 2021), usually the last.

    H_{s,s'} are the blocks of the Hessian between rows. With S = (WWᵀ)^½, κ is the trace of X ↦ S·H[S·X] on matrices of W's
    shape, which XTrace estimates from random matrices of full rank; products of random vectors would make heavy tails.

    Args:
        operator: H over all of θ.
        theta: `(P,)`.
        layout: of θ.
        name: of a weight with at least two dimensions; those after the first are one.
        probes: how many products, at least 4.
        seed: of the random matrices.
        on_product: called with "relative flatness" and the products so far; see `orograph.curvature.counting`.

    Returns:
        κ with its standard error, in the unit of the loss.

    Raises:
        ConfigurationError: no such weight, or too few products.

    Examples:
        >>> import torch, orograph as og
        >>> problem = torch.nn.Linear(9, 2), torch.nn.CrossEntropyLoss(), [(torch.eye(9), torch.arange(9) % 2)]
        >>> hessian, objective = og.HessianOperator(*problem), og.Objective(*problem)
        >>> found = og.relative_flatness(hessian, objective.theta, objective.layout, "weight", probes=8)
        >>> assert found.value > 0
    """
    place, shapes = layout.slices(), dict(zip(layout.names, layout.shapes, strict=True))
    matrices = [each for each in layout.names if len(shapes[each]) > 1]
    if name not in matrices:
        raise unknown("weight", name, matrices)
    weight = theta[place[name]].view(len(theta[place[name]]) // shapes[name][1:].numel(), -1)
    if probes < 4:
        raise ConfigurationError(f"{probes} products give no standard error of the relative flatness; take at least 4.")
    squares, rotation = torch.linalg.eigh(weight.double() @ weight.double().T)
    root = ((rotation * squares.clamp(min=0).sqrt()) @ rotation.T).to(weight)

    def between(vector: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        direction = torch.zeros_like(theta)
        direction[place[name]] = (root @ vector.view(weight.shape)).reshape(-1)
        return (root @ (operator @ direction)[place[name]].view(weight.shape)).reshape(-1)

    scaled = FunctionOperator(between, weight.numel(), dtype=theta.dtype, device=theta.device)
    return estimated_trace(scaled, probes=probes // 2, seed=seed, on_product=renamed(on_product, "relative flatness"))


@checked
def fisher_rao_norm(objective: Objective, theta: Float[Tensor, " P"]) -> float:
    """√(θᵀFθ) = √(mean over samples of ⟨θ, ∇ℓ_n⟩²), with the observed targets (Liang et al., 2019).

    Args:
        objective: loss and data.
        theta: `(P,)`.

    Returns:
        The norm, in the unit of the loss.

    Raises:
        ConfigurationError: the loss only gives a mean.

    Examples:
        >>> import torch, orograph as og
        >>> objective = og.Objective(torch.nn.Linear(4, 2), torch.nn.CrossEntropyLoss(), [(torch.eye(4), torch.arange(4) % 2)])
        >>> og.fisher_rao_norm(objective, torch.zeros(10))
        0.0
    """
    return math.sqrt(sample_slopes(objective, theta, theta[None]).square().mean().item())
