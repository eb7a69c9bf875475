"""A run that is gone on with by another network of the same shapes is refused by its loss."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

import orograph as og
from orograph.errors import RunError

X = torch.linspace(-2, 2, 60).reshape(20, 3).sin()
Y = torch.arange(20) % 3


def problem(activation: type[nn.Module]) -> og.Problem:
    def net() -> nn.Module:
        return nn.Sequential(nn.Linear(3, 3), activation(), nn.Linear(3, 3))

    net.__module__ = "__main__"  # what nothing but the loss tells from another
    return og.Problem(net, cross_entropy, (X, Y), (X, Y))


@pytest.mark.slow
def test_another_network_of_the_same_shapes_is_refused_by_a_sweep_and_an_analysis(tmp_path: Path) -> None:
    given: dict[str, Any] = {"k": 1, "epochs": 1, "threads": 1, "quiet": True, "out": tmp_path / "run"}
    begun = og.sweep(problem(nn.Tanh), strengths=[0.01], **given)
    og.sweep(problem(nn.Tanh), strengths=[0.01], **given)
    says = r"the training loss at strength 0.01 of ID 0 is [\d.]+, and this run recorded [\d.]+"
    with pytest.raises(RunError, match=says):
        og.sweep(problem(nn.Sigmoid), strengths=[0.01], **given)
    with pytest.raises(RunError, match=says):
        og.analyze(begun, problem(nn.Sigmoid), quiet=True)


@pytest.mark.slow
def test_another_network_of_the_same_shapes_is_refused_by_a_study(tmp_path: Path) -> None:
    small: dict[str, Any] = {"num_seeds": 1, "epochs": 1, "fast": True, "top_k": 1, "products": 40, "paths": "none"}
    given = small | {"threads": 1, "quiet": True, "out": tmp_path / "run"}
    og.study(problem(nn.Tanh), **given)
    og.study(problem(nn.Tanh), **given)
    with pytest.raises(RunError, match=r"the training loss of \S+, seed 0, is [\d.]+, and this run recorded [\d.]+"):
        og.study(problem(nn.Sigmoid), **given)
