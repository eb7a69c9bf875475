"""The change points of a chain: those of the order parameter that identities prove first, then those of every series.

Between critical points whose susceptibility is known the identities decide, and no curve through q is searched. What spans a
decade is searched by its logarithm; what is reported is in the series' own units. Some twenty series are searched: p-values
are adjusted over all of them by Holm's rule, and what is reported passes after that.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from orograph.analysis.chain import Chain
from orograph.geometry.correlation import holm
from orograph.ladder.changes import LEVEL, ChangePoint, change_points, repeat_noise, uneven
from orograph.ladder.identities import decided, jumps_by_energy, jumps_by_response, kinks_by_response, merged
from orograph.ladder.thermodynamics import Envelope, envelope, unsettled
from orograph.store.lookup import USUAL
from orograph.store.wording import Score, Wording

ORDER = "order parameter"
RESPONSE = "susceptibility"
_SETS = (("test", "test"), ("training", "train"))  # in words and in records
CURVATURE = ("scalar curvature", "R_top_k", "trace", "largest eigenvalue")
_DECADE = 10.0  # ratio of largest to smallest from which a positive series is taken by its logarithm
_SIGNED = 1e-3  # of the largest magnitude: below it a signed series that spans a decade is linear

_SCALARS = {
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
class Form:
    """How a series is searched: as it is, by its logarithm, or by arsinh(x/scale).

    Attributes:
        kind: which.
        scale: of the arsinh.
    """

    kind: Literal["linear", "log10", "arsinh"] = "linear"
    scale: float = 1.0

    def of(self, values: Float[ndarray, "..."]) -> Float[ndarray, "..."]:
        """The series in this form."""
        if self.kind == "log10":
            return np.log10(values)
        return np.arcsinh(values / self.scale) if self.kind == "arsinh" else values

    def back(self, value: float) -> tuple[float, float]:
        """The value in its own units, and its derivative by that in this form."""
        if self.kind == "log10":
            return 10.0**value, math.log(10) * 10.0**value
        if self.kind == "arsinh":
            return self.scale * math.sinh(value), self.scale * math.cosh(value)
        return value, 1.0


def form_of(values: Float[ndarray, "..."]) -> Form:
    """By its logarithm where a series is positive and spans a decade, by arsinh(1000 x/max|x|) where it does with both signs."""
    finite = np.abs(values[np.isfinite(values)])
    if not len(finite) or finite.max() == 0:
        return Form()
    if (values > 0).all():
        return Form("log10") if finite.max() > _DECADE * finite.min() else Form()
    spread = np.quantile(finite, 0.25)
    return Form("arsinh", _SIGNED * float(finite.max())) if finite.max() > _DECADE * spread else Form()


def in_units(change: ChangePoint, form: Form, strengths: Float[ndarray, " T"], values: Float[ndarray, " T"]) -> ChangePoint:
    """A change of a series in some form, its jump and kink in the series' own units.

    Args:
        values: the series in that form. Its values and slopes around the change are taken as even on both sides of their means.
    """
    if form.kind == "linear":
        return change
    b = int(np.clip(np.searchsorted(strengths, change.strength), 1, len(strengths) - 1))
    a, c = max(0, b - 2), min(len(strengths) - 1, b + 1)
    mean = float(values[b - 1] + values[b]) / 2
    slope = (float(values[c] - values[a]) - change.jump) / float(strengths[c] - strengths[a])
    (low, before), (high, after) = (form.back(mean + sign * change.jump / 2) for sign in (-1, 1))
    kink = after * (slope + change.kink / 2) - before * (slope - change.kink / 2)
    return replace(change, jump=high - low, kink=kink)


@dataclass(frozen=True)
class Changes:
    """The change points of one chain.

    Attributes:
        found: by quantity, in its own units; by search those whose p-value passes after Holm's rule over all series.
        reason: why quantities other than the order parameter were not searched; empty if they were.
        noise: standard deviation of one value by quantity where repeats have shown it, in the form that was searched.
        forms: that form, by quantity.
    """

    found: Mapping[str, tuple[ChangePoint, ...]]
    reason: str
    noise: Mapping[str, float]
    forms: Mapping[str, str]


def score_series(score: Score | None) -> dict[str, str]:
    """The series of the first metric of a run, on the test and on the training data, and their fields."""
    return {} if score is None else {f"{words} {score.label}": f"{place}_{score.name}" for words, place in _SETS}


def quantities(
    chain: Chain, classes: Sequence[str], chosen: Bool[ndarray, " T"], wording: Wording = USUAL
) -> dict[str, Float[ndarray, " t"]]:
    """All series of the chosen points of a chain by name, the order parameter first; those that are known at every one."""
    score = wording.score
    found = {ORDER: chain.order_parameter}
    found |= {name: chain.series(field) for name, field in (score_series(score) | _SCALARS).items()}
    by_class = chain.by_class(wording)
    if score is not None and by_class.shape[1] == len(classes):
        found |= {f"{score.label} of {name}": by_class[:, index] for index, name in enumerate(classes)}
    return {name: values[chosen] for name, values in found.items() if np.isfinite(values[chosen]).all()}


def changes_of(
    chain: Chain,
    others: Sequence[Chain],
    classes: Sequence[str],
    critical: Sequence[bool],
    *,
    resamples: int,
    seed: int,
    rounding: float = 0.0,
    wording: Wording = USUAL,
) -> Changes:
    """The change points of a chain on the ladder's own points.

    Args:
        chain: which.
        others: chains of other seeds in the same direction: repeats that show the noise.
        classes: their names.
        critical: which points are critical points of L_eff.
        resamples, seed: of the bootstrap.
        rounding: of F, relative.
        wording: of the run, with its first metric.
    """
    planned = chain.planned
    ladder = chain.strengths[planned]
    reason = uneven(ladder) if len(ladder) else "no point of the ladder is done"
    repeats = [other for other in (chain, *others) if set(ladder) <= set(other.strengths)]
    repeated = [quantities(other, classes, np.isin(other.strengths, ladder), wording) for other in repeats]
    own = {name: values for name, values in repeated[0].items() if not reason or name == ORDER}
    forms = {name: form_of(values) for name, values in own.items()}
    series = {name: forms[name].of(values) for name, values in own.items()}
    noise = {}
    for name in series:
        # A repeat that the form does not hold for, as one that is not positive, says nothing.
        with np.errstate(invalid="ignore", divide="ignore"):
            same = [forms[name].of(other[name]) for other in repeated if name in other]
        same = [values for values in same if np.isfinite(values).all()]
        if len(same) > 1:
            noise[name] = repeat_noise(np.stack(same))
    searched = {
        name: change_points(ladder, values, noise=noise.get(name, 0.0), resamples=resamples, seed=seed, tests=len(series))
        for name, values in series.items()
    }
    found = {
        name: tuple(in_units(change, forms[name], ladder, series[name]) for change in changes)
        for name, changes in passing(searched).items()
    }
    if ORDER in found:
        found[ORDER] = order_changes(chain, critical, found[ORDER], found.get(RESPONSE, ()), rounding)
    return Changes(found, reason, noise, {name: form.kind for name, form in forms.items()})


def passing(searched: Mapping[str, Sequence[ChangePoint]]) -> dict[str, tuple[ChangePoint, ...]]:
    """Changes whose p-value is small enough after Holm's rule over all series, one without a change being a test as well."""
    tests = [(name, change) for name, changes in searched.items() for change in changes or (None,)]
    adjusted = holm([1.0 if change is None else change.p_value for _, change in tests])
    kept: dict[str, tuple[ChangePoint, ...]] = dict.fromkeys(searched, ())
    for (name, change), value in zip(tests, adjusted, strict=True):
        if change is not None and value <= LEVEL * (1 + 1e-9):
            kept[name] += (replace(change, adjusted=value),)
    return kept


def order_changes(
    chain: Chain, critical: Sequence[bool], searched: Sequence[ChangePoint], of_response: Sequence[ChangePoint], rounding: float
) -> tuple[ChangePoint, ...]:
    """The changes of the order parameter: what identities prove, and what the search found where these do not decide.

    Args:
        chain: which.
        critical: of its points.
        searched: changes that the search found in q.
        of_response: and in the susceptibility.
        rounding: of F, relative.
    """
    planned = chain.planned
    strengths, order, chi = chain.strengths[planned], chain.order_parameter[planned], chain.series("susceptibility")[planned]
    holds = np.array(critical)[planned].tolist()
    steps = envelopes(chain, critical, rounding, chosen=planned)
    loose = unsettled_of(chain)[1][planned]
    jumps = merged(jumps_by_energy(steps, order, chi), jumps_by_response(strengths, order, chi, holds, loose))
    kinks = kinks_by_response(strengths, chi, of_response)
    left = ~decided(holds, chi)
    open_ones = [change for change in searched if left[int(np.searchsorted(strengths, change.strength)) - 1]]
    return merged(jumps, kinks, open_ones)


def envelopes(
    chain: Chain, critical: Sequence[bool], rounding: float, *, chosen: Bool[ndarray, " T"] | None = None
) -> tuple[Envelope, ...]:
    """The envelope identity of every pair of neighbours among the chosen points of a chain; of all when None."""
    taken = np.ones(len(chain.cells), dtype=bool) if chosen is None else chosen
    chi = chain.series("susceptibility")
    loose_energy, loose_order = unsettled_of(chain)
    saddles = np.array([row.get("certificate") == "saddle" for row in chain.rows], dtype=bool)
    return envelope(
        chain.strengths[taken].tolist(),
        chain.series("objective")[taken].tolist(),
        chain.order_parameter[taken].tolist(),
        chi[taken].tolist(),
        critical=np.array(critical)[taken].tolist(),
        saddles=saddles[taken].tolist(),
        rounding=rounding,
        uncertainties=(loose_energy[taken].tolist(), loose_order[taken].tolist()),
    )


def unsettled_of(chain: Chain) -> tuple[Float[ndarray, " T"], Float[ndarray, " T"]]:
    """What is left of the gradients may change F and q of each point by so much."""
    left, chi = chain.series("objective_gradient_norm"), chain.series("susceptibility")
    return unsettled(left, chi, chain.series("objective_lambda_min"), chain.strengths)


def pairs_to_compare(names: Sequence[str], score: Score | None = USUAL.score) -> list[tuple[str, str]]:
    """Which quantities' change points are held against which: all against the order parameter, the metric against curvature.

    Not the susceptibility, whose changes are the order parameter's own.
    """
    present = [name for name in names if name not in (ORDER, RESPONSE)]
    pairs = [(ORDER, name) for name in present]
    told = next((name for name in score_series(score) if name in present), None)
    return pairs + [(told, name) for name in CURVATURE if name in present and told is not None]
