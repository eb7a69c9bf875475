"""Polishing: from a trained state to a critical point of L_eff, by a trust-region Newton method.

Mini-batch training ends where its noise and its stopping rule leave it, not where ∇L_eff = 0. Each step here minimises the
quadratic model gᵀp + ½ pᵀ(H + 2λI)p within ‖p‖ ≤ Δ by conjugate gradients, which stop at the boundary or at negative curvature
(Steihaug 1983, Toint 1981), and Δ follows how well the model predicted (Conn, Gould & Toint, "Trust-Region Methods", 2000).

Near convergence the predicted decrease of L_eff falls below the rounding of the loss, long before the gradient falls below its
own: from there a step is accepted when it lowers the norm of the gradient.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from orograph.errors import ConfigurationError
from orograph.objective import Objective
from orograph.training.descent import full_loss

_ACCEPT = 1e-4  # least share of the predicted decrease that a step must bring
_NOISE = 10.0  # roundings of the loss below which a decrease is not to be trusted


@runtime_checkable
class Curvature(Protocol):
    """The Hessian of L as polishing needs it: its product, ∇L at the same θ, and the way to another θ."""

    @property
    def gradient(self) -> Float[Tensor, " P"]: ...

    def at(self, theta: Float[Tensor, " P"], /) -> "Curvature": ...

    def __matmul__(self, other: Float[Tensor, " P"], /) -> Float[Tensor, " P"]: ...


@dataclass(frozen=True)
class Polished:
    """Where polishing ended, and what it took.

    Attributes:
        theta: `(P,)`.
        converged: whether ‖∇L_eff‖ ≤ τ·max(1, 2λ‖θ − θ_ref‖).
        bounded: whether λ > 0; without a penalty the loss of a network that separates its data has no finite minimum, and a small
            gradient means only that θ is far out.
        products: Hessian-vector products spent.
        evaluations: gradients evaluated, each over all data.
        steps: steps accepted.
        distance: ‖Δθ‖ from the start.
        objective_change: ΔL_eff from the start, losses summed in float64.
        gradient_norm_before, gradient_norm: ‖∇L_eff‖ at the start and at the end.
        negative_curvature: whether a direction of negative curvature of L_eff was met, beyond rounding.
    """

    theta: Float[Tensor, " P"]
    converged: bool
    bounded: bool
    products: int
    evaluations: int
    steps: int
    distance: float
    objective_change: float
    gradient_norm_before: float
    gradient_norm: float
    negative_curvature: bool


def polish(
    objective: Objective,
    theta: Float[Tensor, " P"],
    *,
    hessian: Curvature,
    tolerance: float,
    max_products: int,
    on_step: Callable[[int, float], None] | None = None,
) -> Polished:
    """Moves θ to a critical point of L_eff(θ) = L(θ) + λ‖θ − θ_ref‖².

    In float32 the gradient's own rounding limits what can be reached; an objective and a Hessian in float64 go further.

    Args:
        objective: L with its data, λ and θ_ref.
        hessian: of L alone, at any θ; the penalty's 2λ is added here.
        tolerance: τ of ‖∇L_eff‖ ≤ τ·max(1, 2λ‖θ − θ_ref‖).
        max_products: Hessian-vector products to spend at most.
        on_step: called after each trial step with the products spent and ‖∇L_eff‖.

    Raises:
        ConfigurationError: the tolerance or the number of products is not positive.
    """
    if not tolerance > 0 or max_products < 1:
        raise ConfigurationError(f"tolerance {tolerance} and max_products {max_products} must be positive.")
    return _Newton(objective, hessian, tolerance, max_products).run(theta.detach(), on_step)


class _Newton:
    """The outer iteration: its counters, its trust region."""

    def __init__(self, objective: Objective, hessian: Curvature, tolerance: float, max_products: int) -> None:
        self.objective, self.hessian = objective, hessian
        self.tolerance, self.max_products = tolerance, max_products
        self.products = self.evaluations = self.steps = 0
        self.largest = 0.0  # the largest curvature met, which scales the rounding of the products
        self.negative_curvature = False

    def run(self, start: Tensor, on_step: Callable[[int, float], None] | None) -> Polished:
        theta, value, gradient = start, self.value(start), self.move(start)
        before, norm, first = value, _norm(gradient), _norm(gradient)
        smallest = 10 * torch.finfo(theta.dtype).eps * max(1.0, _norm(theta))
        radius = 0.1 * max(1.0, _norm(theta))
        while norm > self.target(theta) and self.products < self.max_products and radius > smallest:
            step, predicted = self.solve(gradient, radius, min(0.5, math.sqrt(norm / first)))
            trial = theta + step
            trial_value = self.value(trial)
            noise = _NOISE * torch.finfo(theta.dtype).eps * abs(value)
            quality = (value - trial_value) / predicted if predicted > noise else 1.0
            accepted = quality > _ACCEPT and trial_value <= value + noise
            if accepted:
                trial_gradient = self.move(trial)
                trial_norm = _norm(trial_gradient)
                if predicted <= noise:
                    quality = 1 - trial_norm / norm
                accepted = quality > _ACCEPT
                if accepted:
                    theta, value, gradient, norm = trial, trial_value, trial_gradient, trial_norm
                    self.steps += 1
                else:
                    self.hessian = self.hessian.at(theta)
            length = _norm(step)
            if not accepted or quality < 0.25:
                radius = 0.25 * length
            elif quality > 0.75 and length > 0.99 * radius:
                radius *= 2
            if on_step is not None:
                on_step(self.products, norm)
        return Polished(
            theta=theta,
            converged=norm <= self.target(theta),
            bounded=self.objective.strength > 0,
            products=self.products,
            evaluations=self.evaluations,
            steps=self.steps,
            distance=_norm(theta - start),
            objective_change=value - before,
            gradient_norm_before=first,
            gradient_norm=norm,
            negative_curvature=self.negative_curvature,
        )

    def value(self, theta: Tensor) -> float:
        return full_loss(self.objective, theta) + self.objective.penalty(theta)

    def move(self, theta: Tensor) -> Tensor:
        """∇L_eff at θ, where the Hessian stands afterwards."""
        self.hessian = self.hessian.at(theta)
        self.evaluations += 1
        return self.hessian.gradient + 2 * self.objective.strength * self.objective.offset(theta)

    def target(self, theta: Tensor) -> float:
        return self.tolerance * max(1.0, 2 * self.objective.strength * _norm(self.objective.offset(theta)))

    def solve(self, gradient: Tensor, radius: float, relative: float) -> tuple[Tensor, float]:
        """The step of Steihaug and Toint within the radius, and the decrease that the model predicts for it."""
        step = torch.zeros_like(gradient)
        image = torch.zeros_like(gradient)  # (H + 2λI) step
        residual, direction = gradient.clone(), -gradient
        square = _dot(residual, residual)
        goal = relative * math.sqrt(square)
        while self.products < self.max_products:
            product = self.hessian @ direction + 2 * self.objective.strength * direction
            self.products += 1
            curvature, length = _dot(direction, product), _dot(direction, direction)
            self.largest = max(self.largest, abs(curvature) / length)
            rounding = _NOISE * torch.finfo(gradient.dtype).eps * self.largest * length
            self.negative_curvature |= curvature < -rounding
            alpha = square / curvature if curvature > 0 else math.inf
            if curvature <= 0 or _norm(step + alpha * direction) >= radius:
                alpha = _to_boundary(step, direction, radius)
                step, image = step + alpha * direction, image + alpha * product
                break
            step, image, residual = step + alpha * direction, image + alpha * product, residual + alpha * product
            new = _dot(residual, residual)
            if math.sqrt(new) <= goal:
                break
            direction = -residual + (new / square) * direction
            square = new
        return step, -(_dot(gradient, step) + 0.5 * _dot(step, image))


def _to_boundary(step: Tensor, direction: Tensor, radius: float) -> float:
    """The t ≥ 0 with ‖step + t·direction‖ = radius, from within."""
    a, b, c = _dot(direction, direction), _dot(step, direction), _dot(step, step) - radius**2
    root = math.sqrt(max(b * b - a * c, 0.0))
    return -c / (b + root) if b > 0 else (root - b) / a


def _dot(one: Tensor, other: Tensor) -> float:
    return torch.dot(one.double(), other.double()).item()


def _norm(vector: Tensor) -> float:
    return vector.double().norm().item()
