"""Barriers on landscapes whose profile along the line is known, and against a plain loop over modules with BatchNorm."""

import copy
import math

import pytest
import torch
from networks import clusters, mlp, objective_of
from torch.nn import functional as F

from landscapes import landscape
from orograph.connectivity.barriers import barrier, curve_profile, published_barrier
from orograph.connectivity.curves import line


def test_the_barrier_of_a_double_well_is_its_height() -> None:
    theta = torch.tensor([-1.0, 0.0], dtype=torch.float64)
    objective = landscape(lambda p: (p[0] ** 2 - 1) ** 2 + p[1] ** 2 + 0.1 * p[0], theta)
    found = curve_profile(objective, line(theta, -theta), points=41)
    # On the line the loss is (x²−1)² + 0.1x: the tilt is the straight interpolation, what is left has its top 1 at x = 0.
    assert found.barriers.train_loss == pytest.approx(1.0, rel=1e-12)
    assert published_barrier(found.train.losses) == pytest.approx(found.train.losses.max().item() + 0.1, rel=1e-12)
    assert math.isnan(found.barriers.test_loss)
    assert math.isnan(found.barriers.published)


def test_a_convex_valley_has_no_barrier() -> None:
    values = torch.tensor([1.0, 0.2, 0.1, 0.5], dtype=torch.float64)
    positions = torch.linspace(0, 1, 4, dtype=torch.float64)
    assert barrier(values, positions) == 0
    assert published_barrier(values) == pytest.approx(0.5)


def test_the_objective_has_its_penalty_along_the_curve() -> None:
    theta = torch.tensor([-1.0, 0.0], dtype=torch.float64)
    anchor = torch.tensor([0.0, 1.0], dtype=torch.float64)
    objective = landscape(lambda p: 0 * p.sum(), theta).penalised(0.5, anchor)
    found = curve_profile(objective, line(theta, -theta), points=5)
    assert found.objective.tolist() == pytest.approx([1.0, 0.625, 0.5, 0.625, 1.0])
    assert found.train.losses.abs().max() == 0
    assert found.barriers.objective == 0


def test_statistics_are_estimated_anew_from_the_training_data_at_every_position() -> None:
    torch.manual_seed(0)
    train = objective_of(mlp(normalised=True), clusters(60))
    test = objective_of(train.model, clusters(40, seed=1))
    second = train.theta + torch.randn_like(train.theta)
    found = curve_profile(train, line(train.theta, second), test=test, points=4)
    test_inputs, test_targets = clusters(40, seed=1)
    for index, t in enumerate((0, 1 / 3, 2 / 3, 1)):
        model = copy.deepcopy(train.model)
        torch.nn.utils.vector_to_parameters((1 - t) * train.theta + t * second, model.parameters())
        for module in model.modules():
            module.momentum = 1.0  # one pass over all data replaces the statistics
        with torch.no_grad():
            model.train()(clusters(60)[0])
            outputs = model.eval()(test_inputs)
        assert found.test.losses[index].item() == pytest.approx(F.cross_entropy(outputs, test_targets).item(), rel=1e-9)
        assert found.test.accuracies[index].item() == (outputs.argmax(1) == test_targets).double().mean().item()
    assert found.barriers.published == pytest.approx(published_barrier(found.test.losses))
    assert found.barriers.largest_test_loss == found.test.losses.max().item()
    assert found.barriers.test_error == pytest.approx(barrier(1 - found.test.accuracies, found.positions))
