"""The floors against what they claim to be: the product by hand is autograd's, and its matrix products are those counted.

FLOPs are counted independently, by PyTorch's own counter at the dispatcher.
"""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from floors import EpochFloor, ProductFloor, ROperator, counted_flops, divisors, gradient_flops, product_flops
from judge import Judge
from orograph.parameters import layout_of
from peers import DoubleBackward
from workload import Workload, module


def counter() -> FlopCounterMode:
    """PyTorch's counter, taught the in-place product that it does not know."""

    def in_place(_: tuple[int, ...], left: tuple[int, int], right: tuple[int, int], **__: object) -> int:
        return 2 * left[0] * left[1] * right[1]

    return FlopCounterMode(display=False, custom_mapping={torch.ops.aten.addmm_: in_place})


@pytest.fixture(scope="module")
def workload() -> Workload:
    generator = torch.Generator().manual_seed(0)
    model = module((12, 9, 7))
    theta = layout_of(model).flatten(dict(model.named_parameters()))
    inputs = torch.randn(96, 1, 5, 5, generator=generator)
    theta = torch.cat([torch.randn(12 * 25, generator=generator) / 5, theta[12 * 784 :]])
    return Workload(inputs, torch.randint(0, 10, (96,), generator=generator), (12, 9, 7), theta)


@pytest.fixture(autouse=True)
def _small_images(monkeypatch: pytest.MonkeyPatch) -> None:
    from orograph.models.catalogue import build_model

    def small(widths: tuple[int, ...], init_seed: int = 0) -> torch.nn.Module:
        return build_model("mlp", input_shape=(1, 5, 5), widths=widths, activation="sigmoid", init_seed=init_seed)

    monkeypatch.setattr("workload.module", small)


def test_the_r_operator_by_hand_is_double_backward(workload: Workload) -> None:
    operator, autograd = ROperator(workload), DoubleBackward(workload)
    expected = autograd.multiply(operator.vector)
    torch.testing.assert_close(operator.multiply(operator.vector), expected, rtol=1e-4, atol=1e-5 * expected.abs().max().item())
    operator.length = 32
    torch.testing.assert_close(operator.multiply(operator.vector), expected, rtol=1e-4, atol=1e-5 * expected.abs().max().item())


@pytest.mark.parametrize("length", [96, 32])
def test_the_floor_runs_the_matrix_products_that_are_counted(workload: Workload, length: int) -> None:
    floor = ProductFloor(workload, length)
    with counter() as counted:
        floor.hvp()
    assert counted.get_total_flops() == product_flops(workload.sizes, workload.count)


def test_the_r_operator_needs_no_other_matrix_product(workload: Workload) -> None:
    operator = ROperator(workload)
    with counter() as counted:
        operator.hvp()
    assert counted.get_total_flops() == product_flops(workload.sizes, workload.count)


def test_flops_that_are_counted_on_any_network_are_those_of_the_formula(workload: Workload) -> None:
    found = counted_flops(workload.model(), workload.inputs, workload.targets)[0]
    assert found == product_flops(workload.sizes, workload.count)


@pytest.mark.parametrize("models", [1, 3])
def test_the_floor_of_an_epoch_runs_the_matrix_products_that_are_counted(workload: Workload, models: int) -> None:
    floor = EpochFloor(workload, batch=32, models=models)
    with counter() as counted:
        floor.epoch()
    assert counted.get_total_flops() == models * gradient_flops(workload.sizes, workload.count)


def test_a_gradient_by_autograd_has_the_counted_products(workload: Workload) -> None:
    model = workload.model()
    with counter() as counted:
        torch.nn.functional.cross_entropy(model(workload.inputs), workload.targets).backward()
    assert counted.get_total_flops() == gradient_flops(workload.sizes, workload.count)


@pytest.mark.slow
def test_residuals_are_those_of_the_dense_hessian(workload: Workload) -> None:
    judge = Judge(workload, "float64")
    size = len(workload.theta)
    dense = torch.stack([judge.multiply(row) for row in torch.eye(size, dtype=torch.float64)])
    values, vectors = torch.linalg.eigh(dense)
    exact = judge.residuals(values[-3:].numpy(), vectors[:, -3:].T.contiguous().numpy())
    assert exact.max() < 1e-8
    wrong = judge.residuals(1.01 * values[-1:].numpy(), vectors[:, -1:].T.contiguous().numpy())
    assert wrong[0] == pytest.approx(0.01 / 1.01, rel=1e-6)


def test_batch_lengths_split_the_samples_evenly() -> None:
    assert divisors(2000, (500, 1000, 5000, 300)) == [500, 1000, 2000]
