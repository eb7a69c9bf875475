"""λ_max by conjugate gradients and by Lanczos against dense float64 eigenvalues, and what of the device's memory decides."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import gradients
import orograph as og
from floors import counted_flops
from large import TOLERANCE, Afar, climb, next_token, residual_of, room, top
from subjects import Case, large


@pytest.fixture(scope="module")
def case() -> Case:
    small = large("billion", toy=True)
    return Case(small.name, small.module.double(), small.inputs, small.targets)


@pytest.fixture(scope="module")
def operator(case: Case) -> og.HessianOperator:
    return og.HessianOperator(case.module, next_token, [(case.inputs, case.targets)])


def test_conjugate_gradients_climb_to_the_largest_eigenvalue_by_few_products() -> None:
    generator = torch.Generator().manual_seed(1)
    turned = torch.linalg.qr(torch.randn(80, 80, generator=generator, dtype=torch.float64)).Q
    values = torch.cat([torch.tensor([-9.0, 7.0, 6.0]), torch.linspace(-1, 1, 77)]).double()
    matrix = og.MatrixOperator(turned * values @ turned.T)
    value, vector, residual, products = climb(matrix, 1e-6)
    true = float((matrix @ vector - value * vector).norm())
    assert residual == pytest.approx(true, rel=1e-6, abs=1e-12)
    assert residual <= 7e-6
    assert vector.norm().item() == pytest.approx(1)
    assert abs(value - 7) <= residual**2  # Temple's and Kato's bound, the next eigenvalue being 1 away
    assert products < 60


@pytest.mark.slow
def test_a_basis_that_the_device_does_not_hold_is_done_without(case: Case, operator: og.HessianOperator) -> None:
    assert room(operator) is None  # a processor maps what does not fit from a file
    lanczos, climbed, there = (top(operator, "4GiB", limit) for limit in (None, 0, 1 << 40))
    assert lanczos[0] == there[0] != climbed[0]
    assert "conjugate gradients: a Lanczos basis of" in climbed[0]
    for _, value, vector, residual, products in (lanczos, climbed):
        assert residual_of(case, value, vector) == pytest.approx(residual, rel=1e-3)
        assert residual <= TOLERANCE * value
        assert products < 100
    assert lanczos[1] == pytest.approx(climbed[1], rel=2 * TOLERANCE)
    assert og.trace(Afar(operator), probes=4).value == pytest.approx(og.trace(operator, probes=4).value)


def test_the_unit_is_one_forward_and_one_backward_pass() -> None:
    case = large("resnet50", toy=True)
    with FlopCounterMode(display=False) as forward:
        case.module(case.inputs)
    with FlopCounterMode(display=False) as both:
        gradients.Gradient(case).hvp()
    backward = counted_flops(case.module, case.inputs, case.targets)[1] // 2  # of a Gauss–Newton product, two of which make it
    assert both.get_total_flops() == forward.get_total_flops() + backward
