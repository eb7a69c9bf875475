"""Fitted networks against plain PyTorch loops: its optimisers, schedulers, train mode; only the order of the data is shared."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from trainable import Perceptron, problem

from orograph.errors import ConfigurationError
from orograph.objective import Objective
from orograph.training.fitting import fit, initial
from orograph.training.moment import Moment
from orograph.training.order import permutation
from orograph.training.settings import FitSettings

COURSES: dict[str, tuple[FitSettings, Callable[[Any], torch.optim.Optimizer]]] = {
    "SGD": (
        FitSettings(optimizer="SGD", lr=0.1, momentum=0.8, weight_decay=1e-2, epochs=4, batch_size=16, scheduler="cosine"),
        lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.8, weight_decay=1e-2),
    ),
    "Adam": (
        FitSettings(optimizer="Adam", lr=0.01, epochs=4, batch_size=16, scheduler="cosine"),
        lambda p: torch.optim.Adam(p, lr=0.01),
    ),
    "AdamW": (
        FitSettings(optimizer="AdamW", lr=0.01, weight_decay=0.1, epochs=4, batch_size=16, scheduler="cosine"),
        lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.1),
    ),
}


class Normalised(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.bn1, self.fc2 = nn.Linear(12, 9), nn.BatchNorm1d(9), nn.Linear(9, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(torch.relu(self.bn1(self.fc1(x))))


def plain_loop(
    model: nn.Module, data: tuple[Tensor, Tensor], settings: FitSettings, optimizer: torch.optim.Optimizer, seed: int
) -> None:
    inputs, targets = data
    batches = -(-len(inputs) // settings.batch_size)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.epochs * batches, settings.min_lr)
    model.train()
    for epoch in range(1, settings.epochs + 1):
        for chosen in permutation(seed, epoch, len(inputs)).split(settings.batch_size):
            optimizer.zero_grad()
            F.cross_entropy(model(inputs[chosen]), targets[chosen]).backward()
            optimizer.step()
            scheduler.step()
    model.eval()


@pytest.mark.parametrize("name", COURSES)
@pytest.mark.parametrize("kind", [Perceptron, Normalised])
def test_a_network_becomes_what_pytorchs_loop_makes_of_it(name: str, kind: type[nn.Module]) -> None:
    model, data = problem(kind)
    settings, make = COURSES[name]
    objective = Objective(model, F.cross_entropy, [data])
    (fitted,) = fit(objective, [initial(objective, objective.theta, settings)], settings, order_seeds=[5])
    plain_loop(model, data, settings, make(model.parameters()), 5)
    named = dict(model.named_parameters())
    torch.testing.assert_close(fitted.state.theta, objective.layout.flatten(named), rtol=1e-9, atol=1e-11)
    for buffer, value in model.named_buffers():
        torch.testing.assert_close(fitted.state.buffers[buffer], value, rtol=1e-9, atol=1e-11)
    truth = F.cross_entropy(model(data[0]), data[1]).item()
    assert fitted.history[-1]["train_loss"] == pytest.approx(truth, rel=1e-9)
    assert len(fitted.history) == settings.epochs


@pytest.mark.parametrize("kind", [Perceptron, Normalised])
def test_the_module_and_the_objective_stay_as_they_were(kind: type[nn.Module]) -> None:
    model, data = problem(kind)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    objective = Objective(model, F.cross_entropy, [data])
    settings = COURSES["Adam"][0]
    fit(objective, [initial(objective, objective.theta, settings)], settings, order_seeds=[5])
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
    assert model.training


@pytest.mark.slow
@pytest.mark.parametrize("kind", [Perceptron, Normalised])
def test_members_of_a_cohort_become_what_they_would_alone(kind: type[nn.Module]) -> None:
    model, data = problem(kind)
    objective = Objective(model, F.cross_entropy, [data])
    settings = COURSES["SGD"][0]
    starts = [initial(objective, objective.theta * factor, settings) for factor in (1.0, 0.5, 1.5)]
    together = fit(objective, starts, settings, order_seeds=[3, 4, 5], rates=[0.1, 0.05, 0.2])
    for start, seed, lr, member in zip(starts, (3, 4, 5), (0.1, 0.05, 0.2), together, strict=True):
        (alone,) = fit(objective, [start], settings.model_copy(update={"lr": lr}), order_seeds=[seed])
        torch.testing.assert_close(member.state.theta, alone.state.theta, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("kind", [Perceptron, Normalised])
@pytest.mark.parametrize("name", COURSES)
def test_a_training_cut_between_two_epochs_ends_with_the_same_bits(kind: type[nn.Module], name: str) -> None:
    model, data = problem(kind, dtype=torch.float32)
    objective = Objective(model, F.cross_entropy, [data])
    settings = COURSES[name][0]
    start = initial(objective, objective.theta, settings)
    (whole,) = fit(objective, [start], settings, order_seeds=[1])
    (half,) = fit(objective, [start], settings, order_seeds=[1], last_epoch=2)
    (rest,) = fit(objective, [half.state], settings, order_seeds=[1], first_epoch=3)
    assert torch.equal(whole.state.theta, rest.state.theta)
    parts = half.history + rest.history
    for name in ("epoch", "lr", "train_loss", "gradient_norm"):
        assert [each[name] for each in parts] == [each[name] for each in whole.history]


@pytest.mark.slow
def test_one_network_that_diverges_leaves_the_others_alone() -> None:
    model, data = problem()
    objective = Objective(model, F.cross_entropy, [data])
    settings = FitSettings(optimizer="SGD", lr=0.1, epochs=3, batch_size=16)
    start = initial(objective, objective.theta, settings)
    good, bad = fit(objective, [start, start], settings, order_seeds=0, rates=[0.1, 1e308])
    (alone,) = fit(objective, [start], settings, order_seeds=0)
    assert bad.failed_epoch == 1
    assert len(bad.history) == 1
    assert good.failed_epoch is None
    torch.testing.assert_close(good.state.theta, alone.state.theta, rtol=1e-9, atol=1e-11)


def test_an_observer_sees_every_so_many_epochs_and_the_last() -> None:
    model, data = problem()
    objective = Objective(model, F.cross_entropy, [data])
    settings = COURSES["Adam"][0].model_copy(update={"epochs": 5})
    seen: list[Moment] = []

    def observer(moment: Moment) -> dict[str, float]:
        seen.append(moment)
        return {"norm": moment.theta.norm().item()}

    start = initial(objective, objective.theta, settings)
    (fitted,) = fit(objective, [start], settings, order_seeds=[0], observer=observer, every=2)
    assert [each["epoch"] for each in fitted.observed] == [2, 4, 5]
    assert [moment.steps for moment in seen] == [10, 20, 25]
    assert fitted.observed[-1]["norm"] == pytest.approx(fitted.state.theta.norm().item())


def test_without_gradients_none_is_recorded() -> None:
    model, data = problem()
    objective = Objective(model, F.cross_entropy, [data])
    settings = COURSES["Adam"][0]
    start = initial(objective, objective.theta, settings)
    (fitted,) = fit(objective, [start], settings, order_seeds=[0], gradients=False, test=objective)
    assert "gradient_norm" not in fitted.history[-1]
    assert fitted.history[-1]["gap"] == 0


def test_dropout_and_wrong_numbers_are_refused() -> None:
    model, data = problem()
    objective = Objective(model, F.cross_entropy, [data])
    settings = COURSES["Adam"][0]
    start = initial(objective, objective.theta, settings)
    with pytest.raises(ConfigurationError, match="1 networks were given 2 seeds"):
        fit(objective, [start], settings, order_seeds=[0, 1])
    dropping = Objective(nn.Sequential(nn.Linear(12, 4), nn.Dropout(0.5)).double(), F.cross_entropy, [data])
    with pytest.raises(ConfigurationError, match="Dropout"):
        fit(dropping, [initial(dropping, dropping.theta, settings)], settings, order_seeds=[0])


def test_a_last_batch_of_one_sample_is_left_out_with_batchnorm() -> None:
    model, (inputs, targets) = problem(Normalised, count=33)
    objective = Objective(model, F.cross_entropy, [(inputs, targets)])
    settings = COURSES["Adam"][0].model_copy(update={"epochs": 1})
    (fitted,) = fit(objective, [initial(objective, objective.theta, settings)], settings, order_seeds=[0])
    assert math.isfinite(fitted.history[-1]["train_loss"])
    assert fitted.state.buffers["bn1.num_batches_tracked"] == 2
