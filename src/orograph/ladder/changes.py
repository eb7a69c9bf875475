"""Change points of a quantity along an evenly spaced ladder: where it jumps, and where its slope does.

A smooth curve bends too, so that the best division into straight pieces finds breaks in any curve. Here a series is a cubic
spline with one knot in `KNOT_SPACING` points, plus piecewise terms in one place: a change is a step and a kink, a bend a jump of
the second and of the third derivative. Both may enter anywhere, with as many numbers to choose, so that what a spline of that
stiffness misses of a smooth curve is a bend's to explain, and a change is what no bend explains as well. Two ratios are held
against those of series without a change: what a change explains to what it leaves (Davies 1987: the best place was searched
for), and what it explains beyond the best bend. These series are first-order autoregressions as correlated as the residuals
are, so that correlated noise does not pass for a change (Perron 2006). Misfit is no noise: a change must also leave much less
than a bend does around its place.

Terms enter one place at a time as long as they pass; where several hide one another, up to five together, each of which must
then pass by far. Whether what is found is a transition or only steeper than this ladder shows, points between must tell; and a
kink that noise hides from a bend is found nowhere.
"""

import math
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray
from scipy.interpolate import BSpline

from orograph.brief import brief
from orograph.ladder.resampling import autoregressions, block_bootstrap, block_length

FEWEST_POINTS = 30
KNOT_SPACING = 6
LEVEL = 0.01  # largest p-value of a change
_LEAST = 3  # points on either side at least
_MOST = 8  # changes of one series
_EFFECT = 0.02  # least size of a jump, relative to the range of the whole series
_SHARP = 0.4  # least size of a kink, relative to the steeper of the two sides
_TOGETHER = 5  # changes that are tried together where one alone does not pass
_BY_FAR = 3.0  # by which changes tried together must exceed what one change needs: they were chosen to help one another
_BENDS = 4  # of one series
_LEAD = 2.5  # of a change over the best bend, relative to what it leaves around it
_FREEDOM = 8  # values left over at least, beside all terms
_NEAR = 6  # places on either side in which a resampled location is looked for
_CORRELATIONS = np.array([0.0, 0.3, 0.5, 0.7, 0.85, 0.95])  # of neighbours in noise, tried for what residuals they leave
_TRIED = 100  # series for each of these


@brief
@dataclass(frozen=True)
class ChangePoint:
    """One change.

    Attributes:
        strength: λ in the middle of the step in which it lies.
        low: lower end of the 95 % block-bootstrap interval, at least that step.
        high: its upper end.
        kind: `jump` of the value, or `kink` of the slope.
        jump: of the value there, right less left.
        kink: of the slope.
        p_value: of what it explains, against the best place of noise alone; NaN where an identity shows it, which is no test.
        adjusted: the p-value after Holm's rule over all series that were searched with this one; NaN where there were none.
        evidence: what shows it: the `search` of this module, or an identity between critical points (`ladder.identities`): the
            `energy`, whose slope is the order parameter, or the `response`.
    """

    strength: float
    low: float
    high: float
    kind: Literal["jump", "kink"]
    jump: float
    kink: float
    p_value: float
    adjusted: float = math.nan
    evidence: Literal["search", "energy", "response"] = "search"

    @property
    def sure(self) -> bool:
        """Whether its step is known: an identity between the points on both sides of it fails, no search has placed it."""
        return self.evidence == "energy"


def uneven(strengths: Float[ndarray, " n"]) -> str:
    """Why a ladder cannot be searched for change points; empty where it can."""
    if len(strengths) < FEWEST_POINTS:
        return f"the ladder has {len(strengths)} of at least {FEWEST_POINTS} evenly spaced points that it takes"
    steps = np.diff(strengths)
    if np.ptp(steps) > 0.01 * steps.mean():
        return f"the ladder is not evenly spaced: its steps are between {steps.min():.3g} and {steps.max():.3g}"
    return ""


def change_points(
    strengths: Float[ndarray, " n"],
    values: Float[ndarray, " n"],
    *,
    noise: float = 0.0,
    resamples: int = 199,
    seed: int = 0,
    tests: int = 1,
) -> tuple[ChangePoint, ...]:
    """All change points of a series, in order; none where it holds a value that is not finite, or is constant.

    Args:
        strengths: λ, `(n,)`, ascending.
        values: the series, `(n,)`.
        noise: standard deviation of one value, where repeats have shown it; the series' own residuals where these are larger.
        resamples: of the noise, and of each location. What passes against these is held against as many more as `tests` need.
        seed: of them.
        tests: how many series are searched with this one, over which p-values are to be adjusted: they must become so small.

    Returns:
        The changes by strength, each with an interval and a p-value.
    """
    count, extent = len(values), float(np.ptp(values)) if len(values) else 0.0
    if count < 2 * _LEAST + 4 or not np.isfinite(values).all() or extent <= 1e-12 * np.abs(values).max():
        return ()
    generator = np.random.default_rng(seed)
    x, y = (strengths - strengths[0]) / np.ptp(strengths), (values - values.mean()) / extent
    test = _Test(_Terms(x), y, noise / extent, resamples, math.ceil(tests / LEVEL), generator)
    chosen: dict[int, float] = {}  # places with their p-values
    while len(chosen) < _MOST:
        further = test.further(tuple(chosen)) or test.together(tuple(chosen))
        if not further:
            break
        chosen |= further
    found = [
        _describe(test.terms, list(chosen), tuple(test.bends), place, p_value, strengths, y, extent, resamples, generator)
        for place, p_value in chosen.items()
    ]
    return tuple(sorted(found, key=lambda change: change.strength))


@dataclass
class _Test:
    """Whether changes of a series are more than its noise.

    Attributes:
        terms: of the ladder. y: the series. noise: its known deviation.
        resamples: of noise alone, and how many further for what passes.
        bends: places of those that have entered.
    """

    terms: "_Terms"
    y: Float[ndarray, " n"]
    noise: float
    resamples: int
    further_resamples: int
    generator: np.random.Generator
    bends: list[int] = field(default_factory=list)

    def further(self, chosen: tuple[int, ...]) -> dict[int, float]:
        """The best further change with its p-value, if it passes; bends enter first where they explain what there is."""
        while True:
            search = _Search(self.terms, chosen, tuple(self.bends))
            if not search.open.any():
                return {}
            place = search.best(self.y)
            p_value = self._passes(search, (*chosen, place), place, 1.0)
            if p_value is not None:
                return {place: p_value}
            if not self._bends(search):
                return {}

    def _bends(self, search: "_Search") -> bool:
        """Whether a bend was added: it explains more than noise, and there is room for it."""
        if len(self.bends) == _BENDS or len(self.y) - search.basis.shape[1] - 4 < _FREEDOM:
            return False
        phi = search.correlation(self.y, self.generator)
        noise = autoregressions(phi, self.resamples, len(self.y), self.generator)
        null = search.bend_ratios(noise).max(1)
        ratios = search.bend_ratios(self.y[None], self.noise)[0]
        place = int(ratios.argmax())
        if (1 + int((null >= ratios[place]).sum())) > max(1.0, LEVEL * (1 + self.resamples)):
            return False
        self.bends.append(place)
        return True

    def together(self, chosen: tuple[int, ...]) -> dict[int, float]:
        """Changes that hide one another: two to `_TOGETHER` further ones, each of which passes by far beside the others."""
        trial = list(chosen)
        for depth in range(1, _TOGETHER + 1):
            search = _Search(self.terms, tuple(trial), tuple(self.bends))
            freedom = len(self.y) - self.terms.columns(tuple(trial), tuple(self.bends)).shape[1] - 2
            if not search.open.any() or freedom < _FREEDOM:
                return {}
            trial.append(search.best(self.y))
            if depth == 1:
                continue
            p_values = {}
            for place in trial:
                alone = _Search(self.terms, tuple(other for other in trial if other != place), tuple(self.bends))
                p_value = self._passes(alone, tuple(trial), place, _BY_FAR)
                if p_value is None:
                    break
                p_values[place] = p_value
            if len(p_values) == len(trial):
                return p_values
        return {}

    def _passes(self, search: "_Search", chosen: tuple[int, ...], place: int, factor: float) -> float | None:
        """The p-value of the change at a place; None where it does not pass with what it explains divided by a factor."""
        if not _matters(self.terms, chosen, tuple(self.bends), self.y, place):
            return None
        if search.local_lead(self.y, place) < _LEAD * factor:
            return None
        ratio = search.ratios(self.y[None], self.noise)[0, place] / factor
        lead = search.leads(self.y[None], self.noise)[0, place] / factor
        phi = search.correlation(self.y, self.generator)
        reached, drawn = np.zeros(2), 0
        for count in (self.resamples, max(0, self.further_resamples - self.resamples)):
            noise = autoregressions(phi, count, len(self.y), self.generator)
            reached += [(search.ratios(noise).max(1) >= ratio).sum(), (search.leads(noise).max(1) >= lead).sum()]
            drawn += count
            p_value = float(1 + reached.max()) / (1 + drawn)
            if p_value > max(LEVEL, 1 / (1 + drawn)):
                return None
        return p_value


class _Terms:
    """The terms that a series may be made of: a spline, and a step and a kink in the middle of every step of the ladder."""

    def __init__(self, x: Float[ndarray, " n"]) -> None:
        count = len(x)
        inner = max(0, count // KNOT_SPACING - 1)
        knots = np.interp(np.linspace(0, count - 1, inner + 2)[1:-1], np.arange(count), x)
        self.x = x
        self.spline = BSpline.design_matrix(x, np.concatenate([[x[0]] * 4, knots, [x[-1]] * 4]), 3).toarray()
        self.places = np.arange(count)  # a place i lies between the points i − 1 and i; 0 is none
        self.middles = np.concatenate([[x[0]], (x[1:] + x[:-1]) / 2])
        self.steps = (self.places[:, None] >= self.places).astype(float)
        self.ramps = np.maximum(x[:, None] - self.middles, 0)
        self.bends = (self.ramps**2, self.ramps**3)

    def columns(self, chosen: tuple[int, ...], bends: tuple[int, ...] = ()) -> Float[ndarray, "n terms"]:
        """The spline with its bends, and the chosen changes."""
        smooth = [self.spline, *(terms[:, list(bends)] for terms in self.bends)]
        return np.concatenate([*smooth, self.steps[:, list(chosen)], self.ramps[:, list(chosen)]], axis=1)


class _Search:
    """How much one further change explains, at every place, beside those chosen already.

    Attributes:
        open: `(n,)`, places at which a change is possible.
    """

    def __init__(self, terms: _Terms, chosen: tuple[int, ...], bends: tuple[int, ...] = ()) -> None:
        columns, count = terms.columns(chosen, bends), len(terms.x)
        left, singular, _ = np.linalg.svd(columns, full_matrices=False)
        self.basis = left[:, singular > 1e-9 * singular[0]]
        self.open: Bool[ndarray, " n"] = (terms.places >= _LEAST) & (terms.places <= count - _LEAST)
        for other in chosen:
            self.open &= np.abs(terms.places - other) > _LEAST
        first, second = self._without(terms.steps), self._without(terms.ramps)
        self.first = _units(first)
        self.second = _units(second - self.first * (self.first * second).sum(0))
        third, fourth = (self._without(each) for each in terms.bends)
        self.third = _units(third)
        self.fourth = _units(fourth - self.third * (self.third * fourth).sum(0))

    def _without(self, columns: ndarray) -> ndarray:
        return columns - self.basis @ (self.basis.T @ columns)

    def rest(self, y: Float[ndarray, " n"]) -> Float[ndarray, " n"]:
        """Residuals of the terms chosen."""
        return self._without(y)

    def explained(self, series: Float[ndarray, "m n"]) -> Float[ndarray, "m n"]:
        """What a change at each place takes from the residual sum of squares; −1 at places that are not open."""
        return np.where(self.open, (series @ self.first) ** 2 + (series @ self.second) ** 2, -1.0)

    def best(self, y: Float[ndarray, " n"]) -> int:
        return int(self.explained(y[None])[0].argmax())

    def ratios(self, series: Float[ndarray, "m n"], noise: float = 0.0) -> Float[ndarray, "m n"]:
        """What a change at each place explains of the squares of the residuals, relative to what it leaves.

        Args:
            noise: standard deviation of one value, which what is left is not smaller than.
        """
        explained = self.explained(series)
        return explained / self._left(series, explained, noise)

    def leads(self, series: Float[ndarray, "m n"], noise: float = 0.0) -> Float[ndarray, "m n"]:
        """By how much more a change at each place explains than the best bend anywhere, relative to what it leaves."""
        explained = self.explained(series)
        return (explained - self.bent(series).max(1, keepdims=True)) / self._left(series, explained, noise)

    def local_lead(self, y: Float[ndarray, " n"], place: int) -> float:
        """The lead of a change over the best bend, relative to what the change leaves within `_NEAR` places of it."""
        own = np.stack([self.first[:, place], self.second[:, place]], axis=1)
        rest = self.rest(y)
        rest = (rest - own @ (own.T @ rest))[max(0, place - _NEAR) : place + _NEAR]
        lead = self.explained(y[None])[0, place] - self.bent(y[None])[0].max()
        return float(lead / max(float(rest @ rest), 1e-24))

    def bent(self, series: Float[ndarray, "m n"]) -> Float[ndarray, "m n"]:
        """What a bend at each place explains."""
        return (series @ self.third) ** 2 + (series @ self.fourth) ** 2

    def bend_ratios(self, series: Float[ndarray, "m n"], noise: float = 0.0) -> Float[ndarray, "m n"]:
        bent = self.bent(series)
        return bent / self._left(series, bent, noise)

    def _left(self, series: Float[ndarray, "m n"], explained: Float[ndarray, "m n"], noise: float) -> Float[ndarray, "m n"]:
        rest = series - (series @ self.basis) @ self.basis.T
        freedom = max(1, len(self.basis) - self.basis.shape[1] - 2)
        return np.maximum((rest**2).sum(1, keepdims=True) - explained, max(freedom * noise**2, 1e-24))

    def correlation(self, y: Float[ndarray, " n"], generator: np.random.Generator) -> float:
        """Correlation of neighbours in noise whose residuals, once the best change is gone, are as correlated as those of y.

        Residuals of a fit are less correlated than the noise; so noise of several correlations is tried. One standard deviation
        is added, since noise that is taken for less correlated than it is makes changes out of nothing.
        """
        typical, spread = [], []
        for phi in _CORRELATIONS:
            found = self._left_correlations(autoregressions(float(phi), _TRIED, len(y), generator))
            typical.append(float(found.mean()))
            spread.append(float(found.std()))
        own = float(self._left_correlations(y[None])[0]) + float(np.mean(spread))
        return float(np.interp(own, np.maximum.accumulate(typical), _CORRELATIONS))

    def _left_correlations(self, series: Float[ndarray, "m n"]) -> Float[ndarray, " m"]:
        place = self.explained(series).argmax(1)
        rest = series - (series @ self.basis) @ self.basis.T
        for terms in (self.first, self.second):
            own = terms[:, place].T
            rest = rest - (rest * own).sum(1, keepdims=True) * own
        squares = (rest**2).sum(1)
        return (rest[:, 1:] * rest[:, :-1]).sum(1) / np.maximum(squares, 1e-300)


def _units(columns: ndarray) -> ndarray:
    """Columns of length 1; those that are rounding become 0."""
    lengths = np.linalg.norm(columns, axis=0)
    return np.divide(columns, lengths, out=np.zeros_like(columns), where=lengths > 1e-7)


def _sizes(terms: _Terms, chosen: tuple[int, ...], bends: tuple[int, ...], y: ndarray, place: int) -> tuple[float, float, float]:
    """The jump and the kink at a place among those chosen, and the steeper slope beside it, in the terms' units."""
    columns = terms.columns(chosen, bends)
    weights = np.linalg.lstsq(columns, y, rcond=None)[0]
    own = terms.spline.shape[1] + len(terms.bends) * len(bends) + chosen.index(place)
    jump, kink = float(weights[own]), float(weights[own + len(chosen)])
    fitted = columns @ weights
    slopes = [(fitted[b] - fitted[a]) / (terms.x[b] - terms.x[a]) for a, b in ((place - 2, place - 1), (place, place + 1))]
    return jump, kink, float(np.abs(slopes).max())


def _matters(terms: _Terms, chosen: tuple[int, ...], bends: tuple[int, ...], y: ndarray, place: int) -> bool:
    jump, kink, steeper = _sizes(terms, chosen, bends, y, place)
    step = float(terms.x[place] - terms.x[place - 1])
    bend = abs(kink) >= max(_SHARP * steeper, _EFFECT / (_NEAR * step))
    return abs(jump) >= max(_EFFECT, steeper * step) or bend


def _describe(
    terms: _Terms,
    chosen: list[int],
    bends: tuple[int, ...],
    place: int,
    p_value: float,
    strengths: ndarray,
    y: ndarray,
    extent: float,
    resamples: int,
    generator: np.random.Generator,
) -> ChangePoint:
    """A change and its interval: where it is found in series of the fitted curve and its residuals, resampled."""
    jump, kink, _ = _sizes(terms, tuple(chosen), bends, y, place)
    residuals = _Search(terms, tuple(chosen), bends).rest(y)
    series = y - residuals + block_bootstrap(residuals, block_length(residuals), resamples, generator)
    others = _Search(terms, tuple(other for other in chosen if other != place), bends)
    near = np.where(np.abs(terms.places - place) <= _NEAR, others.explained(series), -1.0)
    places = near.argmax(1)
    width, step = float(np.ptp(strengths)), float(terms.x[place] - terms.x[place - 1])
    return ChangePoint(
        strength=float(strengths[0] + width * terms.middles[place]),
        low=float(min(np.quantile(strengths[places - 1], 0.025), strengths[place - 1])),
        high=float(max(np.quantile(strengths[places], 0.975), strengths[place])),
        kind="jump" if abs(jump) > abs(kink) * step else "kink",
        jump=jump * extent,
        kink=kink * extent / width,
        p_value=p_value,
    )


def repeat_noise(repeats: Float[ndarray, "r n"]) -> float:
    """The standard deviation of one value about its own smooth curve, from repeats of a series; NaN with fewer than two.

    Of second differences along the ladder of what the repeats differ by, robustly: that one repeat lies higher than another, or
    changes elsewhere, is no noise.
    """
    count, length = repeats.shape
    if count < 2 or length < 4:
        return math.nan
    second = np.diff(repeats - repeats.mean(0), 2) * math.sqrt(count / (count - 1) / 6)
    return float(np.median(np.abs(second))) / 0.6745
