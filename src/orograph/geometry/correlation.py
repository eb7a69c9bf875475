"""Correlations of metrics over minima, with intervals and p-values that are honest about small and pooled samples.

Pearson, Spearman and Kendall; Kendall within groups of equal hyper-parameters and its mean over hyper-parameters, the granulated
coefficient (Jiang et al., 2020), which are not fooled by a hyper-parameter that drives both quantities.

A study is a crossed design: all configurations start from the same seeds, so that what a seed does is in all of them, and
neither minima nor configurations are independent (Owen & Eckles 2012). So each configuration enters once, with its effect in
the additive model value = configuration + seed + rest, which in a full grid is its mean less a constant: what is common to a
seed falls out of every difference, and configurations are independent again.

p-values come from permutations, which are exact for independent pairs whatever their distribution. Intervals are Student's, on
Fisher's scale z = artanh r, with the jackknife's standard error (Efron & Stein 1981). Below `FEWEST` independent values only
values and signs are given. Over a table, p-values are adjusted by Holm's (1979) step-down rule.
"""

import itertools
import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from scipy import stats

from orograph.brief import brief
from orograph.errors import ConfigurationError

FEWEST = 5
_ENUMERATED = 33  # values up to which Kendall's p-value is of permutations; beyond, its normal form is as good and far quicker
COEFFICIENTS = ("pearson", "spearman", "kendall")


@brief
@dataclass(frozen=True)
class Coefficient:
    """One correlation coefficient.

    Attributes:
        value: between −1 and 1; NaN where a quantity is constant.
        p_value: two-sided, by permutation; NaN below five independent values.
        adjusted: the p-value after Holm's rule over all of a table's tests of this kind of coefficient.
        low: lower end of the 95 % interval, NaN below five independent values.
        high: its upper end.
    """

    value: float
    p_value: float = math.nan
    adjusted: float = math.nan
    low: float = math.nan
    high: float = math.nan

    @property
    def sign(self) -> int:
        """1, −1, or 0 where the value is zero or NaN."""
        return 0 if math.isnan(self.value) else int(np.sign(self.value))


@brief
@dataclass(frozen=True)
class Correlation:
    """How a metric goes with a target.

    Attributes:
        metric: the name of the one.
        target: the name of the other.
        count: pairs of finite values.
        independent: clusters among them, or `count` where there are none.
        pearson: linear correlation, of as many values as are independent; so the others.
        spearman: of ranks.
        kendall: τ, of pairs in order.
        kendall_within: Kendall's τ inside groups, averaged over groups weighted by their pairs; NaN without groups.
    """

    metric: str
    target: str
    count: int
    independent: int
    pearson: Coefficient
    spearman: Coefficient
    kendall: Coefficient
    kendall_within: float = math.nan


def coefficient(kind: str, x: Float[ndarray, " n"], y: Float[ndarray, " n"]) -> float:
    """`pearson`, `spearman` or `kendall` (τ-b); NaN where either is constant or fewer than 2."""
    if len(x) < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return math.nan
    if len(x) == 2:  # two points always correlate perfectly
        return float(np.sign((x[1] - x[0]) * (y[1] - y[0])))
    function = {"pearson": stats.pearsonr, "spearman": stats.spearmanr, "kendall": stats.kendalltau}[kind]
    return float(function(x, y).statistic)


def kendall_within_groups(x: Float[ndarray, " n"], y: Float[ndarray, " n"], groups: Sequence[Hashable]) -> float:
    """Kendall's τ inside each group, averaged with the group's number of pairs as weight; NaN where no group allows one.

    Args:
        x: values over minima, `(n,)`.
        y: values over the same minima, `(n,)`.
        groups: hyper-parameters of each value.

    Returns:
        τ between −1 and 1.
    """
    total, weight = 0.0, 0
    for chosen in _members(groups):
        value = coefficient("kendall", x[chosen], y[chosen])
        if not math.isnan(value):
            pairs = len(chosen) * (len(chosen) - 1) // 2
            total, weight = total + pairs * value, weight + pairs
    return total / weight if weight else math.nan


def granulated_kendall(
    x: Float[ndarray, " n"], y: Float[ndarray, " n"], hyperparameters: Mapping[str, Sequence[Hashable]]
) -> dict[str, float]:
    """ψ of each hyper-parameter and their mean Ψ under the name `mean` (Jiang et al., 2020).

    ψ_i is the mean of Kendall's τ over the groups in which only hyper-parameter i varies, of the pairs in which it does: minima
    of one setting that differ in their seed alone are not compared. NaN where it never varies alone.

    Args:
        x: values over minima, `(n,)`.
        y: values over the same minima, `(n,)`.
        hyperparameters: of each value, by name.

    Returns:
        ψ by hyper-parameter, and `mean`.
    """
    names = list(hyperparameters)
    result = {}
    for name in names:
        rest = list(zip(*(hyperparameters[other] for other in names if other != name), strict=True)) or [()] * len(x)
        places = {value: place for place, value in enumerate(dict.fromkeys(hyperparameters[name]))}
        own = np.array([places[value] for value in hyperparameters[name]])
        values = [_kendall_between(x[chosen], y[chosen], own[chosen]) for chosen in _members(rest)]
        finite = [value for value in values if not math.isnan(value)]
        result[name] = float(np.mean(finite)) if finite else math.nan
    finite = [value for value in result.values() if not math.isnan(value)]
    return {**result, "mean": float(np.mean(finite)) if finite else math.nan}


def _kendall_between(x: Float[ndarray, " n"], y: Float[ndarray, " n"], setting: Int[ndarray, " n"]) -> float:
    """Kendall's τ-b of the pairs whose setting differs; NaN where these leave nothing to compare."""
    differs = setting[:, None] != setting
    left, right = (np.sign(values[:, None] - values)[differs] for values in (x, y))
    scale = math.sqrt(float((left**2).sum()) * float((right**2).sum()))
    return float(left @ right) / scale if scale else math.nan


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values (1979) in the order given; NaNs are no tests and stay.

    Args:
        p_values: of the tests of one table.

    Returns:
        As many, each at most 1.
    """
    values = np.asarray(p_values, dtype=float)
    tests = np.flatnonzero(~np.isnan(values))
    order = tests[np.argsort(values[tests], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    values[order] = np.minimum(1.0, np.maximum.accumulate(values[order] * factors))
    return values.tolist()


def correlate(
    x: Float[ndarray, " n"],
    y: Float[ndarray, " m"],
    *,
    metric: str = "x",
    target: str = "y",
    clusters: Sequence[Hashable] | None = None,
    crossed: Sequence[Hashable] | None = None,
    groups: Sequence[Hashable] | None = None,
    resamples: int = 2000,
    seed: int = 0,
) -> Correlation:
    """All coefficients of one pair of quantities; pairs with a value that is not finite are left out.

    Args:
        x: values over minima, `(n,)`.
        y: values over the same minima, `(n,)`.
        metric: the name of the one.
        target: the name of the other.
        clusters: the configuration of each value; values of one cluster are not independent.
        crossed: what each value shares with one of every other cluster, its seed; its place in its cluster when None.
        groups: hyper-parameters of each value, for Kendall within groups.
        resamples: permutations; all there are where these are fewer.
        seed: of them.

    Returns:
        The coefficients, each with a p-value and an interval where the sample allows them.

    Raises:
        ConfigurationError: lengths differ.
    """
    lengths = {len(each) for each in (x, y, clusters, crossed, groups) if each is not None}
    if len(lengths) != 1:
        raise ConfigurationError(
            f"'{metric}' and '{target}', their clusters and groups have different lengths: {sorted(lengths)}."
        )
    finite = np.flatnonzero(np.isfinite(x) & np.isfinite(y))
    count = len(finite)
    within = math.nan
    if groups is not None:
        within = kendall_within_groups(x[finite], y[finite], [groups[i] for i in finite.tolist()])
    if clusters is not None:
        shared = _places(clusters) if crossed is None else crossed
        labels, seeds = ([each[i] for i in finite.tolist()] for each in (clusters, shared))
        x, y = (_cluster_effects(np.asarray(values, dtype=float)[finite], labels, seeds) for values in (x, y))
    else:
        x, y = np.asarray(x, dtype=float)[finite], np.asarray(y, dtype=float)[finite]
    found = {}
    for kind in COEFFICIENTS:
        value = coefficient(kind, x, y)
        if len(x) < FEWEST or math.isnan(value):
            found[kind] = Coefficient(value)
            continue
        p_value = _permutation_p(kind, x, y, resamples=resamples, seed=seed)
        found[kind] = Coefficient(value, p_value, p_value, *_interval(kind, x, y))
    return Correlation(metric, target, count, len(x), kendall_within=within, **found)


def _cluster_effects(
    values: Float[ndarray, " n"], clusters: Sequence[Hashable], crossed: Sequence[Hashable]
) -> Float[ndarray, " m"]:
    """The effect of each cluster in value = cluster + seed + rest, by least squares, in order of first appearance.

    In a full grid these are the clusters' means less a constant; where values are missing, clusters that lack a seed are not
    mistaken for others for the lack of it. Where clusters share no seeds they are their means.
    """
    members = _members(clusters)
    design = np.zeros((len(values), len(set(crossed))))
    for column, chosen in enumerate(_members(crossed)):
        design[chosen, column] = 1.0
    rest, within = values.copy(), design.copy()
    for chosen in members:
        rest[chosen] -= rest[chosen].mean()
        within[chosen] -= within[chosen].mean(0)
    without = values - design @ np.linalg.lstsq(within, rest, rcond=None)[0]
    effects = np.array([without[chosen].mean() for chosen in members])
    # Equal clusters differ by rounding alone, which must not be ranked.
    digits = 64 * np.finfo(float).eps * float(np.abs(values).max(initial=0.0))
    return np.round(effects / digits) * digits if digits else effects


def _permutation_p(kind: str, x: Float[ndarray, " n"], y: Float[ndarray, " n"], *, resamples: int = 2000, seed: int = 0) -> float:
    """The share of orders of y whose coefficient is at least as large in magnitude, of all orders or of a sample of them.

    Exact for independent pairs of any distribution. Beyond `_ENUMERATED` values Kendall's is SciPy's, of its normal form.
    """
    if kind == "kendall" and len(x) > _ENUMERATED:
        return float(stats.kendalltau(x, y).pvalue)
    orders, every = _orders(len(x), resamples, seed)
    if kind == "kendall":
        left, right = (np.sign(values[:, None] - values) for values in (x, y))
        # One order at a time would be as exact; a few thousand at once are quicker.
        sums = np.concatenate(
            [
                np.einsum("ij,rij->r", left, right[some[:, :, None], some[:, None, :]])
                for some in np.array_split(orders, 1 + len(orders) * len(x) ** 2 // 2_000_000)
            ]
        )
        own = float((left * right).sum())
    else:
        if kind == "spearman":
            x, y = stats.rankdata(x), stats.rankdata(y)
        left, right = x - x.mean(), y - y.mean()
        sums, own = right[orders] @ left, float(left @ right)
    least = abs(own) * (1 - 1e-12) - 1e-12 * float(np.abs(left).sum() * np.abs(right).max())  # equal orders differ by rounding
    reached = int((np.abs(sums) >= least).sum())
    return reached / len(orders) if every else (1 + reached) / (1 + len(orders))


@lru_cache(maxsize=8)
def _orders(count: int, resamples: int, seed: int) -> tuple[Int[ndarray, "r n"], bool]:
    """Orders of so many values, and whether these are all."""
    if math.factorial(count) <= resamples:
        return np.array(list(itertools.permutations(range(count)))), True
    generator = np.random.default_rng(seed)
    return generator.permuted(np.tile(np.arange(count), (resamples, 1)), axis=1), False


def _interval(kind: str, x: Float[ndarray, " n"], y: Float[ndarray, " n"]) -> tuple[float, float]:
    """The 95 % interval of a coefficient: tanh(z ± t s), z = artanh r, s its jackknife standard error, t Student's of n − 1.

    Of few ranks the jackknife sees little, and nothing where the orders agree in every pair: there one pair in all is taken to
    disagree, and t s is no smaller than with the error of Fieller, Hartley & Pearson (1957), which is not estimated.
    """
    count = len(x)
    value = coefficient(kind, x, y)
    without = weighted_coefficients(kind, x, y, 1.0 - np.eye(count))
    without = without[~np.isnan(without)]
    if kind == "pearson" and 1 - abs(value) < 1e-12:
        return value, value
    most = 1 - 1e-12 if kind == "pearson" else 1 - 2 / (count * (count - 1))
    z, others = (np.arctanh(np.clip(each, -most, most)) for each in (np.array(value), without))
    error = math.sqrt((count - 1) / count * float(((others - others.mean()) ** 2).sum()))
    reach = float(stats.t.ppf(0.975, count - 1)) * error
    if kind != "pearson":
        reach = max(
            reach, float(stats.norm.ppf(0.975)) * math.sqrt(1.06 / (count - 3) if kind == "spearman" else 0.437 / (count - 4))
        )
    low, high = float(np.tanh(z - reach)), float(np.tanh(z + reach))
    return min(low, value), max(high, value)


def correlation_table(
    metrics: Mapping[str, Float[ndarray, " n"]],
    targets: Mapping[str, Float[ndarray, " n"]],
    *,
    clusters: Sequence[Hashable] | None = None,
    crossed: Sequence[Hashable] | None = None,
    groups: Sequence[Hashable] | None = None,
    resamples: int = 2000,
    seed: int = 0,
) -> list[Correlation]:
    """Every metric against every target, with p-values adjusted over the whole table for each kind of coefficient.

    Args:
        metrics: values over minima, `(n,)` each, by name.
        targets: values over the same minima, `(n,)` each, by name.
        clusters: the configuration of each value; values of one cluster are not independent.
        crossed: the seed of each value, where every configuration has the same seeds; their common part is no evidence.
        groups: hyper-parameters of each value, for Kendall within groups.
        resamples: of the bootstrap.
        seed: of the bootstrap.

    Returns:
        One entry for each metric and target, in their order.

    Raises:
        ConfigurationError: lengths differ.
    """
    shared = {"clusters": clusters, "crossed": crossed, "groups": groups}
    table = [
        correlate(x, y, metric=metric, target=target, **shared, resamples=resamples, seed=seed)
        for metric, x in metrics.items()
        for target, y in targets.items()
    ]
    for kind in COEFFICIENTS:
        adjusted = holm([getattr(each, kind).p_value for each in table])
        table = [
            replace(each, **{kind: replace(getattr(each, kind), adjusted=value)})
            for each, value in zip(table, adjusted, strict=True)
        ]
    return table


def _members(labels: Sequence[Hashable]) -> list[Int[ndarray, " _"]]:
    """Indices of the values of each label, in order of first appearance."""
    found: dict[Hashable, list[int]] = {}
    for index, label in enumerate(labels):
        found.setdefault(label, []).append(index)
    return [np.array(each) for each in found.values()]


def _places(labels: Sequence[Hashable]) -> list[int]:
    """Of each value, how many with its label stand before it."""
    seen: dict[Hashable, int] = {}
    found = []
    for label in labels:
        found.append(seen.get(label, 0))
        seen[label] = found[-1] + 1
    return found


def weighted_coefficients(
    kind: str, x: Float[ndarray, " n"], y: Float[ndarray, " n"], weights: Float[ndarray, "resamples n"]
) -> Float[ndarray, " resamples"]:
    """The coefficient of samples in which value i occurs `weights[r, i]` times, all samples at once; NaN where one is constant.

    Kendall's sums over pairs become quadratic forms in the weights, and so do the mid-ranks of Spearman's.
    """
    if kind == "kendall":
        left, right = (np.sign(values[:, None] - values) for values in (x, y))
        both, first, second = (((weights @ form) * weights).sum(1) for form in (left * right, left**2, right**2))
    else:
        left, right = (_mid_ranks(values, weights) if kind == "spearman" else values for values in (x, y))
        size = weights.sum(1, keepdims=True)
        left, right = (values - (weights * values).sum(1, keepdims=True) / size for values in (left, right))
        both, first, second = ((weights * form).sum(1) for form in (left * right, left**2, right**2))
    # What a constant sample leaves is rounding: relative to the values, not zero.
    constant = ((weights > 0) & (x != _first(x, weights))).sum(1) * ((weights > 0) & (y != _first(y, weights))).sum(1) == 0
    scale = np.sqrt(first * second)
    return np.where(constant, np.nan, both / np.where(scale > 0, scale, 1))


def _mid_ranks(values: Float[ndarray, " n"], weights: Float[ndarray, "resamples n"]) -> Float[ndarray, "resamples n"]:
    below, equal = (values[:, None] < values).astype(float), (values[:, None] == values).astype(float)
    return weights @ below + (weights @ equal + 1) / 2


def _first(values: Float[ndarray, " n"], weights: Float[ndarray, "resamples n"]) -> Float[ndarray, "resamples 1"]:
    """The first value that each sample holds."""
    return values[(weights > 0).argmax(1)][:, None]
