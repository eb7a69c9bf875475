"""Change points in families whose transitions are known in closed form, and none where there is none.

The families are minimised by hand (`families`), and their change points follow from their formulas: nothing of the search is in
them.
"""

import math

import numpy as np
import pytest
from families import FOLD, ONSET, correlated_noise, inner, outer, second_order, smooth, walk

from orograph.analysis.chain import Chain
from orograph.analysis.series import changes_of, jumps_by_response, kinks_by_response, merged
from orograph.ladder.changes import _Search, _Terms, change_points, repeat_noise, uneven
from orograph.store.cells import Cell

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


@pytest.mark.parametrize("deviation", [0.0, 0.003])
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
    found = change_points(ladder, values + correlated_noise(80, 0.005, 0.3, 3))
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
    assert "11 points" in uneven(LADDER[:11])
    assert "evenly" in uneven(LADDER**2)


def test_noise_of_a_known_correlation_is_recognised_on_average() -> None:
    """The search must not take correlated noise for independent: its estimate, made cautious, lies above the truth."""
    for phi in (0.0, 0.5, 0.7):
        found = [
            _Search(_Terms(LADDER / 2), ()).correlation(correlated_noise(41, 1.0, phi, seed), np.random.default_rng(seed))
            for seed in range(20)
        ]
        assert np.median(found) > phi


def test_a_step_beyond_the_susceptibilities_is_a_jump_on_any_ladder() -> None:
    """Seven uneven points across the fold of the outer branch; χ from the closed forms, by differences."""
    ladder = np.array([0.4, 0.7, 1.1, 1.3, 1.5, 1.7, 2.0])
    states = walk(ladder, upward=True)
    on_outer = [state.u > 0.1 for state in states]
    ends = [[order_at(x, branch, shift) for shift in (-1e-6, 1e-6)] for x, branch in zip(ladder, on_outer, strict=True)]
    chi = np.array([(before - after) / 2e-6 for before, after in ends])
    (found,) = jumps_by_response(ladder, orders(states), chi, [True] * 7)
    assert (found.low, found.high) == (1.5, 1.7)
    assert found.jump < -0.5
    assert jumps_by_response(ladder, orders(states), chi, [True] * 5 + [False] * 2) == ()
    assert jumps_by_response(ladder[:5], orders(states)[:5], chi[:5], [True] * 5) == ()
    assert merged((found,), ()) == (found,)


def test_a_jump_of_the_susceptibility_is_a_kink_of_the_order_parameter() -> None:
    """χ = ½ + χ_smooth below the onset and χ_smooth above it; without an onset χ has no jump."""
    steady = np.array([(smooth(x - 1e-6)[1] - smooth(x + 1e-6)[1]) / 2e-6 for x in LADDER])
    noise = correlated_noise(len(LADDER), 0.005, 0.5, 3)
    chi = steady + 0.5 * (LADDER < ONSET) + noise
    (found,) = kinks_by_response(LADDER, chi, change_points(LADDER, chi))
    assert found.low < ONSET < found.high
    assert found.kind == "kink"
    # −Δχ: the step of ½, χ's own fall between two points (below 0.1), and two values' noise.
    assert found.kink == pytest.approx(0.55, abs=0.1)
    assert kinks_by_response(LADDER, steady + noise, change_points(LADDER, steady + noise)) == ()


def test_a_point_inserted_at_a_transition_has_no_susceptibility_and_hides_none() -> None:
    inserted = 0.8301
    strengths = sorted([*LADDER.tolist(), inserted])
    steady = [(smooth(x - 1e-6)[1] - smooth(x + 1e-6)[1]) / 2e-6 for x in strengths]
    chi = [math.nan if x == inserted else rest + 0.5 * (x < ONSET) for x, rest in zip(strengths, steady, strict=True)]
    distances = [second_order(x).order ** 0.5 for x in strengths]
    rows = [{"anchor_distance": distance, "susceptibility": each} for distance, each in zip(distances, chi, strict=True)]
    cells = tuple(Cell(0, strength=x) for x in strengths)
    chain = Chain(0, "up", cells, tuple(rows), frozenset(LADDER.tolist()))
    found = changes_of(chain, (), (), [True] * len(strengths), resamples=199, seed=0).found
    assert [change.low < ONSET < change.high for change in found["susceptibility"]] == [True]
    assert [change.low < ONSET < change.high for change in found["order parameter"]] == [True]


def order_at(strength: float, on_outer: bool, shift: float) -> float:
    return (outer if on_outer else inner)(strength + shift).order
