"""Jumps and kinks of the order parameter that identities between critical points prove, before any curve is searched.

Along a branch of minima q = dF/dλ falls at the rate χ (`ladder.thermodynamics`). Three things follow for two neighbours on one
branch, and a step over which one of them fails holds a jump, on whatever ladder and with no noise to assume:

* the slope of F lies between both q, and q does not rise;
* the slope is the trapezoid of q, corrected by the susceptibilities, to a fraction of that correction;
* Δq = −∫χ dλ lies between the χΔλ of both ends wherever χ is monotonic.

The last two also fail at a peak of χ that the ladder does not resolve: points between must tell. Where χ itself jumps, q has a
kink (Ehrenfest 1933).
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from orograph.ladder.changes import ChangePoint
from orograph.ladder.thermodynamics import Envelope

_BEYOND = 1.5  # times what the susceptibilities allow: a jump
_LEAST = 0.01  # of a jump, relative to q
_LEFT = 1e-3  # of what it adds to the slope of F, relative to the trapezoid
_MISFIT = 3.0  # times the correction by the susceptibilities: no smooth branch leaves as much


def jumps_by_energy(
    steps: Sequence[Envelope], order: Float[ndarray, " T"], susceptibilities: Float[ndarray, " T"]
) -> tuple[ChangePoint, ...]:
    """Steps over which the envelope identity fails between critical points.

    Args:
        steps: of the envelope, one less than there are points. Between points of which one is a saddle only the corrected
            identity is asked for: q may rise there.
        order: q.
        susceptibilities: χ, NaN where unknown.
    """
    variation = np.abs(np.diff(susceptibilities))
    found = []
    for place, step in enumerate(steps):
        if not step.critical:
            continue
        width = step.high - step.low
        scale = abs(step.trapezoid)
        # χ's variation over the steps beside it too: in an inflection of q its own is zero.
        around = variation[max(0, place - 1) : place + 2]
        allowed = _MISFIT * width / 12 * float(around.max()) / scale if np.isfinite(around).all() and scale else math.inf
        beyond = step.minima and (step.outside > 0 or step.rises)
        if beyond or step.defect > allowed + step.rounding + _LEFT:
            change = float(order[place + 1] - order[place])
            slope = float(susceptibilities[place] - susceptibilities[place + 1])
            middle = (step.low + step.high) / 2
            found.append(ChangePoint(middle, step.low, step.high, "jump", change, slope, math.nan, evidence="energy"))
    return tuple(found)


def jumps_by_response(
    strengths: Float[ndarray, " T"],
    order: Float[ndarray, " T"],
    susceptibilities: Float[ndarray, " T"],
    critical: Sequence[bool],
    uncertain: Sequence[float] | Float[ndarray, " T"] | None = None,
) -> tuple[ChangePoint, ...]:
    """Steps over which the order parameter changes by more than the susceptibilities at both ends allow.

    Args:
        strengths, order: λ ascending, and q.
        susceptibilities: χ, NaN where unknown.
        critical: which points are critical; steps beside others are left out.
        uncertain: of q, as `unsettled` bounds it: a smaller difference is what the gradients leave; 0 when None.
    """
    found = []
    loose = np.zeros(len(strengths)) if uncertain is None else np.asarray(uncertain)
    for a in range(len(strengths) - 1):
        b, step = a + 1, float(strengths[a + 1] - strengths[a])
        change = float(order[b] - order[a])
        allowed = step * max(susceptibilities[a], susceptibilities[b])
        small = abs(change) <= max(_LEAST * max(order[a], order[b]), loose[a] + loose[b])
        if not (critical[a] and critical[b]) or not np.isfinite(susceptibilities[a : b + 1]).all() or small:
            continue
        if abs(change) > _BEYOND * allowed:
            slope = float(susceptibilities[a] - susceptibilities[b])
            low, high = float(strengths[a]), float(strengths[b])
            found.append(ChangePoint((low + high) / 2, low, high, "jump", change, slope, math.nan, evidence="response"))
    return tuple(found)


def kinks_by_response(
    strengths: Float[ndarray, " T"], susceptibilities: Float[ndarray, " T"], changes: Sequence[ChangePoint]
) -> tuple[ChangePoint, ...]:
    """Kinks of the order parameter: where its slope −χ jumps, which χ shows far more clearly than q.

    Args:
        strengths: λ ascending.
        susceptibilities: χ.
        changes: of χ.
    """
    found = []
    for change in changes:
        if change.kind == "jump":
            after = int(np.searchsorted(strengths, change.strength))
            slope = float(susceptibilities[after - 1] - susceptibilities[after])
            found.append(replace(change, kind="kink", jump=0.0, kink=slope, evidence="response"))
    return tuple(found)


def decided(critical: Sequence[bool], susceptibilities: Float[ndarray, " T"]) -> Bool[ndarray, " steps"]:
    """The steps that identities decide: both ends are critical and χ is known there."""
    known = np.array(critical, dtype=bool) & np.isfinite(susceptibilities)
    return known[1:] & known[:-1]


def merged(*found: Sequence[ChangePoint]) -> tuple[ChangePoint, ...]:
    """Changes found in several ways, the surest way first, in order of λ; a change within a step of a surer one is the same."""
    kept: list[ChangePoint] = []
    for changes in found:
        surer = tuple(kept)
        kept += [one for one in changes if all(_apart(one, other) for other in surer)]
    return tuple(sorted(kept, key=lambda change: change.strength))


def _apart(one: ChangePoint, other: ChangePoint) -> bool:
    """Whether the middle of neither lies in the interval of the other, a surer one's widened by its own step."""
    width = other.high - other.low if other.evidence != "search" else 0.0
    return not (other.low - width <= one.strength <= other.high + width or one.low <= other.strength <= one.high)
