"""curvlinops beside this library: the same matrices in float64, all its algorithms on our operators, ours on its. Both sides are
held against dense matrices of plain autograd, or an algorithm of its own against itself, with the same random numbers.
"""

import functools
import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import orograph as og
from libraries.sides import CASES, built, close, dense, twice_differentiable
from orograph.blockwise import BlockOperator, kfac_operator

pytestmark = [
    pytest.mark.peers,
    pytest.mark.skipif(importlib.util.find_spec("curvlinops") is None, reason="curvlinops is not installed"),
    pytest.mark.usefixtures("twice_differentiable"),
]
__all__ = ["twice_differentiable"]

ROUNDING = 1e-11  # relative, of float64 products in another order; the networks are well conditioned
BOTH = {  # every matrix that both have
    "hessian": (og.HessianOperator, "HessianLinearOperator"),
    "gauss_newton": (og.GaussNewtonOperator, "GGNLinearOperator"),
    "fisher": (og.EmpiricalFisherOperator, "EFLinearOperator"),
}
OUTPUTS = {"regression": 2}  # its empirical Fisher matrix of a squared error is so many times as large


def theirs(kind: str, name: str, **options: Any) -> Any:
    import curvlinops

    model, loss, batches = built(name)
    return getattr(curvlinops, kind)(model, loss, [p for p in model.parameters() if p.requires_grad], batches, **options)


def ours(kind: Any, name: str) -> og.LinearOperator:
    return kind(*built(name))


def columns(size: int, count: int = 3) -> Tensor:
    return torch.randn(size, count, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize("name", CASES)
def test_both_have_the_same_matrix_and_it_is_that_of_plain_autograd(name: str, kind: str) -> None:
    mine, other = BOTH[kind]
    found = og.as_operator(theirs(other, name))
    matrix = getattr(dense(name), kind)(dense(name).theta)
    vectors = columns(len(matrix))
    close(ours(mine, name) @ vectors, matrix @ vectors, ROUNDING)
    factor = OUTPUTS.get(name, 1) if kind == "fisher" else 1
    close(found @ vectors, factor * matrix @ vectors, ROUNDING)
    close(found @ vectors[:, 0], factor * matrix @ vectors[:, 0], ROUNDING)


def test_its_blocks_of_the_hessian_are_ours() -> None:
    model, _, _ = built("mlp")
    sizes = [p.numel() for p in model.parameters()]
    found, whole = theirs("HessianLinearOperator", "mlp", block_sizes=[1] * len(sizes)), ours(og.HessianOperator, "mlp")
    vectors = columns(whole.size)
    places = torch.arange(whole.size).split(sizes)
    close(found @ vectors, torch.cat([BlockOperator(whole, part) @ vectors[part] for part in places]), ROUNDING)


@pytest.mark.parametrize("kind", ["kfac", "ekfac"])
def test_its_kronecker_factors_are_those_that_we_give(kind: Any) -> None:
    model, loss, batches = built("cnn")
    name = {"kfac": "KFACLinearOperator", "ekfac": "EKFACLinearOperator"}[kind]
    found = theirs(name, "cnn", fisher_type="type-2", separate_weight_and_bias=False)
    operator = kfac_operator(og.Objective(model, loss, batches), loss, kind)
    vectors = columns(operator.size)
    close(operator @ vectors, found @ vectors, ROUNDING)


@functools.cache
def pair() -> tuple[Any, Any]:
    """A positive definite matrix as an operator of ours in its clothes, and of its own: G + I of an attention."""
    import curvlinops

    shapes = [p.shape for p in built("attention")[0].parameters()]
    identity = curvlinops_identity(shapes)
    mine = ours(og.GaussNewtonOperator, "attention").shifted(1.0).to_curvlinops(shapes)
    assert isinstance(mine, curvlinops.SubmatrixLinearOperator.__base__)
    return mine, theirs("GGNLinearOperator", "attention") + identity


def curvlinops_identity(shapes: list[torch.Size]) -> Any:
    size = sum(shape.numel() for shape in shapes)
    return og.FunctionOperator(lambda v: v, size, block=lambda V: V, dtype=torch.float64).to_curvlinops(shapes)


ALGORITHMS: dict[str, Callable[[Any, Any], Any]] = {
    "hutchinson_trace": lambda lib, A: lib.hutchinson_trace(A, 6),
    "hutchpp_trace": lambda lib, A: lib.hutchpp_trace(A, 6),
    "xtrace": lambda lib, A: lib.xtrace(A, 6),
    "hutchinson_diag": lambda lib, A: lib.hutchinson_diag(A, 6),
    "xdiag": lambda lib, A: lib.xdiag(A, 6),
    "hutchinson_squared_fro": lambda lib, A: lib.hutchinson_squared_fro(A, 6),
    "lanczos_approximate_spectrum": lambda lib, A: lib.lanczos_approximate_spectrum(A, 10, 64, boundaries=(0.0, 5.0))[1],
    "lanczos_approximate_log_spectrum": lambda lib, A: lib.lanczos_approximate_log_spectrum(A, 10, 64, boundaries=(0.5, 5.0))[1],
    "CGInverseLinearOperator": lambda lib, A: lib.CGInverseLinearOperator(A, eps=0, tolerance=1e-12) @ columns(A.shape[0], 1),
    "LSMRInverseLinearOperator": lambda lib, A: lib.LSMRInverseLinearOperator(A, atol=1e-14, btol=1e-14) @ columns(A.shape[0], 1),
    "NeumannInverseLinearOperator": lambda lib, A: lib.NeumannInverseLinearOperator(A, 5, scale=0.1) @ columns(A.shape[0], 1),
    "SubmatrixLinearOperator": lambda lib, A: lib.SubmatrixLinearOperator(A, [0, 5, 7], [2, 3]) @ columns(2, 2),
    "to_scipy": lambda lib, A: torch.from_numpy(A.to_scipy() @ columns(A.shape[0]).numpy()),
    "adjoint": lambda lib, A: A.adjoint() @ columns(A.shape[0]),
    "sum": lambda lib, A: (2.0 * A - A) @ columns(A.shape[0]),
}


@pytest.mark.parametrize("name", ALGORITHMS)
def test_its_algorithms_give_on_our_operator_what_they_give_on_its_own(name: str) -> None:
    import curvlinops

    results = []
    for operator in pair():
        torch.manual_seed(0)
        results.append(ALGORITHMS[name](curvlinops, operator))
    close(results[0], results[1], 1e-8)  # iterations carry rounding on


def test_sums_of_both_are_operators_of_either() -> None:
    mine, other = pair()
    vectors = columns(mine.shape[0])
    assert ((other - mine) @ vectors).norm() < ROUNDING * (mine @ vectors).norm()
    difference = og.as_operator(other) - og.as_operator(mine)
    assert (difference @ vectors).norm() < ROUNDING * (mine @ vectors).norm()
    listed = mine @ [torch.ones(shape, dtype=torch.float64) for shape in mine._in_shape]
    close(torch.cat([part.reshape(-1) for part in listed]), mine @ torch.ones(mine.shape[0], dtype=torch.float64), ROUNDING)


@pytest.mark.parametrize("name", ["cnn", "attention"])
def test_our_algorithms_on_its_operator_give_the_eigenpairs_of_the_dense_matrix(name: str) -> None:
    operator = og.as_operator(theirs("HessianLinearOperator", name))
    values, vectors = torch.linalg.eigh(dense(name).hessian(dense(name).theta))
    found = og.lanczos(operator, 4, which="BE", tolerance=1e-8)
    assert found.converged.all()
    torch.testing.assert_close(found.eigenvalues, torch.cat([values[-2:].flip(0), values[:2].flip(0)]), rtol=1e-9, atol=1e-12)
    assert (found.eigenvectors[0] @ vectors[:, -1]).abs() > 1 - 1e-8
    every = og.trace(operator, probes=operator.size)
    assert every.value == pytest.approx(float(values.sum()), rel=1e-9)


def test_traces_densities_and_solutions_are_those_of_our_own_operator() -> None:
    mine, other = ours(og.GaussNewtonOperator, "mlp"), og.as_operator(theirs("GGNLinearOperator", "mlp"))
    assert og.trace(other, probes=5).value == pytest.approx(og.trace(mine, probes=5).value, rel=1e-9)
    first, second = (og.density(each, probes=2, steps=15) for each in (mine, other))
    close(second.density, first.density, 1e-6)
    right = columns(mine.size, 1)[:, 0]
    solved = og.conjugate_gradient(other, right, shift=0.1, tolerance=1e-10).solution
    truth = torch.linalg.solve(dense("mlp").gauss_newton(dense("mlp").theta) + 0.1 * torch.eye(mine.size).double(), right)
    close(solved, truth, 1e-8)
