"""Is what is multiplied the curvature of the user's loss? Tests on a few of their own samples, without second derivatives.

Automatic differentiation may be wrong without a word: a function whose backward pass takes something for a constant, a forward
mode that moves what reverse mode holds fast. In float64, for random u and v and a small step h,

    slope        (L(θ+hv) − L(θ−hv))/2h = gᵀv                   the gradient is that of the loss
    difference   (g(θ+hv) − g(θ−hv))/2h = Hv                    the product is that of the gradient
    symmetry     uᵀHv = vᵀHu
    metric       vᵀGv = ẏᵀ(∂²L/∂y²)ẏ, ẏ = (y(θ+hv) − y(θ−hv))/2h     of Gauss–Newton; of Fisher vᵀFv = Σ (ℓ̇_n)²

A step may cross a kink (ReLU), where gradients jump: shorter steps and other directions are tried before a test has failed. The
chance that a wrong product passes one of them is that of a random direction to lie in the null space of the error.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._pytree import tree_map

from orograph.curvature.formulas import FISHER, GAUSS_NEWTON, HESSIAN, Formula
from orograph.objective import Batch, Objective

_STEPS = (1e-5, 1e-6, 1e-7)  # of h‖v‖ against 1 + ‖θ‖: truncation ∝ h², rounding ∝ 1/h, both below 1e-8 in float64
_TOLERANCE = 1e-5  # far above these, far below any term left out

Product = Callable[[Float[Tensor, " P"]], Float[Tensor, " P"]]


@dataclass(frozen=True)
class Tests:
    """What one way of multiplying passed.

    Attributes:
        passed, failed: names of tests.
    """

    passed: tuple[str, ...]
    failed: tuple[str, ...]


def examine(objective: Objective, formula: Formula, product: Product, batch: Batch) -> Tests:
    """Puts a product of the summed loss of a batch to the tests of its formula.

    Args:
        objective: in float64, at the θ meant.
        formula: of the product.
        product: `v ↦ A v`, `(P,)` in float64.
        batch: few samples, in float64.
    """
    theta = objective.theta
    results: dict[str, bool] = {}
    for attempt, step in enumerate(_STEPS):
        u, v = _directions(theta, attempt)
        h = step * (1 + theta.norm().item())
        with sdpa_kernel(SDPBackend.MATH):
            moved, other = product(v), product(u)
            results["symmetry"] = results.get("symmetry", False) or _close(u @ moved, v @ other, moved.norm() * u.norm())
            if not results.get("slope", False):
                slope, gradient = _slope(objective, batch, v, h), _gradient(objective, theta, batch)
                results["slope"] = _close(slope, gradient @ v, gradient.norm() * v.norm())
            if formula is HESSIAN:
                results["difference"] = _parallel(moved, _difference(objective, batch, v, h))
            else:
                expected = _squared(objective, formula, batch, v, h)
                results["metric"] = _close(v @ moved, expected, expected)
        if all(results.values()):
            break
    return Tests(
        tuple(name for name, holds in results.items() if holds), tuple(name for name, holds in results.items() if not holds)
    )


def doubled(batch: Batch) -> Batch:
    """The batch in float64."""
    return tree_map(lambda leaf: leaf.double() if isinstance(leaf, Tensor) and leaf.is_floating_point() else leaf, batch)


def _directions(theta: Tensor, attempt: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(attempt)
    drawn = torch.randn(2, len(theta), generator=generator, dtype=torch.float64)
    u, v = (drawn / drawn.norm(dim=1, keepdim=True)).to(theta.device)
    return u, v


def _gradient(objective: Objective, theta: Tensor, batch: Batch) -> Tensor:
    with torch.enable_grad():
        point = theta.detach().requires_grad_()
        value = objective.summed(point, *batch)
        if not value.requires_grad:
            return torch.zeros_like(point)
        return torch.autograd.grad(value, point, materialize_grads=True)[0].detach()


def _difference(objective: Objective, batch: Batch, v: Tensor, h: float) -> Tensor:
    theta = objective.theta
    return (_gradient(objective, theta + h * v, batch) - _gradient(objective, theta - h * v, batch)) / (2 * h)


def _slope(objective: Objective, batch: Batch, v: Tensor, h: float) -> Tensor:
    with torch.no_grad():
        above, below = (objective.summed(objective.theta + sign * h * v, *batch) for sign in (1, -1))
    return (above - below) / (2 * h)


def _squared(objective: Objective, formula: Formula, batch: Batch, v: Tensor, h: float) -> Tensor:
    """vᵀGv or vᵀFv by differences of outputs or losses."""
    theta, (inputs, targets) = objective.theta, batch
    if formula is FISHER:
        with torch.no_grad():
            above, below = (objective.losses(theta + sign * h * v, inputs, targets) for sign in (1, -1))
        return ((above - below) / (2 * h)).square().sum()
    assert formula is GAUSS_NEWTON
    with torch.no_grad():
        outputs = objective.outputs(theta, inputs)
        above, below = (objective.outputs(theta + sign * h * v, inputs) for sign in (1, -1))
        moved = (above - below) / (2 * h)
    size = moved.norm()
    if not size:
        return size

    def slope(place: Tensor) -> Tensor:
        with torch.enable_grad():
            point = place.detach().requires_grad_()
            return torch.autograd.grad(objective.summed_of(point, targets), point)[0]

    t = 1e-5 * (1 + outputs.norm()) / size
    return ((slope(outputs + t * moved) - slope(outputs - t * moved)) * moved).sum() / (2 * t)


def _close(a: Tensor, b: Tensor, scale: Tensor) -> bool:
    return bool((a - b).abs() <= _TOLERANCE * scale + torch.finfo(a.dtype).tiny)


def _parallel(a: Tensor, b: Tensor) -> bool:
    return bool((a - b).norm() <= _TOLERANCE * b.norm() + torch.finfo(a.dtype).tiny)
