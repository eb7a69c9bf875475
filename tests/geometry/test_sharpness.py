"""Sharpness on quadratics, where every number has a closed form, and on a small classifier."""

import pytest
import torch
from scipy.optimize import brentq
from torch import Tensor, nn

import orograph as og
from landscapes import classifier, quadratic, symmetric
from orograph.errors import ConfigurationError, DataError
from orograph.geometry.epsilon_sharpness import sharpness, worst_case

SIZE = 8


@pytest.fixture
def theta() -> Tensor:
    return torch.randn(SIZE, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


def test_the_even_part_is_the_trace_and_the_odd_part_the_gradient(theta: Tensor) -> None:
    hessian, minimum = symmetric(SIZE, positive=True), theta + 0.1
    objective = quadratic(hessian, theta, minimum)
    found = sharpness(objective, theta, radius=0.05, pairs=2000)
    radius = 0.05 * theta.norm().item()
    gradient = hessian @ (theta - minimum)
    assert found.perturbations.radius == pytest.approx(radius, rel=1e-12)
    # Four standard errors: a seeded estimate that misses by more is wrong, not unlucky.
    assert abs(found.curvature.value - hessian.trace().item() / SIZE) < 4 * found.curvature.error
    assert found.even.value == pytest.approx(found.curvature.value * radius**2 / 2, rel=1e-9)
    relative = found.odd.error / found.odd.value
    assert found.gradient_norm == pytest.approx(gradient.norm().item(), rel=4 * relative)
    assert found.odd.value == pytest.approx(gradient.norm().item() * radius / SIZE**0.5, rel=4 * relative)


def test_pairs_are_opposite_and_lie_on_the_sphere(theta: Tensor) -> None:
    found = sharpness(quadratic(symmetric(SIZE), theta), theta, pairs=5)
    points = found.perturbations[slice(0, 11)] - theta
    torch.testing.assert_close(points[1::2], -points[2::2])
    torch.testing.assert_close(points[1:].norm(dim=1), torch.full((10,), found.perturbations.radius, dtype=torch.float64))
    assert torch.equal(points[0], torch.zeros_like(theta))
    assert found.largest == found.increases.max().item()


@pytest.mark.parametrize("shift", [0.0, 0.02, 1.0])
def test_ascent_reaches_the_maximum_of_a_quadratic_in_the_ball(theta: Tensor, shift: float) -> None:
    hessian = symmetric(SIZE, positive=True)
    minimum = theta - shift * torch.linspace(-1, 2, SIZE, dtype=torch.float64)
    objective = quadratic(hessian, theta, minimum)
    values, vectors = torch.linalg.eigh(hessian)
    sampled = sharpness(objective, theta, pairs=4)
    found = worst_case(objective, sampled, top=vectors[:, -1], steps=60)
    radius = sampled.perturbations.radius
    parts = vectors.T @ hessian @ (theta - minimum)
    if shift:  # (μI − H)u = g with ‖u‖ = ρ and μ > λ_max: the secular equation of the trust region
        top = values[-1].item()
        equation = lambda mu: (parts / (mu - values)).norm().item() - radius  # noqa: E731
        mu = brentq(equation, top + 1e-9, top + 10 * parts.norm().item() / radius, xtol=1e-14)
        solution = parts / (mu - values)
        expected = (solution @ parts + solution @ (values * solution) / 2).item()
    else:
        expected = values[-1].item() * radius**2 / 2
    assert found.increase == pytest.approx(expected, rel=1e-5)
    assert found.perturbation.norm().item() <= radius * (1 + 1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("adaptive", [False, True])
@pytest.mark.parametrize("radius", [0.02, 0.5])
@pytest.mark.parametrize("steps", [0, 3])
def test_ascent_never_reports_less_than_sampling_and_its_perturbation_achieves_it(radius, adaptive, steps) -> None:
    objective = classifier()
    theta = objective.theta
    sampled = sharpness(objective, theta, radius=radius, pairs=10, adaptive=adaptive)
    found = worst_case(objective, sampled, steps=steps)
    assert found.increase >= sampled.largest
    assert objective.loss(theta + found.perturbation) - objective.loss(theta) == pytest.approx(found.increase, rel=1e-9)
    if adaptive:
        assert (found.perturbation / theta).norm() <= sampled.perturbations.radius * (1 + 1e-9)


def test_adaptive_sharpness_does_not_change_when_a_relu_network_is_rescaled() -> None:
    objective = classifier(torch.nn.ReLU)
    theta = objective.theta
    rescaled = theta.clone()
    place = objective.layout.slices()
    for name, factor in (("0.weight", 3.0), ("0.bias", 3.0), ("2.weight", 1 / 3)):
        rescaled[place[name]] *= factor
    plain, other = (sharpness(objective, point, pairs=5, adaptive=True) for point in (theta, rescaled))
    torch.testing.assert_close(plain.increases, other.increases, rtol=1e-9, atol=1e-13)
    assert worst_case(objective, plain).increase == pytest.approx(worst_case(objective, other).increase, rel=1e-6)


def test_the_same_seed_gives_the_same_numbers_and_another_seed_others() -> None:
    objective = classifier()
    one, same, other = (sharpness(objective, objective.theta, pairs=3, seed=seed).increases for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_no_radius_can_be_taken_around_zero() -> None:
    objective = classifier()
    with pytest.raises(ConfigurationError, match="positive"):
        sharpness(objective, torch.zeros_like(objective.theta))


def test_where_no_loss_is_a_number_it_is_told() -> None:
    inputs = torch.ones(6, 3)
    inputs[2, 1] = torch.nan
    objective = og.Objective(nn.Linear(3, 1), nn.MSELoss(), [(inputs, torch.ones(6, 1))])
    around = og.random_orthonormal(objective.theta, count=2)
    for measured in (
        lambda: og.sharpness(objective, objective.theta),
        lambda: og.loss_increase(objective, objective.theta),
        lambda: og.noise_robustness(objective, objective.theta),
        lambda: og.profile(objective, objective.theta, around[0]),
        lambda: og.surface(objective, objective.theta, around),
    ):
        with pytest.raises(DataError, match="the loss is NaN wherever"):
            measured()
