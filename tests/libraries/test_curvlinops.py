"""curvlinops beside this library: the same matrices in float64, its algorithms on our operators, ours on its, and where the two
differ the reason. Matrices are held against plain autograd, an algorithm against itself with the same random numbers.
"""

import functools
import importlib.util
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

import orograph as og
from libraries.sides import CASES, away, built, columns, differentiable_attention, matrix
from orograph.blockwise import BlockOperator, kfac_operator
from orograph.errors import OrographWarning

pytestmark = [
    pytest.mark.peers,
    pytest.mark.skipif(importlib.util.find_spec("curvlinops") is None, reason="curvlinops is not installed"),
    pytest.mark.usefixtures("differentiable_attention"),
]
__all__ = ["differentiable_attention"]

ROUNDING = 1e-11  # relative, of float64 products in another order
BOTH = {  # every matrix of a network that both have, besides Kronecker factors
    "hessian": (og.HessianOperator, "HessianLinearOperator"),
    "gauss_newton": (og.GaussNewtonOperator, "GGNLinearOperator"),
    "fisher": (og.EmpiricalFisherOperator, "EFLinearOperator"),
}
OTHER = [("attention", "fisher"), ("regression", "fisher")]  # where it means another matrix; see below
SAME = [(name, kind) for name in CASES for kind in BOTH if (name, kind) not in OTHER]


def theirs(kind: str, name: str, **options: Any) -> Any:
    import curvlinops

    model, loss, batches = built(name)
    return getattr(curvlinops, kind)(model, loss, list(model.parameters()), batches, check_deterministic=False, **options)


def ours(kind: str, name: str) -> og.LinearOperator:
    made: og.LinearOperator = BOTH[kind][0](*built(name))
    return made


@pytest.mark.parametrize(("name", "kind"), SAME)
def test_both_have_the_same_matrix_and_it_is_that_of_plain_autograd(name: str, kind: str) -> None:
    truth, found = matrix(name, kind), og.as_operator(theirs(BOTH[kind][1], name))
    vectors = columns(len(truth))
    assert away(ours(kind, name) @ vectors, truth @ vectors) < ROUNDING
    assert away(found @ vectors, truth @ vectors) < ROUNDING
    assert away(found @ vectors[:, 0], truth @ vectors[:, 0]) < ROUNDING


def test_its_blocks_of_the_hessian_are_ours() -> None:
    sizes = [p.numel() for p in built("mlp")[0].parameters()]
    found, whole = theirs("HessianLinearOperator", "mlp", block_sizes=[1] * len(sizes)), ours("hessian", "mlp")
    vectors = columns(whole.size)
    places = torch.arange(whole.size).split(sizes)
    assert away(found @ vectors, torch.cat([BlockOperator(whole, part) @ vectors[part] for part in places])) < ROUNDING


@pytest.mark.parametrize(("kind", "name"), [("kfac", "KFACLinearOperator"), ("ekfac", "EKFACLinearOperator")])
def test_its_kronecker_factors_are_those_that_we_give(kind: Any, name: str) -> None:
    model, loss, batches = built("cnn")
    found = theirs(name, "cnn", fisher_type="type-2", separate_weight_and_bias=False)
    operator = kfac_operator(og.Objective(model, loss, batches), kind)
    vectors = columns(operator.size)
    assert away(operator @ vectors, found @ vectors) < ROUNDING
    assert operator.dtype == torch.float64


def test_its_fisher_matrix_of_a_squared_error_is_larger_by_the_number_of_outputs() -> None:
    """Its loss of a sample is the sum over outputs, once the mean is taken out; ours is what the loss says, their mean."""
    truth = matrix("regression", "fisher")
    vectors = columns(len(truth))
    assert away(ours("fisher", "regression") @ vectors, truth @ vectors) < ROUNDING
    assert away(theirs("EFLinearOperator", "regression") @ vectors, 2 * truth @ vectors) < ROUNDING


def test_its_fisher_matrix_of_texts_takes_every_token_for_a_sample() -> None:
    truth, (model, _, batches) = matrix("attention", "fisher"), built("attention")
    vectors = columns(len(truth))
    assert away(ours("fisher", "attention") @ vectors, truth @ vectors) < ROUNDING
    losses = F.cross_entropy(model(batches[0][0]), batches[0][1], reduction="none").flatten()
    rows = [torch.autograd.grad(each, list(model.parameters()), retain_graph=True) for each in losses]
    tokens = torch.stack([torch.cat([part.reshape(-1) for part in row]) for row in rows])
    assert away(theirs("EFLinearOperator", "attention") @ vectors, tokens.T @ (tokens @ vectors) / len(tokens)) < ROUNDING


def test_its_hessian_behind_a_layernorm_lacks_what_torch_leaves_out() -> None:
    """`torch.func.jvp` of `jacrev`, which it is made of, holds mean and deviation fast in the gradient of a LayerNorm's weight;
    `jvp` of `grad` does not. Plain double backward is right, and so are our Hessian and both Gauss–Newton matrices.
    """
    truth, (model, _, _) = matrix("normed", "hessian"), built("normed")
    vectors, sizes = columns(len(truth)), {name: p.numel() for name, p in model.named_parameters()}
    assert away(ours("hessian", "normed") @ vectors, truth @ vectors) < ROUNDING
    for operator in (ours("gauss_newton", "normed"), theirs("GGNLinearOperator", "normed")):
        assert away(operator @ vectors, matrix("normed", "gauss_newton") @ vectors) < ROUNDING
    found = (theirs("HessianLinearOperator", "normed") @ vectors).split(list(sizes.values()))
    parts = dict(zip(sizes, zip(found, (truth @ vectors).split(list(sizes.values())), strict=True), strict=True))
    assert away(*parts.pop("norm.weight")) > 0.05
    assert all(away(*part) < ROUNDING for part in parts.values())

    with pytest.warns(OrographWarning, match="the product of a HessianLinearOperator is symmetric to"):
        og.lanczos(og.as_operator(theirs("HessianLinearOperator", "normed")), 2)

    x, weight, tangent = columns(5, 6), columns(6, 1)[:, 0], columns(5, 6).sin()

    def value(w: Tensor, x: Tensor) -> Tensor:
        return F.layer_norm(x, (6,), w).sin().sum()

    by_grad, by_jacrev = (
        torch.func.jvp(lambda x, make=make: make(value)(weight, x), (x,), (tangent,))[1]
        for make in (torch.func.grad, torch.func.jacrev)
    )
    assert away(by_jacrev, by_grad) > 0.05


@pytest.mark.parametrize("layer", [nn.SiLU(), nn.GroupNorm(2, 6)], ids=["SiLU", "GroupNorm"])
def test_its_hessian_of_some_layers_is_none_and_ours_is_there(layer: nn.Module) -> None:
    import curvlinops

    torch.manual_seed(0)
    model, data = nn.Sequential(nn.Linear(4, 6), layer, nn.Linear(6, 3)).double(), [(columns(8, 4), torch.arange(8) % 3)]
    given = model, nn.CrossEntropyLoss()
    operator = curvlinops.HessianLinearOperator(*given, list(model.parameters()), data, check_deterministic=False)
    mine = og.HessianOperator(*given, data)
    with pytest.raises((NotImplementedError, RuntimeError), match="does not support"):
        operator @ columns(mine.size)
    assert (mine @ columns(mine.size)).isfinite().all()


def test_attention_in_the_quickest_kernel_has_no_product() -> None:
    with sdpa_kernel(SDPBackend.FLASH_ATTENTION), pytest.raises(NotImplementedError, match="does not support"):
        theirs("HessianLinearOperator", "attention") @ columns(len(matrix("attention", "hessian")))


@functools.cache
def sides() -> tuple[Any, Any]:
    """G + I of an attention: an operator of ours in its clothes, and one of its own."""
    shapes = [p.shape for p in built("attention")[0].parameters()]
    whole = ours("gauss_newton", "attention")
    identity = og.FunctionOperator(lambda v: v, whole.size, block=lambda v: v, dtype=torch.float64).to_curvlinops(shapes)
    return whole.shifted(1.0).to_curvlinops(shapes), theirs("GGNLinearOperator", "attention") + identity


ALGORITHMS: dict[str, Callable[[Any, Any], Any]] = {
    "hutchinson_trace": lambda lib, a: lib.hutchinson_trace(a, 6),
    "hutchpp_trace": lambda lib, a: lib.hutchpp_trace(a, 6),
    "xtrace": lambda lib, a: lib.xtrace(a, 6),
    "hutchinson_diag": lambda lib, a: lib.hutchinson_diag(a, 6),
    "xdiag": lambda lib, a: lib.xdiag(a, 6),
    "hutchinson_squared_fro": lambda lib, a: lib.hutchinson_squared_fro(a, 6),
    "spectrum": lambda lib, a: lib.lanczos_approximate_spectrum(a, 10, 64, boundaries=(0.0, 5.0))[1],
    "logarithmic spectrum": lambda lib, a: lib.lanczos_approximate_log_spectrum(a, 10, 64, boundaries=(0.5, 5.0))[1],
    "inverse by CG": lambda lib, a: lib.CGInverseLinearOperator(a, tolerance=1e-8, max_iter=50) @ columns(a.shape[0], 1),
    "inverse by LSMR": lambda lib, a: lib.LSMRInverseLinearOperator(a, maxiter=50) @ columns(a.shape[0], 1),
    "inverse by Neumann's series": lambda lib, a: lib.NeumannInverseLinearOperator(a, 5, scale=0.1) @ columns(a.shape[0], 1),
    "submatrix": lambda lib, a: lib.SubmatrixLinearOperator(a, [0, 5, 7], [2, 3]) @ columns(2, 2),
    "to_scipy": lambda lib, a: torch.from_numpy(a.to_scipy() @ columns(a.shape[0]).numpy()),
    "adjoint": lambda lib, a: a.adjoint() @ columns(a.shape[0]),
    "sum": lambda lib, a: (3.0 * a - a) @ columns(a.shape[0]),
}


@pytest.mark.filterwarnings("ignore:CG terminated")
@pytest.mark.parametrize("name", ALGORITHMS)
def test_its_algorithms_give_on_our_operator_what_they_give_on_its_own(name: str) -> None:
    import curvlinops

    results = []
    for operator in sides():
        torch.manual_seed(0)
        results.append(ALGORITHMS[name](curvlinops, operator))
    assert away(results[0], results[1]) < 1e-7  # iterations carry rounding on


def test_sums_of_both_are_operators_of_either() -> None:
    mine, other = sides()
    vectors = columns(mine.shape[0])
    whole = mine @ vectors
    assert ((other - mine) @ vectors).norm() < ROUNDING * whole.norm()
    assert ((og.as_operator(other) - og.as_operator(mine)) @ vectors).norm() < ROUNDING * whole.norm()
    listed = mine @ [p.detach() for p in built("attention")[0].parameters()]
    flat = nn.utils.parameters_to_vector(built("attention")[0].parameters()).detach()
    assert away(torch.cat([part.reshape(-1) for part in listed]), mine @ flat) < ROUNDING


@pytest.mark.parametrize("name", ["cnn", "attention"])
def test_our_algorithms_on_its_operator_give_the_eigenpairs_of_the_dense_matrix(name: str) -> None:
    operator = og.as_operator(theirs("HessianLinearOperator", name))
    values, vectors = torch.linalg.eigh(matrix(name, "hessian"))
    found = og.lanczos(operator, 4, which="BE", tolerance=1e-8)
    assert found.converged.all()
    expected = torch.cat([values[-2:].flip(0), values[:2].flip(0)])
    torch.testing.assert_close(found.eigenvalues, expected, rtol=1e-9, atol=1e-12)
    assert (found.eigenvectors[0] @ vectors[:, -1]).abs() > 1 - 1e-8
    assert og.trace(operator, probes=operator.size).value == pytest.approx(float(values.sum()), rel=1e-9)


def test_traces_densities_and_solutions_are_those_of_our_own_operator() -> None:
    mine, other = ours("gauss_newton", "mlp"), og.as_operator(theirs("GGNLinearOperator", "mlp"))
    assert og.trace(other, probes=5).value == pytest.approx(og.trace(mine, probes=5).value, rel=1e-9)
    first, second = (og.density(each, probes=2, steps=15) for each in (mine, other))
    assert away(second.values, first.values) < 1e-6
    right = columns(mine.size, 1)[:, 0]
    solved = og.conjugate_gradient(other, right, shift=0.1, tolerance=1e-10).solution
    truth = torch.linalg.solve(matrix("mlp", "gauss_newton") + 0.1 * torch.eye(mine.size).double(), right)
    assert away(solved, truth) < 1e-8
