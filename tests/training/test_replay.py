"""Recorded steps against the same steps run as they are: a recording keeps addresses and plain numbers, as a CUDA graph does."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from graphs import record
from torch.nn import functional as F
from trainable import Attention, problem

from orograph.objective import Objective
from orograph.training import descent
from orograph.training.cohort import train_cohort
from orograph.training.descent import Trained
from orograph.training.loop import train
from orograph.training.replay import Replay
from orograph.training.settings import TrainingSettings

SETTINGS = TrainingSettings(epochs=30, patience=1, drops=2, lr=0.2, batch_size=16)


def recording(run: Callable[[], Any]) -> tuple[Any, list[int]]:
    """What a training gives that records its steps, and how often each recording was launched."""
    launches: list[int] = []

    def counted(work: Callable[[], None]) -> Callable[[], None]:
        replay, number = record(work), len(launches)
        launches.append(0)

        def launch() -> None:
            launches[number] += 1
            replay()

        return launch

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(descent, "recorder", lambda device: counted)
        return run(), launches


def same(one: Trained, other: Trained) -> bool:
    facts = [(each.epochs, each.best_epoch, each.stopped, each.history, each.running_loss) for each in (one, other)]
    return facts[0] == facts[1] and torch.equal(one.theta, other.theta)


@pytest.mark.slow
@pytest.mark.parametrize("anchored", [False, True])
@pytest.mark.parametrize(
    "changes",
    [{}, {"published": True}, {"optimizer": "SGD", "momentum": 0.9}, {"optimizer": "AdamW", "weight_decay": 0.01}],
    ids=str,
)
def test_a_chain_becomes_the_same_bytes(changes: dict[str, Any], anchored: bool) -> None:
    model, data = problem(dtype=torch.float32)
    anchor = 0.1 * torch.ones(Objective(model, F.cross_entropy, data).layout.size) if anchored else None
    objective = Objective(model, F.cross_entropy, data, strength=1e-3, anchor=anchor)
    run = partial(train, objective, objective.theta, SETTINGS.model_copy(update=changes), order_seed=3)
    expected = run()
    found, launches = recording(run)
    assert same(found, expected)
    rates = {record["lr"] for record in expected.history}
    assert len(launches) <= 2 * len(rates)  # one for each learning rate and length of batch
    assert sum(launches) == expected.steps - 2  # the first batch of each length runs as it is


@pytest.mark.slow
def test_a_shrinking_cohort_becomes_the_same_bytes() -> None:
    model, data = problem(dtype=torch.float32, count=64)
    objective = Objective(model, F.cross_entropy, data)
    thetas = objective.theta + 0.3 * torch.randn(5, objective.layout.size, generator=torch.Generator().manual_seed(0))
    settings = SETTINGS.model_copy(update={"epochs": 60, "drops": 1})
    strengths, seeds = [0.0, 1e-3, 3e-3, 0.01, 0.1], [1, 2, 3, 4, 5]
    run = partial(train_cohort, objective, thetas, settings, strengths=strengths, order_seeds=seeds)
    expected = run()
    assert len({each.epochs for each in expected}) > 1
    found, launches = recording(run)
    assert all(same(*pair) for pair in zip(found, expected, strict=True))
    assert sum(launches) > 0


@pytest.mark.slow
def test_attention_becomes_the_same_bytes() -> None:
    model, data = problem(Attention, inputs=36, dtype=torch.float32)
    objective = Objective(model, F.cross_entropy, data)
    run = partial(train, objective, objective.theta, SETTINGS.model_copy(update={"epochs": 4}), order_seed=0)
    expected = run()
    found, launches = recording(run)
    assert same(found, expected)
    assert sum(launches) > 0


def test_what_waits_for_a_value_is_run_as_it_is() -> None:
    total, tried = torch.zeros(()), []

    def step(indices: torch.Tensor) -> None:
        if indices.sum().item() > 0:
            total.add_(indices.sum())

    def attempt(work: Callable[[], None]) -> Callable[[], None]:
        tried.append(work)
        return record(work)

    replay = Replay(step, attempt)
    for _ in range(4):
        replay(torch.tensor([1, 2]))
    assert total == 12
    assert len(tried) == 1


def test_nothing_is_recorded_on_a_cpu() -> None:
    assert descent.recorder(torch.device("cpu")) is None
