"""Times of first passage of which some are known only to be longer: the share that is left, and the rate of leaving.

The share still there is estimated by Kaplan & Meier (1958), its interval by Greenwood's variance on the scale of log(−log S), so
that it stays between 0 and 1. A state that is left at a constant rate κ gives exponential times: with d escapes in the total time
S that all chains were watched, κ = d/S, and the interval of a Poisson count (Garwood 1936) divided by S, which covers at least as
often as it says where every chain is watched for the same time. Whether the rate is constant is asked by the shape k of a Weibull
law, S(t) = exp(−(t/τ)^k): k = 1 is exponential, k > 1 says that chains first have to get ready.
"""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray
from scipy import stats

from orograph.brief import brief
from orograph.errors import ConfigurationError

LEVEL = 0.95  # of all intervals
_FEWEST = 5  # escapes from which a shape is fitted


@brief
@dataclass(frozen=True, eq=False)
class Survival:
    """The share that is left, right after each time at which a chain escaped or was last seen.

    Attributes:
        times: ascending, `(n,)`.
        share: `(n,)`.
        low: `(n,)`, lower end of its interval; NaN where Greenwood's formula has none: before the first escape, and when none
            is left.
        high: `(n,)`, upper end.
    """

    times: Float[ndarray, " n"]
    share: Float[ndarray, " n"]
    low: Float[ndarray, " n"]
    high: Float[ndarray, " n"]


@brief
@dataclass(frozen=True)
class Rate:
    """Escapes in a unit of time.

    Attributes:
        value: κ = d/S; 0 where none escaped.
        low: lower end of its interval.
        high: upper end.
        escaped: d.
        exposure: S, the total time.
    """

    value: float
    low: float
    high: float
    escaped: int
    exposure: float


def survival_curve(times: Float[ndarray, " n"], escaped: Bool[ndarray, " n"]) -> Survival:
    """The share that is left, by Kaplan and Meier, with Greenwood's 95 % interval.

    Args:
        times: of the escapes, or until when a chain was watched, `(n,)`.
        escaped: which of the two, `(n,)`.

    Returns:
        The share at each of the times.

    Raises:
        ConfigurationError: no times, or one that is not positive and finite.

    Examples:
        >>> import numpy as np, orograph as og
        >>> left = og.escapes.survival_curve(np.array([1.0, 2.0, 4.0, 4.0]), np.array([True, True, False, False]))
        >>> left.share.tolist()
        [0.75, 0.5, 0.5]
    """
    found = stats.ecdf(_censored(times, escaped)).sf
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # where there is no interval
        band = found.confidence_interval(LEVEL, method="log-log")
    return Survival(found.quantiles, found.probabilities, band.low.probabilities, band.high.probabilities)


def exponential_rate(times: Float[ndarray, " n"], escaped: Bool[ndarray, " n"]) -> Rate:
    """The rate of escape, as if it were constant, with its 95 % interval.

    Args:
        times: of the escapes, or until when a chain was watched, `(n,)`.
        escaped: which of the two, `(n,)`.

    Returns:
        Escapes in a unit of the times.

    Raises:
        ConfigurationError: no times, or one that is not positive and finite.

    Examples:
        >>> import numpy as np, orograph as og
        >>> og.escapes.exponential_rate(np.array([1.0, 2.0, 4.0, 3.0]), np.array([True, True, False, False])).value
        0.2
    """
    require_times(times, escaped)
    count, exposure, tail = int(escaped.sum()), float(times.sum()), (1 - LEVEL) / 2
    low = stats.chi2.ppf(tail, 2 * count) / 2 if count else 0.0
    high = stats.chi2.ppf(1 - tail, 2 * count + 2) / 2
    return Rate(count / exposure, float(low) / exposure, float(high) / exposure, count, exposure)


def departure(times: Float[ndarray, " n"], escaped: Bool[ndarray, " n"]) -> tuple[float, float]:
    """How far the times are from exponential ones: the shape of a Weibull law, and the p-value of shape 1.

    Args:
        times: of the escapes, or until when a chain was watched, `(n,)`.
        escaped: which of the two, `(n,)`.

    Returns:
        The shape, and the p-value by the ratio of likelihoods; NaN where fewer than 5 escaped, or all at one time.

    Raises:
        ConfigurationError: no times, or one that is not positive and finite.

    Examples:
        >>> import numpy as np, orograph as og
        >>> shape, p_value = og.escapes.departure(np.linspace(9.0, 11.0, 20), np.full(20, True))
        >>> shape > 5, p_value < 0.001
        (True, True)
    """
    data = _censored(times, escaped)
    if escaped.sum() < _FEWEST or len(np.unique(times[escaped])) < 2:
        return np.nan, np.nan
    shape, _, scale = stats.weibull_min.fit(data, floc=0)

    def likelihood(law: Any) -> float:
        return float(law.logpdf(times[escaped]).sum() + law.logsf(times[~escaped]).sum())

    constant = stats.expon(scale=times.sum() / escaped.sum())
    gain = likelihood(stats.weibull_min(shape, scale=scale)) - likelihood(constant)
    return float(shape), float(stats.chi2.sf(max(0.0, 2 * gain), 1))


def _censored(times: Float[ndarray, " n"], escaped: Bool[ndarray, " n"]) -> stats.CensoredData:
    require_times(times, escaped)
    return stats.CensoredData(uncensored=times[escaped], right=times[~escaped])


def require_times(times: Float[ndarray, " n"], escaped: Bool[ndarray, " n"]) -> None:
    """Refuses times that are none.

    Raises:
        ConfigurationError: no times, or one that is not positive and finite.
    """
    if not len(times) or len(times) != len(escaped):
        raise ConfigurationError(f"`times` are {len(times)} and `escaped` {len(escaped)}; give one of each for every chain.")
    if not (np.isfinite(times) & (times > 0)).all():
        raise ConfigurationError("`times` must be positive and finite; leave chains that diverged out.")
