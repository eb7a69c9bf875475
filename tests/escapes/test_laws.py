"""Survival, rates and laws on synthetic escapes whose truth is known."""

import math

import numpy as np
import pytest
from numpy import ndarray

from orograph.errors import ConfigurationError
from orograph.escapes import Laws, departure, escape_laws, exponential_rate, survival_curve

BARRIERS = np.repeat([0.02, 0.04, 0.07], 4)
RATIOS = 1 + BARRIERS / np.repeat([0.3, 0.1, 0.05], 4)  # the state's loss falls as its barrier grows
TEMPERATURES = np.tile([0.006, 0.01, 0.015, 0.02], 3)
CHAINS = 48


def censored(rng: np.random.Generator, means: ndarray, until: float) -> tuple[ndarray, ndarray]:
    times = rng.exponential(means)
    return np.minimum(times, until), times < until


def test_survival_is_that_of_the_textbook() -> None:
    # Six chains: escapes at 1, 3, 3, 5, watched until 2 and 6. Products of (1 − d/n), Greenwood's sum of d/(n(n − d)).
    found = survival_curve(np.array([1.0, 2, 3, 3, 5, 6]), np.array([True, False, True, True, True, False]))
    share = np.array([5 / 6, 5 / 6, 5 / 12, 5 / 24, 5 / 24])
    assert found.times.tolist() == [1, 2, 3, 5, 6]
    assert found.share == pytest.approx(share)
    greenwood = np.cumsum([1 / 30, 0, 2 / 8, 1 / 2, 0])
    spread = 1.959964 * np.sqrt(greenwood) / np.log(share)
    assert found.low == pytest.approx(share ** np.exp(-spread), rel=1e-6)
    assert found.high == pytest.approx(share ** np.exp(spread), rel=1e-6)


def test_the_rate_of_censored_exponential_times_lies_in_its_interval_as_often_as_it_says() -> None:
    rng, inside, tries = np.random.default_rng(0), 0, 400
    for _ in range(tries):
        times, escaped = censored(rng, np.full(24, 10.0), 12.0)
        found = exponential_rate(times, escaped)
        inside += found.low <= 0.1 <= found.high
    # At least 95 %, less twice the standard error of so many tries; not all, or the interval says nothing.
    assert 0.95 - 2 * math.sqrt(0.95 * 0.05 / tries) <= inside / tries < 1


def test_a_rate_is_bounded_where_nothing_escaped() -> None:
    found = exponential_rate(np.full(10, 5.0), np.zeros(10, dtype=bool))
    assert (found.value, found.low) == (0, 0)
    assert found.high == pytest.approx(-math.log(0.025) / 50)
    assert np.isnan(departure(np.full(10, 5.0), np.zeros(10, dtype=bool))).all()
    assert survival_curve(np.full(10, 5.0), np.zeros(10, dtype=bool)).share.tolist() == [1.0]


def test_times_that_are_not_exponential_are_told() -> None:
    rng = np.random.default_rng(1)
    times, escaped = censored(rng, np.full(60, 10.0), 20.0)
    shape, p_value = departure(times, escaped)
    assert shape == pytest.approx(1, abs=0.35)  # three standard errors of 0.78/√60
    assert p_value > 0.01
    shape, p_value = departure(10 * rng.weibull(2.0, 60), np.full(60, True))
    assert shape == pytest.approx(2, abs=0.6)
    assert p_value < 1e-4


def simulated(log_times: ndarray, seed: int) -> Laws:
    times, escaped = censored(np.random.default_rng(seed), np.repeat(np.exp(log_times), CHAINS), 200.0)
    given = (np.repeat(each, CHAINS) for each in (BARRIERS, RATIOS, TEMPERATURES))
    return escape_laws(*given, times, escaped)


def test_arrhenius_is_told_from_a_power_law() -> None:
    found = [simulated(0.5 + 0.8 * BARRIERS / TEMPERATURES, seed) for seed in range(20)]
    verdicts = [each.verdict for each in found]
    assert "power law" not in verdicts
    assert verdicts.count("Arrhenius") >= 16
    slopes = [abs(each.arrhenius.coefficients["b"] - 0.8) <= each.arrhenius.margins["b"] for each in found]
    assert sum(slopes) >= 17  # of intervals of 95 %: 16 or fewer of 20 come once in 65 times
    assert np.mean([each.arrhenius.dispersion for each in found]) == pytest.approx(1, abs=0.3)
    assert all(each.power.dispersion > 2 for each in found)


def test_a_power_law_is_told_from_arrhenius() -> None:
    found = [simulated(0.5 + 0.06 / TEMPERATURES * np.log(RATIOS), seed) for seed in range(20)]
    assert [each.verdict for each in found] == ["power law"] * 20
    exponents = [abs(each.power.coefficients["b"] - 0.06) <= each.power.margins["b"] for each in found]
    assert sum(exponents) >= 17
    assert all(each.high < 0 for each in found)


def test_one_barrier_cannot_tell_them_apart() -> None:
    temperatures = np.repeat(TEMPERATURES[:4], 30)
    times = np.exp(1 + 0.8 * 0.04 / temperatures)  # each its mean, so that the fit is the law
    found = escape_laws(np.full(120, 0.04), np.full(120, 1.4), temperatures, times, np.full(120, True))
    assert found.verdict == "not told apart"
    assert found.difference == pytest.approx(0, abs=1e-6)
    assert found.arrhenius.coefficients == pytest.approx({"a": 1, "b": 0.8}, rel=1e-5)
    assert found.power.coefficients["b"] == pytest.approx(0.8 * 0.04 / math.log(1.4), rel=1e-5)


def test_cells_that_fit_no_law_are_refused() -> None:
    one = np.ones(2)
    with pytest.raises(ConfigurationError, match="two values of barrier"):
        escape_laws(one, 2 * one, one, one, one > 0)
    with pytest.raises(ConfigurationError, match="`ratios` must be finite and above 1"):
        escape_laws(one, one, one, one, one > 0)
    with pytest.raises(ConfigurationError, match="one of each"):
        exponential_rate(one, np.array([True]))
