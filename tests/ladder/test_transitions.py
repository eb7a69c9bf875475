"""The order of a transition, judged by inserted points, on families whose order is known; and which changes coincide by luck."""

import numpy as np
import pytest
from families import FOLD, ONSET, State, first_order, second_order, walk

from orograph.analysis.refine import ladder_interval
from orograph.ladder.changes import ChangePoint, change_points
from orograph.ladder.transitions import coincidences, judge, zoom

LADDER = np.linspace(0, 2, 41)


def refined(states: dict[float, State], change: ChangePoint, family, width: float) -> dict[float, State]:
    """Points inserted as `refine` does, their states from a family: `family(λ, neighbour below)`."""
    for _ in range(60):
        known = {x: float(state.order) for x, state in states.items()}
        found = zoom(known, LADDER.tolist(), change.kind, ladder_interval(LADDER, change), width)
        if found.wanted is None:
            return states
        below = max(x for x in states if x < found.wanted)
        states[found.wanted] = family(found.wanted, states[below])
    raise AssertionError("the interval never became narrow")


def judged(states: dict[float, State], change: ChangePoint):
    known = {x: float(state.order) for x, state in states.items()}
    return judge(known, LADDER.tolist(), change.kind, ladder_interval(LADDER, change))


def test_a_jump_stays_and_is_of_first_order() -> None:
    states = dict(zip(LADDER.tolist(), walk(LADDER, upward=True), strict=True))
    (change,) = change_points(LADDER, np.array([state.order for state in states.values()]))
    assert judged(states, change).order == "unresolved"
    states = refined(states, change, lambda x, below: first_order(x, below, upward=True), 1e-4)
    found = judged(states, change)
    assert found.order == "first"
    assert found.low <= FOLD <= found.high
    assert found.width <= 1e-4
    # u drops from 2/3 at the fold to 0.
    assert found.change == pytest.approx(-2 / 3, abs=0.02)


def test_a_kink_stays_and_is_of_second_order() -> None:
    states = {float(x): second_order(float(x)) for x in LADDER}
    (change,) = change_points(LADDER, np.array([state.order for state in states.values()]))
    found = judged(refined(states, change, lambda x, _: second_order(x), 1e-3), change)
    assert found.order == "second"
    assert found.low - 1e-3 <= ONSET <= found.high + 1e-3
    assert abs(found.slopes[1] - found.slopes[0]) == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize(("bend", "order"), [(0.0, "second"), (0.1, "none")])
def test_a_slope_that_changes_by_a_third_is_a_kink_only_if_it_does_so_at_once(bend: float, order: str) -> None:
    """From −0.6 to −0.4 at the onset: in a point, or over two steps of the ladder."""

    def family(x: float, _: State | None = None) -> State:
        turned = bend * np.logaddexp(0, (x - ONSET) / bend) if bend else max(0.0, x - ONSET)
        return State(0.0, 0.0, 3 - 0.6 * x + 0.2 * turned + 0.01 * x**2, 1.0)

    states = {float(x): family(float(x)) for x in LADDER}
    change = ChangePoint(0.825, 0.8, 0.85, "kink", 0.0, 0.2, 0.005)
    assert judged(refined(states, change, family, LADDER[1] / 8), change).order == order


@pytest.mark.parametrize("kind", ["jump", "kink"])
def test_a_steep_but_smooth_fall_has_no_order(kind: str) -> None:
    def family(x: float, _: State | None = None) -> State:
        return State(0.0, 0.0, 1 / (1 + np.exp((x - 1.03) / 0.02)), 1.0)

    states = {float(x): family(float(x)) for x in LADDER}
    change = ChangePoint(1.025, 1.0, 1.05, kind, -1.0, 0.0, 0.005)  # type: ignore[arg-type]
    assert judged(refined(states, change, family, 1e-4), change).order == "none"


@pytest.mark.parametrize("width", [0.25, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("kind", ["jump", "kink"])
def test_a_steep_stretch_that_inserted_points_resolve_is_none_whatever_its_width(width: float, kind: str) -> None:
    """Sigmoids from a quarter of a step to two steps wide, resolved to a 32nd of one; flat on both sides."""

    def family(x: float, _: State | None = None) -> State:
        return State(0.0, 0.0, 1 / (1 + np.exp((x - 1.03) / (width * LADDER[1]))), 1.0)

    states = {float(x): family(float(x)) for x in LADDER}
    change = ChangePoint(1.025, 1.0, 1.05, kind, -1.0, 0.0, 0.005)  # type: ignore[arg-type]
    assert judged(refined(states, change, family, LADDER[1] / 32), change).order == "none"


def test_a_jump_first_seen_as_a_kink_is_of_first_order() -> None:
    states = dict(zip(LADDER.tolist(), walk(LADDER, upward=True), strict=True))
    place = float(LADDER[np.searchsorted(LADDER, FOLD)])
    change = ChangePoint(place - 0.025, place - 0.05, place, "kink", 0.0, 1.0, 0.005)
    states = refined(states, change, lambda x, below: first_order(x, below, upward=True), 1e-3)
    found = judged(states, change)
    assert found.order == "first"
    assert found.low <= FOLD <= found.high


def test_a_square_root_onset_looks_like_a_jump_and_is_not() -> None:
    def family(x: float, _: State | None = None) -> State:
        return State(0.0, 0.0, float(np.sqrt(max(0.0, ONSET - x))), 1.0)

    states = {float(x): family(float(x)) for x in LADDER}
    change = ChangePoint(0.825, 0.8, 0.85, "jump", -0.2, 0.0, 0.005)
    found = judged(refined(states, change, family, 1e-5), change)
    assert found.order == "second"
    assert found.exponent == pytest.approx(0.5, abs=0.15)


def change(at: float) -> ChangePoint:
    return ChangePoint(at, at - 0.02, at + 0.02, "jump", 1.0, 0.0, 0.005)


def test_changes_that_lie_together_are_counted_and_the_others_are_not() -> None:
    changes = {"a": [change(0.475), change(1.475)], "b": [change(0.525)], "c": [change(1.0)], "d": []}
    rows = coincidences(changes, [("a", "b"), ("a", "c"), ("a", "d")], LADDER)
    assert [row.together for row in rows] == [1, 0, 0]
    # One of b lies within one step of one of a's two in 6 of the 40 shifts.
    assert rows[0].p_value == pytest.approx(6 / 40)
    assert rows[1].p_value == 1
    assert np.isnan(rows[2].p_value)
    assert rows[0].adjusted == pytest.approx(12 / 40)


def test_a_coincidence_of_unrelated_changes_is_as_rare_as_its_p_value_says() -> None:
    draw = np.random.default_rng(0)
    middles = (LADDER[1:] + LADDER[:-1]) / 2
    rare = 0
    for _ in range(300):
        a, b = (sorted(draw.choice(middles, size, replace=False)) for size in (2, 2))
        (row,) = coincidences({"a": [change(x) for x in a], "b": [change(x) for x in b]}, [("a", "b")], LADDER)
        rare += row.p_value <= 0.1
    assert rare <= 0.15 * 300


def test_two_jumps_in_neighbouring_steps_are_each_judged_in_their_own() -> None:
    values = np.where(LADDER < 1.0, 10.0, np.where(LADDER < 1.05, 9.0, 3.0)) - LADDER / 10  # the second is six times the first
    known, ladder = dict(zip(LADDER.tolist(), values.tolist(), strict=True)), LADDER.tolist()
    small, large = (ladder[19], ladder[20]), (ladder[20], ladder[21])
    assert judge(known, ladder, "jump", small).change == pytest.approx(-6, abs=0.01)  # a search may have missed its place
    assert judge(known, ladder, "jump", small, sure=True).change == pytest.approx(-1, abs=0.01)
    assert judge(known, ladder, "jump", large, sure=True).change == pytest.approx(-6, abs=0.01)
