"""Change points in families whose transitions are known in closed form, and none where there is none.

The families are minimised by hand (`families`), and their change points follow from their formulas: nothing of the search is in
them.
"""

import numpy as np
import pytest
from families import FOLD, ONSET, correlated_noise, second_order, smooth, walk

from orograph.ladder.changes import _Search, _Terms, change_points, repeat_noise, uneven

LADDER = np.linspace(0, 2, 41)


def orders(states) -> np.ndarray:
    return np.array([state.order for state in states])


def first_order_series() -> np.ndarray:
    return orders(walk(LADDER, upward=True))


def second_order_series() -> np.ndarray:
    return orders(second_order(float(strength)) for strength in LADDER)


def smooth_series() -> np.ndarray:
    return np.array([smooth(float(strength))[1] for strength in LADDER])


@pytest.mark.parametrize("deviation", [0.0, 0.01])
def test_a_jump_is_found_where_the_branch_ends(deviation: float) -> None:
    values = first_order_series() + correlated_noise(len(LADDER), deviation, 0.5, 1)
    (found,) = change_points(LADDER, values)
    assert found.kind == "jump"
    assert abs(found.strength - FOLD) <= LADDER[1] / 2 + 1e-9
    assert found.low <= FOLD <= found.high
    assert found.jump < -0.3
    assert found.p_value == 1 / 200


@pytest.mark.parametrize("deviation", [0.0, 0.0003])
def test_a_kink_is_found_where_the_second_branch_begins(deviation: float) -> None:
    values = second_order_series() + correlated_noise(len(LADDER), deviation, 0.5, 2)
    (found,) = change_points(LADDER, values)
    assert found.kind == "kink"
    assert abs(found.strength - ONSET) <= 2 * LADDER[1]
    assert found.low <= ONSET <= found.high
    assert found.kink == pytest.approx(0.5, rel=0.25)  # the slope −½ of u ends


@pytest.mark.parametrize("series", [smooth_series, lambda: np.exp(-4 * LADDER), lambda: -np.log(0.2 + LADDER)])
def test_a_smooth_decay_without_noise_has_none(series) -> None:
    assert change_points(LADDER, series()) == ()


@pytest.mark.parametrize("phi", [0.0, 0.7])
def test_a_smooth_decay_with_correlated_noise_has_none(phi: float) -> None:
    found = [
        change_points(LADDER, np.exp(-2 * LADDER) + correlated_noise(len(LADDER), 0.02, phi, seed), seed=seed)
        for seed in range(40)
    ]
    # Each series is a test at far below one in a hundred; two of forty would be a defect.
    assert sum(bool(changes) for changes in found) <= 1


def test_two_changes_are_two() -> None:
    ladder = np.linspace(0, 1, 80)
    values = np.where(ladder < 0.3, 1.0 - ladder, 0.4 - ladder) + np.maximum(0, ladder - 0.7) * 4
    found = change_points(ladder, values + correlated_noise(80, 0.0001, 0.3, 3))
    assert [change.kind for change in found] == ["jump", "kink"]
    assert [change.strength for change in found] == pytest.approx([0.3, 0.7], abs=2 * ladder[1])


def test_a_staircase_whose_steps_hide_one_another_is_seen_as_a_whole() -> None:
    ladder = np.linspace(0, 2, 101)
    values = np.floor(3 * ladder + 0.01) + 0.1 * ladder + correlated_noise(101, 0.02, 0.5, 2)
    found = [change.strength for change in change_points(ladder, values) if change.kind == "jump"]
    assert found == pytest.approx([1 / 3, 2 / 3, 1, 4 / 3, 5 / 3], abs=0.02)


def test_noise_known_from_repeats_hides_what_is_smaller() -> None:
    values = first_order_series()
    assert change_points(LADDER, values, noise=0.0)
    repeats = np.stack([values + correlated_noise(len(values), 1.0, 0.0, seed) for seed in range(8)])
    noise = repeat_noise(repeats)
    assert noise == pytest.approx(1.0, rel=0.25)
    assert change_points(LADDER, repeats[0], noise=noise) == ()


def test_constant_and_incomplete_series_have_none() -> None:
    assert change_points(LADDER, np.full(len(LADDER), 3.0)) == ()
    values = first_order_series()
    values[4] = np.nan
    assert change_points(LADDER, values) == ()
    assert change_points(LADDER[:5], first_order_series()[:5]) == ()


def test_short_and_uneven_ladders_are_refused_with_the_reason() -> None:
    assert uneven(LADDER) == ""
    assert "11 of at least 30" in uneven(LADDER[:11])
    assert "evenly" in uneven(LADDER**2)


def test_noise_of_a_known_correlation_is_recognised_on_average() -> None:
    """The search must not take correlated noise for independent: its estimate, made cautious, lies above the truth."""
    for phi in (0.0, 0.5, 0.7):
        found = [
            _Search(_Terms(LADDER / 2), ()).correlation(correlated_noise(41, 1.0, phi, seed), np.random.default_rng(seed))
            for seed in range(20)
        ]
        assert np.median(found) > phi


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("shift", [1.0, 2.0, 4.0])
@pytest.mark.parametrize("deviation", [0.0, 1e-4, 1e-3])
def test_a_power_law_has_no_kink_however_little_noise_there_is(power: float, shift: float, deviation: float) -> None:
    """(λ + b)^−p is analytic on the ladder; the spline alone misses its steep end, and the misfit is no noise."""
    values = (np.arange(31) + shift) ** -power
    assert change_points(np.arange(31.0), values * (1 + correlated_noise(31, deviation, 0.0, 0))) == ()


@pytest.mark.parametrize(
    "curve", [lambda x: 1 / (1 + np.exp((x - 14.3) / 1.5)), lambda x: np.log(x + 0.7), lambda x: np.exp(-x / 2)]
)
def test_smooth_curves_that_the_ladder_barely_resolves_have_no_change(curve) -> None:
    assert change_points(np.arange(31.0), curve(np.arange(31.0))) == ()


def test_a_second_series_that_lies_higher_hides_no_jump() -> None:
    """The jump is a quarter of the range, and the other seed's curve is shifted by three ranges and jumps elsewhere."""
    steady = np.exp(-np.arange(41) / 20)
    values = steady - 0.25 * (np.arange(41) > 20.5) * np.ptp(steady) + correlated_noise(41, 0.005, 0.0, 1)
    other = 3 + 1.3 * steady - 0.3 * (np.arange(41) > 10.5) + correlated_noise(41, 0.005, 0.0, 2)
    noise = repeat_noise(np.stack([values, other]))
    assert noise == pytest.approx(0.005, rel=0.5)  # of 39 second differences
    assert [change.strength for change in change_points(np.arange(41.0), values, noise=noise)] == [20.5]


def test_p_values_become_as_small_as_so_many_tests_need() -> None:
    (found,) = change_points(LADDER, first_order_series(), tests=20)
    assert found.p_value == 1 / 2001
