"""The algebra of operators against the same algebra of dense matrices, and SciPy's `eigsh` through the border."""

import warnings

import numpy as np
import pytest
import torch
from scipy.sparse.linalg import eigsh
from torch import nn
from torch.nn import functional as F

import orograph as og
from orograph.curvature.hessian import HessianOperator
from orograph.curvature.operator import FunctionOperator, MatrixOperator
from orograph.errors import ConfigurationError, OrographWarning


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


def test_a_function_may_write_into_its_vector_and_is_told_its_dtype() -> None:
    operator, vector = FunctionOperator(lambda v: v.mul_(2).double(), 4), torch.ones(4, dtype=torch.float64)
    result = operator @ vector
    assert torch.equal(vector, torch.ones(4, dtype=torch.float64))
    assert torch.equal(result, torch.full((4,), 2.0))
    assert result.dtype == torch.float32


def test_a_function_may_fill_the_same_tensor_every_time_and_leave_a_graph_on_it() -> None:
    diagonal, same = torch.arange(1.0, 7.0), torch.empty(6)
    operator = FunctionOperator(lambda v: torch.mul(v, diagonal, out=same), 6)
    first, second = operator @ torch.ones(6), operator @ torch.zeros(6)
    assert torch.equal(first, diagonal)
    assert torch.equal(second, torch.zeros(6))
    assert torch.equal(operator @ torch.eye(6), diagonal.diag())
    assert og.lanczos(operator, 2).eigenvalues == pytest.approx([6.0, 5.0])
    weights = torch.ones(6, requires_grad=True)
    grown = og.lanczos(FunctionOperator(lambda v: diagonal * v + 0 * weights, 6), 2)
    assert grown.eigenvalues == pytest.approx([6.0, 5.0])


def test_a_function_is_tried_once_and_what_tries_it_is_not_counted() -> None:
    calls = []
    operator = FunctionOperator(lambda v: (calls.append(1), A @ v)[1], 9, dtype=torch.float64)
    operator.examine()
    operator.shifted(1.0).examine()
    assert (len(calls), operator.products) == (3, 0)


def test_rounding_makes_no_matrix_unsymmetric_and_what_is_more_does() -> None:
    rough = (A + 1e-7 * torch.ones(9, 9).triu()).float()
    assert MatrixOperator(rough).double().dtype == torch.float64  # asymmetric by more than float64 rounds
    with pytest.raises(ConfigurationError, match="not symmetric"):
        MatrixOperator(rough.double())


@pytest.mark.slow
@pytest.mark.parametrize("move", ["frozen", "written anew", "buffer"])
def test_an_operator_says_once_that_what_lies_beside_its_parameters_has_moved(move: str) -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Linear(3, 2))
    model[0].requires_grad_(False)
    inputs = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
    operator = HessianOperator(model, F.cross_entropy, [(inputs, torch.arange(8) % 2)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.load_state_dict(model.state_dict())  # written into, yet the same
        elsewhere = operator.at(operator.theta + 1) @ operator.theta
    if move == "frozen":
        model[0].bias.data = model[0].bias + 1
    elif move == "written anew":
        model[1].running_mean = model[1].running_mean + 1
    else:
        model.train()(inputs)
    with pytest.warns(OrographWarning, match="'0.bias'|'1.running_mean'"):
        operator.at(operator.theta + 1) @ operator.theta
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert (operator @ operator.theta).shape == elsewhere.shape


def test_vectors_that_hold_no_numbers_side_by_side_are_named_and_none_give_none() -> None:
    operator = MatrixOperator(torch.eye(3))
    with pytest.raises(ConfigurationError, match="layout sparse_coo"):
        operator @ torch.eye(3).to_sparse()
    with pytest.raises(ConfigurationError, match="on the device meta"):
        operator @ torch.ones(3, device="meta")
    assert (operator @ torch.ones(3, 0)).shape == (3, 0)
    hessian = HessianOperator(nn.Linear(2, 1), nn.MSELoss(), [(torch.randn(4, 2), torch.randn(4, 1))])
    assert (hessian @ torch.ones(3, 0)).shape == (3, 0)
    assert operator.products == hessian.products == 0
