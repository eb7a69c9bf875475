"""Influence against leaving samples out: the closed form of ridge regression, and softmax regression trained again."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import orograph as og
from orograph.errors import ConfigurationError

STRENGTH = 0.05


def ridge() -> tuple[og.Objective, nn.Module, Tensor, Tensor]:
    torch.manual_seed(0)
    inputs, targets = torch.randn(25, 4, dtype=torch.float64), torch.randn(25, 1, dtype=torch.float64)
    model = nn.Linear(4, 1, bias=False).double()
    objective = og.Objective(model, nn.MSELoss(), [(inputs, targets)], strength=STRENGTH)
    return objective, model, inputs, targets


def test_a_sample_without_weight_moves_ridge_regression_as_the_closed_form_says() -> None:
    # With leverage h_n the whole change is the first order by 1 − h_n (Sherman & Morrison 1950); a linear f sees it undisturbed.
    objective, model, x, y = ridge()
    count = len(x)
    A = 2 * x.T @ x / count + 2 * STRENGTH * torch.eye(4, dtype=torch.float64)
    theta = torch.linalg.solve(A, 2 * x.T @ y / count)[:, 0]
    probe = torch.randn(7, 4, dtype=torch.float64)
    linear = og.Objective(model, lambda z, y: z[:, 0], [(probe, torch.zeros(7))])
    found = og.influence(objective, theta, on=linear, tolerance=1e-12)
    leverage = (x @ torch.linalg.inv(A) * x).sum(1) * 2 / count
    for sample in range(count):
        rest = torch.arange(count) != sample
        without = 2 * x[rest].T @ x[rest] / count + 2 * STRENGTH * torch.eye(4, dtype=torch.float64)
        moved = torch.linalg.solve(without, 2 * x[rest].T @ y[rest] / count)[:, 0]
        change = (probe @ (moved - theta)).mean().item()
        assert -found.values[0, sample].item() / count / (1 - leverage[sample].item()) == pytest.approx(change, rel=1e-9)
    assert found.converged
    assert found.gradient_norm < 1e-14


@pytest.mark.slow
def test_leaving_a_sample_out_and_training_again_changes_the_loss_of_each_class_as_foretold() -> None:
    torch.manual_seed(0)
    inputs, targets = torch.randn(40, 3, dtype=torch.float64).repeat(8, 1), (torch.arange(40) % 3).repeat(8)
    model = nn.Linear(3, 3).double()
    unseen = torch.randn(30, 3, dtype=torch.float64), torch.arange(30) % 3
    objective = og.Objective(model, F.cross_entropy, [(inputs, targets)], strength=STRENGTH)
    test = og.Objective(model, F.cross_entropy, [unseen])

    def trained(objective: og.Objective, start: Tensor) -> Tensor:
        hessian = og.HessianOperator.of(objective)
        return og.polish(objective, start, hessian=hessian, tolerance=1e-11, max_products=500).theta

    def losses(theta: Tensor) -> list[float]:
        return [test.subset(torch.arange(30)[unseen[1] == each]).loss(theta) for each in range(3)]

    theta = trained(objective, objective.theta)
    found, before = og.influence(objective, theta, on=test, labels=unseen[1], tolerance=1e-10), losses(theta)
    left_out = range(0, 40, 4)
    for_each = [losses(trained(objective.subset(torch.arange(320)[torch.arange(320) != n]), theta)) for n in left_out]
    changes = np.array(for_each).T - np.array(before)[:, None]
    foretold = found.removed[:, list(left_out)].numpy()
    # What is left out is of second order in 1/N: the leverage of a sample, 9 parameters among 320 samples, twice over.
    assert np.abs(changes - foretold).max() < 2 * 9 / 320 * np.abs(changes).max()
    assert found.top_samples(3).shape == (3, 3)


def test_influences_of_a_classes_mean_add_up_to_that_of_all() -> None:
    objective, _, _, _ = ridge()
    classes = torch.arange(25) % 2
    by_class, whole = og.influence(objective, labels=classes, tolerance=1e-12), og.influence(objective, tolerance=1e-12)
    weights = torch.bincount(classes).double() / 25
    assert torch.allclose(weights @ by_class.values, whole.values[0], rtol=1e-9)


def test_a_point_that_is_no_minimum_is_refused() -> None:
    torch.manual_seed(0)
    data = [(torch.randn(20, 3, dtype=torch.float64), torch.arange(20) % 2)]
    model = nn.Sequential(nn.Linear(3, 4, bias=False), nn.Tanh(), nn.Linear(4, 2, bias=False)).double()
    objective = og.Objective(model, F.cross_entropy, data)
    with pytest.raises(ConfigurationError, match="no minimum at λ = 0"):
        og.influence(objective, 0.01 * objective.theta)  # near the saddle at the origin


def test_a_loss_of_other_parameters_is_refused() -> None:
    objective, _, x, _ = ridge()
    other = og.Objective(nn.Linear(4, 1).double(), nn.MSELoss(), [(x, torch.zeros(25, 1, dtype=torch.float64))])
    with pytest.raises(ConfigurationError, match="other parameters"):
        og.influence(objective, on=other)
