"""Correlations against scipy.stats, tables whose answer is known by construction, and Holm's rule by its definition."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from orograph.errors import ConfigurationError
from orograph.geometry.correlation import (
    COEFFICIENTS,
    correlate,
    correlation_table,
    granulated_kendall,
    holm,
    kendall_within_groups,
    weighted_coefficients,
)

REFERENCE = {"pearson": stats.pearsonr, "spearman": stats.spearmanr, "kendall": stats.kendalltau}


def made(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    x = generator.normal(size=count)
    return x, x + generator.normal(size=count)


@pytest.mark.parametrize("count", [5, 12, 60])
def test_values_and_p_values_are_those_of_scipy(count: int) -> None:
    x, y = made(count)
    found = correlate(x, y, resamples=50)
    for kind in COEFFICIENTS:
        expected = REFERENCE[kind](x, y)
        assert getattr(found, kind).value == pytest.approx(expected.statistic, abs=1e-12)
        assert getattr(found, kind).p_value == pytest.approx(expected.pvalue, abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(0, 3)), min_size=3, max_size=12))
def test_coefficients_of_weighted_values_are_those_of_repeated_values(rows) -> None:
    x, y, times = np.array(rows, dtype=float).T
    long_x, long_y = (np.repeat(values, times.astype(int)) for values in (x, y))
    for kind in COEFFICIENTS:
        found = weighted_coefficients(kind, x, y, times[None]) if times.any() else [math.nan]
        if len(long_x) == 0 or np.ptp(long_x) == 0 or np.ptp(long_y) == 0:
            assert math.isnan(found[0])
        else:
            assert found[0] == pytest.approx(REFERENCE[kind](long_x, long_y).statistic, abs=1e-12)


def test_below_five_values_there_are_only_values_and_signs() -> None:
    found = correlate(np.array([1.0, 2.0, 3.0, 4.0]), np.array([8.0, 6.0, 5.0, 1.0]))
    for kind in COEFFICIENTS:
        each = getattr(found, kind)
        assert (each.sign, each.value < -0.9) == (-1, True)
        assert all(math.isnan(value) for value in (each.p_value, each.adjusted, each.low, each.high))


def test_five_values_of_two_configurations_are_two() -> None:
    x, y = made(6)
    found = correlate(x, y, clusters=["a", "a", "a", "b", "b", "b"])
    assert (found.count, found.independent) == (6, 2)
    assert math.isnan(found.pearson.p_value)


def test_five_configurations_cannot_show_more_than_their_orders_can() -> None:
    x = np.repeat(np.arange(5.0), 3) + np.tile([0.0, 0.01, 0.02], 5)
    found = correlate(x, 2 * x, clusters=np.repeat(np.arange(5), 3).tolist(), resamples=5000)
    assert found.pearson.p_value == pytest.approx(2 / 120)  # of 5! orders two are this extreme


def test_copies_of_a_configuration_do_not_narrow_the_interval() -> None:
    x, y = made(12)
    alone = correlate(x, y)
    copied = correlate(np.repeat(x, 5), np.repeat(y, 5), clusters=np.repeat(np.arange(12), 5).tolist())
    pretended = correlate(np.repeat(x, 5), np.repeat(y, 5))
    width = {
        name: each.pearson.high - each.pearson.low for name, each in locals().items() if name in ("alone", "copied", "pretended")
    }
    assert width["copied"] == pytest.approx(width["alone"], rel=1e-9)
    assert width["pretended"] < 0.7 * width["alone"]


def test_intervals_cover_the_true_correlation_about_as_often_as_they_say() -> None:
    truth, inside = 1 / math.sqrt(2), 0
    for seed in range(60):
        each = correlate(*made(40, seed), resamples=200).pearson
        inside += each.low <= truth <= each.high
    assert inside >= 49  # 57 of 60 expected; fewer than 49 has a chance of about 1e-4 at 95 %


def test_a_constant_quantity_has_no_correlation() -> None:
    found = correlate(np.ones(8), np.arange(8.0))
    assert math.isnan(found.pearson.value)
    assert found.pearson.sign == 0


def test_values_that_are_not_finite_are_left_out_with_their_clusters() -> None:
    x, y = made(9)
    holed = np.append(x, [np.nan, 1.0])
    found = correlate(holed, np.append(y, [1.0, np.inf]), clusters=list(range(11)))
    assert (found.count, found.independent) == (9, 9)
    assert found.kendall.value == correlate(x, y).kendall.value


def test_kendall_within_groups_is_not_fooled_by_what_drives_both() -> None:
    generator = np.random.default_rng(1)
    width = np.repeat([0.0, 10.0, 20.0], 5)
    x = width + generator.random(15)
    y = width - (x - width)  # rises with the width, falls inside every group
    found = correlate(x, y, groups=width.tolist(), resamples=20)
    assert found.kendall.value > 0
    assert found.kendall_within == pytest.approx(-1)
    assert math.isnan(kendall_within_groups(x, y, list(range(15))))


def test_the_granulated_coefficient_varies_one_hyperparameter_at_a_time() -> None:
    rows = [(width, rate) for width in (1, 2, 3) for rate in (0.1, 0.2)]
    x = np.array([width + 10 * rate for width, rate in rows])
    y = np.array([width - 20 * rate for width, rate in rows])
    found = granulated_kendall(x, y, {"width": [w for w, _ in rows], "rate": [r for _, r in rows]})
    assert found == {"width": 1.0, "rate": -1.0, "mean": 0.0}


@given(st.lists(st.one_of(st.floats(0, 1), st.just(math.nan)), max_size=8))
def test_holm_rejects_exactly_what_the_step_down_procedure_rejects(values) -> None:
    adjusted = holm(values)
    tests = sorted((value, index) for index, value in enumerate(values) if not math.isnan(value))
    for level in (0.01, 0.05, 0.5, 0.99):
        rejected = set()
        for step, (value, index) in enumerate(tests):
            if value * (len(tests) - step) > level:
                break
            rejected.add(index)
        assert {index for index, value in enumerate(adjusted) if value <= level} == rejected


def test_a_table_adjusts_over_all_its_tests() -> None:
    x, y = made(20)
    noise, _ = made(20, seed=7)
    table = correlation_table({"good": x, "noise": noise}, {"accuracy": y, "loss": -y}, resamples=20)
    assert [(each.metric, each.target) for each in table][:2] == [("good", "accuracy"), ("good", "loss")]
    raw = [each.kendall.p_value for each in table]
    assert [each.kendall.adjusted for each in table] == holm(raw)
    assert table[0].kendall.value == -table[1].kendall.value


def test_different_lengths_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="different lengths"):
        correlate(np.zeros(5), np.zeros(6))
