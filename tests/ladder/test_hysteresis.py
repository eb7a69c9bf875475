"""The strengths of a loop in a family whose fold, loss of stability and Maxwell point are known in closed form."""

import math
from dataclasses import replace

import numpy as np
import pytest
from families import FOLD, LOSS, MAXWELL, inner, outer, second_order, walk

from orograph.ladder.hysteresis import Way, compared, extended_to_zero, loop_area, loops, on_common, spinodal

LADDER = np.linspace(0, 2, 41)


def way(states) -> Way:
    return Way(
        energy=np.array([state.energy for state in states]),
        order=np.array([state.order for state in states]),
        accuracy=np.array([100.0 * (state.u > 0.1) for state in states]),
        objective_lambda_min=np.array([state.lowest for state in states]),
        certificates=tuple("minimum" if state.lowest > 0 else "saddle" for state in states),
    )


def test_a_first_order_family_has_one_loop_with_all_its_strengths() -> None:
    (loop,) = loops(LADDER, way(walk(LADDER, upward=True)), way(walk(LADDER, upward=False)))
    assert loop.maxwell == pytest.approx(MAXWELL, abs=1e-4)
    assert loop.maxwell_interval[0] <= MAXWELL <= loop.maxwell_interval[1]
    assert loop.escape_up[0] <= FOLD <= loop.escape_up[1]
    assert loop.escape_down[0] <= LOSS <= loop.escape_down[1]
    assert loop.spinodal_up.estimate == pytest.approx(FOLD, abs=0.03)
    assert loop.spinodal_up.law == "fold"
    assert loop.spinodal_down.estimate == pytest.approx(LOSS, abs=1e-6)
    assert loop.spinodal_down.law == "linear"
    assert loop.width == pytest.approx(FOLD - LOSS, abs=0.06)
    assert loop.spinodal_width == pytest.approx(FOLD - LOSS, abs=0.04)
    # ∮ q dλ is the integral of the outer branch's u between the two.
    fine = np.linspace(LOSS, FOLD, 20_001)
    exact = np.trapezoid((4 + np.sqrt(np.maximum(16 - 12 * (fine - LOSS), 0))) / 6, fine)
    assert loop.area == pytest.approx(exact, rel=0.05)
    assert loop.accuracy_area == pytest.approx(100 * (FOLD - LOSS), rel=0.06)


def test_two_equal_ways_have_no_loop() -> None:
    states = [second_order(float(x)) for x in LADDER]
    noisy = way(states)
    other = Way(noisy.energy, noisy.order * 1.001, noisy.accuracy, noisy.objective_lambda_min, noisy.certificates)
    assert loops(LADDER, noisy, other) == ()


def test_two_ways_at_one_point_but_for_what_their_training_left_have_no_loop() -> None:
    states = [second_order(float(x)) for x in LADDER]
    here, left = way(states), np.linspace(1e-12, 1e-10, len(LADDER))
    at_reference = replace(here, order=left)
    assert loops(LADDER, at_reference, replace(here, order=0 * left))
    assert loops(LADDER, replace(at_reference, uncertain=2 * left), replace(here, order=0 * left)) == ()
    assert len(loops(LADDER, replace(at_reference, uncertain=0.5 * left), replace(here, order=0 * left))) == 1


def test_a_loop_that_the_ladder_cuts_says_so() -> None:
    short = LADDER[LADDER < 1.2]
    (loop,) = loops(short, way(walk(LADDER, upward=True)[: len(short)]), way(walk(LADDER, upward=False)[: len(short)]))
    assert math.isinf(loop.escape_up[1])
    assert math.isnan(loop.width)
    assert loop.lower == "up"
    assert math.isnan(loop.maxwell)


def test_the_laws_of_a_falling_eigenvalue() -> None:
    x = np.array([0.7, 0.8, 0.9])
    assert extended_to_zero(x, np.sqrt(1 - x)) == (pytest.approx(1.0), "fold")
    assert extended_to_zero(x, 1 - x) == (pytest.approx(1.0), "linear")
    assert math.isnan(extended_to_zero(x, x)[0])
    assert math.isnan(extended_to_zero(x, np.array([0.2, 0.1, -0.1]))[0])


@pytest.mark.parametrize("step", [0.01, 0.02, 0.05, 0.1])
@pytest.mark.parametrize("phase", [0.1, 0.5, 0.9])
def test_a_spinodal_lies_between_its_bounds_however_coarse_the_ladder(step: float, phase: float) -> None:
    """The outer branch ends in a fold, the inner one loses its stability: both strengths are known."""
    up = FOLD - step * (phase + np.arange(5, -1, -1))
    found = spinodal(up, way([outer(float(x)) for x in up]), 5, forward=True)
    assert found.low == up[-1]
    assert found.low <= FOLD <= found.high
    assert found.low <= found.estimate <= found.high
    assert found.high - found.low < 3 * step
    down = LOSS + step * (phase + np.arange(6))
    found = spinodal(down, way([inner(float(x)) for x in down]), 0, forward=False)
    assert found.high == down[0]
    # On the straight line the bound is the zero itself, but for rounding.
    assert found.low - 1e-9 <= LOSS <= found.high


def test_a_lowest_eigenvalue_that_does_not_fall_has_no_spinodal_and_no_bounds() -> None:
    ladder = np.linspace(0.1, 0.5, 5)
    found = spinodal(ladder, way([second_order(float(x) + 1) for x in ladder]), 4, forward=True)
    assert found.law == "none"
    assert all(math.isnan(value) for value in (found.estimate, found.low, found.high))


def test_areas_are_compared_over_common_strengths() -> None:
    first = {0.0: 1.0, 0.5: 1.0, 1.0: 1.0}
    second = {0.0: 0.0, 1.0: 0.0, 2.0: 5.0}
    strengths, one, other = on_common(first, second)
    assert loop_area(strengths, one, other) == 1.0
    assert compared(2.0, 1.0).ratio == 0.5
    assert math.isnan(compared(0.0, 1.0).ratio)
