"""The algebra of operators against the same algebra of dense matrices, and SciPy's `eigsh` through the border."""

import numpy as np
import pytest
import torch
from scipy.sparse.linalg import eigsh

from orograph.curvature.operator import FunctionOperator, MatrixOperator
from orograph.errors import ConfigurationError


def symmetric(size: int, seed: int) -> torch.Tensor:
    matrix = torch.randn(size, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return matrix + matrix.T


A, B = symmetric(9, 0), symmetric(9, 1)


@pytest.mark.parametrize("columns", [(), (4,)])
def test_sums_scalings_and_shifts_equal_those_of_the_matrices(columns: tuple[int, ...]) -> None:
    a, b = MatrixOperator(A), FunctionOperator(lambda v: B @ v, 9, dtype=torch.float64)
    combined = (2 * a - b * 0.5 + a).shifted(0.3)
    dense = 3 * A - 0.5 * B + 0.3 * torch.eye(9, dtype=torch.float64)
    other = torch.randn(9, *columns, dtype=torch.float64)
    torch.testing.assert_close(combined @ other, dense @ other, rtol=1e-13, atol=1e-13)


def test_products_count_columns() -> None:
    operator = MatrixOperator(A)
    operator @ A[0]
    operator @ A[:, :3]
    assert operator.products == 4


def test_scipy_finds_the_eigenvalues_of_the_matrix() -> None:
    values = eigsh(MatrixOperator(A).to_scipy(), k=3, which="LA", return_eigenvectors=False)
    np.testing.assert_allclose(np.sort(values), np.linalg.eigvalsh(A.numpy())[-3:], rtol=1e-12)


def test_the_float64_twin_of_a_combination_needs_one_of_each_term() -> None:
    single = MatrixOperator(A.float())
    twin = (2 * single).shifted(1.0).double()
    assert twin is not None
    assert twin.dtype == torch.float64
    assert (single + FunctionOperator(lambda v: v, 9)).double() is None


def test_a_mismatch_of_shapes_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"\(9, 9\)"):
        MatrixOperator(A) @ torch.ones(8)
    with pytest.raises(ConfigurationError, match="cannot be added"):
        MatrixOperator(A) + MatrixOperator(A[:3, :3])
