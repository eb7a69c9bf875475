"""Conjugate gradients against `numpy.linalg.solve` on explicit matrices."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from orograph.curvature.operator import FunctionOperator, MatrixOperator
from orograph.errors import ConfigurationError, DataError
from orograph.spectral.cg import conjugate_gradient


def with_eigenvalues(values: np.ndarray, seed: int) -> torch.Tensor:
    rotation, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((len(values), len(values))))
    return torch.from_numpy((rotation * values) @ rotation.T)


@settings(max_examples=30)
@given(size=st.integers(1, 30), shift=st.floats(0, 10), seed=st.integers(0, 10**6))
def test_the_solution_is_that_of_numpy(size: int, shift: float, seed: int) -> None:
    generator = np.random.default_rng(seed)
    matrix, rhs = with_eigenvalues(generator.uniform(0.1, 10, size), seed), generator.standard_normal(size)
    result = conjugate_gradient(MatrixOperator(matrix), torch.from_numpy(rhs), shift=shift, tolerance=1e-10)
    assert result.converged
    assert not result.negative_curvature
    expected = np.linalg.solve(matrix.numpy() + shift * np.eye(size), rhs)
    # the error is at most the residual over the smallest eigenvalue
    assert np.linalg.norm(result.solution.numpy() - expected) <= 1e-10 * np.linalg.norm(rhs) / 0.1 * 1.01


def test_the_stated_residual_is_that_of_the_solution() -> None:
    matrix, rhs = with_eigenvalues(np.geomspace(1e-3, 10, 60), 1).float(), torch.ones(60)
    result = conjugate_gradient(MatrixOperator(matrix), rhs, shift=0.01, tolerance=1e-5)
    true = (
        rhs.double() - (matrix.double() + 0.01 * torch.eye(60, dtype=torch.float64)) @ result.solution.double()
    ).norm() / 60**0.5
    # a float32 product of numbers of size ‖A‖‖x‖ rounds by 60ε of that, relative to ‖b‖
    assert result.residual == pytest.approx(float(true), abs=60 * 6e-8 * 10 * float(result.solution.norm()) / 60**0.5)
    assert result.converged == (result.residual <= 1e-5)


def test_a_tolerance_below_the_rounding_of_float32_ends_unconverged_and_says_so() -> None:
    matrix = with_eigenvalues(np.geomspace(1e-5, 1, 50), 2).float()
    result = conjugate_gradient(MatrixOperator(matrix), torch.ones(50), tolerance=1e-12)
    assert not result.converged
    assert result.residual > 1e-12


def test_negative_curvature_is_reported() -> None:
    matrix = with_eigenvalues(np.array([-1.0, 2.0, 3.0, 4.0]), 3)
    assert conjugate_gradient(MatrixOperator(matrix), torch.ones(4, dtype=torch.float64)).negative_curvature
    shifted = conjugate_gradient(MatrixOperator(matrix), torch.ones(4, dtype=torch.float64), shift=1.5)
    assert shifted.converged
    assert not shifted.negative_curvature


def test_products_are_counted_and_limited() -> None:
    operator = MatrixOperator(with_eigenvalues(np.geomspace(1e-6, 1, 80), 4))
    seen: list[int] = []
    result = conjugate_gradient(
        operator,
        torch.ones(80, dtype=torch.float64),
        tolerance=1e-12,
        max_products=20,
        on_product=lambda stage, count: seen.append(count),
    )
    assert not result.converged
    assert result.products == operator.products == 20
    assert seen == list(range(1, 21))


def test_nothing_is_solved_for_a_right_hand_side_of_zero() -> None:
    result = conjugate_gradient(MatrixOperator(torch.eye(3)), torch.zeros(3))
    assert result.converged
    assert result.products == 0
    assert not result.solution.any()


def test_bad_input_is_refused() -> None:
    operator = MatrixOperator(torch.eye(3))
    with pytest.raises(ConfigurationError, match="`tolerance` 2"):
        conjugate_gradient(operator, torch.ones(3), tolerance=2)
    with pytest.raises(ConfigurationError, match=r"shape \(4,\)"):
        conjugate_gradient(operator, torch.ones(4))
    with pytest.raises(ConfigurationError, match="`max_products` 1"):
        conjugate_gradient(operator, torch.ones(3), max_products=1)
    with pytest.raises(DataError, match="not finite"):
        conjugate_gradient(FunctionOperator(lambda v: v * torch.nan, 3), torch.ones(3))


@pytest.mark.parametrize(("size", "rhs"), [(1e-40, 1.0), (1e-37, 1e3)], ids=["a step", "the solution"])
def test_what_no_float32_holds_is_named_and_had_in_float64(size: float, rhs: float) -> None:
    with pytest.raises(DataError, match="larger than the largest float32"):
        conjugate_gradient(MatrixOperator(torch.eye(3) * size), torch.full((3,), rhs))
    right = torch.full((3,), rhs / size, dtype=torch.float64)
    exact = MatrixOperator(torch.eye(3, dtype=torch.float64) * size)
    torch.testing.assert_close(conjugate_gradient(exact, torch.full((3,), rhs)).solution, right)
