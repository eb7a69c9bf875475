"""Metrics follow what the loss says of the outputs: ignored targets, where classes lie, probabilities or logits."""

import math
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import orograph as og
from orograph.errors import DataError
from orograph.geometry.scores import scores
from orograph.metrics import METRICS
from orograph.work.bench import chosen_metrics


class Tokens(nn.Module):
    def __init__(self, second: bool) -> None:
        super().__init__()
        self.table, self.second = nn.Embedding(7, 7), second

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        found = torch.cumsum(self.table(tokens), 1)
        return found.transpose(1, 2) if self.second else found


def flat(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(outputs.flatten(0, 1), targets.flatten())


@pytest.mark.parametrize("length", [6, 7])  # of the 7 tokens that there are
@pytest.mark.parametrize("ignored", [-100, 0])
@pytest.mark.parametrize("count", [1, 20])
def test_tokens_are_scored_as_the_loss_reads_them(length: int, ignored: int, count: int) -> None:
    torch.manual_seed(3)
    inputs, targets = torch.randint(1, 7, (count, length)), torch.randint(1, 7, (count, length))
    targets[:, 0] = ignored
    named = [METRICS[name] for name in ("token_accuracy", "perplexity")]
    for second in (True, False):
        loss = nn.CrossEntropyLoss(ignore_index=ignored) if second else None
        if loss is None and ignored != -100:
            continue
        model = Tokens(second)
        objective = og.Objective(model, loss or flat, [(inputs, targets)])
        found, _ = scores(objective, objective.theta, named)
        assert found["perplexity"] == pytest.approx(math.exp(objective.loss(objective.theta)), rel=1e-5)
        outputs = model(inputs) if second else model(inputs).transpose(1, 2)
        counted = targets != ignored
        right = ((outputs.argmax(1) == targets) & counted).sum() / counted.sum()
        assert found["token_accuracy"] == pytest.approx(100 * right.item(), rel=1e-6)


class Whole(Tokens):
    def forward(self, tokens: torch.Tensor) -> dict[str, torch.Tensor]:  # type: ignore[override]
        return {"hidden": self.table(tokens), "logits": super().forward(tokens)}


def shifted(outputs: dict[str, torch.Tensor], targets: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(outputs["logits"][:, :-1].flatten(0, 1), targets[:, 1:].flatten())


def next_token(
    outputs: dict[str, torch.Tensor], targets: torch.Tensor, reduction: str = "mean", ignore_index: int = -100
) -> torch.Tensor:
    scores = outputs["logits"][:, :-1].transpose(1, 2)
    return F.cross_entropy(scores, targets[:, 1:], reduction=reduction, ignore_index=ignore_index)


@pytest.mark.parametrize("loss", [shifted, next_token])
@pytest.mark.parametrize("length", [6, 7])  # of the 7 tokens that there are
def test_metrics_that_nobody_named_are_of_the_next_token_where_the_loss_is(loss: Any, length: int) -> None:
    torch.manual_seed(3)
    inputs, targets = torch.randint(7, (9, length)), torch.randint(7, (9, length))
    targets[2:, 4:] = -100
    problem = og.Problem(Whole(False), loss, (inputs, targets))
    objective = problem.objective()
    found, _ = scores(objective, objective.theta, chosen_metrics(problem, objective))
    assert list(found) == ["next_token_accuracy", "next_token_perplexity"]
    assert found["next_token_perplexity"] == pytest.approx(math.exp(objective.loss(objective.theta)), rel=1e-5)


def test_probabilities_are_labels_from_a_half_on_and_logits_from_zero_on() -> None:
    torch.manual_seed(0)
    inputs, targets = torch.randn(40, 4), (torch.randn(40, 3) > 0).float()
    logits = nn.Linear(4, 3)
    asked = [METRICS["exact_match"]]
    one = og.Objective(logits, nn.BCEWithLogitsLoss(), [(inputs, targets)])
    other = og.Objective(nn.Sequential(logits, nn.Sigmoid()), nn.BCELoss(), [(inputs, targets)])
    expected = 100 * ((logits(inputs) > 0) == (targets > 0.5)).all(1).double().mean().item()
    for objective in (one, other):
        assert scores(objective, objective.theta, asked)[0]["exact_match"] == pytest.approx(expected)


def test_the_coefficient_of_determination_is_that_of_scikit_learn_where_targets_are_constant() -> None:
    from sklearn.metrics import r2_score

    generator = torch.Generator().manual_seed(0)
    outputs, targets = torch.randn(9, 3, generator=generator), torch.randn(9, 3, generator=generator)
    targets[:, 1] = 2.0
    targets[:, 2] = outputs[:, 2] = 1.0
    assert METRICS["r2"].function(outputs, targets) == pytest.approx(r2_score(targets.numpy(), outputs.numpy()), rel=1e-6)


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"train": (torch.zeros(0, 4), torch.zeros(0).long())}, "no samples"),
        ({"test": torch.ones(5, 4)}, "pair"),
        ({"train": (torch.full((9, 4), math.nan), torch.arange(9) % 2)}, "inputs hold NaN"),
        ({"groups": lambda x, y: x[:, 0] * math.nan}, "gave NaN"),
    ],
)
def test_data_that_are_none_are_refused_in_a_sentence(parts: dict, words: str, tmp_path) -> None:
    given = {"train": (torch.ones(9, 4), torch.arange(9) % 2), **parts}
    with pytest.raises(DataError, match=words):
        og.sweep(
            og.Problem(lambda: nn.Linear(4, 2), nn.CrossEntropyLoss(), **given),
            strengths=[0.1], k=0, epochs=1, quiet=True, out=tmp_path / "run",
        )  # fmt: skip
    assert not (tmp_path / "run").exists()


class Noisy(torch.utils.data.Dataset):
    def __len__(self) -> int:
        return 9

    def __getitem__(self, place: int) -> tuple[torch.Tensor, int]:
        return torch.randn(4), place % 2


def test_data_that_change_when_they_are_read_again_are_refused(tmp_path) -> None:
    still = [(torch.randn(4), place % 2) for place in range(9)]
    shuffled = torch.utils.data.DataLoader(still, batch_size=3, shuffle=True)
    for train in (Noisy(), shuffled):
        with pytest.raises(DataError, match="shuffle=False"):
            og.sweep(
                og.Problem(nn.Linear(4, 2), nn.CrossEntropyLoss(), train=train),
                strengths=[0.1], k=0, epochs=1, quiet=True, out=tmp_path / "run",
            )  # fmt: skip
    assert not (tmp_path / "run").exists()
