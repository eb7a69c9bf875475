"""Names of points as properties: distinct for distinct strengths, as short as that allows, never changed by what is added."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orograph.errors import ConfigurationError
from orograph.store.cells import EMPTY_PLAN, Cell, Plan, strength_decimals

strengths = st.floats(0, 10, allow_subnormal=False).filter(lambda value: value == 0 or value > 1e-12)
ladders = st.lists(strengths, min_size=1, max_size=30)


def test_published_ladders_have_five_decimals() -> None:
    assert strength_decimals(np.linspace(0, 0.1, 501).tolist()) == 5
    assert strength_decimals(np.linspace(0, 0.09, 451).tolist()) == 5
    assert Plan((), {}).extended([Cell(0, "up", 0.0002)]).name(Cell(0, "up", 0.0002)) == "0-0.00020"


def test_names_that_would_collide_take_the_fewest_further_decimals() -> None:
    assert strength_decimals([0.1, 0.100001]) == 6
    assert strength_decimals([0.0, 1e-9, 0.1]) == 9
    assert strength_decimals([1e-6]) == 5
    assert strength_decimals([0.1, 0.1]) == 5


@given(ladders)
def test_distinct_strengths_have_distinct_names_and_one_decimal_less_would_not_do(ladder: list[float]) -> None:
    decimals = strength_decimals(ladder)
    different = set(ladder)
    assert len({f"{value:.{decimals}f}" for value in different}) == len(different)
    assert decimals == 5 or len({f"{value:.{decimals - 1}f}" for value in different}) < len(different)


@given(ladders, ladders)
def test_adding_points_renames_and_moves_nothing(first: list[float], second: list[float]) -> None:
    plan = EMPTY_PLAN.extended(Cell(0, "up", value) for value in first)
    wider = plan.extended(Cell(seed, "down", value) for value in second for seed in (0, 1))
    assert wider.cells[: len(plan.cells)] == plan.cells
    assert all(wider.name(cell) == plan.name(cell) for cell in plan.cells)
    assert len({wider.name(cell) for cell in wider.cells}) == len(wider.cells) == len(set(wider.cells))
    assert Plan.from_plain(wider.to_plain()) == wider


def test_strengths_that_no_name_can_tell_apart_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="60 decimals"):
        strength_decimals([0.0, 1e-100])


@pytest.mark.parametrize("strength", [-0.1, float("nan"), float("inf")])
def test_a_strength_is_finite_and_not_negative(strength: float) -> None:
    with pytest.raises(ConfigurationError, match="finite number"):
        Cell(0, "up", strength)


def test_a_cell_knows_its_model_id() -> None:
    assert Cell(3, "down", 0.1).model_id == "3-down"
    assert Cell(3, "up", -0.0) == Cell(3)
    assert str(Cell(3, "up", -0.0).strength) == "0.0"
    with pytest.raises(ConfigurationError, match="sideways"):
        Cell(0, "sideways", 0.1)
