"""Ladders at equal ways along a branch, against the closed form of two factors: θ = √(σ − 2λ)(1, 1), σ = 1."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from orograph.ladder.spacing import branch_ways, equal_ways

LADDER = np.geomspace(0.001, 0.49, 400)
NONE = np.zeros(399)
KEPT = np.ones(399, dtype=bool)


def theta(strengths: np.ndarray) -> np.ndarray:
    return np.sqrt(2 * (1 - 2 * strengths))


def test_steps_are_equally_long_in_theta_and_log_strength() -> None:
    ways = branch_ways(LADDER, np.abs(np.diff(theta(LADDER))), NONE, NONE, KEPT)
    found = np.array(equal_ways(LADDER, ways, 25))
    across, up = np.abs(np.diff(theta(found))), np.diff(np.log(found))
    lengths = np.hypot(across / across.sum(), up / up.sum())  # chords: shorter than the curve by the square of what they turn
    np.testing.assert_allclose(lengths, lengths.mean(), rtol=0.02)


def test_the_way_is_the_same_walked_down() -> None:
    moved = np.abs(np.diff(theta(LADDER)))
    up, down = branch_ways(LADDER, moved, NONE, NONE, KEPT), branch_ways(LADDER[::-1], moved[::-1], NONE, NONE, KEPT)
    np.testing.assert_allclose(up, down[::-1], rtol=1e-12)


def test_a_lost_class_and_a_lost_branch_draw_points_and_a_jump_of_theta_does_not() -> None:
    moved = np.abs(np.diff(theta(LADDER)))
    jump, changes, kept = moved.copy(), NONE.copy(), KEPT.copy()
    jump[200], changes[100], kept[200] = 1e3, 1.0, False
    found = np.array(equal_ways(LADDER, branch_ways(LADDER, jump, NONE, changes, kept), 121))
    for place in (100, 200):  # each a tenth of an arclength of 1, which is 1.2 with both
        inside = (found > LADDER[place]) & (found < LADDER[place + 1])
        assert inside.sum() in (9, 10, 11)


@given(
    count=st.integers(2, 300),
    low=st.floats(1e-6, 1e-3),
    steps=st.lists(st.tuples(st.floats(1e-3, 3), st.floats(1e-9, 1e3)), min_size=1, max_size=20),
)
def test_a_placed_ladder_ascends_between_the_ends_of_the_pass(count: int, low: float, steps: list[tuple[float, float]]) -> None:
    strengths = low * np.exp(np.cumsum([0.0, *(step for step, _ in steps)]))
    found = equal_ways(strengths, np.array([way for _, way in steps]), count)
    assert len(found) == count
    assert (found[0], found[-1]) == (strengths[0], strengths[-1])
    assert (np.diff(found) > 0).all()
