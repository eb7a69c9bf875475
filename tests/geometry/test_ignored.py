"""Samples whose target the loss ignores count nowhere: every number is that of the other samples alone."""

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from orograph.connectivity.barriers import curve_profile
from orograph.connectivity.curves import line
from orograph.connectivity.ensembles import ensemble
from orograph.geometry.classes import class_accuracies, class_gradients
from orograph.geometry.evaluation import evaluate
from orograph.geometry.scores import scores
from orograph.metrics import METRICS
from orograph.objective import Objective
from orograph.training.history import evaluated

LOSSES = {
    "its default": (nn.CrossEntropyLoss(), -100),
    "one of its own": (nn.CrossEntropyLoss(ignore_index=3), 3),
    "a partial's": (partial(F.cross_entropy, ignore_index=-1), -1),
    "with weights": (nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 3.0, 4.0])), -100),
}


def with_and_without(loss: Any, ignored: int) -> tuple[Objective, Objective]:
    """All samples in two batches, some ignored in each; and those alone that count."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 9), nn.Tanh(), nn.Linear(9, 4)).double()
    inputs, targets = torch.randn(23, 6).double(), torch.randint(0, 3, (23,))
    targets[::5] = ignored
    some = targets != ignored
    batches = [(inputs[:12], targets[:12]), (inputs[12:], targets[12:])]
    return Objective(model, loss, batches), Objective(model, loss, [(inputs[some], targets[some])])


def close(found: Any, wanted: Any) -> None:
    torch.testing.assert_close(torch.as_tensor(found), torch.as_tensor(wanted), rtol=1e-12, atol=1e-14)  # sums in float64


@pytest.mark.parametrize(("loss", "ignored"), LOSSES.values(), ids=LOSSES)
def test_accuracies_margins_and_classes_are_those_of_the_samples_that_count(loss, ignored) -> None:
    every, some = with_and_without(loss, ignored)
    thetas = every.theta + 0.3 * torch.randn(3, len(every.theta), dtype=torch.float64)
    for name in ("losses", "accuracies", "margins"):
        close(getattr(evaluate(every, thetas), name), getattr(evaluate(some, thetas), name))
    for found, wanted in zip(curve_values(every, thetas), curve_values(some, thetas), strict=True):
        close(found, wanted)
    metrics = (METRICS["accuracy"], METRICS["margin"])
    assert scores(every, thetas[0], metrics)[0] == pytest.approx(scores(some, thetas[0], metrics)[0], rel=1e-12)
    close(class_accuracies(every, thetas[0], classes=3), class_accuracies(some, thetas[0], classes=3))
    shares, wanted_shares = (class_gradients(each, thetas[0], classes=3) for each in (every, some))
    assert torch.equal(shares.counts, wanted_shares.counts)
    close(shares.cosines, wanted_shares.cosines)
    close(evaluated(every, thetas[0], {})[:2], evaluated(some, thetas[0], {})[:2])
    both, alone = ensemble(every, thetas), ensemble(some, thetas)
    close((both.accuracy, both.loss), (alone.accuracy, alone.loss))
    close(both.member_accuracies, alone.member_accuracies)


def curve_values(objective: Objective, thetas: Tensor) -> list[Any]:
    found = curve_profile(objective, line(thetas[0], thetas[1]), points=3)
    return [found.train.accuracies, found.train.margins, found.barriers.train_error]


def test_groups_leave_ignored_samples_out() -> None:
    every, some = with_and_without(nn.CrossEntropyLoss(), -100)
    theta, metrics = every.theta, (METRICS["accuracy"],)
    by_group = [scores(each, theta, metrics, labels=each.targets, groups=3)[1]["accuracy"] for each in (every, some)]
    assert by_group[0] == pytest.approx(by_group[1], rel=1e-12)


def test_a_loss_that_ignores_without_saying_so_has_losses_but_no_margins() -> None:
    every, _ = with_and_without(lambda outputs, targets: F.cross_entropy(outputs, targets), -100)
    found = evaluate(every, every.theta[None])
    assert found.losses.isfinite().all()
    assert found.margins.isnan().all()
