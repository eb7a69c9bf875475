"""A small study from the command line, against networks, losses and dense Hessians computed again here with plain PyTorch."""

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from drawing import drawn
from orograph.cli import main
from orograph.data.catalogue import load_data
from orograph.store.dataset import open_run
from orograph.store.run import Run

SMALL = "--dataset digits --subset-size 300 --model MLP1 --activation tanh --batch-size 32 --fast --threads 1 --quiet"
WHOLE = f"{SMALL} --hidden-size 4,6 --epochs 3 --num-seeds 2 --lr 0.01 --curve-points 5 --paths linear"
RICH = (
    f"{SMALL} --hidden-size 4 --epochs 3 --num-seeds 3 --lr 0.01 --path-epochs 1 --curve-points 5 --2d-slice --slice-points 5 "
    "--track-curvature 2 --instability 0,1 --spectrum-plot --plot --paths linear,bezier,aligned"
)
FIRST, SECOND = "MLP1-h4-tanh-AdamW-lr0.01-b32", "MLP1-h6-tanh-AdamW-lr0.01-b32"


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("study") / "run"
    assert main(["study", *WHOLE.split(), "--out", str(path)]) == 0
    return path


@pytest.fixture(scope="module")
def results(out: Path) -> dict[str, Any]:
    return json.loads((out / "landscape_analysis_results.json").read_text())


@pytest.fixture(scope="module")
def rich(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One configuration, and everything that can be asked for."""
    path = tmp_path_factory.mktemp("rich") / "run"
    with drawn("coarsely"):
        assert main(["study", *RICH.split(), "--out", str(path)]) == 0
    return path


def network(state: dict[str, Tensor]) -> nn.Module:
    width = len(state["fc1.bias"])
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.Tanh(), nn.Linear(width, 10)).double()
    named = {"1.weight": "fc1.weight", "1.bias": "fc1.bias", "3.weight": "fc2.weight", "3.bias": "fc2.bias"}
    model.load_state_dict({mine: state[theirs].double() for mine, theirs in named.items()})
    return model


def weights(out: Path, configuration: str, seed: int) -> dict[str, Tensor]:
    return torch.load(out / "test_data" / configuration / f"model_weights-{seed}-0.00000.pth", weights_only=True)


def data() -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    found = load_data("digits", subset_size=300)
    return (found.train_inputs.double(), found.train_targets), (found.test_inputs.double(), found.test_targets)


def row_of(results: dict[str, Any], configuration: str, seed: int) -> dict[str, Any]:
    return next(row for row in results["metrics"] if (row["configuration"], row["seed"]) == (configuration, seed))


def test_every_network_and_every_pair_is_there(results: dict[str, Any]) -> None:
    assert [each["name"] for each in results["configurations"]] == [FIRST, SECOND]
    assert results["varied"] == ["hidden_size"]
    names = [FIRST, SECOND]
    assert [(row["configuration"], row["seed"]) for row in results["metrics"]] == list(itertools.product(names, range(2)))
    assert all(row["status"] == "done" for row in results["metrics"])
    assert [(each["configuration"], each["name"]) for each in results["curves"]] == [(FIRST, "0-1"), (SECOND, "0-1")]


@pytest.mark.slow
def test_whatever_is_asked_for_is_there(rich: Path) -> None:
    results = json.loads((rich / "landscape_analysis_results.json").read_text())
    assert [each["name"] for each in results["curves"]] == ["0-1", "0-2", "1-2"]
    assert {(each["kind"], each["name"]) for each in results["surfaces"]} == {("slice", "0"), ("plane", "0-1-2")}
    assert [(each["seed"], each["epoch"]) for each in results["instability"]] == [(0, 0), (0, 1)]
    assert all(each["status"] == "done" for kind in ("curves", "surfaces", "instability") for each in results[kind])
    for history in results["histories"]:
        row = row_of(results, history["configuration"], history["seed"])
        assert history["curvature"]["epoch"] == [2, 3]
        assert history["curvature"]["lambda_max"][-1] == pytest.approx(row["lambda_max"], rel=1e-2)
    node = open_run(rich)[FIRST]
    assert node["gradient_norm_by_epoch"].sizes == {"seed": 3, "epoch": 3}
    assert node["pairs"]["linear_barrier"].sizes == {"pair": 3}
    assert node["slice/0"]["train_loss"].shape == (5, 5)


@pytest.mark.parametrize("seed", [0, 1])
def test_losses_and_accuracies_are_those_of_the_weights_on_the_disk(out: Path, results: dict[str, Any], seed: int) -> None:
    model, row = network(weights(out, SECOND, seed)), row_of(results, SECOND, seed)
    for part, (inputs, targets) in zip(("train", "test"), data(), strict=True):
        outputs = model(inputs)
        assert row[f"{part}_loss"] == pytest.approx(F.cross_entropy(outputs, targets).item(), rel=1e-5)
        assert row[f"{part}_accuracy"] == pytest.approx(100 * (outputs.argmax(1) == targets).double().mean().item())
    assert row["gap"] == pytest.approx(row["test_loss"] - row["train_loss"])


def test_curvature_is_that_of_the_dense_hessian(out: Path, results: dict[str, Any]) -> None:
    state, row = weights(out, FIRST, 1), row_of(results, FIRST, 1)
    (inputs, targets), _ = data()
    sizes = [value.numel() for value in state.values()]

    def loss(theta: Tensor) -> Tensor:
        parts = [part.view(value.shape) for part, value in zip(theta.split(sizes), state.values(), strict=True)]
        hidden = torch.tanh(F.linear(inputs.flatten(1), parts[0], parts[1]))
        return F.cross_entropy(F.linear(hidden, parts[2], parts[3]), targets)

    theta = torch.cat([value.double().reshape(-1) for value in state.values()])
    values = torch.linalg.eigvalsh(torch.func.hessian(loss)(theta))
    assert row["lambda_max"] == pytest.approx(values[-1].item(), rel=1e-3)
    assert row["trace"] == pytest.approx(values.sum().item(), abs=5 * row["trace_error"] + 1e-3)
    assert row["gradient_norm"] == pytest.approx(torch.func.grad(loss)(theta).norm().item(), rel=1e-3)
    assert row["smooth"]


def test_the_barrier_on_the_line_is_that_of_interpolated_weights(out: Path, results: dict[str, Any]) -> None:
    ends = [weights(out, FIRST, seed) for seed in (0, 1)]
    (inputs, targets), _ = data()
    losses = []
    for share in np.linspace(0, 1, 5):
        mixed = {name: (1 - share) * ends[0][name].double() + share * ends[1][name].double() for name in ends[0]}
        losses.append(F.cross_entropy(network(mixed)(inputs), targets).item())
    straight = np.linspace(losses[0], losses[-1], 5)
    (pair,) = (each for each in results["curves"] if (each["configuration"], each["name"]) == (FIRST, "0-1"))
    assert pair["linear_barrier"] == pytest.approx(max(np.array(losses) - straight), rel=1e-3, abs=1e-5)
    assert pair["seeds"] == [0, 1]


def test_histories_end_where_the_metrics_begin(results: dict[str, Any]) -> None:
    for history in results["histories"]:
        row = row_of(results, history["configuration"], history["seed"])
        assert history["epoch"] == [1, 2, 3]
        assert history["train_loss"][-1] == pytest.approx(row["train_loss"], rel=1e-5)
        assert history["gradient_norm"][-1] == pytest.approx(row["gradient_norm"], rel=1e-3)


def test_seeds_are_different_networks(out: Path) -> None:
    first, second = (weights(out, FIRST, seed)["fc1.weight"] for seed in (0, 1))
    assert not torch.equal(first, second)


def test_correlations_of_two_configurations_give_signs_only(results: dict[str, Any]) -> None:
    found = results["correlations"]
    assert (found["minima"], found["configurations"]) == (4, 2)
    entry = next(each for each in found["table"] if (each["metric"], each["target"]) == ("lambda_max", "test_loss"))
    rows = pd.DataFrame(results["metrics"]).groupby("configuration")[["lambda_max", "test_loss"]].mean()
    x, y = rows.to_numpy().T  # what seeds share is no evidence: means of configurations are correlated, of two of them ±1
    assert entry["pearson"]["value"] == pytest.approx(np.corrcoef(x, y)[0, 1], rel=1e-9)
    assert entry["pearson"]["p_value"] is None


@pytest.mark.slow
def test_pictures_are_drawn(rich: Path) -> None:
    names = {path.stem for path in (rich / "figures").iterdir() if path.suffix == ".png"}
    assert {"training_curves", "spectra", "connectivity", "correlations", "by_setting", "instability"} <= names
    assert sum(name.startswith(("slice", "plane")) for name in names) == 2
    assert {path.stem for path in (rich / "figures").iterdir() if path.suffix == ".pdf"} == names


def test_it_opens_as_a_tree(out: Path, results: dict[str, Any]) -> None:
    tree = open_run(out)
    node = tree[FIRST]
    assert node["lambda_max"].sel(seed=1).item() == row_of(results, FIRST, 1)["lambda_max"]
    assert node["gradient_norm_by_epoch"].sizes == {"seed": 2, "epoch": 3}
    assert node["pairs"]["linear_barrier"].sizes == {"pair": 1}


def test_the_same_command_again_changes_nothing(out: Path) -> None:
    def content() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in out.rglob("*") if path.is_file() and "timings" not in path.parts}

    before = content()
    assert main(["study", *WHOLE.split(), "--out", str(out)]) == 0
    assert content() == before
    assert not Run.open(out).damaged()


def test_other_settings_are_refused_in_the_same_place(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["study", *WHOLE.split(), "--epochs", "4", "--out", str(out)]) == 2
    assert "optimisation.epochs = 3 (not 4)" in capsys.readouterr().err


@pytest.mark.slow
def test_diverged_networks_are_recorded_and_the_others_measured(tmp_path: Path) -> None:
    flags = f"{SMALL} --activation relu --hidden-size 4 --optimizer SGD --epochs 1 --num-seeds 2 --lr 0.01,1e30 --paths linear"
    assert main(["study", *flags.split(), "--out", str(tmp_path / "run")]) == 1  # something failed
    results = json.loads((tmp_path / "run" / "landscape_analysis_results.json").read_text())
    by_rate = {rate: [row for row in results["metrics"] if row["lr"] == rate] for rate in (0.01, 1e30)}
    assert [row["status"] for row in by_rate[0.01]] == ["done"] * 2
    assert [row["status"] for row in by_rate[1e30]] == ["failed"] * 2
    assert all(row["failed_epoch"] == 1 for row in by_rate[1e30])
    assert [each["status"] for each in results["curves"]] == ["done", "failed"]
    assert "diverged" in results["curves"][1]["error"]


@pytest.mark.slow
def test_compared_optimisers_choose_their_rates_on_held_out_training_images(tmp_path: Path) -> None:
    flags = f"{SMALL} --hidden-size 4 --compare-optimizers --lr 0.05 --epochs 2 --num-seeds 1 --paths none"
    assert main(["study", *flags.split(), "--out", str(tmp_path / "run")]) == 0
    results = json.loads((tmp_path / "run" / "landscape_analysis_results.json").read_text())
    assert [each["optimizer"] for each in results["learning_rates"]] == ["SGD", "Adam", "AdamW"]
    for entry in results["learning_rates"]:
        assert 0.05 in entry["candidates"]
        best = max(entry["held_out_accuracy"])
        assert entry["held_out_accuracy"][entry["candidates"].index(entry["chosen"])] == best
        assert entry["held_out_images"] == 50
        assert entry["training_images"] == 250
        rows = [row for row in results["metrics"] if row["configuration"] == entry["configuration"]]
        assert [row["lr"] for row in rows] == [entry["chosen"]]
        assert {row["epochs"] for row in rows} == {2}


@pytest.mark.parametrize("model", ["CNN --batch-norm", "ResNet"])
@pytest.mark.slow
def test_networks_with_batchnorm_are_studied_too(tmp_path: Path, model: str) -> None:
    flags = SMALL.replace("MLP1", model).replace("300", "100")
    flags += " --epochs 1 --num-seeds 2 --paths linear --curve-points 3 --top-k 2 --products 40"
    assert main(["study", *flags.split(), "--out", str(tmp_path / "run")]) == 0
    results = json.loads((tmp_path / "run" / "landscape_analysis_results.json").read_text())
    assert [row["status"] for row in results["metrics"]] == ["done"] * 2
    assert all("BatchNorm" in row["trained"] for row in results["metrics"])
    assert results["curves"][0]["status"] == "done"


def test_a_dry_run_states_costs_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["study", *f"{SMALL} --hidden-size 4 --dry-run --out {tmp_path / 'run'}".split()]) == 0
    text = capsys.readouterr().out
    for word in ("time", "memory", "disk", "at most 150 Hessian products a minimum", "s a product"):
        assert word in text
    assert not (tmp_path / "run").exists()


def test_a_dry_run_says_what_anchored_paths_take_at_most(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = f"{SMALL} --hidden-size 4 --num-seeds 2 --paths linear,anchored --dry-run --out {tmp_path / 'run'}"
    assert main(["study", *flags.split()]) == 0
    text = capsys.readouterr().out
    assert "at most 50,000 Hessian products each" in text
    assert "of it without anchored paths" in text


@pytest.mark.slow
def test_results_go_to_standard_output_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = f"{SMALL} --hidden-size 4 --epochs 1 --num-seeds 1 --paths none --json --no-save-results"
    assert main(["study", *flags.split(), "--out", str(tmp_path / "run")]) == 0
    results = json.loads(capsys.readouterr().out)
    assert len(results["metrics"]) == 1
    assert not (tmp_path / "run" / "landscape_analysis_results.json").exists()
