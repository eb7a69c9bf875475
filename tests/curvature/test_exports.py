"""Our operators as other libraries take them: SciPy's solvers, and functions of arrays. Those of curvlinops and
hessian-eigenthings have their own tests; what is said without them is tested here.
"""

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy.sparse.linalg import cg, eigsh, lsmr, svds

import orograph as og
from orograph.errors import ConfigurationError

SIZE = 15
A = torch.randn(SIZE, SIZE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
A = A @ A.T + torch.eye(SIZE, dtype=torch.float64)
ARRAY = A.numpy()


def test_scipys_solvers_run_on_it() -> None:
    operator, right = og.MatrixOperator(A).to_scipy(), np.arange(1.0, SIZE + 1)
    values = np.linalg.eigvalsh(ARRAY)
    np.testing.assert_allclose(np.sort(eigsh(operator, k=3, return_eigenvectors=False)), values[-3:], rtol=1e-12)
    np.testing.assert_allclose(np.sort(svds(operator, k=2, return_singular_vectors=False)), values[-2:], rtol=1e-10)
    truth = np.linalg.solve(ARRAY, right)
    np.testing.assert_allclose(cg(operator, right, rtol=1e-12)[0], truth, rtol=1e-8)
    np.testing.assert_allclose(
        lsmr(operator, right, atol=1e-14, btol=1e-14, maxiter=500)[0], truth, rtol=1e-6
    )  # needs the adjoint


def test_a_function_of_arrays_takes_vectors_and_columns_and_counts() -> None:
    operator = og.MatrixOperator(A)
    multiply, columns = operator.to_function(), np.random.default_rng(0).standard_normal((SIZE, 4))
    np.testing.assert_allclose(multiply(columns), ARRAY @ columns, rtol=1e-13)
    np.testing.assert_allclose(multiply(columns[:, 0]), ARRAY @ columns[:, 0], rtol=1e-13)
    assert operator.products == 5
    assert operator.to_function(np.float32)(columns).dtype == np.float32
    assert og.MatrixOperator(A.bfloat16()).to_function()(columns).dtype == np.float32


EXPORTS: dict[str, Callable[[og.LinearOperator], Any]] = {
    "to_function": lambda operator: operator.to_function(),
    "to_scipy": lambda operator: operator.to_scipy(),
    "to_curvlinops": lambda operator: operator.to_curvlinops(),
    "to_eigenthings": lambda operator: operator.to_eigenthings(),
}


@pytest.mark.parametrize("name", EXPORTS)
def test_vectors_shared_among_processes_are_no_other_librarys(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    operator = og.MatrixOperator(A)
    monkeypatch.setattr(operator, "sharded", True, raising=False)
    with pytest.raises(ConfigurationError, match="shared among processes"):
        EXPORTS[name](operator)


@pytest.mark.parametrize(
    ("name", "module", "says"),
    [
        ("to_curvlinops", "curvlinops", "pip install 'curvlinops-for-pytorch"),
        ("to_eigenthings", "hessian_eigenthings", "pip install hessian-eigenthings"),
    ],
)
def test_without_the_library_the_way_to_it_is_told(name: str, module: str, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for loaded in [each for each in sys.modules if each.partition(".")[0] == module]:
        monkeypatch.delitem(sys.modules, loaded)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigurationError, match=says):
        EXPORTS[name](og.MatrixOperator(A))


def test_shapes_must_make_up_a_vector() -> None:
    with pytest.raises(ConfigurationError, match="`shapes` make up 13 numbers, and a vector of this operator has 15"):
        og.MatrixOperator(A).to_curvlinops([(3, 4), ()])
