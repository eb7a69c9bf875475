"""The rise by SAM's step against a quadratic, where the prediction is exact, and against torch's own gradient and loss."""

import pytest
import torch
from torch import nn

import orograph as og
from landscapes import classifier, landscape, quadratic, symmetric
from orograph.errors import ConfigurationError


def test_of_a_quadratic_the_prediction_is_the_rise() -> None:
    matrix = symmetric(7)
    theta = torch.randn(7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    centre = theta + 0.2
    gradient = matrix @ (theta - centre)
    found = og.sam_sharpness(quadratic(matrix, theta, centre), theta, radius=0.3)
    assert found.gradient_norm == pytest.approx(gradient.norm().item(), rel=1e-12)
    assert found.curvature == pytest.approx((gradient @ matrix @ gradient / gradient.norm() ** 2).item(), rel=1e-12)
    assert found.rise == pytest.approx(found.predicted, abs=1e-13)
    assert abs(found.rise - found.predicted) <= 5 * found.error


@pytest.mark.slow
def test_of_a_network_it_is_the_loss_where_the_step_leads() -> None:
    objective = classifier()
    inputs, targets = next(objective.batches(objective.count))
    theta = objective.theta.clone().requires_grad_()
    loss = objective.losses(theta, inputs, targets).mean()
    (gradient,) = torch.autograd.grad(loss, theta)
    moved = objective.theta + 0.05 * gradient / gradient.norm()
    expected = objective.losses(moved, inputs, targets).mean() - loss.detach()
    found = og.sam_sharpness(objective, objective.theta)
    assert found.rise == pytest.approx(expected.item(), abs=1e-14)
    smaller = og.sam_sharpness(objective, objective.theta, radius=0.005)
    # what is left is of third order: a thousandth of it for a tenth of the radius
    assert abs(smaller.rise - smaller.predicted) == pytest.approx(abs(found.rise - found.predicted) / 1000, rel=0.2)
    ball = og.sharpness(objective, objective.theta, radius=0.05 / objective.theta.norm().item())
    assert og.worst_case(objective, ball).increase >= found.rise * (1 - 1e-9)  # ascent goes on from there


def test_kinks_are_told() -> None:
    assert og.sam_sharpness(classifier(), classifier().theta).smooth
    assert not og.sam_sharpness(classifier(nn.ReLU), classifier(nn.ReLU).theta).smooth


def test_the_penalty_plays_no_part() -> None:
    objective = classifier()
    assert og.sam_sharpness(objective.penalised(0.3), objective.theta) == og.sam_sharpness(objective, objective.theta)


def test_a_point_without_a_gradient_has_no_step() -> None:
    theta = torch.zeros(2, dtype=torch.float64)
    with pytest.raises(ConfigurationError, match="no direction"):
        og.sam_sharpness(landscape(lambda x: (x**2).sum(), theta), theta)
    for radius in (0.0, -1.0, float("inf")):
        with pytest.raises(ConfigurationError, match="positive and finite"):
            og.sam_sharpness(classifier(), classifier().theta, radius=radius)
    with pytest.raises(ConfigurationError, match="norm nan; look for NaN"):
        og.sam_sharpness(classifier(), torch.full_like(classifier().theta, torch.nan))
