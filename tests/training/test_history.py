"""Epoch records against autograd over all data at once, and NumPy's polynomial fit."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from trainable import problem

from orograph.objective import Objective
from orograph.training.history import decay_rate, epoch_record, evaluated


def test_loss_accuracy_and_gradient_are_those_of_all_data() -> None:
    model, (inputs, targets) = problem()
    objective = Objective(model, F.cross_entropy, [(inputs[:50], targets[:50]), (inputs[50:], targets[50:])])
    loss = F.cross_entropy(model(inputs), targets)
    norm = torch.cat([part.reshape(-1) for part in torch.autograd.grad(loss, list(model.parameters()))]).norm()
    right = (model(inputs).argmax(1) == targets).double().mean()
    found = evaluated(objective, objective.theta, {}, differentiate=True)
    assert found == pytest.approx((loss.item(), 100 * right.item(), norm.item()), rel=1e-12)


def test_gaps_are_differences_of_the_two_sets() -> None:
    model, (inputs, targets) = problem()
    train, test = (Objective(model, F.cross_entropy, [(inputs[part], targets[part])]) for part in (slice(50), slice(50, 70)))
    record = epoch_record(train, test, train.theta, {}, [], epoch=1, lr=0.1)
    assert record["gap"] == pytest.approx(test.loss(test.theta) - train.loss(train.theta), rel=1e-12)
    assert record["accuracy_gap"] == pytest.approx(record["train_accuracy"] - record["test_accuracy"], rel=1e-12)
    assert record["parameter_norm"] == pytest.approx(train.theta.norm().item(), rel=1e-12)
    assert np.isnan(record["gradient_decay"])


def test_the_decay_rate_is_the_slope_of_the_logarithm() -> None:
    norms = np.exp(-0.3 * np.arange(8) + np.random.default_rng(0).normal(0, 0.1, 8))
    slope, _ = np.polyfit(np.arange(8.0), np.log(norms), 1)
    assert decay_rate(list(range(8)), norms.tolist()) == pytest.approx(slope, rel=1e-9)


def test_without_classes_a_record_has_the_metrics_that_were_asked_for_and_no_accuracies() -> None:
    model, (inputs, _) = problem()
    targets = torch.zeros_like(model(inputs).detach())
    train, test = (Objective(model, F.mse_loss, [(inputs[part], targets[part])]) for part in (slice(50), slice(50, 70)))
    record = epoch_record(
        train, test, train.theta, {}, [], epoch=1, lr=0.1, scored=lambda objective, theta, buffers: {"count": objective.count}
    )
    assert not [name for name in record if "accuracy" in name]
    assert (record["train_count"], record["test_count"]) == (50, 20)
    assert "test_loss" not in epoch_record(train, None, train.theta, {}, [], epoch=1, lr=0.1)


def test_a_loss_that_gives_only_a_mean_has_its_own_value_and_gradient() -> None:
    model, (inputs, targets) = problem()
    objective = Objective(model, lambda y, t: F.cross_entropy(y, t), [(inputs[:50], targets[:50]), (inputs[50:], targets[50:])])
    assert not objective.per_sample
    loss, _, norm = evaluated(objective, objective.theta, {}, differentiate=True)
    assert loss == pytest.approx(objective.loss(objective.theta), rel=1e-12)
    assert norm == pytest.approx(objective.gradient(objective.theta).norm().item(), rel=1e-12)
