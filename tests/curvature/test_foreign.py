"""What stands for a matrix elsewhere, as an operator: its products and eigenvalues are those of the dense matrix, and what cannot
be one is refused by name. SciPy's operators are real ones; those of other libraries are made up here, with what these have.
"""

import warnings
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array
from scipy.sparse.linalg import LinearOperator as SciPyOperator
from torch import Tensor, nn

import orograph as og
from orograph.errors import ConfigurationError, OrographWarning

SIZE = 12
A = torch.randn(SIZE, SIZE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
A = A + A.T
ARRAY = A.numpy()


class Vectors:
    """As hessian-eigenthings' operators are: a size, and products with vectors alone."""

    size, dtype, device = SIZE, torch.float64, torch.device("cpu")

    def matvec(self, v: Tensor) -> Tensor:
        assert v.shape == (SIZE,)
        return A @ v

    def __matmul__(self, v: Tensor) -> Tensor:
        return self.matvec(v)


class Blocks:
    """As curvlinops' operators are: a shape, and products with vectors and matrices."""

    shape, dtype, device = (SIZE, SIZE), torch.float64, torch.device("cpu")

    def __init__(self, matrix: Tensor = A) -> None:
        self.matrix, self.seen = matrix, []  # type: ignore[var-annotated]

    def __matmul__(self, v: Tensor) -> Tensor:
        self.seen.append(tuple(v.shape))
        return self.matrix @ v


class Undeclared(Blocks):
    """A base's dtype that raises, as curvlinops' does."""

    @property
    def dtype(self) -> torch.dtype:  # type: ignore[override]
        raise NotImplementedError


class Applied:
    """As operators of older releases: `apply`, and parameters."""

    size = SIZE
    params = (nn.Parameter(torch.ones(2, dtype=torch.float64)),)

    def apply(self, v: Tensor) -> Tensor:
        return A @ v * self.params[0].mean()  # a graph hangs on it


def read_only() -> np.ndarray:
    array = np.asfortranarray(ARRAY)
    array.flags.writeable = False
    return array


KINDS: dict[str, Callable[[], og.LinearOperator]] = {
    "tensor": lambda: og.as_operator(A),
    "array": lambda: og.as_operator(ARRAY),
    "array that nobody may write into": lambda: og.as_operator(read_only()),
    "sparse tensor": lambda: og.as_operator(A.to_sparse()),
    "sparse array": lambda: og.as_operator(csr_array(ARRAY)),
    "SciPy, vectors": lambda: og.as_operator(SciPyOperator((SIZE, SIZE), matvec=lambda v: ARRAY @ v, dtype=np.float64)),
    "SciPy, ours": lambda: og.as_operator(og.MatrixOperator(A).to_scipy()),
    "function of tensors": lambda: og.as_operator(lambda v: A @ v, SIZE, dtype=torch.float64),
    "function of arrays": lambda: og.as_operator(lambda v: ARRAY @ v, SIZE, dtype=np.float64),
    "function of arrays, ours": lambda: og.as_operator(og.MatrixOperator(A).to_function(), SIZE, dtype="float64"),
    "vectors": lambda: og.as_operator(Vectors()),
    "blocks": lambda: og.as_operator(Blocks()),
    "blocks without a dtype": lambda: og.as_operator(Undeclared(), dtype=torch.float64),
    "applied": lambda: og.as_operator(Applied()),
    "ours": lambda: og.as_operator(og.MatrixOperator(A), SIZE),
}


@pytest.mark.parametrize("kind", KINDS)
def test_products_and_eigenpairs_are_those_of_the_matrix(kind: str) -> None:
    operator = KINDS[kind]()
    assert (operator.shape, operator.dtype, operator.device) == ((SIZE, SIZE), torch.float64, torch.device("cpu"))
    other = torch.randn(SIZE, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for grad in (torch.enable_grad, torch.no_grad, torch.inference_mode):
        with grad():
            single, block = operator @ other[:, 0], operator @ other
        torch.testing.assert_close(single, A @ other[:, 0], rtol=1e-13, atol=1e-13)
        torch.testing.assert_close(block, A @ other, rtol=1e-13, atol=1e-13)
        assert not single.requires_grad
    found = og.lanczos(operator, 3, which="LA", tolerance=1e-9)
    torch.testing.assert_close(found.eigenvalues, torch.linalg.eigvalsh(A).flip(0)[:3], rtol=1e-12, atol=0)
    truth = torch.linalg.eigh(A)[1].T.flip(0)[:3]
    assert (found.eigenvectors * truth).sum(1).abs().min() > 1 - 1e-12


def test_blocks_are_multiplied_at_once_where_the_other_can() -> None:
    other = Blocks()
    og.as_operator(other) @ torch.ones(SIZE, 5, dtype=torch.float64)
    assert other.seen == [(SIZE, 5)]


def test_what_multiplies_arrays_gets_arrays_of_its_dtype_and_keeps_its_own() -> None:
    single, out = ARRAY.astype(np.float32), np.empty(SIZE, dtype=np.float32)
    given = []

    def multiply(v: np.ndarray) -> np.ndarray:
        given.append(v.dtype)
        return np.matmul(single, v, out=out)  # the same memory at every call

    operator = og.as_operator(multiply, SIZE, dtype=np.float32)
    first = operator @ torch.ones(SIZE)
    second = operator @ torch.zeros(SIZE)
    assert given == [np.float32, np.float32]
    assert operator.dtype == torch.float32
    torch.testing.assert_close(first, A.float() @ torch.ones(SIZE))
    assert not second.any()


def test_products_of_others_are_not_known_to_be_exact_and_those_of_a_matrix_are() -> None:
    assert not og.as_operator(Blocks()).exact_products
    assert og.as_operator(ARRAY).exact_products
    assert not (og.as_operator(ARRAY) + og.as_operator(Blocks())).exact_products
    assert not og.blockwise.BlockOperator(og.as_operator(Blocks()), torch.arange(3)).exact_products


def test_an_asymmetry_that_is_no_rounding_is_said_and_one_that_is_is_not() -> None:
    skew = torch.randn(SIZE, SIZE, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    skew = (skew - skew.T) / skew.norm() * A.norm()
    with pytest.warns(OrographWarning, match=r"the product of a Blocks is symmetric to \de-03 alone"):
        og.lanczos(og.as_operator(Blocks(A + 3e-3 * skew)), 2)
    single = og.as_operator(lambda v: (A.float() @ v.float()).double(), SIZE, dtype=torch.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        og.lanczos(single, 2)
        og.lanczos(
            og.FunctionOperator(lambda v: (A + 3e-3 * skew) @ v, SIZE, dtype=torch.float64), 2
        )  # differences may be as rough


class Chance(Vectors):
    def matvec(self, v: Tensor) -> Tensor:
        return A @ v * torch.rand(())


class OtherBlocks(Blocks):
    def __matmul__(self, v: Tensor) -> Tensor:
        return A @ v * v.ndim


@pytest.mark.parametrize(
    ("other", "says"),
    [
        (Blocks(A.triu()), "the product of a Blocks is not symmetric"),
        (Chance(), "the product of a Chance is not linear"),
        (OtherBlocks(), "the product of a OtherBlocks is not linear"),
        (csr_array(np.triu(ARRAY)), "the product of a csr_array is not symmetric"),
    ],
    ids=["not symmetric", "chance", "blocks of another matrix", "sparse"],
)
def test_what_is_no_symmetric_matrix_is_found_out_before_work_starts(other: Any, says: str) -> None:
    operator = og.as_operator(other)
    for function in (lambda: og.lanczos(operator, 2), lambda: og.density(operator)):
        with pytest.raises(ConfigurationError, match=says):
            function()
    assert operator.products == 0


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: og.as_operator(lambda v: v, dtype=torch.float64), "a function does not say its size; give `size`"),
        (lambda: og.as_operator(lambda v: v, 4), "a function does not say its dtype; give `dtype`"),
        (lambda: og.as_operator(lambda v: v, 4, dtype="word"), "`dtype` 'word' is none of torch or NumPy"),
        (lambda: og.as_operator(lambda v: v, 4, dtype=torch.int64), "of dtype int64 is no real matrix"),
        (lambda: og.as_operator(lambda v: v, 4.5, dtype=np.float64), "`size` must be a whole number, not 4.5"),
        (lambda: og.as_operator(ARRAY, 13), "`size` 13 is not that of the ndarray, 12"),
        (lambda: og.as_operator(A, dtype=torch.float32), "`dtype` torch.float32 is not that of the Tensor, torch.float64"),
        (lambda: og.as_operator(Blocks(), device="meta"), "`device` meta is not that of the Blocks, cpu"),
        (lambda: og.as_operator(ARRAY[:5]), r"of shape \(5, 12\) is no square matrix"),
        (lambda: og.as_operator(np.ones(4)), r"of shape \(4,\) is no square matrix"),
        (lambda: og.as_operator(np.triu(ARRAY)), "the matrix of an operator is not symmetric"),
        (lambda: og.as_operator(1j * ARRAY), "a ndarray of dtype complex128 is no real matrix"),
        (lambda: og.as_operator(csr_array(1j * ARRAY)), "of dtype complex128 is no real matrix"),
        (lambda: og.as_operator(SimpleNamespace(size=4, dtype=torch.float64)), "has no product"),
        (lambda: og.as_operator(lambda v: None, 4, dtype=np.float64) @ torch.ones(4), "must give a tensor"),
        (lambda: og.as_operator(lambda v: v[:3], 4, dtype=np.float64) @ torch.ones(4), r"of shape \(3,\)"),
        (lambda: og.lanczos(Blocks(), 2), "must be a LinearOperator, not a Blocks; orograph.as_operator makes one of"),
    ],
)
def test_what_cannot_be_an_operator_is_refused_by_name(make: Callable[[], Any], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says) as raised:
        make()
    assert len(str(raised.value).splitlines()) == 1
