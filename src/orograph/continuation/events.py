"""Events between two neighbouring points of a branch: found by a change of sign, placed by Brent's method, told apart by what
vanishes there.

Where an eigenvalue of A = H + 2λI vanishes with eigenvector φ, bᵀφ ≠ 0 makes λ turn (a fold), and where λ goes on bᵀφ = 0: a
point at which branches meet. Where only dq/ds vanishes nothing happens to the stability.

Where branches cross, F is a product of what vanishes on each: points nearer than √τ to the crossing fulfil the tolerance without
being on either. The crossing is placed from points further away, between which θ, λ and the eigenvalue are smooth, and what is
nearer than the √τ of those points is one: crossings, which make the kernel together, and an eigenvalue and zero. τ is 1e-12 where
float64 and the default allow it, and the rounding of float32.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
from scipy.interpolate import BarycentricInterpolator
from scipy.optimize import brentq

from orograph.continuation.branch import Event
from orograph.continuation.reached import Reached

_PLACED = 1e-10  # of the step: the precision of an event's place
_SAME = 1e-4  # of the step: events nearer than that are one, or nearer than they are known
_NODES = np.array([-0.3, -0.2, -0.1, 0.1, 0.2, 0.3])  # of the step: where points are met from which a branch point is placed
_GONE = 1e-6  # of the larger q of a step: a q that has vanished
_ACROSS = -1  # in the place of an eigenvalue's number, of a branch point where λ and q turn
_ZERO = 1e-6  # of the largest of the lowest eigenvalues, or of 1: one that has vanished, as far as it can be known

Guess = tuple[Reached, Reached, float]  # two points of the branch, and the share of the way from one to the other
Placed = tuple[str, int, float, Reached]  # kind, number of the eigenvalue, share of the step, the point there
Between = Callable[[Guess], Reached | None]  # the critical point next to a guess
Look = Callable[[Reached], Reached]  # the same with its lowest eigenpairs


class Stretch:
    """A step of a branch, and the points within it that have been met: the nearer two of them are, the less the next one takes.

    Args:
        here: the first point.
        there: the second.
        between: meets a point.
        look: finds its lowest eigenpairs.
        sharp: meets a point to a tighter tolerance, or as well as rounding allows.
        length: of the step.
        blur: √τ of the points of the branch: nearer than that to a crossing of branches they cannot be told from it.
        sharpness: the same of points that are met sharply.
    """

    here: Reached
    there: Reached
    length: float
    blur: float
    sharpness: float

    def __init__(
        self,
        here: Reached,
        there: Reached,
        between: Between,
        look: Look,
        *,
        sharp: Between,
        length: float,
        blur: float,
        sharpness: float,
    ) -> None:
        self.here, self.there, self._between, self._look, self._sharp = here, there, between, look, sharp
        self.length, self.blur, self.sharpness = length, blur, sharpness
        self._known = {0.0: here, 1.0: there}

    def at(self, way: float) -> Reached:
        """The point at a share of the step.

        Raises:
            ArithmeticError: none is met.
        """
        if way not in self._known:
            found = self._between(self._guess(way))
            if found is None:
                raise ArithmeticError
            self._known[way] = found
        return self._known[way]

    def looked_at(self, way: float) -> Reached:
        """The same with its lowest eigenpairs.

        Raises:
            ArithmeticError: none is met.
        """
        found = self.at(way)
        if way not in (0.0, 1.0) and found.low is None:
            found = self._known[way] = self._look(found)
        return found

    def sharply(self, ways: np.ndarray) -> list[Reached]:
        """Points beside the step, too, met to the tighter tolerance, with their lowest eigenpairs.

        Raises:
            ArithmeticError: one is not met.
        """
        found = [self._sharp(self._guess(float(way))) for way in ways]
        if any(each is None for each in found):
            raise ArithmeticError
        return [self.look(each) for each in found if each is not None]

    def look(self, point: Reached) -> Reached:
        """The same with its lowest eigenpairs."""
        return self._look(point)

    def _guess(self, way: float) -> Guess:
        """From the known points next to it; on the line through both ends where it lies beside the step."""
        if not 0 < way < 1:
            return self.here, self.there, way
        below = max(each for each in self._known if each < way)
        above = min(each for each in self._known if each > way)
        return self._known[below], self._known[above], (way - below) / (above - below)

    def nearest(self, value: Callable[[Reached], float]) -> float:
        """Of the points that were met and looked at, the one where a value is nearest to zero."""
        looked = [way for way, point in self._known.items() if way in (0.0, 1.0) or point.low is not None]
        return min(looked, key=lambda way: abs(value(self._known[way])))


def found_between(stretch: Stretch, after: int, arclength: float) -> list[Event]:
    """The events between two neighbouring points.

    Args:
        stretch: the step between them.
        after: number of the first.
        arclength: s of the first.

    Returns:
        In the order of the branch.
    """
    here, there = stretch.here, stretch.there
    folds, turns = here.rate * there.rate < 0, here.growth * there.growth < 0
    wanted: list[tuple[str, int, Callable[[Reached], float]]] = []
    if folds and turns and (event := _end(stretch, after, arclength)) is not None:
        return [event]
    if folds:
        wanted.append(("fold", -1, lambda point: point.rate))
    if turns:
        wanted.append(("turn", -1, lambda point: point.growth))
    if here.low is not None and there.low is not None:
        first, second = here.low.index, there.low.index
        passing = range(min(first, second), max(first, second))
        passing = passing[:0] if folds and len(passing) == 1 else passing  # the fold's own
        wanted += [("branch", number, _eigenvalue(number)) for number in passing if number < len(here.low.values)]
    placed = [
        (kind, number, *found)
        for kind, number, value in wanted
        if (found := _placed(value, stretch, look=kind == "branch")) is not None
    ]
    placed = _met_across(stretch, placed)
    same = max(_SAME, stretch.sharpness / stretch.length)
    passed = [(way, list[int]()) for kind, _, way, _ in placed if kind == "fold"]  # with the eigenvalues that vanish there
    crossings = [way for kind, _, way, _ in placed if kind == "branch"]
    told: list[tuple[str, float, Reached, list[int]]] = []
    for kind, number, way, point in sorted(placed, key=lambda each: each[2]):
        numbers = next((numbers for other, numbers in passed if abs(way - other) < same), None)
        if kind == "branch":
            if numbers is not None:  # one of the fold's, or a further one of a kernel
                numbers.append(number)
                continue
            numbers = [number]
            passed.append((way, numbers))
        if kind == "turn" and any(abs(way - other) < max(_SAME, stretch.blur / stretch.length) for other in crossings):
            continue  # q turns where branches meet
        told.append((kind, way, point, [] if kind == "turn" or numbers is None else numbers))
    return [_event(stretch, kind, after, arclength, way, point, numbers) for kind, way, point, numbers in told]


def _met_across(stretch: Stretch, placed: list[Placed]) -> list[Placed]:
    """A fold and a turn in one place are a branch point, passed along a branch on which λ and q both turn, as of a pitchfork."""
    own = {kind: (way, point) for kind, _, way, point in placed if kind != "branch"}
    if len(own) < 2 or stretch.here.low is None or abs(own["fold"][0] - own["turn"][0]) > _NODES[-1]:
        return placed
    fold = _sharpened(lambda point: point.rate, stretch, *own["fold"])
    turn = _sharpened(lambda point: point.growth, stretch, *own["turn"])
    if abs(fold[0] - turn[0]) > _SAME:
        return placed
    return [("branch", _ACROSS, *fold), *(each for each in placed if each[0] == "branch")]


def _end(stretch: Stretch, after: int, arclength: float) -> Event | None:
    """θ passes through θ_ref, critical at every λ: there the branch ends, at the λ where the curvature along its way vanishes."""
    here, there = stretch.here, stretch.there
    placed = _placed(lambda point: point.growth, stretch, look=False)
    if placed is None:
        return None
    state, low = placed[1].state, placed[1].low
    if state.distance2 > _GONE * max(here.state.distance2, there.state.distance2):
        return None
    way = here.state.theta - state.theta
    way = way / way.norm()
    curvature = torch.dot(way, state.product(way)).item()
    if low is not None:  # of the eigenvector on which it lies: the way is that one only in the limit
        curvature = low.values[(low.vectors @ way).abs().argmax().item()].item()
    met = state.equation.at(state.theta, state.strength - curvature / 2)
    return _event(stretch, "end", after, arclength, placed[0], Reached(met, placed[1].tangent), [])


def _eigenvalue(number: int) -> Callable[[Reached], float]:
    def value(point: Reached) -> float:
        assert point.low is not None  # asked for with `look`
        return point.low.values[number].item()

    return value


def _placed(value: Callable[[Reached], float], stretch: Stretch, *, look: bool) -> tuple[float, Reached] | None:
    """Where a value passes zero, as a share of the step, and the point there; None where it keeps its sign or none is met.

    With `look` the value is one of the lowest eigenvalues, which are otherwise found in the end alone: zero where it is noise, as
    at an end of the step it may be where the index changes.
    """

    def at(way: float) -> float:
        point = stretch.looked_at(way) if look else stretch.at(way)
        found = value(point)
        return 0.0 if look and point.low is not None and abs(found) <= point.low.noise else found

    ends = at(0.0), at(1.0)
    in_noise = look and 0.0 in ends  # the index has changed: it passes zero
    if not in_noise and not ends[0] * ends[1] < 0:
        return None
    try:
        way = float(brentq(at, 0.0, 1.0, xtol=_PLACED, rtol=1e-14, maxiter=60, disp=False))
        point = stretch.looked_at(way)
    except ArithmeticError:
        way = stretch.nearest(value)
        point = stretch.looked_at(way)
    return _sharpened(value, stretch, way, point) if look else (way, point)


def _sharpened(value: Callable[[Reached], float], stretch: Stretch, way: float, point: Reached) -> tuple[float, Reached]:
    """A branch point from polynomials through points around it; as it was where they do not say it better."""
    try:
        nodes = stretch.sharply(way + _NODES)
    except ArithmeticError:
        return way, point
    values = np.array([value(node) for node in nodes])
    inner = slice(1, -1)
    if not values[2] * values[3] < 0:
        return way, point
    aside, rough = (
        brentq(BarycentricInterpolator(_NODES[part], values[part]), _NODES[2], _NODES[3], xtol=1e-15)
        for part in (slice(None), inner)
    )
    if not abs(aside - rough) < abs(aside):  # it was known better than the polynomials know it
        return way, point
    shares = BarycentricInterpolator(_NODES, np.eye(len(_NODES)))(aside)
    theta = torch.stack([node.state.theta for node in nodes]).T @ torch.from_numpy(shares).to(point.state.theta)
    strength = float(shares @ [node.state.strength for node in nodes])
    return way + aside, stretch.look(Reached(point.state.equation.at(theta, strength), point.tangent))


def _event(stretch: Stretch, kind: str, after: int, arclength: float, way: float, point: Reached, numbers: list[int]) -> Event:
    """What is told of it; `numbers` are of the lowest eigenvalues: of those that pass zero there."""
    state, low = point.state, point.low
    nearest, kernel = math.nan, state.theta.new_zeros(0, len(state.theta))
    if low is not None:
        sizes = low.values.abs()
        vanished = sizes <= max(_ZERO, stretch.sharpness) * sizes.max().clamp_min(1.0)
        vanished[[number for number in numbers if number >= 0]] = True
        kernel = low.vectors[vanished.to(low.vectors.device)]
        nearest = low.values[sizes.argmin()].item()
    return Event(
        kind=kind,
        after=after,
        arclength=arclength + way * stretch.length,
        theta=state.theta,
        strength=state.strength,
        distance2=state.distance2,
        objective=state.objective,
        eigenvalue=nearest,
        kernel=kernel,
        residual=state.residual,
        turns=kind == "branch" and _ACROSS in numbers,
    )
