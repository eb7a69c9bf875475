"""What people bring: every public function on every awkward case gives a right number or one true sentence, and touches nothing.

The truth is in `awkward_runs.Truth`: the module and the loss as they were passed, differences of gradients in float64. What comes
out is what the page `docs/awkward.md` says with the PyTorch that it was written with; with others it is a number where the page
has one, and a refusal elsewhere.
"""

import re
from pathlib import Path

import pytest
import torch
from awkward_cases import CASES
from awkward_runs import FUNCTIONS, MAY_REFUSE, Truth, given_of, outcome

from awkward import VERSION, plain, read

PAGE = read((Path(__file__).parents[2] / "docs" / "awkward.md").read_text(encoding="utf-8"))


QUICK = [name for name in list(CASES)[1::12] if not re.search("unequal length|time first|focal", name)]  # graphs of seconds


def judge(name: str, *functions: str) -> None:
    case, given = CASES[name], given_of(CASES[name])
    for function in functions:
        found = outcome(case, given, function)
        if case.refused and function == "Hessian":
            assert re.search(case.refused, found), found
        elif not case.refused and function not in MAY_REFUSE:
            assert found == "right", f"{function}: {found}"
        if torch.__version__.startswith(VERSION):
            assert (found if found == "right" else plain(found)) == PAGE[name, function], function
        else:
            assert case.refused or (found == "right") == (PAGE[name, function] == "right"), function


def test_the_page_has_every_case_and_function() -> None:
    assert list(PAGE) == [(name, function) for name in CASES for function in FUNCTIONS]


@pytest.mark.parametrize("name", QUICK)
def test_the_hessian_is_right_or_refused(name: str) -> None:
    judge(name, "Hessian")


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_every_function_is_right_or_refuses(name: str) -> None:
    judge(name, *FUNCTIONS)


@pytest.mark.parametrize("name", ["several batches of unequal length", "ignored targets", "attention"])
def test_the_truth_is_a_hessian(name: str) -> None:
    matrix = Truth(CASES[name]).hessian
    assert (matrix - matrix.T).norm() <= 1e-8 * matrix.norm()  # differences in float64: h² and ε/h are both near 1e-10
