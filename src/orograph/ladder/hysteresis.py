"""Hysteresis of a ladder that was climbed and descended: where the branches are, and where each of them ends.

Between the two ways lies a loop where their order parameters differ. Four strengths belong to it, and they are different numbers:

* the *Maxwell point*, where L_eff of both branches is equal;
* the *spinodal* of each branch, where its λ_min(H + 2λI) reaches zero and it ceases to be a minimum. Before a fold λ_min falls
  like the square root of the distance, where a symmetric state loses its stability it falls linearly; the law that fits the last
  points better is extended to zero. Beyond the last point it lies before the zero of the straight line through the last two,
  since a λ_min that falls like a root is concave; where it is convex, lines through successive pairs reach ever further, and one
  more step of theirs is granted;
* the *escape* of each way: the step of the ladder over which the optimiser left the branch. It may leave earlier than the
  spinodal, pushed by its noise, or later, where its steps stop short.

The loop's area is ∮ q dλ, the work lost on the way round.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray
from scipy.interpolate import CubicHermiteSpline

from orograph.brief import brief

Law = Literal["fold", "linear", "none", "followed"]
Interval = tuple[float, float]

_APART = 0.05  # difference of the order parameters, relative to the larger, from which two branches are two
_TAIL = 4  # last points of a branch to which a law is fitted


@brief
@dataclass(frozen=True)
class Spinodal:
    """Where a branch ceases to be a minimum.

    Attributes:
        last: the last strength at which the branch was followed.
        objective_lambda_min: of L_eff there.
        certificate: what that point is.
        estimate: where λ_min reaches zero by the law, NaN where it does not fall towards the branch's end.
        law: that fits better; `followed` where the branch itself was followed to its end, and nothing is extended.
        low: from which it lies, `last` on a way down to it; NaN where there is no estimate.
        high: to which it lies, `last` where that is above; NaN where there is no estimate.
    """

    last: float
    objective_lambda_min: float
    certificate: str
    estimate: float
    law: Law
    low: float = math.nan
    high: float = math.nan


@brief
@dataclass(frozen=True)
class Loop:
    """One stretch of the ladder on which the two ways differ.

    Attributes:
        low: first strength at which they do.
        high: last strength at which they do.
        maxwell: where both L_eff are equal, NaN where one way is lower throughout.
        maxwell_interval: the step that holds it.
        lower: `up`, `down`, or `both` in turn: the way of smaller L_eff.
        spinodal_up: of the branch of the way up.
        spinodal_down: of the branch of the way down.
        escape_up: the step over which the way up left its branch, its end infinite where the ladder ended first.
        escape_down: the same of the way down, its beginning −∞ where the ladder ended first.
        width: between the middles of the escapes; NaN where the ladder ended first.
        spinodal_width: between the spinodals; NaN where one is not known.
        area: ∮ q dλ.
        accuracy_area: the same of test accuracy, in percentage points times λ.
    """

    low: float
    high: float
    maxwell: float
    maxwell_interval: Interval
    lower: str
    spinodal_up: Spinodal
    spinodal_down: Spinodal
    escape_up: Interval
    escape_down: Interval
    width: float
    spinodal_width: float
    area: float
    accuracy_area: float


@brief
@dataclass(frozen=True, eq=False)
class Way:
    """One way along the ladder: arrays over strengths in ascending order, whichever way it was gone.

    Attributes:
        energy: `(T,)`, L_eff.
        order: `(T,)`, q.
        accuracy: `(T,)`, of the test set, in percent.
        objective_lambda_min: `(T,)`, of L_eff.
        certificates: of each point.
        uncertain: `(T,)`, by how much q may differ from that of the critical point nearby; 0 when None.
    """

    energy: Float[ndarray, " T"]
    order: Float[ndarray, " T"]
    accuracy: Float[ndarray, " T"]
    objective_lambda_min: Float[ndarray, " T"]
    certificates: tuple[str, ...]
    uncertain: Float[ndarray, " T"] | None = None


def apart(up: Float[ndarray, " T"], down: Float[ndarray, " T"]) -> Bool[ndarray, " T"]:
    """Where two order parameters differ by more than noise."""
    larger = np.maximum(np.abs(up), np.abs(down))
    return np.abs(up - down) > np.maximum(_APART * larger, 1e-6 * np.median(larger))


def loops(strengths: Float[ndarray, " T"], up: Way, down: Way) -> tuple[Loop, ...]:
    """All loops between two ways over the same ascending strengths.

    Args:
        strengths: λ, `(T,)`, ascending.
        up: the way that was climbed.
        down: the way that was descended, its arrays in ascending order too.

    Returns:
        One entry for each stretch on which the ways differ, by strength.
    """
    differ = apart(up.order, down.order)
    for way in (up, down):
        differ &= way.uncertain is None or np.abs(up.order - down.order) > way.uncertain
    edges = np.flatnonzero(np.diff(np.concatenate([[False], differ, [False]]).astype(int)))
    return tuple(_loop(strengths, up, down, first, stop - 1) for first, stop in edges.reshape(-1, 2).tolist())


def loop_area(strengths: Float[ndarray, " T"], up: Float[ndarray, " T"], down: Float[ndarray, " T"]) -> float:
    """∫ |up − down| dλ by trapezoids.

    Args:
        strengths: λ, `(T,)`, ascending.
        up: a quantity on the way up, `(T,)`.
        down: the same on the way down, `(T,)`.

    Returns:
        The area, in the unit of the quantity times that of λ.
    """
    return float(np.trapezoid(np.abs(up - down), strengths))


def _loop(strengths: ndarray, up: Way, down: Way, first: int, last: int) -> Loop:
    around = slice(max(0, first - 1), last + 2)
    maxwell, interval, lower = _maxwell(strengths, up, down, first, last)
    spinodal_up = spinodal(strengths, up, last, forward=True)
    spinodal_down = spinodal(strengths, down, first, forward=False)
    escape_up = (float(strengths[last]), float(strengths[last + 1]) if last + 1 < len(strengths) else math.inf)
    escape_down = (float(strengths[first - 1]) if first else -math.inf, float(strengths[first]))
    found = Loop(
        low=float(strengths[first]),
        high=float(strengths[last]),
        maxwell=maxwell,
        maxwell_interval=interval,
        lower=lower,
        spinodal_up=spinodal_up,
        spinodal_down=spinodal_down,
        escape_up=escape_up,
        escape_down=escape_down,
        width=math.nan,
        spinodal_width=math.nan,
        area=loop_area(strengths[around], up.order[around], down.order[around]),
        accuracy_area=loop_area(strengths[around], up.accuracy[around], down.accuracy[around]),
    )
    return with_ends(found, escape_up, escape_down, spinodal_up, spinodal_down)


def with_ends(loop: Loop, escape_up: Interval, escape_down: Interval, spinodal_up: Spinodal, spinodal_down: Spinodal) -> Loop:
    """The same loop with other ends, and its widths between them."""
    width = (sum(escape_up) - sum(escape_down)) / 2
    return replace(
        loop,
        escape_up=escape_up,
        escape_down=escape_down,
        spinodal_up=spinodal_up,
        spinodal_down=spinodal_down,
        width=width if math.isfinite(width) else math.nan,
        spinodal_width=spinodal_up.estimate - spinodal_down.estimate,
    )


def _maxwell(strengths: ndarray, up: Way, down: Way, first: int, last: int) -> tuple[float, Interval, str]:
    """Where the difference of L_eff is zero: the root of the cubic through its values and slopes, which are differences of q."""
    difference = (up.energy - down.energy)[first : last + 1]
    slope, place = (up.order - down.order)[first : last + 1], strengths[first : last + 1]
    signs = np.sign(difference)
    changes = np.flatnonzero((signs[:-1] * signs[1:] <= 0) & (signs[:-1] != signs[1:]))
    if not len(changes):
        return math.nan, (math.nan, math.nan), "up" if difference.sum() < 0 else "down"
    left = int(changes[0])
    ends = slice(left, left + 2)
    a, b = place[ends]
    linear = a + difference[left] / (difference[left] - difference[left + 1]) * (b - a)
    roots = CubicHermiteSpline(place[ends], difference[ends], slope[ends]).roots(extrapolate=False)
    nearest = min(roots, key=lambda root: abs(root - linear), default=linear)
    return float(nearest), (float(a), float(b)), "both"


def spinodal(strengths: Float[ndarray, " T"], way: Way, end: int, *, forward: bool) -> Spinodal:
    """Where a branch that was followed to the point `end` ceases to be a minimum.

    Args:
        strengths: λ, `(T,)`, ascending.
        way: along which the branch was followed.
        end: its last point, an index.
        forward: whether it was followed towards larger strengths.

    Returns:
        The last point and, where λ_min falls towards it, the strength at which it reaches zero.
    """
    tail = range(max(0, end - _TAIL + 1), end + 1) if forward else range(min(len(strengths) - 1, end + _TAIL - 1), end - 1, -1)
    x = np.array([strengths[index] for index in tail])
    y = np.array([way.objective_lambda_min[index] for index in tail])
    estimate, law = extended_to_zero(x, y)
    last, certificate = float(x[-1]), way.certificates[end]
    if not math.isfinite(estimate):
        return Spinodal(last, float(y[-1]), certificate, math.nan, "none")
    low, high = sorted((last, _furthest(x, y)))
    return Spinodal(last, float(y[-1]), certificate, min(max(estimate, low), high), law, low, high)


def _furthest(x: Float[ndarray, " n"], y: Float[ndarray, " n"]) -> float:
    """The furthest place at which falling values may be zero: that of the last pair's line, or one of the pairs' steps on."""

    def zero(index: int) -> float:
        return float(x[index] + y[index] * (x[index] - x[index - 1]) / (y[index - 1] - y[index]))

    found = [zero(-1)]
    if len(x) > 2 and y[-2] < y[-3]:
        found.append(2 * found[0] - zero(-2))
    return max(found, key=lambda place: (place - x[-1]) * math.copysign(1.0, x[-1] - x[-2]))


def extended_to_zero(x: Float[ndarray, " n"], y: Float[ndarray, " n"]) -> tuple[float, Law]:
    """Where y² or y, whichever is closer to a straight line in x, reaches zero; NaN where y is not positive or not falling."""
    if len(x) < 2 or not np.isfinite(y).all() or y[-1] <= 0 or y[-1] >= y[-2] or (y <= 0).any():
        return math.nan, "none"
    fits: dict[Law, tuple[float, float]] = {}
    for law, values in (("fold", y**2), ("linear", y)):
        slope, height = np.polyfit(x, values, 1)
        fitted = np.maximum(slope * x + height, 0.0)
        curve = np.sqrt(fitted) if law == "fold" else fitted
        fits[law] = (float(((curve - y) ** 2).sum()), float(-height / slope) if slope else math.nan)  # type: ignore[index]
    best: Law = "fold" if len(x) == 2 or fits["fold"][0] <= fits["linear"][0] else "linear"
    return fits[best][1], best


@dataclass(frozen=True)
class Comparison:
    """A loop's area held against that of another run.

    Attributes:
        area: of this run, over the strengths that both cover.
        other: of the other run.
        ratio: other/area; NaN where this run has none.
    """

    area: float
    other: float
    ratio: float


def compared(area: float, other: float) -> Comparison:
    """Two areas side by side."""
    return Comparison(area, other, other / area if area > 0 else math.nan)


def on_common(
    first: Mapping[float, float], second: Mapping[float, float]
) -> tuple[Float[ndarray, " T"], Float[ndarray, " T"], Float[ndarray, " T"]]:
    """Strengths that two series share, ascending, and the values of both there."""
    common = sorted(set(first) & set(second))
    return np.array(common), np.array([first[x] for x in common]), np.array([second[x] for x in common])
