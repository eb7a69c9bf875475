"""The curvature matrices of a summed loss as products with one vector on one batch, each by two independent routes.

With outputs z(θ), per-sample losses ℓ, J = ∂z/∂θ and per-sample gradients g_n = ∇ℓ_n:

    Hessian           ∇²Σℓ · v           Pearlmutter (1994)
    Gauss–Newton      Jᵀ (∂²Σℓ/∂z²) J v   Schraudolph (2002)
    empirical Fisher  Σ g_n (g_nᵀ v)

The forward route differentiates along v in forward mode; it is what is traced. The reverse route uses reverse mode only and is
what the trace is checked against, and the last resort.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import grad_and_value

from orograph.objective import Inputs, Objective

jvp: Any = torch.func.jvp  # typed as giving three results, of which the third is optional
vjp: Any = torch.func.vjp

Product = tuple[Float[Tensor, " P"], Float[Tensor, " P"], Float[Tensor, ""]]


@dataclass(frozen=True)
class Formula:
    """One curvature matrix of Σ_n ℓ_n over a batch.

    Attributes:
        name: as people call it.
        forward: `(objective, θ, v, inputs, targets) → ` product, gradient of Σℓ, and Σℓ.
        reverse: the product alone, by reverse mode alone.
    """

    name: str
    forward: Callable[[Objective, Tensor, Tensor, Inputs, Tensor], Product]
    reverse: Callable[[Objective, Tensor, Tensor, Inputs, Tensor], Tensor]


def _hessian(objective: Objective, theta: Tensor, vector: Tensor, inputs: Inputs, targets: Tensor) -> Product:
    slope = grad_and_value(lambda point: objective.summed(point, inputs, targets))
    (gradient, value), (product, _) = jvp(slope, (theta,), (vector,))
    return product, gradient, value


def _hessian_reverse(objective: Objective, theta: Tensor, vector: Tensor, inputs: Inputs, targets: Tensor) -> Tensor:
    point = theta.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(objective.summed(point, inputs, targets), point, create_graph=True)
    return _pull(gradient, point, vector)


def _gauss_newton(objective: Objective, theta: Tensor, vector: Tensor, inputs: Inputs, targets: Tensor) -> Product:
    outputs, pull = vjp(lambda point: objective.outputs(point, inputs), theta)
    _, moved = jvp(lambda point: objective.outputs(point, inputs), (theta,), (vector,))
    slope = grad_and_value(lambda z: objective.summed_of(z, targets))
    (residual, value), (bent, _) = jvp(slope, (outputs,), (moved,))
    return pull(bent)[0], pull(residual)[0], value


def _gauss_newton_reverse(objective: Objective, theta: Tensor, vector: Tensor, inputs: Inputs, targets: Tensor) -> Tensor:
    point = theta.detach().requires_grad_()
    outputs = objective.outputs(point, inputs)
    moved = _push(outputs, point, vector)
    z = outputs.detach().requires_grad_()
    (slope,) = torch.autograd.grad(objective.summed_of(z, targets), z, create_graph=True)
    return _pull(outputs, point, _pull(slope, z, moved))


def _fisher(objective: Objective, theta: Tensor, vector: Tensor, inputs: Inputs, targets: Tensor) -> Product:
    losses, pull = vjp(lambda point: objective.losses(point, inputs, targets), theta)
    _, slopes = jvp(lambda point: objective.losses(point, inputs, targets), (theta,), (vector,))
    return pull(slopes)[0], pull(torch.ones_like(losses))[0], losses.sum()


def _fisher_reverse(objective: Objective, theta: Tensor, vector: Tensor, inputs: Inputs, targets: Tensor) -> Tensor:
    point = theta.detach().requires_grad_()
    losses = objective.losses(point, inputs, targets)
    return _pull(losses, point, _push(losses, point, vector))


def _pull(values: Tensor, point: Tensor, weights: Tensor) -> Tensor:
    """Jᵀw; zero where nothing depends on the point."""
    if not values.requires_grad:
        return torch.zeros_like(point)
    return torch.autograd.grad(values, point, weights.detach(), retain_graph=True, materialize_grads=True)[0]


def _push(values: Tensor, point: Tensor, vector: Tensor) -> Tensor:
    """Jv by two reverse passes: Jᵀw is linear in w, and its own transpose gives Jv."""
    weights = torch.zeros_like(values, requires_grad=True)
    (pulled,) = torch.autograd.grad(values, point, weights, create_graph=True, materialize_grads=True)
    return _pull(pulled, weights, vector)


HESSIAN = Formula("Hessian", _hessian, _hessian_reverse)
GAUSS_NEWTON = Formula("Gauss–Newton matrix", _gauss_newton, _gauss_newton_reverse)
FISHER = Formula("empirical Fisher matrix", _fisher, _fisher_reverse)
