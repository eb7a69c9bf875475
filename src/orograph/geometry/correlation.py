"""Correlations of metrics over minima, with intervals and p-values that are honest about small and pooled samples.

Pearson, Spearman and Kendall; Kendall within groups of equal hyper-parameters and its mean over hyper-parameters, the granulated
coefficient (Jiang et al., 2020), which are not fooled by a hyper-parameter that drives both quantities. Where several seeds of
one configuration are pooled, configurations are what is resampled (cluster bootstrap). Below `FEWEST` independent values
only values and signs are given. Over a table, p-values are adjusted by Holm's (1979) step-down rule.
"""

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from scipy import stats

from orograph.errors import ConfigurationError

FEWEST = 5
COEFFICIENTS = ("pearson", "spearman", "kendall")


@dataclass(frozen=True)
class Coefficient:
    """One correlation coefficient.

    Attributes:
        value: between −1 and 1; NaN where a quantity is constant.
        p_value: two-sided, NaN below five independent values; where values lie in m clusters, of the cluster bootstrap, and no
            less than 2/m!, the least that a permutation of the clusters could show.
        adjusted: the p-value after Holm's rule over all of a table's tests of this kind of coefficient.
        low: lower end of the 95 % bootstrap interval, NaN below five independent values.
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


@dataclass(frozen=True)
class Correlation:
    """How a metric goes with a target.

    Attributes:
        metric: the name of the one.
        target: the name of the other.
        count: pairs of finite values.
        independent: clusters among them, or `count` where there are none.
        pearson: linear correlation.
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


def coefficient(kind: str, x: Float[ndarray, " n"], y: Float[ndarray, " n"]) -> tuple[float, float]:
    """Value and two-sided p-value of `pearson`, `spearman` or `kendall`; NaN where either is constant or fewer than 2."""
    if len(x) < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return math.nan, math.nan
    function = {"pearson": stats.pearsonr, "spearman": stats.spearmanr, "kendall": stats.kendalltau}[kind]
    if len(x) == 2:  # two points always correlate perfectly
        return float(np.sign((x[1] - x[0]) * (y[1] - y[0]))), math.nan
    result = function(x, y)
    return float(result.statistic), float(result.pvalue)


def kendall_within_groups(x: Float[ndarray, " n"], y: Float[ndarray, " n"], groups: Sequence[Hashable]) -> float:
    """Kendall's τ inside each group, averaged with the group's number of pairs as weight; NaN where no group allows one.

    Args:
        x: values over minima.
        y: values over the same minima.
        groups: hyper-parameters of each value.

    Returns:
        τ between −1 and 1.
    """
    total, weight = 0.0, 0
    for chosen in _members(groups):
        value, _ = coefficient("kendall", x[chosen], y[chosen])
        if not math.isnan(value):
            pairs = len(chosen) * (len(chosen) - 1) // 2
            total, weight = total + pairs * value, weight + pairs
    return total / weight if weight else math.nan


def granulated_kendall(
    x: Float[ndarray, " n"], y: Float[ndarray, " n"], hyperparameters: Mapping[str, Sequence[Hashable]]
) -> dict[str, float]:
    """ψ of each hyper-parameter and their mean Ψ under the name `mean` (Jiang et al., 2020).

    ψ_i is the mean of Kendall's τ over the groups in which only hyper-parameter i varies. NaN where it never varies alone.

    Args:
        x: values over minima.
        y: values over the same minima.
        hyperparameters: of each value, by name.

    Returns:
        ψ by hyper-parameter, and `mean`.
    """
    names = list(hyperparameters)
    result = {}
    for name in names:
        rest = list(zip(*(hyperparameters[other] for other in names if other != name), strict=True)) or [()] * len(x)
        values = [coefficient("kendall", x[chosen], y[chosen])[0] for chosen in _members(rest)]
        finite = [value for value in values if not math.isnan(value)]
        result[name] = float(np.mean(finite)) if finite else math.nan
    finite = [value for value in result.values() if not math.isnan(value)]
    return {**result, "mean": float(np.mean(finite)) if finite else math.nan}


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values in the order given; NaNs are no tests and stay.

    Holm (1979).

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
    groups: Sequence[Hashable] | None = None,
    resamples: int = 2000,
    seed: int = 0,
) -> Correlation:
    """All coefficients of one pair of quantities; pairs with a value that is not finite are left out.

    Args:
        x: values over minima.
        y: values over the same minima.
        metric: the name of the one.
        target: the name of the other.
        clusters: the configuration of each value; values of one cluster are not independent.
        groups: hyper-parameters of each value, for Kendall within groups.
        resamples: of the bootstrap (percentile interval).
        seed: of the bootstrap.

    Returns:
        The coefficients, each with a p-value and an interval where the sample allows them.

    Raises:
        ConfigurationError: lengths differ.
    """
    lengths = {len(each) for each in (x, y, clusters, groups) if each is not None}
    if len(lengths) != 1:
        raise ConfigurationError(
            f"'{metric}' and '{target}', their clusters and groups have different lengths: {sorted(lengths)}."
        )
    finite = np.flatnonzero(np.isfinite(x) & np.isfinite(y))
    x, y = np.asarray(x, dtype=float)[finite], np.asarray(y, dtype=float)[finite]
    members = [np.array([i]) for i in range(len(x))] if clusters is None else _members([clusters[i] for i in finite.tolist()])
    enough = len(members) >= FEWEST
    weights = _drawn(members, len(x), resamples, seed) if enough else None
    found = {}
    for kind in COEFFICIENTS:
        value, p_value = coefficient(kind, x, y)
        if weights is None or math.isnan(value):
            found[kind] = Coefficient(value)
            continue
        values = weighted_coefficients(kind, x, y, weights)
        values = values[~np.isnan(values)]
        low, high = np.quantile(values, [0.025, 0.975]) if len(values) else (math.nan, math.nan)
        if clusters is not None:  # the textbook p-values assume independent values
            tail = min(int((values <= 0).sum()), int((values >= 0).sum()))
            # Nor can clusters say more than the most extreme of all their orders.
            p_value = min(1.0, max(2 * (tail + 1) / (len(values) + 1), 2 / math.factorial(len(members))))
        found[kind] = Coefficient(value, p_value, p_value, float(low), float(high))
    within = math.nan if groups is None else kendall_within_groups(x, y, [groups[i] for i in finite.tolist()])
    return Correlation(metric, target, len(x), len(members), kendall_within=within, **found)


def correlation_table(
    metrics: Mapping[str, Float[ndarray, " n"]],
    targets: Mapping[str, Float[ndarray, " n"]],
    *,
    clusters: Sequence[Hashable] | None = None,
    groups: Sequence[Hashable] | None = None,
    resamples: int = 2000,
    seed: int = 0,
) -> list[Correlation]:
    """Every metric against every target, with p-values adjusted over the whole table for each kind of coefficient.

    Args:
        metrics: values over minima by name.
        targets: values over the same minima by name.
        clusters: the configuration of each value; values of one cluster are not independent.
        groups: hyper-parameters of each value, for Kendall within groups.
        resamples: of the bootstrap.
        seed: of the bootstrap.

    Returns:
        One entry for each metric and target, in their order.

    Raises:
        ConfigurationError: lengths differ.
    """
    table = [
        correlate(x, y, metric=metric, target=target, clusters=clusters, groups=groups, resamples=resamples, seed=seed)
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


def _drawn(members: list[Int[ndarray, " _"]], count: int, resamples: int, seed: int) -> Float[ndarray, "resamples n"]:
    """How often each value is in each sample, when whole clusters are drawn with replacement."""
    clusters = np.random.default_rng(seed).integers(len(members), size=(resamples, len(members)))
    times = np.stack([(clusters == index).sum(1) for index in range(len(members))], axis=1)
    weights = np.empty((resamples, count))
    for index, chosen in enumerate(members):
        weights[:, chosen] = times[:, index : index + 1]
    return weights


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
