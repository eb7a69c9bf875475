"""Correlations against scipy.stats, tables whose answer is known by construction, and Holm's rule by its definition."""

import itertools
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
def test_values_are_those_of_scipy(count: int) -> None:
    x, y = made(count)
    found = correlate(x, y, resamples=50)
    for kind in COEFFICIENTS:
        assert getattr(found, kind).value == pytest.approx(REFERENCE[kind](x, y).statistic, abs=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("ties", [False, True])
def test_p_values_of_few_are_shares_of_all_orders(seed: int, ties: bool) -> None:
    x, y = made(6, seed)
    if ties:
        x, y = np.round(x), np.round(2 * y)
    found = correlate(x, y)
    for kind in COEFFICIENTS:
        own = abs(REFERENCE[kind](x, y).statistic)
        others = [abs(REFERENCE[kind](x, y[list(order)]).statistic) for order in itertools.permutations(range(6))]
        assert getattr(found, kind).p_value == pytest.approx(np.mean([other >= own - 1e-9 for other in others]), abs=1e-12)


def test_p_values_of_many_agree_with_scipys() -> None:
    generator = np.random.default_rng(2)
    x, y = generator.normal(size=(2, 30))
    y += 0.2 * x
    found = correlate(x, y, resamples=4000)
    for kind in COEFFICIENTS:
        expected = REFERENCE[kind](x, y).pvalue
        # Three standard errors of 4,000 permutations, and what the textbook's Spearman and Pearson are off by at 30.
        assert getattr(found, kind).p_value == pytest.approx(expected, abs=3 * math.sqrt(expected / 4000) + 0.01)
    long = correlate(*generator.normal(size=(2, 40)), resamples=10)
    assert long.kendall.p_value > 1 / 11  # beyond 33 values SciPy's, which knows no resamples


@settings(max_examples=60)
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
    alone = correlate(x, y).pearson
    copied = correlate(np.repeat(x, 5), np.repeat(y, 5), clusters=np.repeat(np.arange(12), 5).tolist()).pearson
    pretended = correlate(np.repeat(x, 5), np.repeat(y, 5)).pearson
    assert (copied.low, copied.high, copied.p_value) == pytest.approx((alone.low, alone.high, alone.p_value), rel=1e-9)
    assert pretended.high - pretended.low < 0.7 * (alone.high - alone.low)


@pytest.mark.parametrize("effect", [0.3, 1.0, 30.0])
def test_what_all_configurations_share_of_a_seed_changes_nothing(effect: float) -> None:
    """Two quantities whose seeds rise and fall together by up to thirty times what configurations differ by."""
    generator = np.random.default_rng(5)
    own, other = generator.normal(size=(2, 12, 3))
    shared = effect * np.array([-1.0, 0.2, 1.0])
    clusters, seeds = np.repeat(np.arange(12), 3).tolist(), np.tile([7, 8, 9], 12).tolist()
    plain = correlate(own.ravel(), other.ravel(), clusters=clusters, crossed=seeds)
    moved = correlate((own + shared).ravel(), (other - shared).ravel(), clusters=clusters, crossed=seeds)
    for kind in COEFFICIENTS:
        one, two = getattr(plain, kind), getattr(moved, kind)
        assert (two.value, two.p_value, two.low) == pytest.approx((one.value, one.p_value, one.low), rel=1e-6)
    assert moved.pearson.value == pytest.approx(np.corrcoef(own.mean(1), other.mean(1))[0, 1], abs=1e-12)


def test_a_missing_minimum_does_not_take_its_seed_for_its_configuration() -> None:
    """A grid that is exactly additive but for one missing minimum: its configuration keeps its place."""
    own, shared = np.array([0.0, 1.0, 2.0, 3.0, 4.0]), np.array([0.0, 50.0, -20.0])
    grid = own[:, None] + shared
    grid[2, 1] = np.nan
    clusters, seeds = np.repeat(np.arange(5), 3).tolist(), np.tile(np.arange(3), 5).tolist()
    found = correlate(grid.ravel(), np.repeat(own**2, 3), clusters=clusters, crossed=seeds)
    assert (found.count, found.independent) == (14, 5)
    assert found.spearman.value == pytest.approx(1)
    assert found.pearson.value == pytest.approx(np.corrcoef(own, own**2)[0, 1], abs=1e-12)


def test_configurations_with_seeds_of_their_own_enter_by_their_means() -> None:
    x, y = made(12, 3)
    clusters = np.repeat(np.arange(6), 2).tolist()
    found = correlate(x, y, clusters=clusters, crossed=list(range(12)))
    means = [values.reshape(6, 2).mean(1) for values in (x, y)]
    assert found.pearson.value == pytest.approx(np.corrcoef(*means)[0, 1], abs=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize("effect", [0.0, 1.0, 3.0])
def test_independent_quantities_of_a_study_are_rarely_called_correlated(seeds: int, effect: float) -> None:
    rejected, covered = [], []
    for run in range(100):
        generator = np.random.default_rng(run)
        x, y = (
            (
                generator.normal(size=(12, 1))
                + effect * generator.normal(size=(1, seeds))
                + 0.3 * generator.normal(size=(12, seeds))
            )
            for _ in range(2)
        )
        clusters = np.repeat(np.arange(12), seeds).tolist()
        each = correlate(x.ravel(), y.ravel(), clusters=clusters, resamples=199, seed=run).pearson
        rejected.append(each.p_value <= 0.05)
        covered.append(each.low <= 0 <= each.high)
    # Of 100 at 5 %: more than 11 have a chance of 0.4 %; the bootstrap of configurations rejects 11 to 79.
    assert sum(rejected) <= 11
    assert sum(covered) >= 89


@pytest.mark.parametrize("count", [5, 8, 40])
def test_intervals_cover_the_true_correlation_about_as_often_as_they_say(count: int) -> None:
    truth = {"pearson": 1 / math.sqrt(2), "spearman": 6 / math.pi * math.asin(0.5 / math.sqrt(2)), "kendall": 0.5}
    inside = dict.fromkeys(COEFFICIENTS, 0)
    for seed in range(60):
        found = correlate(*made(count, seed), resamples=20)
        for kind in COEFFICIENTS:
            each = getattr(found, kind)
            inside[kind] += each.low <= truth[kind] <= each.high
    assert min(inside.values()) >= 52  # 57 of 60 expected; fewer than 52 has a chance of 1 % at 95 %


def test_ranks_that_agree_entirely_leave_room_for_doubt() -> None:
    found = correlate(np.arange(6.0), np.arange(6.0) ** 2)
    for each in (found.spearman, found.kendall):
        assert each.value == pytest.approx(1)
        assert each.low < 0.7
        assert each.p_value == pytest.approx(2 / 720)


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


@pytest.mark.parametrize("seeds", [1, 2, 5])
def test_networks_of_one_setting_are_no_pair_of_the_granulated_coefficient(seeds: int) -> None:
    """Both rise with the setting, and only within a setting, over its seeds, does one rise and the other fall."""
    width, seed = np.repeat([16, 64, 256], seeds), np.tile(np.arange(seeds), 3)
    found = granulated_kendall(width + 0.1 * seed, width - 0.1 * seed, {"width": width.tolist()})
    assert found == {"width": 1.0, "mean": 1.0}


def test_the_granulated_coefficient_is_kendalls_where_every_setting_is_there_once() -> None:
    x, y = made(9, 4)
    x = np.round(2 * x)  # with ties
    found = granulated_kendall(x, y, {"rate": list(range(9)), "width": [1] * 9})
    assert found["rate"] == pytest.approx(stats.kendalltau(x, y).statistic)
    assert math.isnan(found["width"])


def test_a_setting_that_never_varies_alone_has_no_granulated_coefficient() -> None:
    x, y = made(4)
    found = granulated_kendall(x, y, {"rate": [1, 1, 2, 2], "width": [1, 1, 2, 2]})
    assert all(math.isnan(value) for value in found.values())


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
