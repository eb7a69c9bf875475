"""The sweep as a user runs it, on the small `digits` images; its numbers against plain PyTorch on the files that it wrote."""

import json
import math
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from drawing import drawn
from orograph.cli import main
from orograph.data.catalogue import load_data
from orograph.store.dataset import open_run
from orograph.store.run import Run
from orograph.study import bench as study_bench
from orograph.sweep import bench as sweep_bench

SMALL = ("--dataset", "digits", "--widths", "6,5", "--epochs", "3", "--k", "4", "--threads", "1")


def run_sweep(out: Path, *args: str) -> int:
    return main(["sweep", *SMALL, "--out", str(out), "--quiet", *args])


class Net(nn.Module):
    """The published network, at this size: nothing of orograph in it."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2, self.fc3 = nn.Linear(64, 6), nn.Linear(6, 5), nn.Linear(5, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc3(torch.sigmoid(self.fc2(torch.sigmoid(self.fc1(x.flatten(1))))))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("sweeps") / "small"
    with drawn("coarsely"):
        assert run_sweep(out, "--points", "3", "--max", "0.01", "--direction", "both") == 0
    return out


def test_every_published_file_is_there(folder: Path) -> None:
    expected = {"Model-0.csv", "Model-0_split_accuracy.csv", "Model-0-down.csv", "Model-0-down_split_accuracy.csv"}
    for strength in ("0.00000", "0.00500", "0.01000"):
        for model_id in ("0", "0-down"):
            expected |= {
                f"gradients-{model_id}-{strength}.csv",
                f"model_weights-{model_id}-{strength}.pth",
                f"Hessian-eigenvalues-{model_id}-{strength}.csv",
                f"Hessian-eigenvectors-{model_id}-{strength}.csv",
            }
    assert {path.name for path in (folder / "test_data").iterdir()} == expected
    assert (folder / "figures" / "sweep.png").stat().st_size > 10_000


@pytest.mark.parametrize(("model_id", "row", "strength"), [("0", 1, 0.005), ("0-down", 2, 0.0)])
def test_the_files_say_what_plain_pytorch_says_of_the_weights(folder: Path, model_id: str, row: int, strength: float) -> None:
    files, data = folder / "test_data", load_data("digits")
    net = Net().double()
    net.load_state_dict(torch.load(files / f"model_weights-{model_id}-{strength:.5f}.pth", weights_only=True))
    table = pd.read_csv(files / f"Model-{model_id}_split_accuracy.csv").iloc[row]
    inputs, targets = data.train_inputs.double(), data.train_targets
    loss = F.cross_entropy(net(inputs), targets)
    penalty = strength * sum(p.square().sum() for p in net.parameters())
    assert table.L2_strength == strength
    assert table.Train_Loss == pytest.approx(loss.item(), rel=1e-5)  # float32 forward passes
    assert table.Train_Reg_Loss == pytest.approx((loss + penalty).item(), rel=1e-5)
    predicted = net(data.test_inputs.double()).argmax(1)
    assert table.Test_Accuracy == pytest.approx(100 * (predicted == data.test_targets).double().mean().item(), abs=1e-3)
    ones = data.test_targets == 1
    assert table.Accuracy_1 == pytest.approx(100 * (predicted[ones] == 1).double().mean().item(), abs=1e-3)

    gradient = torch.cat([g.reshape(-1) for g in torch.autograd.grad(loss, list(net.parameters()), create_graph=True)])
    lines = (files / f"gradients-{model_id}-{strength:.5f}.csv").read_text().splitlines()
    assert [line.split(":")[0] for line in lines] == [f"dL/d{name}" for name, _ in net.named_parameters()]
    written = np.concatenate([np.fromstring(line.split(":")[1], sep=",") for line in lines])
    np.testing.assert_allclose(written, gradient.detach().numpy(), atol=1e-6)

    eigenvalues = np.loadtxt(files / f"Hessian-eigenvalues-{model_id}-{strength:.5f}.csv")
    eigenvectors = np.loadtxt(files / f"Hessian-eigenvectors-{model_id}-{strength:.5f}.csv", delimiter=",")
    hessian = torch.stack([torch.cat([h.reshape(-1) for h in row]) for row in _rows(gradient, net)]).numpy()
    exact = np.linalg.eigvalsh(hessian)
    largest = np.sort(exact[np.argsort(-np.abs(exact))[:4]])[::-1]
    # A residual of 1e-3·|λ| bounds the error of an eigenvalue by as much (Weyl).
    np.testing.assert_allclose(eigenvalues, largest, rtol=1e-3)
    for value, vector in zip(eigenvalues, eigenvectors, strict=True):
        assert np.linalg.norm(hessian @ vector - value * vector) <= 1.1e-3 * abs(value)


def _rows(gradient: torch.Tensor, net: nn.Module) -> list[tuple[torch.Tensor, ...]]:
    return [torch.autograd.grad(entry, list(net.parameters()), retain_graph=True) for entry in gradient]


def test_the_run_opens_as_labelled_arrays(folder: Path) -> None:
    ds = open_run(folder)
    assert ds.sizes["strength"] == 3
    assert list(ds.direction.values) == ["up", "down"]
    assert np.isfinite(ds.eigenvalue.values).all()
    assert (ds.status == "done").all()
    # The descent begins where the climb ended: nothing is left to move but what the tolerance of a critical point leaves.
    down, up = (ds.objective.sel(direction=way, strength=0.01).item() for way in ("down", "up"))
    assert down <= up + 1e-5


@pytest.mark.slow
def test_the_same_command_again_changes_nothing(folder: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in (folder / "points").iterdir()}
    assert run_sweep(folder, "--points", "3", "--max", "0.01", "--direction", "both") == 0
    assert {path: path.stat().st_mtime_ns for path in (folder / "points").iterdir()} == before


def test_another_configuration_is_refused_with_the_keys_that_differ(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_sweep(folder, "--points", "3", "--max", "0.01", "--direction", "both", "--lr", "0.5") == 2
    assert "training.lr" in capsys.readouterr().err


@pytest.mark.slow
def test_a_resolved_configuration_runs_again_from_its_file(folder: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    numerics = ("--threads", "1")
    assert main(["sweep", "--config", str(folder / "configuration.toml"), "--out", str(again), "--quiet", *numerics]) == 0
    for path in (folder / "test_data").iterdir():
        assert (again / "test_data" / path.name).read_bytes() == path.read_bytes(), path.name


@pytest.mark.slow
@pytest.mark.parametrize("start", [("fresh",), ("anchor", "--anchor", "train:3"), ("anchor", "--perturb", "0.1")])
def test_independent_points_train_as_a_cohort(tmp_path: Path, start: tuple[str, ...]) -> None:
    out = tmp_path / "run"
    args = ("--points", "2", "--max", "0.01", "--seeds", "1,2", "--k", "1", "--subset-size", "200", "--start", *start)
    assert run_sweep(out, *args, "--cohort", "2") == 0
    ds = open_run(out)
    assert ds.sizes["seed"] == 2
    assert (ds.status == "done").all()
    assert (ds.epochs == 3).all()
    assert (out / "anchor.pth").exists() == ("--anchor" in start)


@pytest.mark.slow
def test_a_fresh_point_does_not_depend_on_its_companions(tmp_path: Path) -> None:
    # Whole batches of 64: the last bits of a shorter last one depend on where a model's block of it lies in memory.
    args = ("--start", "fresh", "--subset-size", "1280", "--k", "0")
    for name, points in (("three", "0,0.005,0.01"), ("two", "0,0.01")):
        assert run_sweep(tmp_path / name, *args, "--strengths", points) == 0
    file = "model_weights-0-0.01000.pth"
    assert (tmp_path / "three" / "test_data" / file).read_bytes() == (tmp_path / "two" / "test_data" / file).read_bytes()


@pytest.mark.slow
def test_seeds_of_a_continuation_train_together(tmp_path: Path) -> None:
    assert run_sweep(tmp_path / "run", "--points", "2", "--seeds", "0,4") == 0
    ds = open_run(tmp_path / "run")
    assert not np.allclose(ds.theta.sel(seed=0), ds.theta.sel(seed=4))


@pytest.mark.slow
def test_a_diverging_point_is_recorded_and_the_sweep_goes_on(tmp_path: Path) -> None:
    out = tmp_path / "run"
    args = ("--strengths", "0,0.01,1e30,1e31", "--optimizer", "SGD", "--lr", "0.1", "--end", "train")
    assert run_sweep(out, *args) == 1  # a point failed
    run = Run.open(out)
    states = [record.status for record in run.records.values()]
    assert states == ["done", "done", "failed", "failed"]
    assert all(r.scalars["failed_epoch"] == 1 for r in run.records.values() if r.status == "failed")
    assert math.isnan(pd.read_csv(out / "test_data" / "Model-0.csv").Train_Loss[2])
    assert (out / "figures" / "sweep.png").exists()


@pytest.mark.slow
def test_polished_points_are_critical(tmp_path: Path) -> None:
    args = ("--strengths", "0.01", "--polish", "--dtype", "float64", "--polish-tolerance", "1e-8", "--widths", "4")
    assert run_sweep(tmp_path / "run", *args) == 0
    (record,) = Run.open(tmp_path / "run").records.values()
    scalars = record.scalars
    limit = 1e-8 * max(1, 2 * 0.01 * scalars["anchor_distance"])
    assert scalars["polish_converged"]
    assert scalars["objective_gradient_norm"] <= limit < scalars["polish_gradient_before"]


@pytest.mark.slow
def test_the_published_procedure_writes_running_averages(tmp_path: Path) -> None:
    assert run_sweep(tmp_path / "run", "--published", "--strengths", "0.001") == 0
    (record,) = Run.open(tmp_path / "run").records.values()
    table = pd.read_csv(tmp_path / "run" / "test_data" / "Model-0.csv")
    # The average over an epoch in which the loss falls lies above the loss at its end.
    assert table.Train_Loss[0] == pytest.approx(record.scalars["train_loss"], abs=1e-8)
    assert record.scalars["train_loss"] > record.scalars["final_train_loss"]


@pytest.mark.slow
def test_a_dry_run_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sweep", *SMALL, "--out", str(tmp_path / "run"), "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert "time" in printed
    assert "disk" in printed
    assert "free there" not in printed
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("command", ["sweep", "follow", "study"])
def test_a_disk_that_is_too_small_is_told_before_anything_is_tried_on_the_network(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    def tried(*_: Any) -> None:
        raise AssertionError("tried before the disk was looked at")

    for each in (sweep_bench, study_bench):
        monkeypatch.setattr(each, "objectives", tried)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=10))
    start = tmp_path / "x.pth"
    start.touch()
    flags = {"sweep": ["--strengths", "0.001"], "follow": [str(start), "--strength", "0.001"], "study": []}[command]
    network = ["--data", "digits", "--subset-size", "100", *(["--widths", "2"] if command != "study" else ["--model", "MLP1"])]
    assert main([command, *flags, *network, "--out", str(tmp_path / "run"), "--quiet"]) == 2
    assert "has 10 B free" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_plan_tells_a_disk_that_is_too_small(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=10))
    assert main(["sweep", *SMALL, "--out", str(tmp_path / "run"), "--dry-run"]) == 0
    assert "more than the 10 B free there" in " ".join(capsys.readouterr().out.split())


@pytest.mark.slow
def test_json_output_is_one_document(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sweep", *SMALL, "--points", "1", "--out", str(tmp_path / "run"), "--json"]) == 0
    points = json.loads(capsys.readouterr().out)["points"]
    assert points[0]["L2_strength"] == 0
