"""The shares of a budget by hand, and its limit against products counted by the operator itself."""

import pytest
import torch

from orograph.curvature.operator import MatrixOperator
from orograph.errors import ConfigurationError
from orograph.study.budget import Budget, BudgetSpent


def operator() -> MatrixOperator:
    return MatrixOperator(torch.eye(4))


def test_what_one_part_leaves_over_goes_to_the_next() -> None:
    budget = Budget(100, {"one": 2.0, "two": 1.0, "three": 1.0})
    assert budget.share("one") == 50
    budget.spend("one", 20)
    assert budget.share("two") == 40  # half of the 80 left
    budget.spend("two", 60)
    assert budget.share("three") == budget.left == 20
    assert budget.fields() == {"limit": 100, "spent": 80, "parts": {"one": 20, "two": 60}, "cut": {}}


def test_no_product_is_made_beyond_the_limit() -> None:
    told: list[tuple[str, int]] = []
    budget = Budget(3, {"a": 1.0}, on_product=lambda part, count: told.append((part, count)))
    inner = operator()
    counted = budget.operator(inner, "a")
    counted @ torch.ones(4)
    with pytest.raises(BudgetSpent):
        counted @ torch.ones(4, 3)
    counted @ torch.ones(4, 2)
    assert (inner.products, budget.left) == (3, 0)
    assert told == [("a", 1), ("a", 3)]


def test_products_in_double_precision_are_counted_too() -> None:
    budget = Budget(2, {"a": 1.0})
    counted = budget.operator(operator(), "a")
    assert counted.verification is counted
    doubled = counted.double()
    assert doubled is not None
    assert doubled.dtype == torch.float64
    doubled @ torch.ones(4, dtype=torch.float64)
    assert budget.left == 1


def test_an_empty_budget_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="at least 1"):
        Budget(0, {"a": 1.0})
