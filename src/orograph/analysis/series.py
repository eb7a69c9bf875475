"""The series of a chain that are searched for change points, and their form: what spans a decade is compared by its logarithm."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from orograph.analysis.chain import Chain
from orograph.ladder.changes import ChangePoint, change_points, repeat_noise, uneven

ORDER = "order parameter"
RESPONSE = "susceptibility"
ACCURACY = "test accuracy"
CURVATURE = ("scalar curvature", "R_top_k", "trace", "largest eigenvalue")
_DECADE = 10.0  # ratio of largest to smallest from which a positive series is taken by its logarithm
_BEYOND = 1.5  # times what the susceptibilities allow: a jump
_LEAST_JUMP = 0.01  # relative to q
_SIGNED = 1e-3  # of the largest magnitude: below it a signed series that spans a decade is linear

_SCALARS = {
    ACCURACY: "test_accuracy",
    "training accuracy": "train_accuracy",
    "training loss": "train_loss",
    "test loss": "test_loss",
    "scalar curvature": "scalar_curvature",
    "R_top_k": "scalar_curvature_top_k",
    "trace": "trace",
    "largest eigenvalue": "lambda_first",
    "smallest pair": "lambda_last",
    RESPONSE: "susceptibility",
}


@dataclass(frozen=True)
class Changes:
    """The change points of one chain.

    Attributes:
        found: by quantity.
        reason: why quantities other than the order parameter were not searched; empty if they were.
        noise: standard deviation of one value by quantity where repeats have shown it, in the compared form.
    """

    found: Mapping[str, tuple[ChangePoint, ...]]
    reason: str
    noise: Mapping[str, float]


def compared(values: Float[ndarray, "..."]) -> Float[ndarray, "..."]:
    """A series in the form in which its changes are looked for.

    As it is, by its logarithm where it is positive and spans a decade, by arsinh(1000 x/max|x|) where it spans one with both
    signs.
    """
    finite = np.abs(values[np.isfinite(values)])
    if not len(finite) or finite.max() == 0:
        return values
    if (values > 0).all():
        return np.log10(values) if finite.max() > _DECADE * finite.min() else values
    spread = np.quantile(finite, 0.25)
    return np.arcsinh(values / (_SIGNED * finite.max())) if finite.max() > _DECADE * spread else values


def quantities(chain: Chain, classes: Sequence[str], chosen: Bool[ndarray, " T"]) -> dict[str, Float[ndarray, " t"]]:
    """All series of the chosen points of a chain by name, the order parameter first; those that are known at every one."""
    found = {ORDER: chain.order_parameter}
    found |= {name: chain.series(field) for name, field in _SCALARS.items()}
    by_class = chain.lists("class_accuracy")
    if by_class.shape[1] == len(classes):
        found |= {f"accuracy of {name}": by_class[:, index] for index, name in enumerate(classes)}
    return {name: values[chosen] for name, values in found.items() if np.isfinite(values[chosen]).all()}


def changes_of(
    chain: Chain, others: Sequence[Chain], classes: Sequence[str], critical: Sequence[bool], *, resamples: int, seed: int
) -> Changes:
    """The change points of a chain on the ladder's own points.

    Args:
        chain: which.
        others: chains of other seeds in the same direction: repeats that show the noise.
        classes: their names.
        critical: which points are critical points of L_eff.
        resamples, seed: of the bootstrap.
    """
    planned = chain.planned
    ladder = chain.strengths[planned]
    reason = uneven(ladder) if len(ladder) else "no point of the ladder is done"
    repeats = [other for other in (chain, *others) if set(ladder) <= set(other.strengths)]
    series, noise = {}, {}
    repeated = [quantities(other, classes, np.isin(other.strengths, ladder)) for other in repeats]
    for name, values in repeated[0].items():  # the chain's own
        if reason and name != ORDER:
            continue
        series[name] = compared(values)
        same = [compared(other[name]) for other in repeated if name in other]
        if len(same) > 1:
            noise[name] = repeat_noise(np.stack(same))
    found = {
        name: change_points(ladder, values, noise=noise.get(name, 0.0), resamples=resamples, seed=seed)
        for name, values in series.items()
    }
    chi = chain.series("susceptibility")[planned]
    jumps = jumps_by_response(ladder, chain.order_parameter[planned], chi, np.array(critical)[planned].tolist())
    kinks = kinks_by_response(ladder, chi, found.get(RESPONSE, ()))
    if ORDER in found:
        found[ORDER] = merged(merged(kinks, jumps), found[ORDER])
    return Changes(found, reason, noise)


def jumps_by_response(
    strengths: Float[ndarray, " T"],
    order: Float[ndarray, " T"],
    susceptibilities: Float[ndarray, " T"],
    critical: Sequence[bool],
) -> tuple[ChangePoint, ...]:
    """Steps over which the order parameter changes by more than the susceptibilities at both ends allow.

    On one smooth branch Δq = −∫χ dλ lies between the ends' χΔλ wherever χ is monotonic; a step of more than `_BEYOND` times the
    larger of them holds a jump, or a peak of χ that the ladder does not resolve. Needs no even spacing and no noise.

    Args:
        strengths, order: λ ascending, and q.
        susceptibilities: χ, NaN where unknown.
        critical: which points are critical; steps beside others are left out.
    """
    found = []
    for a in range(len(strengths) - 1):
        b, step = a + 1, float(strengths[a + 1] - strengths[a])
        change = float(order[b] - order[a])
        allowed = step * max(susceptibilities[a], susceptibilities[b])
        small = abs(change) <= _LEAST_JUMP * max(order[a], order[b])
        if not (critical[a] and critical[b]) or not np.isfinite(susceptibilities[a : b + 1]).all() or small:
            continue
        if abs(change) > _BEYOND * allowed:
            slope = float(susceptibilities[a] - susceptibilities[b])
            low, high = float(strengths[a]), float(strengths[b])
            found.append(ChangePoint((low + high) / 2, low, high, "jump", change, slope, math.nan))
    return tuple(found)


def kinks_by_response(
    strengths: Float[ndarray, " T"], susceptibilities: Float[ndarray, " T"], changes: Sequence[ChangePoint]
) -> tuple[ChangePoint, ...]:
    """Kinks of the order parameter: where its slope −χ jumps (Ehrenfest 1933), which χ shows far more clearly than q.

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
            found.append(ChangePoint(change.strength, change.low, change.high, "kink", 0.0, slope, change.p_value))
    return tuple(found)


def merged(by_response: Sequence[ChangePoint], by_search: Sequence[ChangePoint]) -> tuple[ChangePoint, ...]:
    """Changes found either way, in order; what both found within a step is the one that the search found."""
    apart = [one for one in by_response if all(not one.low <= other.strength <= one.high for other in by_search)]
    return tuple(sorted([*apart, *by_search], key=lambda change: change.strength))


def pairs_to_compare(names: Sequence[str]) -> list[tuple[str, str]]:
    """Which quantities' change points are held against which: all against the order parameter, accuracy against curvature.

    Not the susceptibility, whose changes are the order parameter's own.
    """
    present = [name for name in names if name not in (ORDER, RESPONSE)]
    pairs = [(ORDER, name) for name in present]
    return pairs + [(ACCURACY, name) for name in CURVATURE if name in present and ACCURACY in present]
