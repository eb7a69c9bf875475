"""What defines a run: the same whatever its parts are called, another where they are others."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from orograph import Problem
from orograph.objective import Objective
from orograph.sweep.settings import SweepSettings
from orograph.work.definition import definition

X, Y = torch.linspace(-1, 1, 24).reshape(12, 2), torch.arange(12) % 3


def network(activation: nn.Module, width: int = 4) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(2, width), activation, nn.Linear(width, 3))


def defined(problem: Problem, /, **settings: Any) -> dict[str, Any]:
    data = [problem.train] if isinstance(problem.train, tuple) else problem.train
    objective = Objective(problem.network(), problem.loss, data)
    return definition(SweepSettings.model_validate(settings), problem, {"": objective})


PROBLEM = Problem(network(nn.Tanh()), F.cross_entropy, (X, Y), (X[:4], Y[:4]))


def test_names_and_what_holds_the_samples_do_not_matter() -> None:
    called = {"data": {"dataset": "digits"}, "model": {"model": "MLP1", "widths": (9,)}}
    batched = replace(PROBLEM, train=[(X[:5], Y[:5]), (X[5:], Y[5:])])
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(X, Y), batch_size=5)
    assert defined(PROBLEM) == defined(PROBLEM, **called)
    assert defined(PROBLEM) == defined(batched) == defined(replace(PROBLEM, train=loader))


@pytest.mark.parametrize(
    "other",
    [
        replace(PROBLEM, model=network(nn.Sigmoid())),
        replace(PROBLEM, model=network(nn.Tanh(), 5)),
        replace(PROBLEM, train=(X, Y.flip(0))),
        replace(PROBLEM, train=(X.roll(1, 0), Y.roll(1))),
        replace(PROBLEM, test=(X[:5], Y[:5])),
        replace(PROBLEM, test=None),
    ],
    ids=["activation", "width", "targets", "order", "more test data", "no test data"],
)
def test_other_networks_and_other_data_are_told(other: Problem) -> None:
    assert defined(other) != defined(PROBLEM)


def test_other_settings_are_told() -> None:
    found = [defined(PROBLEM, **each) for each in ({}, {"spectrum": {"k": 2}}, {"problem": {"loss": "mse_loss"}})]
    assert len(set(map(repr, found))) == 3
