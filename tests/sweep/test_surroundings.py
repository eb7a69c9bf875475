"""Sweeps of a part of a network: what stands around θ is one network's, kept with every point, and comes back with it.

Independent of the code: torch computes the losses, from state dicts as they lie on the disk.
"""

import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

import orograph as og
from orograph.analysis.command import sweep_settings
from orograph.cli import main
from orograph.errors import ConfigurationError, DataError
from orograph.settings.shared import Execution
from orograph.store.run import Run
from orograph.sweep.bench import Bench
from orograph.sweep.record import committed_state
from orograph.sweep.surroundings import saved_in
from orograph.work.problems import with_names
from run_bytes import bytes_of

X = torch.randn(60, 4, generator=torch.Generator().manual_seed(1))
Y = X[:, :3].argmax(1)
SMALL: dict[str, Any] = {"strengths": [0.01, 0.1], "k": 1, "epochs": 1, "lr": 1e-6, "threads": 1, "quiet": True}
SOURCE = """
import torch
from torch import nn
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.trunk, self.head = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Tanh()), nn.Linear(5, 3)
    def forward(self, x):
        return self.head(self.trunk(x))
def net(init_seed):
    torch.manual_seed(init_seed)
    return Net()
def data():
    x = torch.randn(60, 4, generator=torch.Generator().manual_seed(1))
    return (x, x[:, :3].argmax(1)), None
"""


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.trunk, self.head = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Tanh()), nn.Linear(5, 3)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.head(self.trunk(inputs))
        return found


def net(init_seed: int) -> nn.Module:
    torch.manual_seed(init_seed)
    return Net()


def problem(parameters: str = "head.*") -> og.Problem:
    return og.Problem(net, cross_entropy, train=(X, Y), parameters=parameters)


@pytest.fixture
def pretrained(tmp_path: Path) -> Path:
    """A network that neither seed 0 nor another makes, with statistics that it has seen."""
    model = net(7)
    for _ in range(3):
        model(X)
    torch.save(model.state_dict(), tmp_path / "pretrained.pth")
    return tmp_path / "pretrained.pth"


def loss_of(file: Path) -> float:
    model = net(0)
    model.load_state_dict(torch.load(file))
    return float(cross_entropy(model.eval()(X), Y).detach())


def points(run: Path) -> list[Path]:
    return sorted((run / "test_data").glob("model_weights*.pth"))


@pytest.mark.slow
@pytest.mark.parametrize("parameters", ["head.*", "*"])
def test_a_point_that_begins_at_a_file_is_the_network_of_the_file(pretrained: Path, tmp_path: Path, parameters: str) -> None:
    found = og.sweep(problem(parameters), anchor=str(pretrained), start="anchor", out=tmp_path / "run", **SMALL)
    wanted, around = (
        torch.load(pretrained),
        [f"trunk.1.{name}" for name in ("running_mean", "running_var", "num_batches_tracked")],
    )
    around += ["trunk.0.weight", "trunk.1.bias"] if parameters != "*" else []
    for file, recorded in zip(points(tmp_path / "run"), found.train_loss.values.ravel(), strict=True):
        kept = torch.load(file)
        assert all(torch.equal(kept[name], wanted[name]) for name in around)
        # lr = 1e-6 moves no loss beyond the third digit, and a random trunk is off by far more
        assert recorded == pytest.approx(loss_of(file), rel=1e-5) == pytest.approx(loss_of(pretrained), rel=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("anchor", ["pretrained.pth", "initial:3"])
def test_a_run_of_a_part_goes_on_and_is_looked_at_with_what_stands_around_it(
    pretrained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, anchor: str
) -> None:
    monkeypatch.chdir(tmp_path)
    given = SMALL | {"anchor": anchor, "dtype": "float64"}
    og.sweep(problem(), out="whole", **given)
    shutil.copytree("whole", "cut")
    max((tmp_path / "cut" / "points").glob("*.json")).unlink()
    og.sweep(problem(), out="cut", **given)
    assert bytes_of(tmp_path / "cut") == bytes_of(tmp_path / "whole")
    ends = [torch.load(file)["trunk.0.weight"] for file in (*points(tmp_path / "whole"), tmp_path / "whole" / "anchor.pth")]
    wanted = torch.load(pretrained) if anchor == "pretrained.pth" else net(3).state_dict()
    assert all(torch.equal(each, wanted["trunk.0.weight"]) for each in ends)
    run = Run.open("whole")  # as analyses open it
    bench = Bench.prepare(sweep_settings(run), Execution(), with_names(problem()), saved=partial(saved_in, run))
    state = committed_state(bench, run, next(iter(run.records)))
    assert state is not None
    theta, buffers = bench.states.split(state)
    # of the file torch computes in float32, the bench in float64
    assert bench.measuring(buffers).train.loss(theta) == pytest.approx(loss_of(points(tmp_path / "whole")[0]), rel=1e-6)


def test_a_file_of_theta_alone_will_do_and_one_without_it_will_not(pretrained: Path, tmp_path: Path) -> None:
    whole = torch.load(pretrained)
    for name, part in (("head", "head."), ("trunk", "trunk.")):
        torch.save({key: each for key, each in whole.items() if key.startswith(part)}, tmp_path / f"{name}.pth")
    network = problem().network(tmp_path / "head.pth").state_dict()
    assert torch.equal(network["head.weight"], whole["head.weight"])
    assert torch.equal(network["trunk.0.weight"], net(0).state_dict()["trunk.0.weight"])
    with pytest.raises(DataError, match=r"lacks 'head\.weight' and 1 more, which `parameters` makes θ of"):
        problem().objective(tmp_path / "trunk.pth")
    with pytest.raises(DataError, match=r"lacks 'trunk\.1\.weight'"):  # half of what stands around θ is of no network
        problem().objective({key: each for key, each in whole.items() if key != "trunk.1.weight"})


def test_paths_between_networks_that_differ_around_theta_are_refused(pretrained: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"differ in 'trunk\.0\.weight', which is not in θ"):
        og.connect(problem(), pretrained, net(0), paths=["linear"])


@pytest.mark.slow
def test_points_of_a_part_are_imported_with_what_stands_around_them(
    pretrained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "part_of_a_network.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    made = og.sweep(problem(), anchor=str(pretrained), start="anchor", out="run", **SMALL | {"k": 0})
    words = "--data part_of_a_network:data --model part_of_a_network:net --parameters head.* --threads 1 --quiet --out brought"
    assert main(["import", "run/test_data", *words.split()]) == 0
    assert og.open_run("brought").train_loss.values == pytest.approx(made.train_loss.values, rel=1e-6)
    other = torch.load(points(tmp_path / "run")[1])
    torch.save(other | {"trunk.0.bias": torch.zeros(5)}, points(tmp_path / "run")[1])
    assert main(["import", "run/test_data", *words.replace("brought", "another").split()]) == 2
    assert "another 'trunk.0.bias' than the first point" in " ".join(capsys.readouterr().err.split())


@pytest.mark.slow
def test_a_branch_is_of_the_network_of_its_start(
    pretrained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "part_of_a_network.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    torch.save(net(0).state_dict(), "start.pth")
    words = "--data part_of_a_network:data --model part_of_a_network:net --parameters head.* --strength 0.1 --dry-run"
    assert main(["follow", "start.pth", *words.split(), "--anchor", str(pretrained)]) == 2
    assert "differ in 'trunk.0.bias', which is not in θ" in " ".join(capsys.readouterr().err.split())
    assert main(["follow", "start.pth", *words.split()]) == 0
