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
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import grad_and_value

from orograph.intake import Inputs
from orograph.objective import Objective

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
        differences: what it is held against where it is accepted: `gradients` (differences of gradients are its products, as of
            the Hessian), `outputs` or `losses` (of the Gauss–Newton or the Fisher matrix vᵀAv is made of theirs); empty where
            it is none of these.
    """

    name: str
    forward: Callable[[Objective, Tensor, Tensor, Inputs, Tensor], Product]
    reverse: Callable[[Objective, Tensor, Tensor, Inputs, Tensor], Tensor]
    differences: Literal["gradients", "outputs", "losses", ""] = ""


def _hessian(objective: Objective, theta: Tensor, vector: Tensor, inputs: Inputs, targets: Tensor) -> Product:
    slope = grad_and_value(lambda point: objective.summed(point, inputs, targets))
    (gradient, value), (product, _) = jvp(slope, (theta,), (vector,))
    return product, gradient, value


def _hessian_reverse(objective: Objective, theta: Tensor, vector: Tensor, inputs: Inputs, targets: Tensor) -> Tensor:
    point = theta.detach().requires_grad_()
    value = objective.summed(point, inputs, targets)
    if not value.requires_grad:
        return torch.zeros_like(point)
    (gradient,) = torch.autograd.grad(value, point, create_graph=True, materialize_grads=True)
    return _pull(gradient, point, vector)


def _gauss_newton(objective: Objective, theta: Tensor, vector: Tensor, inputs: Inputs, targets: Tensor) -> Product:
    """J and ∂²Σℓ/∂z² are of those outputs that the loss reads."""
    shape: list[Any] = []

    def read(point: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        shape[:] = [objective.outputs(point, inputs)]
        return objective.readout.read(shape[0])

    outputs, pull, others = vjp(read, theta, has_aux=True)
    _, moved = jvp(lambda point: read(point)[0], (theta,), (vector,))
    slope = grad_and_value(lambda z: objective.summed_of(objective.readout.unread(shape[0], z, others), targets))
    (residual, value), (bent, _) = jvp(slope, (outputs,), (moved,))
    return pull(bent)[0], pull(residual)[0], value


def _gauss_newton_reverse(objective: Objective, theta: Tensor, vector: Tensor, inputs: Inputs, targets: Tensor) -> Tensor:
    point = theta.detach().requires_grad_()
    whole = objective.outputs(point, inputs)
    outputs, others = objective.readout.read(whole)
    moved = [push(each, point, vector) for each in outputs]
    z = [each.detach().requires_grad_() for each in outputs]
    value = objective.summed_of(objective.readout.unread(whole, z, others), targets)
    slopes = torch.autograd.grad(value, z, create_graph=True)
    total = torch.stack([(slope * way.detach()).sum() for slope, way in zip(slopes, moved, strict=True)]).sum()
    if not total.requires_grad:  # the loss is linear in the outputs
        return torch.zeros_like(point)
    bent = torch.autograd.grad(total, z, materialize_grads=True)
    return sum((_pull(each, point, bend) for each, bend in zip(outputs, bent, strict=True)), torch.zeros_like(point))


def _fisher(objective: Objective, theta: Tensor, vector: Tensor, inputs: Inputs, targets: Tensor) -> Product:
    losses, pull = vjp(lambda point: objective.losses(point, inputs, targets), theta)
    _, slopes = jvp(lambda point: objective.losses(point, inputs, targets), (theta,), (vector,))
    return pull(slopes)[0], pull(torch.ones_like(losses))[0], losses.sum()


def _fisher_reverse(objective: Objective, theta: Tensor, vector: Tensor, inputs: Inputs, targets: Tensor) -> Tensor:
    point = theta.detach().requires_grad_()
    losses = objective.losses(point, inputs, targets)
    return _pull(losses, point, push(losses, point, vector))


def _pull(values: Tensor, point: Tensor, weights: Tensor) -> Tensor:
    """Jᵀw; zero where nothing depends on the point."""
    if not values.requires_grad:
        return torch.zeros_like(point)
    return torch.autograd.grad(values, point, weights.detach(), retain_graph=True, materialize_grads=True)[0]


def push(values: Tensor, point: Tensor, vector: Tensor) -> Tensor:
    """Jv by two reverse passes: Jᵀw is linear in w, and its own transpose gives Jv."""
    if not values.requires_grad:
        return torch.zeros_like(values)
    weights = torch.zeros_like(values, requires_grad=True)
    (pulled,) = torch.autograd.grad(values, point, weights, create_graph=True, materialize_grads=True)
    return _pull(pulled, weights, vector)


HESSIAN = Formula("Hessian", _hessian, _hessian_reverse, "gradients")
GAUSS_NEWTON = Formula("Gauss–Newton matrix", _gauss_newton, _gauss_newton_reverse, "outputs")
FISHER = Formula("empirical Fisher matrix", _fisher, _fisher_reverse, "losses")
