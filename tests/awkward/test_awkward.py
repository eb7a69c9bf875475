"""What people bring: every public function on every awkward case gives a right number or one true sentence, and touches nothing.

The truth is in `awkward_runs.Truth`: the module and the loss as they were passed, differences of gradients in float64.
"""

import re
import warnings

import pytest
import torch
from awkward_cases import CASES
from awkward_runs import FUNCTIONS, MAY_REFUSE, Truth, outcome


def judge(name: str, function: str) -> None:
    torch.manual_seed(1)
    case = CASES[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = outcome(case, function)
    if case.refused and function == "Hessian":
        assert re.search(case.refused, found), found
    elif not case.refused and function not in MAY_REFUSE:
        assert found == "right", found


@pytest.mark.parametrize("name", CASES)
def test_the_hessian_is_right_or_refused(name: str) -> None:
    judge(name, "Hessian")


@pytest.mark.slow
@pytest.mark.parametrize("function", [function for function in FUNCTIONS if function != "Hessian"])
@pytest.mark.parametrize("name", CASES)
def test_every_function_is_right_or_refuses(name: str, function: str) -> None:
    judge(name, function)


@pytest.mark.parametrize("name", ["several batches of unequal length", "ignored targets", "attention"])
def test_the_truth_is_a_hessian(name: str) -> None:
    matrix = Truth(CASES[name]).hessian
    assert (matrix - matrix.T).norm() <= 1e-8 * matrix.norm()  # differences in float64: h² and ε/h are both near 1e-10
