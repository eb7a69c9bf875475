"""hessian-eigenthings beside this library: the same matrices in float64, its algorithms on our operators, ours on its."""

import importlib.util
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

import orograph as og
from libraries.sides import CASES, away, built, columns, differentiable_attention, matrix
from orograph.errors import ConfigurationError

pytestmark = [
    pytest.mark.peers,
    pytest.mark.skipif(importlib.util.find_spec("hessian_eigenthings") is None, reason="hessian-eigenthings is not installed"),
    pytest.mark.usefixtures("differentiable_attention"),
]
__all__ = ["differentiable_attention"]

ROUNDING = 1e-11  # relative, of float64 products in another order
BOTH = {"hessian": og.HessianOperator, "gauss_newton": og.GaussNewtonOperator, "fisher": og.EmpiricalFisherOperator}


def theirs(kind: str, name: str, batches: Any = None, **options: Any) -> Any:
    import hessian_eigenthings as lib

    model, loss, whole = built(name)
    given = (model, batches or whole)
    if kind == "hessian":
        return lib.HessianOperator(*given, lib.supervised_loss(loss), **options)
    if kind == "gauss_newton":
        return lib.GGNOperator(*given, lib.supervised_forward, lib.supervised_loss_of_output(loss))

    def of_one(model: nn.Module, sample: tuple[Tensor, Tensor]) -> Tensor:
        inputs, targets = (each[None] for each in sample)
        return loss(model(inputs), targets)

    return lib.EmpiricalFisherOperator(*given, of_one)


def ours(kind: str, name: str) -> og.LinearOperator:
    return BOTH[kind](*built(name))


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize("name", [*CASES, "normed"])
def test_both_have_the_same_matrix_and_it_is_that_of_plain_autograd(name: str, kind: str) -> None:
    truth = matrix(name, kind)
    vectors = columns(len(truth))
    assert away(ours(kind, name) @ vectors, truth @ vectors) < ROUNDING
    assert away(og.as_operator(theirs(kind, name)) @ vectors, truth @ vectors) < ROUNDING


def test_its_differences_of_gradients_are_near() -> None:
    operator = og.as_operator(theirs("hessian", "mlp", method="finite_difference"))
    truth = matrix("mlp", "hessian")
    vectors = columns(len(truth))
    assert 1e-14 < away(operator @ vectors, truth @ vectors) < 1e-6  # a step of 6e-6, squared, times a third derivative; rounding
    found = og.lanczos(operator, 3, which="LA")
    torch.testing.assert_close(found.eigenvalues, torch.linalg.eigvalsh(truth).flip(0)[:3], rtol=1e-6, atol=0)


def test_it_averages_batches_and_we_samples() -> None:
    """A batch of 3 counts there as much as one of 8."""
    batches = CASES["mlp"].build()[2]
    found = theirs("hessian", "mlp", batches)
    parts = [og.HessianOperator(*built("mlp")[:2], [batch]) for batch in batches]
    vector, counts = columns(found.size, 1)[:, 0], torch.tensor([len(y) for _, y in batches])
    products = torch.stack([part @ vector for part in parts])
    by_samples = (counts[:, None] * products).sum(0) / counts.sum()
    assert away(found @ vector, products.mean(0)) < ROUNDING
    assert away(ours("hessian", "mlp") @ vector, by_samples) < ROUNDING
    assert away(products.mean(0), by_samples) > 0.01


def test_attention_in_the_quickest_kernel_has_no_product() -> None:
    with sdpa_kernel(SDPBackend.FLASH_ATTENTION), pytest.raises(RuntimeError, match="not implemented"):
        theirs("hessian", "attention") @ columns(len(matrix("attention", "hessian")), 1)[:, 0]


ALGORITHMS: dict[str, Callable[[Any, Any], Tensor]] = {
    "lanczos": lambda lib, A: lib.lanczos(A, k=3, max_iter=40, seed=0).eigenvalues,
    "deflated_power_iteration": lambda lib, A: lib.deflated_power_iteration(A, k=2, max_iter=20, seed=0).eigenvalues,
    "hutchinson": lambda lib, A: lib.trace(A, num_matvecs=9, method="hutchinson", seed=0).samples,
    "hutch++": lambda lib, A: lib.trace(A, num_matvecs=9, seed=0).samples,
    "spectral_density": lambda lib, A: lib.spectral_density(A, num_runs=2, lanczos_steps=10, num_grid_points=64, seed=0).density,
}


@pytest.mark.parametrize("name", ALGORITHMS)
def test_its_algorithms_give_on_our_operator_what_they_give_on_its_own(name: str) -> None:
    import hessian_eigenthings as lib

    mine, other = ours("hessian", "normed").to_eigenthings(), theirs("hessian", "normed")
    assert isinstance(mine, lib.CurvatureOperator)
    assert away(ALGORITHMS[name](lib, mine), ALGORITHMS[name](lib, other)) < 1e-7  # iterations carry rounding on


def test_its_eigenpairs_of_our_operator_are_those_of_the_dense_matrix() -> None:
    import hessian_eigenthings as lib

    operator = ours("hessian", "mlp")
    found = lib.lanczos(operator.to_eigenthings(), k=3, max_iter=40, which="LA", reorthogonalize=True, seed=0)
    values = torch.linalg.eigvalsh(matrix("mlp", "hessian")).flip(0)[:3]
    torch.testing.assert_close(found.eigenvalues, values, rtol=1e-9, atol=0)
    assert operator.products == found.iterations


@pytest.mark.parametrize("name", ["cnn", "normed"])
def test_our_algorithms_on_its_operator_give_the_eigenpairs_of_the_dense_matrix(name: str) -> None:
    operator = og.as_operator(theirs("hessian", name))
    values = torch.linalg.eigvalsh(matrix(name, "hessian"))
    found = og.lanczos(operator, 4, which="BE", tolerance=1e-8)
    assert found.converged.all()
    torch.testing.assert_close(found.eigenvalues, torch.cat([values[-2:].flip(0), values[:2].flip(0)]), rtol=1e-9, atol=1e-12)
    assert og.trace(operator, probes=operator.size).value == pytest.approx(float(values.sum()), rel=1e-9)


def test_a_batch_drawn_anew_at_each_product_is_no_matrix() -> None:
    batches = CASES["mlp"].build()[2]
    operator = og.as_operator(theirs("hessian", "mlp", batches, full_dataset=False))
    with pytest.raises(ConfigurationError, match="the product of a HessianOperator is not linear"):
        og.lanczos(operator, 2)


def test_parameters_keep_no_gradients() -> None:
    operator = theirs("gauss_newton", "mlp")
    assert not (og.as_operator(operator) @ columns(operator.size)).requires_grad
    assert all(p.grad is None for p in operator.model.parameters())
