"""Polishing: from a trained state to a critical point of L_eff, by a trust-region Newton method.

Mini-batch training ends where its noise and its stopping rule leave it, not where ∇L_eff = 0. Each step here minimises the
quadratic model gᵀp + ½ pᵀ(H + 2λI)p within ‖p‖ ≤ Δ by conjugate gradients, which stop at the boundary or at negative curvature
(Steihaug 1983, Toint 1981), and Δ follows how well the model predicted (Conn, Gould & Toint, "Trust-Region Methods", 2000).

The way is long and curved, so that many steps are bounded by Δ, and neighbouring steps solve nearly the same system: the
directions and products of the last ones make a quasi-Newton preconditioner for the next (Morales & Nocedal 2000), which halves
the products.

Near convergence the predicted decrease of L_eff falls below the rounding of a float32 loss, long before the gradient falls below
its own. So L_eff is evaluated in float64, which costs little: one forward pass a step. Where even that does not tell, a step is
accepted when it lowers the norm of the gradient, and judged by the norm that the model predicted.
"""

import math
import warnings
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from orograph.arguments import checked
from orograph.brief import brief
from orograph.curvature.counting import OnProduct, counter
from orograph.errors import ConfigurationError
from orograph.objective import Objective
from orograph.training.descent import EVALUATION

LOSS_ROUNDING = 4 * torch.finfo(torch.float64).eps  # of L_eff, relative
_ACCEPT = 1e-4  # least share of the predicted decrease that a step must bring
_FORCING = 0.25  # largest residual, relative to the gradient, with which a step is solved for
_PAIRS = 64  # directions that the preconditioner remembers, if a quarter of the memory budget holds them


@runtime_checkable
class MovableHessian(Protocol):
    """The Hessian of L as polishing needs it: its product, ∇L at the same θ, and the way to another θ."""

    @property
    def gradient(self) -> Float[Tensor, " P"]: ...

    def at(self, theta: Float[Tensor, " P"], /) -> "MovableHessian": ...

    def __matmul__(self, other: Float[Tensor, " P"], /) -> Float[Tensor, " P"]: ...


@brief
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
        gradient_norm_before: ‖∇L_eff‖ at the start.
        gradient_norm: ‖∇L_eff‖ at the end.
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


@checked
def polish(
    objective: Objective,
    theta: Float[Tensor, " P"],
    *,
    hessian: MovableHessian,
    tolerance: float,
    max_products: int,
    on_product: OnProduct | None = None,
    on_step: Callable[[int, float], Any] | None = None,
) -> Polished:
    """Moves θ to a critical point of L_eff(θ) = L(θ) + λ‖θ − θ_ref‖².

    In float32 the gradient's own rounding limits what can be reached; an objective and a Hessian in float64 go further.

    Args:
        objective: L with its data, λ and θ_ref.
        theta: `(P,)`, where it starts.
        hessian: of L alone, at any θ; the penalty's 2λ is added here.
        tolerance: τ of ‖∇L_eff‖ ≤ τ·max(1, 2λ‖θ − θ_ref‖).
        max_products: Hessian-vector products to spend at most.
        on_product: called after each trial step with "polishing" and the products so far; see `orograph.curvature.counting`.
        on_step: deprecated: called in its place with the products so far and ‖∇L_eff‖.

    Returns:
        θ `(P,)`, whether it is a critical point, and what it took.

    Raises:
        ConfigurationError: the tolerance or the number of products is not positive.

    Examples:
        >>> import torch, orograph as og
        >>> problem = torch.nn.Linear(4, 2), torch.nn.CrossEntropyLoss(), [(torch.eye(4), torch.arange(4) % 2)]
        >>> objective = og.Objective(*problem, strength=0.01, dtype=torch.float64)
        >>> hessian = og.HessianOperator(*problem, dtype=torch.float64)
        >>> assert og.polish(objective, objective.theta, hessian=hessian, tolerance=1e-8, max_products=200).converged
    """
    if not tolerance > 0 or max_products < 1:
        raise ConfigurationError(f"`tolerance` {tolerance} and `max_products` {max_products} must be positive.")
    newton, told = Newton(objective, hessian, tolerance, max_products), counter(on_product, "polishing")
    if on_step is not None:
        warnings.warn(
            "on_step= is deprecated: write on_product=, called with the stage and the products so far.",
            DeprecationWarning,
            stacklevel=2,
        )
    return newton.run(theta.detach(), told, on_step)


def gradient_target(tolerance: float, strength: float, distance: float) -> float:
    """τ·max(1, 2λ‖θ − θ_ref‖): what ‖∇L_eff‖ may be at a critical point."""
    return tolerance * max(1.0, 2 * strength * distance)


_Point = tuple[Tensor, float, Tensor]  # θ, L_eff, ∇L_eff


class Newton:
    """The outer iteration: its counters, its trust region."""

    def __init__(self, objective: Objective, hessian: MovableHessian, tolerance: float, max_products: int) -> None:
        self.objective, self.hessian = objective, hessian
        self.exact = objective if objective.dtype == torch.float64 else objective.to(torch.float64)
        self.tolerance, self.max_products = tolerance, max_products
        self.products = self.evaluations = self.steps = 0
        self.largest = 0.0  # the largest curvature met, which scales the rounding of the products
        self.negative_curvature = False
        self.rounding = torch.finfo(objective.dtype).eps
        pairs = objective.memory // 4 // (2 * objective.layout.size * objective.dtype.itemsize)
        self.preconditioner = _Preconditioner(min(_PAIRS, pairs))

    def turn_to(self, strength: float, tolerance: float) -> None:
        """Solves at another λ from now on; what has been learnt of the curvature stays."""
        self.objective, self.exact = (each.penalised(strength, each.anchor) for each in (self.objective, self.exact))
        self.tolerance = tolerance

    def run(
        self,
        start: Tensor,
        told: Callable[[int], Any],
        on_step: Callable[[int, float], Any] | None = None,
        *,
        gradient: Tensor | None = None,
        reach: float = math.inf,
    ) -> Polished:
        """From a start, where the Hessian stands already if its gradient is given, no further than `reach` and a step."""
        theta, value, gradient = start, self.value(start), self.move(start) if gradient is None else gradient
        before, norm, first = value, _norm(gradient), _norm(gradient)
        radius = min(0.1 * max(1.0, _norm(theta)), reach)

        def goes_on() -> bool:
            left = self.products < self.max_products and radius > self.rounding * _norm(theta)
            return left and norm > self.target(theta) and (reach == math.inf or _norm(theta - start) <= reach)

        while goes_on():
            trial = self.solve(gradient, radius, min(_FORCING, math.sqrt(norm / first)))
            length = _norm(trial.step)
            quality, new = self.judge(theta, value, norm, trial)
            if new is None:
                radius = 0.25 * length
            else:
                theta, value, gradient = new
                norm = _norm(gradient)
                self.steps += 1
                if quality < 0.25:
                    radius = 0.25 * length
                elif quality > 0.75 and length > 0.99 * radius:
                    radius *= 2
            told(self.products)
            if on_step is not None:
                on_step(self.products, norm)
        return self.outcome(start, theta, change=value - before, before=first, norm=norm)

    def outcome(self, start: Tensor, theta: Tensor, *, change: float, before: float, norm: float) -> Polished:
        """The way from one θ to another as `polish` tells of it, with all that was spent.

        Args:
            start: θ before.
            theta: θ after.
            change: of L_eff.
            before: ‖∇L_eff‖ at the start.
            norm: ‖∇L_eff‖ after.
        """
        return Polished(
            theta=theta,
            converged=norm <= self.target(theta),
            bounded=self.objective.strength > 0,
            products=self.products,
            evaluations=self.evaluations,
            steps=self.steps,
            distance=_norm(theta - start),
            objective_change=change,
            gradient_norm_before=before,
            gradient_norm=norm,
            negative_curvature=self.negative_curvature,
        )

    def judge(self, theta: Tensor, value: float, norm: float, trial: "_Trial") -> tuple[float, "_Point | None"]:
        """How well the model predicted, and the new θ, L_eff and gradient; None where the step is refused."""
        moved = theta + trial.step
        new = self.value(moved)
        noise = LOSS_ROUNDING * abs(value)
        told = trial.decrease > noise  # whether the loss resolves what the model predicts
        quality = (value - new) / trial.decrease if told else 1.0
        if not (quality > _ACCEPT and new <= value + noise):
            return 0.0, None
        gradient = self.move(moved)
        if not told:
            predicted = norm - trial.residual
            quality = (norm - _norm(gradient)) / predicted if predicted > 0 else 0.0
        if not quality > _ACCEPT:
            self.hessian = self.hessian.at(theta)
            return 0.0, None
        return quality, (moved, new, gradient)

    def value(self, theta: Tensor) -> float:
        return self.exact.loss(theta.double(), chunk=EVALUATION) + self.exact.penalty(theta.double())

    def move(self, theta: Tensor) -> Tensor:
        """∇L_eff at θ, where the Hessian stands afterwards."""
        self.hessian = self.hessian.at(theta)
        self.evaluations += 1
        return self.hessian.gradient + 2 * self.objective.strength * self.objective.offset(theta)

    def target(self, theta: Tensor) -> float:
        return gradient_target(self.tolerance, self.objective.strength, _norm(self.objective.offset(theta)))

    def solve(self, gradient: Tensor, radius: float, relative: float) -> "_Trial":
        """The step of Steihaug and Toint within the radius, preconditioned."""
        step = torch.zeros_like(gradient)
        residual, goal = gradient.clone(), relative * _norm(gradient)
        precondition = self.preconditioner.frozen()
        scaled = precondition(residual)
        direction, square = -scaled, _dot(residual, scaled)
        while self.products < self.max_products:
            product = self.hessian @ direction + 2 * self.objective.strength * direction
            self.products += 1
            curvature, length = _dot(direction, product), _dot(direction, direction)
            self.largest = max(self.largest, abs(curvature) / length)
            flat = 10 * self.rounding * self.largest * length
            self.negative_curvature |= curvature < -flat
            if curvature > flat:
                self.preconditioner.add(direction, product)
            alpha = square / curvature if curvature > 0 else math.inf
            outside = curvature <= 0 or _norm(step + alpha * direction) >= radius
            if outside:
                alpha = _to_boundary(step, direction, radius)
            step, residual = step + alpha * direction, residual + alpha * product
            if outside or _norm(residual) <= goal:
                break
            scaled = precondition(residual)
            square, last = _dot(residual, scaled), square
            direction = (square / last) * direction - scaled
        # the residual is g + Bp, so that the model's value gᵀp + ½ pᵀBp is ½ pᵀ(g + residual)
        length = _dot(step, step)
        curvature = _dot(step, residual - gradient) / length if length > 0 else math.nan
        return _Trial(step, -0.5 * _dot(step, gradient + residual), _norm(residual), curvature)


@dataclass(frozen=True)
class _Trial:
    """A step, and what the model foresees: the decrease of L_eff, the norm of the gradient, the curvature along the step."""

    step: Tensor
    decrease: float
    residual: float
    curvature: float


class _Preconditioner:
    """The inverse of B = H + 2λI by L-BFGS updates (Nocedal 1980) with pairs (d, Bd) of the latest directions."""

    def __init__(self, pairs: int) -> None:
        self._pairs: deque[tuple[Tensor, Tensor, Tensor]] = deque(maxlen=pairs)

    def add(self, direction: Tensor, product: Tensor) -> None:
        length = direction.norm()
        direction, product = direction / length, product / length
        self._pairs.append((direction, product, torch.dot(direction, product)))

    def frozen(self) -> Callable[[Tensor], Tensor]:
        """The inverse as it stands: conjugate gradients need the same one throughout."""
        pairs = list(self._pairs)

        def apply(vector: Tensor) -> Tensor:
            if not pairs:
                return vector
            shares = []
            for direction, product, curvature in reversed(pairs):
                shares.append(torch.dot(direction, vector) / curvature)
                vector = torch.addcmul(vector, product, shares[-1], value=-1)
            _, product, curvature = pairs[-1]
            vector = vector * (curvature / torch.dot(product, product))
            for (direction, product, curvature), share in zip(pairs, reversed(shares), strict=True):
                vector = torch.addcmul(vector, direction, share - torch.dot(product, vector) / curvature)
            return vector

        return apply


def _to_boundary(step: Tensor, direction: Tensor, radius: float) -> float:
    """The t ≥ 0 with ‖step + t·direction‖ = radius, from within."""
    a, b, c = _dot(direction, direction), _dot(step, direction), _dot(step, step) - radius**2
    root = math.sqrt(max(b * b - a * c, 0.0))
    return -c / (b + root) if b > 0 else (root - b) / a


def _dot(one: Tensor, other: Tensor) -> float:
    return torch.dot(one.double(), other.double()).item()


def _norm(vector: Tensor) -> float:
    return vector.double().norm().item()
