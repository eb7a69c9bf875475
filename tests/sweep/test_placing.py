"""Adaptive ladders: strengths that a run finds, and finds again, against ridge regression, whose θ(λ) is known."""

import sys
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_sweeps import words

from forked import finish
from orograph.cli import main
from orograph.store.dataset import open_run
from orograph.store.run import Run
from orograph.sweep import command as sweeping
from run_bytes import bytes_of

ADAPTIVE = ("--spacing", "adaptive", "--min", "0.001", "--max", "0.05", "--points", "5")
ADAPTIVE = (*ADAPTIVE, "--subset-size", "100", "--polish-products", "100", "--k", "0")
SOURCE = """
import torch
from torch import nn
X = torch.randn(50, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
Y = X @ torch.tensor([[1.0, 0.5], [-2.0, 0.0], [0.5, 1.0], [0.0, 3.0]], dtype=torch.float64)
def ridge(): return nn.Linear(4, 2, bias=False)
def numbers(): return (X[:40], Y[:40]), (X[40:], Y[40:])
"""


@pytest.fixture(scope="module")
def placed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("placed") / "run"
    finish(words(out, *ADAPTIVE))
    return out


@pytest.mark.slow
def test_a_run_says_its_strengths_and_the_same_command_finds_it_done(placed: Path) -> None:
    before = bytes_of(placed)
    with (placed / "configuration.toml").open("rb") as file:
        strengths = tomllib.load(file)["ladder"]["strengths"]
    assert (strengths[0], strengths[-1], len(strengths)) == (0.001, 0.05, 5)
    assert open_run(placed).strength.values.tolist() == strengths
    finish(words(placed, *ADAPTIVE))
    assert bytes_of(placed) == before


@pytest.mark.slow
def test_a_run_that_stopped_goes_on_along_the_same_ladder(placed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit, left = sweeping.commit_point, [2]

    def stopping(*args: Any) -> None:
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        commit(*args)

    with monkeypatch.context() as patch:
        patch.setattr(sweeping, "commit_point", stopping)
        assert main(words(tmp_path / "run", *ADAPTIVE)) != 0
    assert len(Run.open(tmp_path / "run").records) == 2
    with monkeypatch.context() as patch:  # the ladder is in the run, and is not looked for again
        patch.setattr(sweeping, "place", None)
        assert main(words(tmp_path / "run", *ADAPTIVE)) == 0
    assert bytes_of(tmp_path / "run") == bytes_of(placed)


@pytest.mark.slow
def test_other_points_than_those_of_the_run_are_refused(placed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*words(placed, *ADAPTIVE), "--points", "6"]) == 2
    assert "points" in capsys.readouterr().err


@pytest.mark.slow
def test_the_ways_of_a_ridge_regression_are_equal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "equal_ridge.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "equal_ridge", raising=False)
    own = "--data equal_ridge:numbers --model equal_ridge:ridge --loss mse_loss --dtype float64 --threads 1 --k 0 --quiet"
    ladder = "--spacing adaptive --min 0.01 --max 10 --points 20 --end newton --epochs 3"
    assert main(["sweep", *own.split(), *ladder.split(), "--out", "run"]) == 0
    import equal_ridge  # type: ignore[import-not-found]

    x, y = (each[:40].numpy() for each in (equal_ridge.X, equal_ridge.Y))
    strengths = open_run("run").strength.values

    def theta(strength: float) -> np.ndarray:
        return np.linalg.solve(x.T @ x / 40 + 2 * strength * np.eye(4), x.T @ y / 40).ravel()

    def lengths(ladder: np.ndarray) -> np.ndarray:
        path = np.array([theta(strength) for strength in ladder])
        across, up = np.linalg.norm(np.diff(path, axis=0), axis=1), np.diff(np.log(ladder))
        turned = [0.0] * len(across)
        for place, (one, other) in enumerate(zip(np.diff(path, axis=0)[:-1], np.diff(path, axis=0)[1:], strict=True)):
            angle = np.arccos(one @ other / np.linalg.norm(one) / np.linalg.norm(other)) / np.pi
            turned[place] += angle
            turned[place + 1] += angle
        arc = np.hypot(across / across.sum(), up / up.sum())
        return arc / arc.sum() + 0.1 * np.array(turned)

    equal, even = lengths(strengths), lengths(np.geomspace(0.01, 10, 20))
    # linear between the points of the first pass, whose steps differ by a few percent from their neighbours
    assert equal.std() < 0.05 * equal.mean() < 0.2 * even.std()
