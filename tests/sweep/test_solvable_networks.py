"""Exactly solvable networks by name, from the command line: closed forms in the records, and old configurations unchanged."""

import json
import math
from pathlib import Path

import pytest
import torch

import orograph as og
from orograph.cli import main
from orograph.losses import LOSSES
from orograph.settings import DataSettings
from orograph.store.run import Run
from orograph.sweep.settings import SweepSettings
from run_bytes import bytes_of

TEACHER = ("--dataset", "linear-teacher", "--loss", "squared")
SMALL = ("--singular-values", "1.2,0.5", "--subset-size", "10", "--k", "1", "--dtype", "float64", "--threads", "1", "--quiet")
TRAINED = ("--epochs", "60", "--lr", "0.05", "--batch-size", "10", "--strengths", "0.05,0.1", "--polish-tolerance", "1e-9")


@pytest.mark.slow
def test_two_factors_of_a_sweep_have_the_losses_and_the_distance_of_the_closed_form(tmp_path: Path) -> None:
    words = ["sweep", "--model", "deep-linear", "--widths", "3", *TEACHER, *SMALL, *TRAINED, "--out", str(tmp_path / "run")]
    assert main(words) == 0
    run = og.open_run(tmp_path / "run")
    for strength in (0.05, 0.1):  # p = σ − 2λ of each mode, q = 2p
        point = run.sel(strength=strength).squeeze()
        learnt = [1.2 - 2 * strength, 0.5 - 2 * strength]
        # polished to ‖∇L_eff‖ ≤ 1e-9 times q of order 1; along the softest direction, of curvature 4λ = 0.2, 1e-8 in θ
        assert point.train_loss.item() == pytest.approx(2 * 0.5 * (2 * strength) ** 2, abs=1e-8)
        assert point.anchor_distance.item() ** 2 == pytest.approx(2 * sum(learnt), abs=1e-7)
        assert point.train_r2.item() > 0.5
    recorded = Run.open(tmp_path / "run").configuration
    assert recorded["data"]["singular_values"] == [1.2, 0.5]
    assert recorded["problem"]["loss"] == "squared"
    before = bytes_of(tmp_path / "run")
    assert main(words) == 0
    assert bytes_of(tmp_path / "run") == before
    words[words.index("1.2,0.5")] = "1.2,0.6"
    assert main(words) == 2  # another teacher is another run


@pytest.mark.slow
def test_a_study_varies_the_width_of_deep_linear_networks(tmp_path: Path) -> None:
    fast = ("--fast", "--top-k", "2", "--products", "60", "--num-seeds", "2", "--paths", "linear", "--curve-points", "3")
    words = ["study", "--model", "deep-linear", "--hidden-size", "2,3", "--depth", "2", *TEACHER, "--epochs", "2", *fast]
    assert main([*words, "--quiet", "--out", str(tmp_path / "run")]) == 0
    assert list(og.open_run(tmp_path / "run")) == ["deep-linear-h2-d2-AdamW", "deep-linear-h3-d2-AdamW"]


def test_older_configurations_are_what_they_were() -> None:
    assert DataSettings().model_dump() == {"dataset": "mnist-5k", "subset_size": "all", "subset_seed": 0}
    assert set(json.loads(SweepSettings().model_dump_json())["data"]) == {"dataset", "subset_size", "subset_seed"}
    assert DataSettings(dataset="linear-teacher").singular_values == (1.5, 0.9, 0.5)


def test_the_squared_loss_of_classes_is_that_of_their_one_hot_codes() -> None:
    outputs = torch.randn(5, 3, generator=torch.Generator().manual_seed(0)).double()
    classes = torch.tensor([0, 2, 1, 1, 0])
    codes = torch.nn.functional.one_hot(classes, 3).double()
    expected = 0.5 * torch.nn.functional.mse_loss(outputs, codes, reduction="none").sum(1)
    torch.testing.assert_close(LOSSES["squared"](outputs, classes), expected)
    torch.testing.assert_close(og.half_squared(outputs, codes), expected)
    one = torch.randn(4, 1)
    torch.testing.assert_close(og.half_squared(one, torch.zeros(4)), 0.5 * one[:, 0].square())  # not repeated to (4, 4)


@pytest.mark.slow
def test_its_hessian_on_classes_is_the_dense_one() -> None:
    model = torch.nn.Linear(2, 3).double()
    x, y = torch.randn(6, 2, generator=torch.Generator().manual_seed(1)).double(), torch.tensor([0, 1, 2, 2, 1, 0])
    objective = og.Objective(model, og.half_squared, (x, y))
    dense = (og.HessianOperator.of(objective) @ torch.eye(9).double()).numpy()
    layout = objective.layout

    def loss(theta: torch.Tensor) -> torch.Tensor:
        parts = layout.unflatten(theta)
        scores = x @ parts["weight"].T + parts["bias"]
        return 0.5 * (scores - torch.nn.functional.one_hot(y, 3)).square().sum(1).mean()

    true = torch.autograd.functional.hessian(loss, objective.theta)
    assert dense == pytest.approx(true.numpy(), abs=1e-12)
    assert math.isclose(objective.loss(objective.theta), loss(objective.theta).item(), rel_tol=1e-12)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--dataset", "linear-teacher"), "give --loss squared"),
        (("--dataset", "digits", "--singular-values", "1,2"), "are of --dataset linear-teacher"),
        ((*TEACHER, "--singular-values=-1"), "each at least 0"),
        ((*TEACHER, "--singular-values", "inf"), "each at least 0"),
        ((*TEACHER, "--subset-size", "3"), "--subset-size of 4 at least"),
        ((*TEACHER, "--model", "CNN", "--widths", "4"), "takes images"),
        (("--dataset", "digits", "--loss", "square"), "did you mean 'squared'"),
    ],
)
def test_what_cannot_be_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], more: tuple[str, ...], words: str
) -> None:
    assert main(["sweep", *more, "--out", str(tmp_path / "run")]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert words in said
    assert said.count("error:") == 1
    assert not (tmp_path / "run").exists()
