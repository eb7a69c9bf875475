"""What a sweep and its analysis say of kinks, of averages and of the optimiser's own decay; what a study says of one gradient."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torch.nn.utils import vector_to_parameters

from orograph.analysis import command
from orograph.cli import main
from orograph.data.catalogue import load_data
from orograph.models.catalogue import build_model
from orograph.store.dataset import open_run
from orograph.store.run import Run

SMALL = ["--dataset", "digits", "--subset-size", "100", "--widths", "4", "--epochs", "3", "--threads", "1", "--quiet"]
LADDER = ["--strengths", "0.02,0.05,0.1", "--dtype", "float64"]
FEW = ["--probes", "3", "--images", "2", "--path-steps", "0", "--resamples", "19", "--quiet"]


def second_difference(theta: np.ndarray, direction: np.ndarray, radius: float) -> float:
    """[L(θ+Rv) + L(θ−Rv) − 2L(θ)]/R² of a network with the parameters of the sweep."""
    data = load_data("digits", subset_size=100)
    inputs, targets = data.train_inputs, data.train_targets
    model = build_model("mlp", input_shape=data.input_shape, classes=10, widths=(4,), activation="relu", init_seed=0).double()

    def loss(step: float) -> float:
        vector_to_parameters(torch.from_numpy(np.array(theta) + step * np.array(direction)).double(), model.parameters())
        return F.cross_entropy(model(inputs.double()), targets).item()

    with torch.no_grad():
        return (loss(radius) + loss(-radius) - 2 * loss(0.0)) / radius**2


def swept(out: Path, *flags: str) -> Path:
    assert main(["sweep", *SMALL, *LADDER, *flags, "--out", str(out)]) == 0
    return out


def analysed(out: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(command, "draw", lambda *args: [out])
    assert main(["analyze", str(out), *FEW]) == 0
    return out


@pytest.mark.slow
@pytest.mark.parametrize("hessian", ["loss", "objective"])
def test_the_spectrum_and_the_analysis_of_a_relu_network_carry_their_companions(
    tmp_path: Path, monkeypatch, hessian: str
) -> None:
    out = analysed(swept(tmp_path / "run", "--activation", "relu", "--k", "2", "--hessian", hessian), monkeypatch)
    run = Run.open(out)
    for cell, record in run.records.items():
        scalars = record.scalars
        assert scalars["smooth"] is False
        shift = 0.0 if hessian == "loss" else 2 * cell.strength
        along = second_difference(run.array(cell, "theta"), run.array(cell, "eigenvector")[0], scalars["finite_radius"])
        assert scalars["finite_lambda_first"] == pytest.approx(along + shift, rel=1e-5)
    found = open_run(out)
    companions = {"finite_trace", "finite_trace_margin", "finite_objective_lambda_min", "finite_response_curvature"}
    assert companions <= set(found.data_vars)
    assert float(found.smooth.max()) == 0


@pytest.mark.slow
def test_a_smooth_network_says_so_and_has_no_companions(tmp_path: Path, monkeypatch) -> None:
    out = analysed(swept(tmp_path / "run", "--activation", "tanh", "--k", "2"), monkeypatch)
    found = open_run(out)
    assert float(found.smooth.min()) == 1
    assert not any(str(name).startswith("finite_") for name in found.data_vars)


@pytest.mark.slow
@pytest.mark.parametrize("flags", [["--optimizer", "SGD", "--lr", "0.05"], ["--direction", "both"], ["--start", "fresh"]])
def test_free_energies_of_a_published_run_are_those_of_the_states(tmp_path: Path, monkeypatch, flags: list[str]) -> None:
    out = analysed(swept(tmp_path / "run", "--k", "0", "--published", *flags), monkeypatch)
    found = open_run(out)
    for chain in json.loads((out / "analysis.json").read_text())["chains"]:
        states = found.sel(seed=chain["seed"], direction=chain["direction"])
        for step in chain["envelope"]:
            low, high = (float(states.sel(strength=step[end]).final_objective) for end in ("low", "high"))
            assert step["slope"] == pytest.approx((high - low) / (step["high"] - step["low"]), rel=1e-6)


@pytest.mark.parametrize("flags", [[], ["--optimizer", "AdamW"], ["--optimizer", "SGD"], ["--published"]])
def test_an_optimisers_own_decay_is_refused_in_one_sentence(tmp_path: Path, capsys, flags: list[str]) -> None:
    out = tmp_path / "run"
    assert main(["sweep", *SMALL, *LADDER, "--weight-decay", "0.3", *flags, "--out", str(out)]) == 2
    error = capsys.readouterr().err
    assert "--weight-decay 0.3" in error
    assert "0.15" in error
    assert len(error.strip().splitlines()) == 1
    assert not out.exists()


@pytest.mark.slow
@pytest.mark.parametrize("flags", [["--fast"], ["--fast", "--batch-norm"], ["--optimizer", "AdamW"], ["--activation", "tanh"]])
def test_a_quantity_of_a_minimum_is_one_number_in_the_results_and_in_the_arrays(tmp_path: Path, flags: list[str]) -> None:
    out = tmp_path / "run"
    words = (
        "--dataset mnist-5k --model MLP1 --hidden-size 2 --num-seeds 1 --epochs 1 --products 40 --paths none --threads 1 --quiet"
    )
    if flags != ["--fast"]:  # 2,000 of all images only matter to `--fast`
        words = words.replace("mnist-5k", "digits")
    assert main(["study", *words.split(), *flags, "--out", str(out)]) == 0
    (row,) = json.loads((out / "landscape_analysis_results.json").read_text())["metrics"]
    node = open_run(out)[row["configuration"]].sel(seed=row["seed"])
    numbers = [name for name, value in row.items() if isinstance(value, float) and name in node.data_vars]
    assert len(numbers) > 20
    assert {name: float(node[name]) for name in numbers} == pytest.approx(
        {name: row[name] for name in numbers}, rel=1e-6, nan_ok=True
    )
    assert row["gradient_norm"] == pytest.approx(float(node.gradient_norm_by_epoch[-1]), rel=1e-3)
