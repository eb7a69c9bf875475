"""Events between two neighbouring points of a branch: found by a change of sign, placed by Brent's method, told apart by what
vanishes there.

Where an eigenvalue of A = H + 2λI vanishes with eigenvector φ, bᵀφ ≠ 0 makes λ turn (a fold), and where λ goes on bᵀφ = 0: a
point at which branches meet. Where only dq/ds vanishes nothing happens to the stability.
"""

import math
from collections.abc import Callable

import torch
from scipy.optimize import brentq

from orograph.continuation.branch import Event
from orograph.continuation.reached import Reached

_PLACED = 1e-10  # of the step: the precision of an event's place
_SAME = 1e-4  # of the step: events nearer than that are one
_ZERO = 1e-6  # of the largest of the lowest eigenvalues, or of 1: an eigenvalue that has vanished

Between = Callable[[float, bool], Reached | None]  # the critical point at a share of the step, looked at or not


def found_between(here: Reached, there: Reached, after: int, between: Between) -> list[Event]:
    """The events between two neighbouring points.

    Args:
        here: the first point.
        there: the second.
        after: number of the first.
        between: `(share of the step, whether its lowest eigenpairs are wanted) → ` the point there; None where none is met.

    Returns:
        In the order of the branch.
    """
    folds, turns = here.rate * there.rate < 0, here.growth * there.growth < 0
    wanted: list[tuple[str, Callable[[Reached], float]]] = []
    if folds and turns and (event := _end(here, there, after, between)) is not None:
        return [event]
    if folds:
        wanted.append(("fold", lambda point: point.rate))
    if turns:
        wanted.append(("turn", lambda point: point.growth))
    if here.low is not None and there.low is not None:
        first, second = here.low.index, there.low.index
        passing = range(min(first, second), max(first, second))
        wanted += [("branch", _eigenvalue(number)) for number in passing if number < len(here.low.values)]
    placed = [(kind, *found) for kind, value in wanted if (found := _placed(value, here, there, between)) is not None]
    seen: list[float] = [way for kind, way, _ in placed if kind == "fold"]
    events = []
    for kind, way, point in sorted(placed, key=lambda each: each[1]):
        if kind == "branch":
            if any(abs(way - other) < _SAME for other in seen):  # the fold's own, or a further one of a kernel
                continue
            seen.append(way)
        events.append(_event(kind, after, point))
    return events


def _end(here: Reached, there: Reached, after: int, between: Between) -> Event | None:
    """θ passes through θ_ref, critical at every λ: there the branch ends, at the λ where the curvature along its way vanishes."""
    placed = _placed(lambda point: point.growth, here, there, between)
    if placed is None:
        return None
    state, low = placed[1].state, placed[1].low
    if state.distance2 > _ZERO * max(here.state.distance2, there.state.distance2):
        return None
    way = here.state.theta - state.theta
    way = way / way.norm()
    curvature = torch.dot(way, state.product(way)).item()
    if low is not None:  # of the eigenvector on which it lies: the way is that one only in the limit
        curvature = low.values[(low.vectors @ way).abs().argmax().item()].item()
    met = state.equation.at(state.theta, state.strength - curvature / 2)
    return _event("end", after, Reached(met, placed[1].tangent))


def _eigenvalue(number: int) -> Callable[[Reached], float]:
    def value(point: Reached) -> float:
        assert point.low is not None  # asked for with `look`
        return point.low.values[number].item()

    return value


def _placed(value: Callable[[Reached], float], here: Reached, there: Reached, between: Between) -> tuple[float, Reached] | None:
    """Where a value passes zero, as a share of the step, and the point there; None where it keeps its sign or none is met."""
    known = {0.0: here, 1.0: there}

    def at(way: float) -> float:
        if way not in known:
            found = between(way, True)
            if found is None:
                raise ArithmeticError
            known[way] = found
        return value(known[way])

    if not at(0.0) * at(1.0) < 0:
        return None
    try:
        way = float(brentq(at, 0.0, 1.0, xtol=_PLACED, rtol=1e-14, maxiter=60))
        at(way)
    except ArithmeticError:
        way = min(known, key=lambda each: abs(value(known[each])))
    return way, known[way]


def _event(kind: str, after: int, point: Reached) -> Event:
    state, low = point.state, point.low
    nearest, kernel = math.nan, state.theta.new_zeros(0, len(state.theta))
    if low is not None:
        sizes = low.values.abs()
        kernel = low.vectors[(sizes <= _ZERO * sizes.max().clamp_min(1.0)).to(low.vectors.device)]
        nearest = low.values[sizes.argmin()].item()
    return Event(
        kind=kind,
        after=after,
        theta=state.theta,
        strength=state.strength,
        distance2=state.distance2,
        objective=state.objective,
        eigenvalue=nearest,
        kernel=kernel,
        residual=state.residual,
    )
