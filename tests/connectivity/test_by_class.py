"""Classes along a curve against networks that are laid at each position by hand and asked sample by sample, and changes against a
course whose crossings are known.
"""

import math

import pytest
import torch
from networks import clusters, mlp, objective_of, trained
from torch import nn
from torch.nn import functional as F

import orograph as og
from orograph.connectivity import classes_along, lost_and_found
from orograph.errors import ConfigurationError, DataError


def by_hand(model: nn.Module, thetas: torch.Tensor, inputs: torch.Tensor, targets: torch.Tensor, classes: int) -> torch.Tensor:
    """Every network asked with its weights put in place."""
    rows = []
    for theta in thetas:
        nn.utils.vector_to_parameters(theta, model.parameters())
        right = model(inputs).argmax(1) == targets
        rows.append([right[targets == each].double().mean().item() for each in range(classes)])
    return torch.tensor(rows, dtype=torch.float64)


def test_classes_along_a_curve_are_those_of_the_networks_on_it() -> None:
    inputs, targets = clusters(80)
    objective = objective_of(mlp(), (inputs, targets))
    first, second = trained(objective, 0, 60), trained(objective, 1, 60)
    curve = og.bezier(first, second).with_controls(torch.stack([first, first - second, second]))
    thetas = torch.stack(
        [(1 - t) ** 2 * first + 2 * t * (1 - t) * (first - second) + t**2 * second for t in (0.0, 0.25, 0.5, 0.75, 1.0)]
    )
    expected = by_hand(mlp().double(), thetas, inputs, targets, 5)
    found = classes_along(objective, curve, points=5, classes=5)
    assert torch.equal(found[:, :4], expected[:, :4])
    assert found[:, 4].isnan().all()  # a class without samples
    weights = torch.bincount(targets, minlength=4).double() / len(targets)
    accuracies = og.curve_profile(objective, curve, points=5).train.accuracies
    assert torch.allclose(found[:, :4] @ weights, accuracies)


def test_groups_of_ones_own_and_targets_that_the_loss_ignores() -> None:
    inputs, targets = clusters(60)
    targets[::7] = -100
    objective = og.Objective(mlp().double(), F.cross_entropy, [(inputs, targets)])
    theta = trained(objective, 0, 30)
    groups = torch.arange(60) % 2
    found = classes_along(objective, og.line(theta, -theta), labels=groups, points=2)
    counted = targets >= 0
    right = objective.all_outputs(theta).argmax(1) == targets
    assert found[0].tolist() == [right[counted & (groups == each)].double().mean().item() for each in (0, 1)]


def test_a_class_is_lost_where_its_accuracy_falls_through_a_half() -> None:
    courses = torch.tensor(
        [[1.0, 0.0, 0.4, math.nan], [0.25, 0.5, 0.4, math.nan], [1.0, 0.5, 0.4, math.nan]], dtype=torch.float64
    )
    found = lost_and_found(courses, torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64))
    known = [(each.label, round(each.position, 12), each.found) for each in found]
    # 1 to ¼ within ½ of t: a half after two thirds of it; ¼ to 1: after one third; 0 to ½ reaches it at the end
    assert known == [(0, round(1 / 3, 12), False), (1, 0.5, True), (0, round(2 / 3, 12), True)]


def test_what_has_no_classes_is_refused() -> None:
    numbers = og.Objective(nn.Linear(2, 1), nn.MSELoss(), [(torch.eye(2), torch.ones(2, 1))])
    with pytest.raises(DataError, match="classes need one int64 label"):
        classes_along(numbers, og.line(torch.zeros(3), torch.ones(3)))
    some = objective_of(mlp(), clusters(20))
    curve = og.line(some.theta, -some.theta)
    for options, says in (({"points": 1}, "at least 2"), ({"classes": 2}, "too few")):
        with pytest.raises(ConfigurationError, match=says):
            classes_along(some, curve, **options)
    with pytest.raises(DataError, match="3 labels"):
        classes_along(some, curve, labels=torch.arange(3))
    with pytest.raises(ConfigurationError, match=r"shape \(T,\) with T = 3"):
        lost_and_found(torch.ones(3, 2), torch.tensor([0.0, 1.0]))
