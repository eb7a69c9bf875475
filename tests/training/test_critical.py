"""Critical sharpness against closed forms: quadratics, whose λ_c is ΔᵀHΔ/(gᵀΔ), and a quartic."""

import math

import pytest
import torch
from torch import Tensor, nn

from orograph.curvature.hessian import HessianOperator
from orograph.errors import ConfigurationError
from orograph.objective import Objective
from orograph.spectral.eigenpairs import lanczos
from orograph.training.critical import critical_sharpness

CURVATURES = torch.tensor([4.0, 1.0, 0.25], dtype=torch.float64)


class Point(nn.Module):
    """θ itself, whatever the input."""

    def __init__(self) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64))

    def forward(self, inputs: Tensor) -> Tensor:
        return self.theta.expand(len(inputs), -1)


def quadratic(outputs: Tensor, targets: Tensor) -> Tensor:
    return (CURVATURES * (outputs - targets).square()).sum(1) / 2


def objective_of(loss: object = quadratic) -> Objective:
    return Objective(Point(), loss, [(torch.zeros(2, 1), torch.zeros(2, 3, dtype=torch.float64))])  # type: ignore[arg-type]


@pytest.mark.parametrize("guess", [0.3, 1e-3, 50.0])
def test_along_the_top_eigenvector_it_is_the_largest_eigenvalue(guess: float) -> None:
    objective = objective_of()
    theta = torch.tensor([0.7, 0.0, 0.0], dtype=torch.float64)
    found = critical_sharpness(objective, theta, objective.gradient(theta), guess=guess)
    assert found.value == pytest.approx(4.0, rel=1e-9)  # the slope is linear, so that the interpolation is exact
    assert found.lr == pytest.approx(0.5, rel=1e-9)


def test_along_any_descent_direction_it_is_the_ratio_of_the_quadratic_form_to_the_slope() -> None:
    objective = objective_of()
    update = torch.tensor([1.0, -1.0, 3.0], dtype=torch.float64)
    gradient = objective.gradient(objective.theta)
    found = critical_sharpness(objective, objective.theta, update)
    assert found.value == pytest.approx((CURVATURES * update.square()).sum().item() / (gradient @ update).item(), rel=1e-9)


def test_near_the_critical_rate_it_takes_fewer_than_ten_passes() -> None:
    objective, calls = objective_of(), 0
    inner = objective.loss

    def counted(theta: Tensor) -> float:
        nonlocal calls
        calls += 1
        return inner(theta)

    objective.loss = counted  # type: ignore[method-assign, assignment]
    update = objective.gradient(objective.theta)
    critical = critical_sharpness(objective, objective.theta, update).lr
    for factor in (0.15, 0.9, 1.0, 1.1, 7.0):
        calls = 0
        found = critical_sharpness(objective, objective.theta, update, guess=factor * critical)
        assert found.passes == calls < 10
        assert found.lr == pytest.approx(critical, rel=1e-9)


def test_what_is_not_quadratic_is_found_within_a_percent() -> None:
    objective = objective_of(lambda outputs, targets: (outputs - targets).pow(4).sum(1))
    update = torch.tensor([4.0, 0.0, 0.0], dtype=torch.float64)  # (1 − 4·lr)⁴ is 1 again at lr = ½
    theta = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)
    for guess in (0.01, 0.37, 3.0):
        assert critical_sharpness(objective, theta, update, guess=guess).lr == pytest.approx(0.5, rel=1e-2)


def test_uphill_and_on_a_slope_without_end_there_is_none() -> None:
    objective = objective_of()
    uphill = critical_sharpness(objective, objective.theta, -objective.gradient(objective.theta), passes=12)
    assert math.isnan(uphill.value)
    assert math.isnan(uphill.lr)
    assert uphill.passes == 12
    endless = objective_of(lambda outputs, targets: (outputs - targets).sum(1))
    assert math.isnan(critical_sharpness(endless, endless.theta, torch.ones(3, dtype=torch.float64)).value)


def test_a_loss_that_overflows_counts_as_raised() -> None:
    objective = objective_of(lambda outputs, targets: (outputs - targets).pow(64).sum(1))
    theta = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)
    found = critical_sharpness(objective, theta, theta, guess=1e3)
    assert found.lr == pytest.approx(2.0, rel=0.1)  # (1 − lr)⁶⁴ is 1 again there; the slope is as steep as it can be


def test_wrong_arguments_are_named() -> None:
    objective = objective_of()
    with pytest.raises(ConfigurationError, match="`update` must be"):
        critical_sharpness(objective, objective.theta, torch.ones(4, dtype=torch.float64))
    with pytest.raises(ConfigurationError, match="`guess` 0"):
        critical_sharpness(objective, objective.theta, objective.theta, guess=0.0)


@pytest.mark.slow
def test_it_is_never_more_than_the_largest_eigenvalue_along_the_gradient() -> None:
    objective = objective_of()
    largest = lanczos(HessianOperator.of(objective), 1, which="LA", tolerance=1e-8).eigenvalues[0].item()
    generator = torch.Generator().manual_seed(0)
    for _ in range(5):
        theta = torch.randn(3, dtype=torch.float64, generator=generator)
        assert critical_sharpness(objective, theta, objective.gradient(theta)).value <= largest * (1 + 1e-9)
