"""Transitions along a ladder: jumps and kinks of the order parameter first, what else changes there, and their order.

The order parameter q = ‖θ − θ_ref‖² is the slope of F(λ), so that a jump of q is a transition of first order and a kink of q one
of second order (Ehrenfest 1933). A ladder cannot tell a jump from a steep slope between two of its points. Points inserted around
it can: as the interval shrinks, Δq over it stays, so that it is ever steeper than what lies beside it (first order); or it
vanishes while the difference of the slopes on both sides remains (second order); or that vanishes with the interval (none).
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from orograph.brief import brief
from orograph.geometry.correlation import holm
from orograph.ladder.changes import ChangePoint

Order = Literal["first", "second", "none", "unresolved"]

_STEEPER = 3.0  # least steepness of a jump, relative to the slopes beside it
_LEAST = 0.1  # relative difference of the slopes beside a kink
_WIDER = 4.0  # reach of the slopes that those right beside the interval are held against, in its widths
_RESOLVED = 0.5  # exponent of the slopes' difference with distance: 1 in a smooth bend, 0 at a kink, below at a root
_SHRUNK = 8.0  # by which the interval must have shrunk for an order to be given
_ROUNDING = 1 + 1e-9  # of a width that is to be reached


@brief
@dataclass(frozen=True)
class Judgement:
    """The order of a transition, and what it was judged by.

    Attributes:
        order: `first`, `second`, `none`, or `unresolved` where too few points have been inserted.
        low: lower end of the interval that now holds it.
        high: its upper end.
        width: of that interval.
        shrinkage: of the ladder's interval in units of it.
        change: Δq over it, in the direction of rising λ.
        steepness: |Δq|/width relative to the steeper of the slopes beside it.
        exponent: α of |Δq| ∝ h^α between the ladder's interval and this one.
        slopes: dq/dλ on its left and on its right.
        bend: exponent with which their difference shrinks with the distance between them; NaN where it is not known.
    """

    order: Order
    low: float
    high: float
    width: float
    shrinkage: float
    change: float
    steepness: float
    exponent: float
    slopes: tuple[float, float]
    bend: float = math.nan


@brief
@dataclass(frozen=True)
class Zoom:
    """How closely the points there are enclose a transition.

    Attributes:
        kind: `jump` or `kink`, as it looks from near.
        points: two around a jump, four evenly spaced ones around a kink, which lies between the second and the third.
        wanted: where a point is needed next; None where the interval is narrow enough.
    """

    kind: str
    points: tuple[float, ...]
    wanted: float | None

    @property
    def low(self) -> float:
        return self.points[len(self.points) // 2 - 1]

    @property
    def high(self) -> float:
        return self.points[len(self.points) // 2]

    @property
    def width(self) -> float:
        return self.high - self.low


def zoom(
    known: Mapping[float, float],
    ladder: Sequence[float],
    kind: str,
    interval: tuple[float, float],
    width: float = 0.0,
    *,
    sure: bool = False,
) -> Zoom:
    """Encloses a transition by halving intervals, as far as points are known.

    Around a jump the half over which q changes more is kept. Around a kink all three intervals are halved, and those three kept
    whose outer slopes differ most; an interval that is much steeper than both beside it is gone on with as a jump. What looked
    like a jump and is hardly steeper than what lies beside it, once its interval is an eighth, is gone on with as a kink. At last
    a jump gets a companion on either side at the distance of its width, for its slopes.

    Args:
        known: q by λ, the ladder's points among them.
        ladder: strengths of the ladder, ascending.
        kind: `jump` or `kink`.
        interval: the ladder's step in which the change was seen.
        width: how narrow the interval must become; 0 goes as far as points are known.
        sure: that it is in this step and in none beside it.

    Returns:
        The points that enclose the transition, and where the next one is wanted.
    """
    first = ladder.index(interval[0])
    ends = (ladder[0], ladder[-1])
    around = range(first, first + 1) if sure else range(max(0, first - 1), min(len(ladder) - 1, first + 2))
    # A step beside it holds the jump only where a search has missed its place: q changes far more there.
    start = max(around, key=lambda i: abs(known[ladder[i + 1]] - known[ladder[i]]) * (_STEEPER if i == first else 1.0))
    own = {x: known[x] for x in ladder}
    if kind == "jump" or _steepness(own, ladder[start], ladder[start + 1]) >= _STEEPER:
        found = _around_jump(known, ladder[start], ladder[start + 1], width, ends)
        if found is not None:
            return found
    start = min(max(0, first - 1), len(ladder) - 4)
    return _around_kink(known, list(ladder[start : start + 4]), width, ends)


def _around_jump(known: Mapping[float, float], low: float, high: float, width: float, ends: tuple[float, float]) -> Zoom | None:
    """None where it turns out to be none."""
    whole = high - low
    while high - low > width * _ROUNDING:
        middle = _middle(low, high)
        if middle not in known or not low < middle < high:
            return Zoom("jump", (low, high), middle if low < middle < high else None)
        left, right = abs(known[middle] - known[low]), abs(known[high] - known[middle])
        low, high = (low, middle) if left > right else (middle, high)
        if whole > _SHRUNK * (high - low) / _ROUNDING and _steepness(known, low, high) < _STEEPER:
            return None
    companions = [_plain(low - (high - low)), _plain(high + (high - low))]
    missing = [place for place in companions if ends[0] < place < ends[1] and place not in known]
    return Zoom("jump", (low, high), missing[0] if missing else None)


def _around_kink(known: Mapping[float, float], points: list[float], width: float, ends: tuple[float, float]) -> Zoom:
    while max(b - a for a, b in itertools.pairwise(points)) > width * _ROUNDING:
        middles = [_middle(a, b) for a, b in itertools.pairwise(points)]
        missing = [middle for middle in middles if middle not in known]
        if missing:
            return Zoom("kink", tuple(points), missing[0] if missing[0] not in points else None)
        every = sorted({*points, *middles})
        slopes = [(known[b] - known[a]) / (b - a) for a, b in itertools.pairwise(every)]
        steepest = max(range(1, len(slopes) - 1), key=lambda i: abs(slopes[i]))
        beside = max(abs(slopes[steepest - 1]), abs(slopes[steepest + 1]))
        if abs(slopes[steepest]) >= _STEEPER * beside:
            found = _around_jump(known, every[steepest], every[steepest + 1], width, ends)
            if found is not None:
                return found
        best = max(range(1, len(slopes) - 1), key=lambda i: abs(slopes[i + 1] - slopes[i - 1]))
        points = every[best - 1 : best + 3]
    return Zoom("kink", tuple(points), None)


def _middle(low: float, high: float) -> float:
    return _plain((low + high) / 2)


def _plain(strength: float) -> float:
    """Ten significant digits, as the ladder has: what is inserted once is found again."""
    return float(f"{strength:.10g}")


def judge(
    known: Mapping[float, float], ladder: Sequence[float], kind: str, interval: tuple[float, float], *, sure: bool = False
) -> Judgement:
    """The order of the transition in an interval of the ladder, from all points now there.

    Args:
        known: q by λ, inserted points included.
        ladder: strengths of the ladder, ascending.
        kind: `jump` or `kink`.
        interval: the ladder's step in which the change was seen.
        sure: that it is in this step and in none beside it.

    Returns:
        The order, and the numbers that it was judged by.
    """
    found = zoom(known, ladder, kind, interval, sure=sure)
    shrinkage = (interval[1] - interval[0]) / found.width
    change = known[found.high] - known[found.low]
    start = min(ladder, key=lambda x: abs(x - found.low) if x <= found.low else math.inf)
    stop = ladder[min(ladder.index(start) + 1, len(ladder) - 1)]
    coarse = known[stop] - known[start]
    exponent = math.log(abs(coarse / change)) / math.log(shrinkage) if shrinkage > 1 and coarse and change else math.nan
    before, after = slopes_beside(known, found.low, found.high)
    steepness = _steepness(known, found.low, found.high)
    bend = _bend(known, found.low, found.high)
    order: Order = "unresolved"
    if shrinkage >= _SHRUNK / _ROUNDING:
        different = abs(before - after) > _LEAST * max(abs(before), abs(after))
        stays = found.kind == "jump" and steepness >= _STEEPER
        order = "first" if stays else "second" if different and bend < _RESOLVED else "none"
    return Judgement(order, found.low, found.high, found.width, shrinkage, change, steepness, exponent, (before, after), bend)


def _bend(known: Mapping[float, float], low: float, high: float) -> float:
    """How the difference of the slopes beside an interval falls with the distance of the stretches on which they are taken.

    Slopes over the points next to it are held against those over `_WIDER` times its width. In a smooth bend their difference
    goes with the distance between the middles of both stretches: exponent 1; at a kink it stays: 0.
    """
    every = sorted(known)
    reach = _WIDER * (high - low)
    found = []
    for far in (0.0, reach):
        below = [x for x in every if x < low and low - x >= far * 0.99] or every[:1]
        above = [x for x in every if x > high and x - high >= far * 0.99] or every[-1:]
        left, right = max(below), min(above)
        if not left < low < high < right:
            return math.nan
        difference = abs(_slope(known, left, low) - _slope(known, high, right))
        found.append((difference, (high + right - left - low) / 2))
    (near, close), (wide, apart) = found
    if not near or not wide or apart <= close:
        return math.nan
    return math.log(wide / near) / math.log(apart / close)


def slopes_beside(known: Mapping[float, float], low: float, high: float) -> tuple[float, float]:
    """Slopes of q from the point below an interval to it, and from it to the point above; 0 where there is none."""
    every = sorted(known)
    left, right = every.index(low), every.index(high)
    before = _slope(known, every[left - 1], low) if left else 0.0
    return before, _slope(known, high, every[right + 1]) if right + 1 < len(every) else 0.0


def _steepness(known: Mapping[float, float], low: float, high: float) -> float:
    largest = max(map(abs, slopes_beside(known, low, high)))
    return abs(_slope(known, low, high)) / largest if largest else math.inf


def _slope(known: Mapping[float, float], low: float, high: float) -> float:
    return (known[high] - known[low]) / (high - low)


@brief
@dataclass(frozen=True)
class Coincidence:
    """How many change points of two quantities lie together.

    Attributes:
        first: a quantity.
        second: the other.
        counts: their change points.
        together: those of the first that have one of the second within the ladder's resolution.
        p_value: share of the shifts of one set along the ladder, its end joined to its start, with at least as many together.
        adjusted: after Holm's rule over the table.
    """

    first: str
    second: str
    counts: tuple[int, int]
    together: int
    p_value: float
    adjusted: float = math.nan


def coincidences(
    changes: Mapping[str, Sequence[ChangePoint]], pairs: Sequence[tuple[str, str]], strengths: Float[ndarray, " n"]
) -> tuple[Coincidence, ...]:
    """The table of coincidences on an evenly spaced ladder; two changes lie together within one and a half of its steps.

    Args:
        changes: change points by quantity.
        pairs: which two quantities to compare.
        strengths: λ, `(n,)`, ascending and evenly spaced.

    Returns:
        One entry for each pair, p-values adjusted over all of them.
    """
    step = float(np.diff(strengths).mean())
    intervals = len(strengths) - 1

    def places(name: str) -> Float[ndarray, " m"]:
        return np.array([(change.strength - strengths[0]) / step for change in changes[name]])

    def together(one: ndarray, other: ndarray) -> int:
        apart = np.abs(one[:, None] - other[None])
        return int((np.minimum(apart, intervals - apart).min(1) <= 1.5 + 1e-9).sum())

    rows = []
    for first, second in pairs:
        one, other = places(first), places(second)
        if not len(one) or not len(other):
            rows.append(Coincidence(first, second, (len(one), len(other)), 0, math.nan))
            continue
        # Distances are taken around the ring in the observed case as in the shifted ones.
        found = together(one, other)
        shifted = [together(one, (other + shift) % intervals) for shift in range(intervals)]
        rows.append(
            Coincidence(first, second, (len(one), len(other)), found, sum(count >= found for count in shifted) / intervals)
        )
    adjusted = holm([row.p_value for row in rows])
    return tuple(
        Coincidence(row.first, row.second, row.counts, row.together, row.p_value, value)
        for row, value in zip(rows, adjusted, strict=True)
    )
