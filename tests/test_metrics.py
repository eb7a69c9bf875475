"""Metrics against scikit-learn and torch, over batches of unlike size, and in groups."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from sklearn.metrics import accuracy_score, average_precision_score, r2_score, root_mean_squared_error
from torch import Tensor, nn
from torch.nn import functional as F

from orograph.errors import ConfigurationError
from orograph.geometry.scores import scores
from orograph.metrics import METRICS, NEXT_TOKENS, Metric, fitting, metric, of_tokens
from orograph.metrics import TOKENS as TOKEN_METRICS
from orograph.objective import Objective
from orograph.store.lookup import require_free_names
from orograph.store.run import Run


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def classes(*shape: int, count: int = 4, seed: int = 1) -> Tensor:
    return torch.randint(0, count, shape, generator=torch.Generator().manual_seed(seed))


LABELS = (drawn(30, 5, seed=2) > 0.6).float()
TOKENS = classes(30, 7).masked_fill(drawn(30, 7, seed=3) > 0.8, -100)


def per_token(outputs: Tensor, tokens: Tensor) -> float:
    return F.cross_entropy(outputs.flatten(0, 1).double(), tokens.flatten()).item()


TRUTHS: dict[str, tuple[Tensor, Tensor, Callable[[Tensor, Tensor], object]]] = {
    "accuracy": (drawn(30, 4), classes(30), lambda y, t: 100 * accuracy_score(t, y.argmax(1))),
    "margin": (
        drawn(30, 4),
        classes(30),
        lambda y, t: sum((row[k] - max(row[:k] + row[k + 1 :])) for row, k in zip(y.tolist(), t.tolist(), strict=True)) / 30,
    ),
    "r2": (drawn(30, 3), drawn(30, 3, seed=4), lambda y, t: r2_score(t, y)),
    "rmse": (drawn(30, 1), drawn(30, 1, seed=4), lambda y, t: root_mean_squared_error(t, y)),
    "rmse_per_output": (
        drawn(30, 3),
        drawn(30, 3, seed=4),
        lambda y, t: root_mean_squared_error(t, y, multioutput="raw_values").tolist(),
    ),
    "token_accuracy": (
        drawn(30, 7, 4),
        TOKENS,
        lambda y, t: 100 * accuracy_score(t[t >= 0], y.argmax(-1)[t >= 0]),
    ),
    "perplexity": (drawn(30, 7, 4), TOKENS, lambda y, t: math.exp(per_token(y, t))),
    "next_token_accuracy": (
        drawn(30, 7, 4),
        TOKENS,
        lambda y, t: 100 * accuracy_score(t[:, 1:][t[:, 1:] >= 0], y[:, :-1].argmax(-1)[t[:, 1:] >= 0]),
    ),
    "next_token_perplexity": (drawn(30, 7, 4), TOKENS, lambda y, t: math.exp(per_token(y[:, :-1], t[:, 1:]))),
    "exact_match": (drawn(30, 5), LABELS, lambda y, t: 100 * accuracy_score(t, y > 0)),
    "mean_average_precision": (drawn(30, 5), LABELS, lambda y, t: 100 * average_precision_score(t, y)),
}


class Given(nn.Module):
    """Outputs that are its inputs, moved by a parameter that is zero."""

    def __init__(self) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(1))

    def forward(self, outputs: Tensor) -> Tensor:
        return outputs + self.shift


def mean_square(outputs: Tensor, targets: Tensor) -> Tensor:
    """A loss of any outputs: metrics have their own meaning of the targets."""
    return outputs.flatten(1).square().mean(1)


def objective(outputs: Tensor, targets: Tensor, *lengths: int) -> Objective:
    batches = list(zip(outputs.split(list(lengths)), targets.split(list(lengths)), strict=True))
    return Objective(Given(), mean_square, batches, dtype=torch.float64)


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_is_that_of_scikit_learn_or_torch(name: str) -> None:
    outputs, targets, truth = TRUTHS[name]
    given = objective(outputs, targets, 11, 19)
    values, by_group = scores(given, given.theta, [metric(name)], labels=torch.arange(30) % 2, groups=3)
    assert values[name] == pytest.approx(truth(outputs, targets), rel=1e-6)  # rounding of float32 where the truth is in it
    for group in (0, 1):
        own = truth(outputs[group::2], targets[group::2]) if name != "margin" else by_group[name][group]
        assert by_group[name][group] == pytest.approx(own, rel=1e-6)
    assert math.isnan(by_group[name][2])  # nobody is in it


def test_tokens_may_have_their_scores_in_the_second_dimension() -> None:
    outputs, tokens, _ = TRUTHS["perplexity"]
    names = ("token_accuracy", "perplexity")
    one, other = (
        scores(given, given.theta, [metric(name) for name in names])[0]
        for given in (objective(outputs, tokens, 30), objective(outputs.movedim(-1, 1), tokens, 30))
    )
    assert one == other


@pytest.mark.parametrize(
    ("outputs", "targets", "loss", "names"),
    [
        (drawn(2, 4), classes(2), "cross_entropy", ["accuracy"]),
        (drawn(2, 1), drawn(2, 1), "mse_loss", ["r2", "rmse"]),
        (drawn(2), drawn(2), "mse_loss", ["r2", "rmse"]),
        (drawn(2, 3), drawn(2, 3), "huber_loss", ["r2", "rmse", "rmse_per_output"]),
        (drawn(2, 7, 4), TOKENS[:2], "CrossEntropyLoss", ["token_accuracy", "perplexity"]),
        (drawn(2, 5), LABELS[:2], "binary_cross_entropy_with_logits", ["exact_match", "mean_average_precision"]),
        (drawn(2, 5), LABELS[:2], "BCEWithLogitsLoss", ["exact_match", "mean_average_precision"]),
        (drawn(2, 5), drawn(2, 4), "own", []),
        ((drawn(2), drawn(2)), classes(2), "own", []),
    ],
)
def test_where_nobody_names_metrics_the_data_do(outputs: object, targets: Tensor, loss: str, names: list[str]) -> None:
    assert [each.name for each in fitting(outputs, targets, loss)] == names


@pytest.mark.parametrize(
    ("function", "whole", "says"),
    [
        (lambda y, t: y.mean(), False, "give one value each, or make it whole=True"),
        (lambda y, t: y[:3, 0], False, "for 30 samples"),
        (lambda y, t: {}["missing"], False, "failed with KeyError"),
        (lambda y, t: y.new_zeros(2, 2), True, "an array of several dimensions"),
    ],
)
def test_a_metric_that_gives_something_else_is_refused(function: Callable[..., object], whole: bool, says: str) -> None:
    given = objective(drawn(30, 4), classes(30), 30)
    with pytest.raises(ConfigurationError, match=says):
        scores(given, given.theta, [Metric("own", function, whole=whole)])


def test_a_metric_that_nobody_knows_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigurationError, match="token_accuracy"):
        metric("token_acuracy")
    with pytest.raises(ConfigurationError, match="letters, digits and underscores"):
        Metric("top 5", lambda y, t: y)


def shifted(outputs: Tensor, tokens: Tensor) -> Tensor:
    return F.cross_entropy(outputs[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())


def of_the_same_place(outputs: Tensor, tokens: Tensor) -> Tensor:
    return F.cross_entropy(outputs.transpose(1, 2), tokens)


def backwards(outputs: Tensor, tokens: Tensor) -> Tensor:
    return of_the_same_place(outputs, tokens.flip(1))


@pytest.mark.parametrize(
    ("loss", "names"),
    [
        (shifted, NEXT_TOKENS),
        (lambda y, t: 1.0 * shifted(y, t) * (t[:, 1:] >= 0).sum(), NEXT_TOKENS),
        (of_the_same_place, TOKEN_METRICS),
        (lambda y, t: F.nll_loss(y.log_softmax(-1).flatten(0, 1), t.flatten()), TOKEN_METRICS),
        (backwards, ()),
    ],
)
@pytest.mark.parametrize("scale", [0.0, 1.0])
def test_metrics_of_tokens_are_of_the_place_that_the_loss_is_of(
    loss: Callable[[Tensor, Tensor], Tensor], names: tuple[str, ...], scale: float
) -> None:
    """Whatever the outputs are: those of a network whose last layer is zero tell nothing."""
    outputs = scale * drawn(30, 7, 4)
    found = of_tokens(lambda scores: loss(scores, TOKENS).item(), outputs, TOKENS, None)
    assert tuple(each.name for each in found) == names


def _one(outputs: Tensor, targets: Tensor) -> Tensor:
    return torch.ones(len(targets))


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (["loss"], "recorded as train_loss, which is reserved"),
        (["Loss"], "train_Loss"),
        (["objective"], "train_objective"),
        (["reg_loss"], "train_reg_loss"),
        (["share"], "recorded as class_share"),
        (["group_accuracy"], "train_group_accuracy"),
        (["class_cost"], "train_class_cost"),
        (["cost", "Cost"], "cost and Cost would be recorded under one name"),
    ],
)
def test_a_metric_with_the_name_of_another_field_is_refused_before_a_run_is_made(
    tmp_path: Path, names: list[str], says: str
) -> None:
    given: dict[str, Any] = {"kind": "sweep", "configuration": {}, "numerics": {}, "provenance": {}}
    with pytest.raises(ConfigurationError, match=says):
        Run.create(tmp_path / "run", **given, metrics=[Metric(each, _one) for each in names])
    assert not (tmp_path / "run").exists()


def test_a_metric_of_ones_own_may_stand_in_place_of_a_built_in_one() -> None:
    require_free_names([Metric("accuracy", _one), Metric("margin", _one), Metric("f1", _one)])
    require_free_names(list(METRICS.values()))
