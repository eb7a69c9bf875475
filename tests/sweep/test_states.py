"""Networks with BatchNorm in sweeps: running statistics belong to the point, are kept with it, and come back with it."""

import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import orograph as og
from orograph.cli import main
from orograph.objective import Objective
from orograph.store.run import Run
from orograph.sweep.states import States
from run_bytes import bytes_of

SOURCE = """
import torch
from torch import nn
def net():
    return nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 3))
def data():
    x = torch.randn(90, 5, generator=torch.Generator().manual_seed(1))
    y = (x[:, :3] * 2).argmax(1)
    return (x[:61], y[:61]), (x[61:], y[61:])
"""
SWEEP = "sweep --data batch_normed:data --model batch_normed:net --epochs 4 --k 2 --batch-size 20 --threads 1 --quiet --lr 0.01"


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "batch_normed.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "batch_normed", raising=False)
    return tmp_path


def sweep(out: Path, *more: str) -> Run:
    assert main([*SWEEP.split(), *more, "--out", str(out)]) == 0
    return Run.open(out)


def parts() -> tuple[nn.Module, tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    import batch_normed  # type: ignore[import-not-found]

    train, test = batch_normed.data()
    return batch_normed.net(), train, test


@pytest.mark.slow
@pytest.mark.parametrize(
    "more", [["--points", "2"], ["--points", "2", "--start", "fresh", "--polish"], ["--points", "2", "--published"]]
)
def test_what_is_recorded_is_of_the_network_that_is_kept(source: Path, more: list[str]) -> None:
    run = sweep(source / "run", *more)
    model, train, test = parts()
    for cell, record in run.records.items():
        state = run.weights(cell)
        assert not torch.equal(state["1.running_mean"], torch.zeros(4))
        model.load_state_dict(state)
        model.eval()
        for (inputs, targets), name in ((train, "train"), (test, "test")):
            published = name == "train" and "--published" in more
            loss = record.scalars["final_train_loss" if published else f"{name}_loss"]
            assert nn.functional.cross_entropy(model(inputs), targets).item() == pytest.approx(loss, rel=1e-5)  # float32
            hits = (model(inputs).argmax(1) == targets).float().mean().item()
            assert 100 * hits == pytest.approx(record.scalars[f"{name}_accuracy"])
        found = og.lanczos(og.HessianOperator(model, nn.CrossEntropyLoss(), [train]), 2)
        assert found.eigenvalues.tolist() == pytest.approx(run.array(cell, "eigenvalue").tolist(), rel=2e-3)  # within residuals


@pytest.mark.slow
def test_a_chain_that_goes_on_from_the_disk_has_the_same_bytes(source: Path) -> None:
    sweep(source / "whole", "--points", "3")
    cut = sweep(source / "cut", "--points", "3")
    last = sorted((cut.path / "points").glob("*.json"))[-1]
    last.unlink()
    sweep(source / "cut", "--points", "3")
    assert bytes_of(source / "cut") == bytes_of(source / "whole")


def test_a_state_is_one_vector_and_comes_apart_again() -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    objective = Objective(model, nn.CrossEntropyLoss(), [(torch.randn(4, 3), torch.arange(4) % 2)])
    states = States.of(objective)
    theta, buffers = states.split(states.of_module(objective, model))
    assert torch.equal(theta, objective.theta)
    assert {name: value.tolist() for name, value in buffers.items()} == {
        name: value.tolist() for name, value in model.named_buffers()
    }
    plain = Objective(nn.Linear(3, 2), nn.CrossEntropyLoss(), [(torch.randn(4, 3), torch.arange(4) % 2)])
    alone = States.of(plain)
    assert alone.join(plain.theta, {}) is plain.theta


TRAINS = """
import torch
from torch import nn
from batch_normed import data
def descend(model, penalty, start, seed, report):
    (inputs, targets), _ = data()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.train()
    for epoch in range(3):
        loss = nn.functional.cross_entropy(model(inputs), targets) + penalty(model)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        report(epoch + 1, loss.item())
class Momentum(torch.optim.SGD):
    def __init__(self, parameters, lr):
        super().__init__(parameters, lr=lr, momentum=0.5)
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", [["--train", "own_training:descend"], ["--optimizer", "own_training:Momentum"]])
def test_a_training_of_ones_own_makes_the_points(source: Path, monkeypatch: pytest.MonkeyPatch, how: list[str]) -> None:
    (source / "own_training.py").write_text(TRAINS)
    monkeypatch.delitem(sys.modules, "own_training", raising=False)
    run = sweep(source / "run", "--points", "2", *how)
    model, (inputs, targets), _ = parts()
    for cell, record in run.records.items():
        model.load_state_dict(run.weights(cell))
        assert model[1].num_batches_tracked > 0
        loss = nn.functional.cross_entropy(model.eval()(inputs), targets).item()
        assert loss == pytest.approx(record.scalars["train_loss"], rel=1e-5)  # float32
    assert run.configuration["problem"]["sources"]


def test_an_optimiser_that_does_not_exist_is_refused_before_anything_is_written(
    source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*SWEEP.split(), "--optimizer", "batch_normed:Lion", "--out", "run"]) == 2
    assert "has no function 'Lion'" in " ".join(capsys.readouterr().err.split())
    assert not (source / "run").exists()
