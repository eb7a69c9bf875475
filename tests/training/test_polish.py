"""Polishing against minima known by other means: SciPy's solvers, normal equations, dense Hessians.

The Hessian that polishing is given here is a dense matrix from `torch.func.hessian`, so that nothing of it is shared with the
traced one.
"""

import numpy as np
import pytest
import scipy.optimize
import torch
from torch import Tensor, nn
from torch.func import hessian
from torch.nn import functional as F

from orograph.errors import ConfigurationError
from orograph.objective import Objective
from orograph.training.polishing import Polished, polish


class DenseHessian:
    """∇²L as a matrix, made anew at every θ."""

    def __init__(self, objective: Objective, theta: Tensor | None = None) -> None:
        self.objective = objective
        self.theta = objective.theta if theta is None else theta
        whole = next(iter(objective.batches(objective.count)))
        self.matrix = hessian(lambda point: objective.summed(point, *whole) / objective.count)(self.theta)
        self.gradient = objective.gradient(self.theta)

    def at(self, theta: Tensor) -> "DenseHessian":
        return DenseHessian(self.objective, theta)

    def __matmul__(self, vector: Tensor) -> Tensor:
        return self.matrix @ vector


def labelled(count: int = 40, inputs: int = 5, classes: int = 3) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    targets = torch.randint(0, classes, (count,), generator=generator)
    return torch.randn(count, inputs, generator=generator).double() + F.one_hot(targets, inputs), targets


def softmax_regression(strength: float, dtype: torch.dtype = torch.float64) -> Objective:
    torch.manual_seed(0)
    model = nn.Linear(5, 3).to(dtype)
    return Objective(model, F.cross_entropy, labelled(), strength=strength, anchor=torch.ones(18, dtype=dtype))


def polished(objective: Objective, **options) -> Polished:
    given = {"tolerance": 1e-9, "max_products": 500, **options}
    return polish(objective, objective.theta, hessian=DenseHessian(objective), **given)


@pytest.mark.parametrize("strength", [1e-3, 0.1])
def test_softmax_regression_with_an_anchor_reaches_scipys_minimum(strength: float) -> None:
    objective = softmax_regression(strength)
    inputs, targets = (part.numpy() for part in labelled())

    def value_and_gradient(theta: np.ndarray) -> tuple[float, np.ndarray]:
        weight, bias = theta[:15].reshape(3, 5), theta[15:]
        logits = inputs @ weight.T + bias
        logits -= logits.max(1, keepdims=True)
        shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        loss = -np.log(shares[np.arange(40), targets]).mean()
        slope = (shares - np.eye(3)[targets]) / 40
        gradient = np.concatenate([(slope.T @ inputs).ravel(), slope.sum(0)])
        return loss + strength * ((theta - 1) ** 2).sum(), gradient + 2 * strength * (theta - 1)

    found = scipy.optimize.minimize(value_and_gradient, np.zeros(18), jac=True, method="BFGS", options={"gtol": 1e-11})
    result = polished(objective, tolerance=1e-11)
    assert result.converged
    assert result.bounded
    assert not result.negative_curvature
    # ‖Δθ‖ ≤ ‖∇‖ / 2λ, and SciPy stops near 1e-11 too
    np.testing.assert_allclose(result.theta.numpy(), found.x, atol=1e-7)
    assert objective.value(result.theta) == pytest.approx(found.fun, rel=1e-12)


def test_the_record_says_what_happened() -> None:
    objective = softmax_regression(0.01)
    steps: list[tuple[str, int]] = []
    result = polished(objective, on_product=lambda *told: steps.append(told))
    start = objective.theta
    assert result.distance == pytest.approx((result.theta - start).norm().item(), rel=1e-12)
    assert result.objective_change == pytest.approx(objective.value(result.theta) - objective.value(start), rel=1e-9)
    assert result.gradient_norm_before == pytest.approx(objective.value_gradient(start).norm().item(), rel=1e-12)
    assert result.gradient_norm == pytest.approx(objective.value_gradient(result.theta).norm().item(), abs=1e-15)
    assert steps[-1] == ("polishing", result.products)
    assert 0 < result.steps < result.evaluations <= len(steps) + 1


def test_a_quadratic_is_solved_like_its_normal_equations() -> None:
    generator = torch.Generator().manual_seed(1)
    inputs, targets = torch.randn(30, 4, generator=generator).double(), torch.randn(30, 1, generator=generator).double()
    objective = Objective(nn.Linear(4, 1).double(), F.mse_loss, (inputs, targets), strength=0.05)
    design = torch.cat([inputs, torch.ones(30, 1).double()], dim=1)
    expected = torch.linalg.solve(design.T @ design / 30 + 0.05 * torch.eye(5).double(), design.T @ targets[:, 0] / 30)
    result = polished(objective, tolerance=1e-12)
    assert result.converged
    torch.testing.assert_close(result.theta, expected, rtol=1e-9, atol=1e-10)


@pytest.mark.slow
def test_a_start_next_to_a_saddle_is_left_along_negative_curvature() -> None:
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3)).double()
    objective = Objective(model, F.cross_entropy, labelled(), strength=1e-3)
    objective.theta = 1e-3 * objective.theta  # θ ≈ 0, where all units are alike: a saddle
    assert torch.linalg.eigvalsh(DenseHessian(objective).matrix)[0] + 2e-3 < -0.01
    result = polished(objective)
    assert result.converged
    assert result.negative_curvature
    curvature = torch.linalg.eigvalsh(DenseHessian(objective, result.theta).matrix)[0] + 2e-3
    assert curvature > 0
    assert result.objective_change < -0.1


def test_float32_goes_on_where_the_loss_no_longer_tells() -> None:
    exact = softmax_regression(1e-2)
    minimum = polished(exact, tolerance=1e-12).theta
    objective = softmax_regression(1e-2, torch.float32)
    torch.manual_seed(0)
    objective.theta = minimum.float() + 1e-4 * F.normalize(torch.randn(18), dim=0)
    # the loss lies within 1e-4² of its minimum, one part in 1e8, which float32 does not resolve
    assert abs(exact.value(objective.theta.double()) - exact.value(minimum)) < 6e-8 * exact.value(minimum)
    result = polished(objective, tolerance=5e-7)
    assert result.converged
    assert result.steps > 0
    assert result.gradient_norm < 0.05 * result.gradient_norm_before


def test_without_a_penalty_the_result_says_that_no_minimum_bounds_it() -> None:
    inputs = torch.randn(20, 5, generator=torch.Generator().manual_seed(0)).double()
    targets = (inputs[:, 0] > 0).long()  # separable: the loss falls for ever
    objective = Objective(nn.Linear(5, 2).double(), F.cross_entropy, (inputs, targets))
    result = polished(objective, tolerance=1e-6)
    assert not result.bounded
    assert result.converged
    assert result.distance > 10


def test_the_products_are_limited() -> None:
    objective = softmax_regression(1e-3)
    result = polished(objective, max_products=3)
    assert result.products == 3
    assert not result.converged
    assert result.objective_change < 0


def test_a_critical_point_is_left_as_it_is() -> None:
    objective = softmax_regression(1e-2)
    objective.theta = polished(objective).theta
    again = polished(objective)
    assert (again.products, again.steps, again.distance, again.converged) == (0, 0, 0.0, True)
    assert torch.equal(again.theta, objective.theta)


def test_a_tolerance_that_cannot_be_reached_ends_unconverged() -> None:
    objective = softmax_regression(1e-2, torch.float32)
    result = polished(objective, tolerance=1e-12, max_products=2000)
    assert not result.converged
    assert result.products < 2000
    assert result.gradient_norm < 1e-6


@pytest.mark.parametrize("options", [{"tolerance": 0.0}, {"max_products": 0}])
def test_limits_that_are_not_positive_are_refused(options: dict) -> None:
    with pytest.raises(ConfigurationError, match="must be positive"):
        polished(softmax_regression(0.1), **options)


def test_the_former_callback_is_told_products_and_the_norm_of_the_gradient() -> None:
    told: list[tuple[int, float]] = []
    with pytest.warns(DeprecationWarning, match="on_product"):
        result = polished(softmax_regression(0.1), on_step=lambda *given: told.append(given))
    assert told[-1] == (result.products, result.gradient_norm)
