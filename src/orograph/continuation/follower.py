"""Pseudo-arclength continuation, matrix-free, one step at a time: a branch of critical points of L + λ‖θ − θ_ref‖².

A step predicts along the unit tangent, and Newton's corrector meets F = 0 on the plane across it: two bordered systems, combined
so that the plane's row holds (Keller 1977; Govaerts, "Numerical methods for bifurcations of dynamical equilibria", 2000). It is
accepted where the corrector is short beside the step and the tangent has turned little: else it may have reached another branch.
A step depends on where it begins alone (`Standing`), so that a branch that was left can be gone on with to the same bits.
"""

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from orograph.continuation.branch import BranchPoint, Event
from orograph.continuation.equation import Equation, State, only_strength
from orograph.continuation.events import Between, Guess, Stretch, found_between
from orograph.continuation.reached import Reached
from orograph.continuation.stability import Lowest, lowest
from orograph.curvature import HessianOperator
from orograph.errors import ConfigurationError
from orograph.geometry.smoothness import require_smooth
from orograph.objective import Objective
from orograph.training.polishing import gradient_target

TURN, SMALL_TURN = 0.95, 0.995  # cosines between tangents: a step is refused below the first, the next longer above the second
SHORT = 0.35  # of the step: the longest way that a corrector may take
ITERATIONS = 8  # of a corrector
SHARPER = 1e-3  # of the tolerance, rounding allowing: how well the points are met from which a branch point is placed
STALLED = 0.5  # of ‖∇L_eff‖: what a step of Newton's method leaves, at least, where rounding alone is left of it
MET_AGAIN = 1e-3  # of the step: nearer than that to the start the branch has come back to it
CLOSED = "the branch closed"

Symmetry = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Limits:
    """How far a branch is followed.

    Attributes:
        between: λ beyond which it ends.
        longest: step in s.
        products: Hessian-vector products to spend at most, counted after each try of a step.
    """

    between: tuple[float, float]
    longest: float
    products: float = math.inf

    def __post_init__(self) -> None:
        low, high = self.between
        if not low < high:
            raise ConfigurationError(f"λ must lie in a range; {low} is not below {high}.")

    def passed(self, strength: float) -> float | None:
        """The bound beyond which a λ lies; None where it lies within."""
        low, high = self.between
        return low if strength < low else high if strength > high else None


@dataclass(frozen=True, eq=False)
class Standing:
    """Where the following of a branch stands: all that its next step depends on.

    Attributes:
        reached: the last point with its tangent and its lowest eigenpairs.
        arclength: s there.
        turned: cosine of the angle between the tangent there and that of the point before.
        step: length of the next step.
    """

    reached: Reached
    arclength: float
    turned: float
    step: float


@dataclass(frozen=True, eq=False)
class Origin:
    """Where a branch began, and where it ends if it comes back.

    Attributes:
        theta: `(P,)`.
        strength: λ.
        tangent: `(P + 1,)`, unit, of (θ, βλ), in the direction of the branch.
        low: the lowest eigenpairs; None if none are asked for.
    """

    theta: Float[Tensor, " P"]
    strength: float
    tangent: Float[Tensor, " n"]
    low: Lowest | None


@dataclass(frozen=True, eq=False)
class Step:
    """What one step found.

    Attributes:
        events: between the two points, in order.
        standing: where it ends; None where no point was accepted.
        ended: why the branch ends here, in words; empty where it goes on.
    """

    events: tuple[Event, ...]
    standing: Standing | None
    ended: str


def default_tolerance(dtype: torch.dtype) -> float:
    """τ of ‖∇L_eff‖, as far as the dtype's rounding lets it be met."""
    return 1e-9 if dtype == torch.float64 else 1e-5


def require_followable(objective: Objective, positive: Mapping[str, float | None]) -> None:
    """Refuses numbers that are not positive, and a loss without second derivatives.

    Args:
        objective: of the branch.
        positive: by name; None where none was given.

    Raises:
        ConfigurationError: naming the first.
    """
    for name, value in positive.items():
        if value is not None and not 0 < value < math.inf:
            raise ConfigurationError(f"`{name}` {value} must be positive and finite.")
    require_smooth(objective, "A branch needs", "is not.")


def require_penalty(strength: float) -> None:
    """Refuses to begin at a λ below 0.

    Raises:
        ConfigurationError: naming it.
    """
    if not strength >= 0:
        raise ConfigurationError(f"λ = {strength} of the objective must be at least 0: branches are of a penalty.")


def size_of(distance: float, strength: float, dtype: torch.dtype) -> float:
    """A length in s of which steps are parts: ‖θ − θ_ref‖; at θ_ref itself, up to rounding, s is λ."""
    return distance if distance > torch.finfo(dtype).eps ** 0.5 else strength or 1.0


class Follower:
    """The equation, what is asked of its solutions, and the way from one to the next; τ follows the dtype where none is given."""

    equation: Equation
    tolerance: float
    pairs: int
    symmetry: Symmetry | None
    seed: int
    longest_solve: int

    def __init__(self, objective: Objective, tolerance: float | None, pairs: int, symmetry: Symmetry | None, seed: int) -> None:
        tolerance = default_tolerance(objective.dtype) if tolerance is None else tolerance
        self.equation = Equation(objective, HessianOperator.of(objective))
        self.tolerance, self.pairs, self.symmetry, self.seed = tolerance, pairs, symmetry, seed
        self.enough = tolerance  # where a tighter one is asked for than rounding lets through
        self.longest_solve = 20 * objective.layout.size + 200

    def target(self, state: State, tolerance: float | None = None) -> float:
        return gradient_target(tolerance or self.tolerance, state.strength, state.distance2**0.5)

    def begin(self, theta: Tensor, strength: float) -> State:
        """The start, put right by Newton's method where a few steps do."""
        first = self.equation.at(theta, strength)
        before, allowed = first.residual, 0.1 * max(theta.norm().item(), 1.0)
        state, _ = self.solved(first, only_strength(theta), -1.0, ITERATIONS)
        moved = (state.theta - theta).norm().item()
        if not state.residual <= self.target(state) or moved > allowed:
            raise ConfigurationError(
                f"The start is no critical point at λ = {strength}: its gradient's norm is {before:.3g}, above "
                f"{self.target(state):.3g}, and Newton's method finds none nearby; polish it first."
            )
        return state

    def standing(self, first: State, like: Float[Tensor, " n"], step: float) -> Standing:
        """The beginning of a branch, whose tangent points as `like` does, `(P + 1,)`."""
        return Standing(self.looked(Reached(first, self._tangent(first, -1.0, like))), 0.0, 1.0, step)

    def restored(
        self,
        theta: Float[Tensor, " P"],
        strength: float,
        tangent: Float[Tensor, " n"],
        low: Lowest | None,
        *,
        arclength: float,
        turned: float,
        step: float,
        products: int,
    ) -> Standing:
        """Where a branch was left, with the count of products that it had taken."""
        state = self.equation.at(theta, strength)
        self.equation.products = products
        return Standing(Reached(state, tangent, low), arclength, turned, step)

    def advance(self, standing: Standing, limits: Limits, after: int, origin: Origin | None = None) -> Step:
        """The next point, by as many tries of shorter and shorter steps as it takes.

        Args:
            standing: where the branch stands.
            limits: how far to go.
            after: number of the point there, for the events that follow it.
            origin: where the branch began; None: it is not asked whether it comes back.

        Returns:
            The point and what lies before it, or why there is none.
        """
        here, step = standing.reached, standing.step
        shortest = 1e-8 * limits.longest
        while True:
            if self.equation.products >= limits.products:
                return Step((), None, f"the budget of {limits.products:,.0f} products is spent")
            if step < shortest:
                return Step((), None, f"no step above {shortest:.1g} is accepted")
            there = self._stepped(here, step)
            edge = None if there is None else limits.passed(there.state.strength)
            if edge is not None and edge == here.state.strength:
                return Step((), None, f"λ reached {edge:g}")
            landed = None if there is None or edge is None else self.landed(here, there, edge)
            if there is not None and (edge is None or landed is not None):  # what is not met at a bound, shorter steps approach
                break
            step *= 0.5
        closing = None if origin is None else self._closing(here, there, origin, step)
        if closing is None:
            there, ended = self.looked(there), ""
        else:
            there, step, ended, edge = *closing, CLOSED, None  # a bound that is passed lies behind the start
        stretch = self._stretch(here, there, step)
        passed = found_between(stretch, after, standing.arclength)
        if edge is not None and landed is not None:
            there, ended = self.looked(landed), f"λ reached {edge:g}"
            way = (edge - here.state.strength) / (here.rate or math.inf)
            step = abs(way) if math.isfinite(way) else step
        events = tuple(event for event in passed if limits.passed(event.strength) is None)
        if any(event.kind == "end" for event in passed):
            return Step(events, None, "θ reached θ_ref")
        turned = torch.dot(here.tangent, there.tangent).item()
        longer = there.iterations <= 3 and turned > SMALL_TURN
        following = min(1.5 * step, limits.longest) if longer else step
        return Step(events, Standing(there, standing.arclength + step, turned, following), ended)

    def point(self, standing: Standing) -> BranchPoint:
        """What is told of it."""
        state, low = standing.reached.state, standing.reached.low
        return BranchPoint(
            theta=state.theta,
            strength=state.strength,
            arclength=standing.arclength,
            rate=standing.reached.rate,
            distance2=state.distance2,
            loss=state.loss,
            objective=state.objective,
            residual=state.residual,
            eigenvalues=torch.zeros(0, dtype=torch.float64) if low is None else low.values,
            index=None if low is None else low.index,
            index_is_bound=low is not None and low.index == len(low.values),
            turned=standing.turned,
            products=self.equation.products,
        )

    def _closing(self, here: Reached, there: Reached, origin: Origin, length: float) -> tuple[Reached, float] | None:
        """The start as a point of the branch, and the way to it, where a step passes it; else None."""
        state = here.state
        away = torch.cat([origin.theta - state.theta, state.theta.new_tensor([state.scale * (origin.strength - state.strength)])])
        gone = torch.dot(away, here.tangent).item()
        if not 0 < gone <= length or away.norm().item() > 2 * length:
            return None
        met = self._within(here, length)((here, there, gone / length))  # on the plane through the start
        if met is None or torch.dot(met.tangent, origin.tangent) < TURN:
            return None
        start = self.equation.at(origin.theta, origin.strength)
        if self.apart(met.state, start) > MET_AGAIN * length:
            return None
        return Reached(start, origin.tangent, origin.low, there.iterations), gone

    def _stretch(self, here: Reached, there: Reached, step: float) -> Stretch:
        """A step, as events are sought on it: points are met better than they are followed, too, as far as rounding allows."""
        sharper = copy.copy(self)
        sharper.tolerance = max(SHARPER * self.tolerance, torch.finfo(here.state.theta.dtype).eps)
        sharper.enough = self.tolerance
        return Stretch(
            here,
            there,
            self._within(here, step),
            lambda point: self.looked(point, max(1e-8, 10 * torch.finfo(here.state.theta.dtype).eps)),
            sharp=sharper._within(here, step),
            length=step,
            blur=self.tolerance**0.5,
            sharpness=sharper.tolerance**0.5,
        )

    def _within(self, here: Reached, length: float) -> Between:
        """How to reach what lies between two points: on the planes across the tangent of the first."""

        def between(guess: Guess) -> Reached | None:
            one, other, way = guess
            strength = one.state.strength + way * (other.state.strength - one.state.strength)
            return self._met(here, torch.lerp(one.state.theta, other.state.theta, way), strength, length)

        return between

    def _met(self, here: Reached, theta: Tensor, strength: float, length: float) -> Reached | None:
        """The critical point next to a guess, on the plane through it across the tangent of `here`; None beyond `length`."""
        state = here.state
        corner = state.corner(here.tangent)
        guess = now = self.equation.at(theta, strength)
        before = math.inf
        for count in range(ITERATIONS + 1):
            if not math.isfinite(now.residual):
                return None
            stalled = now.residual > STALLED * before and now.residual <= self.target(now, self.enough)
            if stalled or now.residual <= self.target(now):
                return Reached(now, self._tangent(now, corner, here.tangent), None, count, self.apart(now, guess))
            if self.apart(now, guess) > 2 * length:
                return None
            before = now.residual
            now = self._newton(now, here.tangent, corner, state.scale)
        return None

    def _stepped(self, here: Reached, length: float) -> Reached | None:
        state = here.state
        there = self._met(here, state.theta + length * here.tangent[:-1], state.strength + length * here.rate, length)
        if there is None or there.corrected > SHORT * length or torch.dot(there.tangent, here.tangent) < TURN:
            return None
        return there

    def landed(self, here: Reached, there: Reached, strength: float) -> Reached | None:
        """The critical point of the branch at this λ, between the two."""
        way = (strength - here.state.strength) / (there.state.strength - here.state.strength)
        guess = self.equation.at(torch.lerp(here.state.theta, there.state.theta, way), strength)
        corner = there.state.corner(there.tangent)
        state, count = self.solved(guess, only_strength(guess.theta), corner, ITERATIONS - 1)
        if not state.residual <= self.target(state):
            return None
        return Reached(state, self._tangent(state, corner, there.tangent), None, count)

    def constrained(self, theta: Tensor, strength: float, along: Tensor) -> State | None:
        """The critical point next to a guess, λ free, that keeps `along`·θ; None where Newton's method finds none."""
        row = torch.cat([along, torch.zeros_like(along[:1])])
        state, _ = self.solved(self.equation.at(theta, strength), row, -1.0, 2 * ITERATIONS - 1)
        return state if state.residual <= self.target(state) else None

    def solved(self, state: State, row: Tensor, corner: float, most: int) -> tuple[State, int]:
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
        held = row[-1] != 0 and not row[:-1].any()  # λ alone is kept, and then to its last bit
        strength = state.strength if held else state.strength + move[-1].item() / state.scale
        return self.equation.at(state.theta + move[:-1], strength)

    def _tangent(self, state: State, corner: float, like: Tensor) -> Tensor:
        """The unit tangent that points as `like` does."""
        precise = max(1e-8, 10 * torch.finfo(state.theta.dtype).eps)
        found = state.along(corner, tolerance=precise, max_products=self.longest_solve)
        found = found / found.norm()
        return found if torch.dot(found, like) >= 0 else -found

    def apart(self, one: State, other: State) -> float:
        """The way between two states in (θ, βλ), β that of the second."""
        aside = (one.theta - other.theta).double().norm().item()
        return math.hypot(aside, other.scale * (one.strength - other.strength))

    def looked(self, reached: Reached, tolerance: float = 1e-3) -> Reached:
        """The same with the lowest eigenpairs there, if any are asked for."""
        if not self.pairs:
            return reached
        state = reached.state
        away = None if self.symmetry is None else self.symmetry(state.theta)
        low = lowest(state, self.pairs, away, tolerance=tolerance, seed=self.seed)
        return replace(reached, low=low)
