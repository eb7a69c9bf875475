"""Pseudo-arclength continuation, matrix-free: a branch of critical points of L + λ‖θ − θ_ref‖² through folds and turns.

A step predicts along the unit tangent, and Newton's corrector meets F = 0 on the plane across it: two bordered systems, combined
so that the plane's row holds (Keller 1977; Govaerts, "Numerical methods for bifurcations of dynamical equilibria", 2000). It is
accepted where the corrector is short beside the step and the tangent has turned little: else it may have reached another branch.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from orograph.arguments import checked
from orograph.continuation.branch import Branch, BranchPoint, Event
from orograph.continuation.equation import Equation, State, only_strength
from orograph.continuation.events import Between, found_between
from orograph.continuation.reached import Reached
from orograph.continuation.stability import lowest
from orograph.curvature import HessianOperator
from orograph.curvature.counting import OnProduct, counter
from orograph.errors import ConfigurationError
from orograph.geometry.smoothness import nonsmooth_operations
from orograph.objective import Objective
from orograph.training.polishing import gradient_target

TURN, SMALL_TURN = 0.95, 0.995  # cosines between tangents: a step is refused below the first, the next longer above the second
SHORT = 0.35  # of the step: the longest way that a corrector may take
ITERATIONS = 8  # of a corrector

Symmetry = Callable[[Tensor], Tensor]


@checked
def follow(
    objective: Objective,
    theta: Float[Tensor, " P"] | None = None,
    *,
    direction: Literal["up", "down"] = "up",
    between: tuple[float, float] = (0.0, math.inf),
    points: int = 200,
    step: float | None = None,
    longest_step: float | None = None,
    tolerance: float | None = None,
    pairs: int = 4,
    symmetry: Symmetry | None = None,
    max_products: int | None = None,
    seed: int = 0,
    on_product: OnProduct | None = None,
    on_point: Callable[[BranchPoint], Any] | None = None,
) -> Branch:
    """Follows the critical point θ of L_eff(·; λ) as λ changes, through folds onto branches that no optimiser reaches.

    Pseudo-arclength continuation with a symmetric bordered system; the module says how. Two solves by MINRES are a step's cost,
    and the lowest eigenvalues.

    Args:
        objective: L, θ_ref and the λ at which it starts; float64 is advised.
        theta: `(P,)`, a critical point there (see `polish`); the objective's θ if not given.
        direction: in which λ goes first.
        between: λ beyond which it ends.
        points: to follow at most.
        step: the first step's length in s; a hundredth of ‖θ − θ_ref‖ (of λ at θ_ref itself) if not given.
        longest_step: in s; a tenth of the same if not given.
        tolerance: τ of ‖∇L_eff‖ ≤ τ·max(1, 2λ‖θ − θ_ref‖); 1e-9 in float64, 1e-5 in float32 if not given.
        pairs: how many of the lowest eigenvalues of H + 2λI are looked at, P − 1 at most; 0: none, and then no index
            and no branch points.
        symmetry: `θ ↦ (m, P)`, orthonormal directions in which nothing changes (see `layer_rotations`): their zeros are none of
            the branch's.
        max_products: Hessian-vector products to spend at most, counted after each step.
        seed: of the random starts of Lanczos.
        on_product: called with "following" and the products so far; see `orograph.curvature.counting`.
        on_point: called with each point that is accepted.

    Returns:
        Points and events in order, with the reason why it ends.

    Raises:
        ConfigurationError: a number out of range, a loss that is not twice differentiable, or a start that is no critical point.

    Examples:
        >>> import torch, orograph as og
        >>> data = [(torch.eye(3), torch.zeros(3, 1))]
        >>> objective = og.Objective(torch.nn.Linear(3, 1), torch.nn.MSELoss(), data, strength=0.1, dtype=torch.float64)
        >>> og.follow(objective, torch.zeros(4), between=(0.0, 0.2), pairs=2).points[-1].strength
        0.2
    """
    start = objective.theta if theta is None else theta.detach().to(objective.dtype)
    low, high = between
    if not (points >= 1 and low < high and low <= objective.strength <= high):
        raise ConfigurationError(
            f"`points` {points} must be at least 1, and λ = {objective.strength} lie between {low} and {high}."
        )
    if pairs < 0:
        raise ConfigurationError(f"`pairs` {pairs} must be at least 0.")
    given = {"step": step, "longest_step": longest_step, "tolerance": tolerance, "max_products": max_products}
    for name, value in given.items():
        if value is not None and not 0 < value < math.inf:
            raise ConfigurationError(f"`{name}` {value} must be positive and finite.")
    if kinks := nonsmooth_operations(objective):
        raise ConfigurationError(f"A branch needs a loss that is twice differentiable; {', '.join(kinks)} is not.")
    follower = Follower(objective, tolerance or default_tolerance(objective.dtype), pairs, symmetry, seed)
    first = follower.begin(start, objective.strength)
    size = first.distance2**0.5 or objective.strength or 1.0  # at θ_ref s is λ
    told = counter(on_product, "following")
    return follower.run(
        first,
        1.0 if direction == "up" else -1.0,
        between=(low, high),
        points=points,
        step=step or 0.01 * size,
        longest=longest_step or 0.1 * size,
        budget=math.inf if max_products is None else max_products,
        told=told,
        on_point=on_point,
    )


def default_tolerance(dtype: torch.dtype) -> float:
    """τ of ‖∇L_eff‖, as far as the dtype's rounding lets it be met."""
    return 1e-9 if dtype == torch.float64 else 1e-5


class Follower:
    """The equation, what is asked of its solutions, and the way from one to the next."""

    def __init__(self, objective: Objective, tolerance: float, pairs: int, symmetry: Symmetry | None, seed: int) -> None:
        self.equation = Equation(objective, HessianOperator.of(objective))
        self.tolerance, self.pairs, self.symmetry, self.seed = tolerance, pairs, symmetry, seed
        self.longest_solve = 20 * objective.layout.size + 200

    def target(self, state: State) -> float:
        return gradient_target(self.tolerance, state.strength, state.distance2**0.5)

    def begin(self, theta: Tensor, strength: float) -> State:
        """The start, put right by Newton's method where a few steps do."""
        first = self.equation.at(theta, strength)
        before, allowed = first.residual, 0.1 * max(theta.norm().item(), 1.0)
        state, _ = self._solved(first, only_strength(theta), -1.0, ITERATIONS)
        moved = (state.theta - theta).norm().item()
        if not state.residual <= self.target(state) or moved > allowed:
            raise ConfigurationError(
                f"The start is no critical point at λ = {strength}: its gradient's norm is {before:.3g}, above "
                f"{self.target(state):.3g}, and Newton's method finds none nearby; polish it first."
            )
        return state

    def run(
        self,
        first: State,
        sign: float,
        *,
        between: tuple[float, float],
        points: int,
        step: float,
        longest: float,
        budget: float,
        told: Callable[[int], Any],
        on_point: Callable[[BranchPoint], Any] | None,
    ) -> Branch:
        here = self._looked(Reached(first, self._tangent(first, -1.0, sign * only_strength(first.theta))))
        branch: list[BranchPoint] = []
        events: list[Event] = []
        arclength, shortest = 0.0, 1e-8 * longest

        def accept(point: Reached, turned: float) -> None:
            branch.append(self._point(point, arclength, turned))
            told(self.equation.products)
            if on_point is not None:
                on_point(branch[-1])

        accept(here, 1.0)
        ended = ""
        while not ended:
            if len(branch) >= points:
                ended = f"{points} points were asked for"
            elif self.equation.products >= budget:
                ended = f"the budget of {budget:,.0f} products is spent"
            elif step < shortest:
                ended = f"no step above {shortest:.1g} is accepted"
            if ended:
                break
            there = self._stepped(here, step)
            if there is None:
                step *= 0.5
                continue
            there = self._looked(there)
            passed = found_between(here, there, len(branch) - 1, self._within(here, there, step))
            edge = next((bound for bound in between if (there.state.strength - bound) * (here.state.strength - bound) < 0), None)
            if edge is not None:
                landed = self._landed(here, there, edge)
                if landed is not None:
                    there, ended = self._looked(landed), f"λ reached {edge:g}"
                    way = (edge - here.state.strength) / (here.rate or math.inf)
                    step = abs(way) if math.isfinite(way) else step
            events += [event for event in passed if between[0] <= event.strength <= between[1]]
            if any(event.kind == "end" for event in passed):
                ended = "θ reached θ_ref"
                break
            arclength += step
            accept(there, torch.dot(here.tangent, there.tangent).item())
            if there.iterations <= 3 and torch.dot(here.tangent, there.tangent) > SMALL_TURN:
                step = min(1.5 * step, longest)
            here = there
        return Branch(tuple(branch), tuple(events), ended, self.equation.products, self.equation.gradients)

    def _within(self, here: Reached, there: Reached, length: float) -> Between:
        """How to reach what lies between two points."""

        def between(way: float, look: bool) -> Reached | None:
            strength = here.state.strength + way * (there.state.strength - here.state.strength)
            found = self._met(here, torch.lerp(here.state.theta, there.state.theta, way), strength, length)
            return found if found is None or not look else self._looked(found, 1e-8)

        return between

    def _met(self, here: Reached, theta: Tensor, strength: float, length: float) -> Reached | None:
        """The critical point next to a guess, on the plane through it across the tangent of `here`; None beyond `length`."""
        state = here.state
        corner = state.corner(here.tangent)
        guess = now = self.equation.at(theta, strength)
        for count in range(ITERATIONS + 1):
            if not math.isfinite(now.residual):
                return None
            if now.residual <= self.target(now):
                return Reached(now, self._tangent(now, corner, here.tangent), None, count, self._apart(now, guess))
            if self._apart(now, guess) > 2 * length:
                return None
            now = self._newton(now, here.tangent, corner, state.scale)
        return None

    def _stepped(self, here: Reached, length: float) -> Reached | None:
        state = here.state
        there = self._met(here, state.theta + length * here.tangent[:-1], state.strength + length * here.rate, length)
        if there is None or there.corrected > SHORT * length or torch.dot(there.tangent, here.tangent) < TURN:
            return None
        return there

    def _landed(self, here: Reached, there: Reached, strength: float) -> Reached | None:
        """The critical point of the branch at this λ, between the two."""
        way = (strength - here.state.strength) / (there.state.strength - here.state.strength)
        guess = self.equation.at(torch.lerp(here.state.theta, there.state.theta, way), strength)
        corner = there.state.corner(there.tangent)
        state, count = self._solved(guess, only_strength(guess.theta), corner, ITERATIONS - 1)
        if not state.residual <= self.target(state):
            return None
        return Reached(state, self._tangent(state, corner, there.tangent), None, count)

    def constrained(self, theta: Tensor, strength: float, along: Tensor) -> State | None:
        """The critical point next to a guess, λ free, that keeps `along`·θ; None where Newton's method finds none."""
        row = torch.cat([along, torch.zeros_like(along[:1])])
        state, _ = self._solved(self.equation.at(theta, strength), row, -1.0, 2 * ITERATIONS - 1)
        return state if state.residual <= self.target(state) else None

    def _solved(self, state: State, row: Tensor, corner: float, most: int) -> tuple[State, int]:
        """Where Newton's method that keeps row·(θ, βλ) ends: at a critical point, or after `most` steps; and how many it took."""
        for count in range(most):
            if state.residual <= self.target(state) or not math.isfinite(state.residual):
                return state, count
            state = self._newton(state, row, corner)
        return state, most

    def _newton(self, state: State, row: Tensor, corner: float, scale: float | None = None) -> State:
        """One step of Newton's method on F = 0 that keeps row·(θ, βλ), β = `scale`."""
        forcing, floor = min(1e-2, state.residual), 0.2 * self.target(state)
        limits: dict[str, Any] = {"max_products": self.longest_solve}
        right = torch.cat([-state.force, torch.zeros_like(state.force[:1])])
        back = state.solve(right, corner, tolerance=max(floor, forcing * state.residual), **limits)
        along = state.along(corner, tolerance=max(floor, forcing), **limits)
        weighed = row.clone()
        weighed[-1] *= (scale or state.scale) / state.scale
        rise = torch.dot(weighed, along).item()
        share = -torch.dot(weighed, back).item() / rise if rise != 0 else 0.0
        move = back + share * along
        return self.equation.at(state.theta + move[:-1], state.strength + move[-1].item() / state.scale)

    def _tangent(self, state: State, corner: float, like: Tensor) -> Tensor:
        """The unit tangent that points as `like` does."""
        precise = max(1e-8, 10 * torch.finfo(state.theta.dtype).eps)
        found = state.along(corner, tolerance=precise, max_products=self.longest_solve)
        found = found / found.norm()
        return found if torch.dot(found, like) >= 0 else -found

    def _apart(self, one: State, other: State) -> float:
        aside = (one.theta - other.theta).double().norm().item()
        return math.hypot(aside, other.scale * (one.strength - other.strength))

    def _looked(self, reached: Reached, tolerance: float = 1e-3) -> Reached:
        """The same with the lowest eigenpairs there, if any are asked for."""
        if not self.pairs:
            return reached
        state = reached.state
        away = None if self.symmetry is None else self.symmetry(state.theta)
        low = lowest(state, self.pairs, away, tolerance=tolerance, seed=self.seed)
        return replace(reached, low=low)

    def _point(self, reached: Reached, arclength: float, turned: float) -> BranchPoint:
        state, low = reached.state, reached.low
        return BranchPoint(
            theta=state.theta,
            strength=state.strength,
            arclength=arclength,
            rate=reached.rate,
            distance2=state.distance2,
            loss=state.loss,
            objective=state.objective,
            residual=state.residual,
            eigenvalues=torch.zeros(0, dtype=torch.float64) if low is None else low.values,
            index=None if low is None else low.index,
            index_is_bound=low is not None and low.index == len(low.values),
            turned=turned,
            products=self.equation.products,
        )
