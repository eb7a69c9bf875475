"""What a branch solves: F(θ, λ) = ∇L(θ) + 2λ(θ − θ_ref) = 0, and the bordered systems that its tangents and correctors need.

With A = H + 2λI and b = 2(θ − θ_ref), dF = A dθ + b dλ. Steps in λ are scaled by β = ‖b‖, so that (dθ, β dλ) has one unit, and

    K = [[A, b/β], [bᵀ/β, c]],   c = sign(dq·dλ)

is symmetric and regular at folds as well as where q = ‖θ − θ_ref‖² turns: its last row counts how far q and λ go, both with the
sign that they have along the branch. The tangent solves K(θ̇, βλ̇) = (0, 1) (Keller 1977, "Numerical solution of bifurcation and
nonlinear eigenvalue problems", for the bordering).
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from orograph.continuation.minres import minres
from orograph.curvature import HessianOperator
from orograph.curvature.operator import LinearOperator, TrustedOperator
from orograph.objective import Objective


class Equation:
    """F = 0 of one network, its data and θ_ref, with a count of the products spent on it.

    Args:
        objective: L and θ_ref; its own λ is not used.
        hessian: of L alone, at any θ.
    """

    objective: Objective
    hessian: HessianOperator
    gradients: int

    def __init__(self, objective: Objective, hessian: HessianOperator) -> None:
        self.objective, self.hessian = objective, hessian
        self.products = self.gradients = 0

    def at(self, theta: Float[Tensor, " P"], strength: float) -> "State":
        """The equation's sides there: one pass over the data."""
        self.hessian = self.hessian.at(theta)
        self.gradients += 1
        pull = 2 * self.objective.offset(theta)
        force = self.hessian.gradient + strength * pull
        return State(self, self.hessian, theta, strength, force, pull, float(self.hessian.loss))


@dataclass(frozen=True, eq=False)
class State:
    """θ and λ with what the equation says there.

    Attributes:
        theta: `(P,)`.
        strength: λ.
        force: F, `(P,)`.
        pull: b = 2(θ − θ_ref), `(P,)`.
        loss: L(θ).
    """

    equation: Equation
    hessian: HessianOperator
    theta: Float[Tensor, " P"]
    strength: float
    force: Float[Tensor, " P"]
    pull: Float[Tensor, " P"]
    loss: float

    @cached_property
    def residual(self) -> float:
        """‖F‖."""
        return self.force.double().norm().item()

    @cached_property
    def distance2(self) -> float:
        """q = ‖θ − θ_ref‖²."""
        return self.pull.double().square().sum().item() / 4

    @property
    def objective(self) -> float:
        """L_eff = L + λq."""
        return self.loss + self.strength * self.distance2

    @cached_property
    def scale(self) -> float:
        """β = ‖b‖, or 1 at θ_ref itself, where λ moves nothing."""
        length = 2 * self.distance2**0.5
        return length if length > torch.finfo(self.theta.dtype).eps ** 0.5 else 1.0

    def product(self, vector: Float[Tensor, " P"]) -> Float[Tensor, " P"]:
        """A v."""
        self.equation.products += 1
        return self.hessian @ vector + 2 * self.strength * vector

    def operator(self, deflated: Float[Tensor, "m P"] | None = None) -> LinearOperator:
        """A; with the rows of `deflated`, orthonormal, moved far up and out of the low end of the spectrum."""
        away = None if deflated is None or not len(deflated) else deflated

        def product(vector: Tensor) -> Tensor:
            if away is None:
                return self.product(vector)
            inside = away @ vector
            rest = self.product(vector - away.T @ inside)
            return rest - away.T @ (away @ rest) + away.T @ (_FAR * inside)

        return TrustedOperator(product, len(self.theta), dtype=self.theta.dtype, device=self.theta.device)

    def solve(self, right: Float[Tensor, " n"], corner: float, *, tolerance: float, max_products: int) -> Float[Tensor, " n"]:
        """x with K x = right, `(P + 1,)` both, the last entry that of β dλ."""
        border = self.pull / self.scale

        def product(vector: Tensor) -> Tensor:
            inner, last = vector[:-1], vector[-1]
            return torch.cat([self.product(inner) + last * border, (torch.dot(border, inner) + corner * last)[None]])

        return minres(product, right, tolerance=tolerance, max_products=max_products).vector

    def along(self, corner: float, *, tolerance: float, max_products: int) -> Float[Tensor, " n"]:
        """A tangent (θ̇, βλ̇), `(P + 1,)`, of any length, in the direction in which the last row of K grows."""
        return self.solve(only_strength(self.theta), corner, tolerance=tolerance, max_products=max_products)

    def corner(self, tangent: Float[Tensor, " n"]) -> float:
        """c of K on a branch that goes in this direction: the sign of dq·dλ, −1 on a stable one."""
        rise = torch.dot(self.pull, tangent[:-1]).item() * tangent[-1].item()
        return 1.0 if rise > 0 else -1.0


def only_strength(theta: Float[Tensor, " P"]) -> Float[Tensor, " n"]:
    """(0, 1), `(P + 1,)`: the direction in which λ alone changes."""
    return torch.cat([torch.zeros_like(theta), torch.ones_like(theta[:1])])


_FAR = 1e3  # an eigenvalue at which nobody looks
