"""Studies of problems of one's own: regressions, labels, language, groups, own metrics, no test data."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import orograph as og
import own_flags
from orograph.cli import main
from orograph.commands.card import card_text
from orograph.errors import OrographError
from orograph.figures import study as figures
from orograph.report.study import study_data
from orograph.store.dataset import open_run
from orograph.store.run import Run
from orograph.study.results import NAME
from own_flags import PARTS, own
from run_bytes import bytes_of

WORDS = "--num-seeds 2 --epochs 2 --fast --top-k 2 --products 40 --paths linear --curve-points 3 --threads 1 --quiet"
SMALL = WORDS.split()

KINDS = own_flags.KINDS | {
    "part": own(model="regressor", data="curves", loss="=mse_loss", metrics="worst_error", parameters="=2.*"),
}
METRICS = own_flags.METRICS | {"part": ["worst_error"]}
OF_CLASSES = {
    *(
        "train_accuracy",
        "test_accuracy",
        "accuracy_gap",
        "train_margin",
        "test_margin",
        "noise_accuracy_drop",
        "noise_margin_drop",
    ),
    *("train_error", "test_error", "disagreement", "ensemble_accuracy", "ensemble_loss", "member_accuracies", "difference"),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Runs by kind, made when they are first asked for."""
    root = tmp_path_factory.mktemp("own")

    class Made(dict[str, Path]):
        def __missing__(self, kind: str) -> Path:
            assert main(["study", *KINDS[kind], *SMALL, "--2d-slice", "--slice-points", "3", "--out", str(root / kind)]) == 0
            self[kind] = root / kind
            return self[kind]

    return Made()


def names_in(value: Any) -> set[str]:
    """All names of mappings, however deep."""
    if isinstance(value, dict):
        return {*value, *(name for each in value.values() for name in names_in(each))}
    return {name for each in value for name in names_in(each)} if isinstance(value, list) else set()


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_study_measures_what_its_problem_has_and_says_what_it_has_not(
    kind: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    run, tested = Run.open(folders[kind]), kind != "alone"
    results = json.loads((run.path / NAME).read_text())
    assert [each["name"] for each in run.metrics] == METRICS[kind]
    for row in results["metrics"]:
        assert all(row[f"train_{name}"] is not None and (f"test_{name}" in row) == tested for name in METRICS[kind])
        assert ("test_loss" in row) == ("gap" in row) == ("noise_loss_rise" in row) == tested
    measured = {part: results[part] for part in ("metrics", "histories", "curves", "surfaces", "instability")}
    present = names_in(measured)
    assert not present & OF_CLASSES
    assert any("classifications alone" in text for text in results["left_out"])
    assert any("Without test data" in text for text in results["left_out"]) == (not tested)
    assert any("only a mean" in text for text in results["left_out"]) == (kind == "mean")
    assert not any(entry["failures"] for entry in (*results["metrics"], *results["curves"]))
    assert bool(results["correlations"]["table"]) == tested
    page = study_data(run)
    assert page["score"] == f"{'test' if tested else 'train'}_{METRICS[kind][0]}"
    assert page["left_out"] == results["left_out"]
    assert {row["group"] for row in page["by_group"]} == (set(run.classes) if "--groups" in KINDS[kind] else set())
    assert "image" not in " ".join(page["quantities"][name]["label"] for name in present & page["quantities"].keys())
    assert main(["report", str(run.path), "--out", str(tmp_path / "report.html"), "--quiet"]) == 0
    assert main(["watch", str(run.path), "--once"]) == 0
    assert "Test_Accuracy" not in card_text(run, "mit")
    tree = open_run(run.path)
    node = tree[next(iter(tree.children))]
    single = METRICS[kind][0]
    np.testing.assert_allclose(node[f"train_{single}"], [row[f"train_{single}"] for row in results["metrics"]])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["regression", "alone"])
def test_figures_have_no_empty_panel_and_the_words_of_the_problem(kind: str, folders: dict[str, Path]) -> None:
    results = json.loads((folders[kind] / NAME).read_text())
    for function in (figures.training_curves, figures.by_setting, figures.connectivity):
        panels = [axes for axes in function(results).axes if axes.axison]
        words = [text.get_text() for axes in panels for text in (axes.title, axes.xaxis.label, axes.yaxis.label, *axes.texts)]
        assert all(axes.has_data() for axes in panels)
        assert not [word for word in words if "accuracy" in word.lower() or "nat)" in word or word in ("nat", "none recorded")]
        assert kind == "regression" or not [word for word in words if "test" in word.lower()]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["regression", "mean", "language"])
def test_histories_end_with_what_is_measured_at_the_minimum(kind: str, folders: dict[str, Path]) -> None:
    results = json.loads((folders[kind] / NAME).read_text())
    for row, course in zip(results["metrics"], results["histories"], strict=True):
        for name in ("train_loss", "test_loss", f"train_{METRICS[kind][0]}", f"test_{METRICS[kind][0]}"):
            assert course[name][-1] == pytest.approx(row[name], rel=1e-6)  # float32 summed in other chunks


@pytest.mark.slow
def test_parameters_outside_the_globs_are_the_same_in_all_networks(folders: dict[str, Path]) -> None:
    run = Run.open(folders["part"])
    one, other = (run.weights(cell) for cell in run.records)
    assert torch.equal(one["0.weight"], other["0.weight"])
    assert not torch.equal(one["2.weight"], other["2.weight"])


@pytest.mark.slow
def test_a_regression_without_test_data_is_resumed_and_shared_out_to_the_same_bytes(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    words = ["study", *KINDS["alone"], *SMALL, "--2d-slice", "--slice-points", "3", "--out"]
    again = shutil.copytree(folders["alone"], tmp_path / "again")
    for record in [*again.glob("findings/pair/*/*"), *again.glob("points/*/1-*"), *again.glob("findings/minimum/*/1.*")]:
        record.unlink()
    assert main([*words, str(again)]) == 0
    assert bytes_of(again) == bytes_of(folders["alone"])
    assert main([*words, str(tmp_path / "shared"), "--parallel", "processes", "--jobs", "2"]) == 0
    assert bytes_of(tmp_path / "shared") == bytes_of(folders["alone"])


@pytest.mark.slow
def test_without_classes_a_learning_rate_is_that_of_the_smallest_held_out_loss(tmp_path: Path) -> None:
    small = [word if word != "linear" else "none" for word in SMALL]
    words = ["study", *KINDS["alone"], *small, "--num-seeds", "1", "--compare-optimizers", "--out", str(tmp_path / "run")]
    assert main(words) == 0
    for found in json.loads((tmp_path / "run" / NAME).read_text())["learning_rates"]:
        assert "held_out_accuracy" not in found
        assert found["chosen"] == found["candidates"][int(np.argmin(found["held_out_loss"]))]


@pytest.mark.slow
def test_a_changed_source_of_any_network_is_refused_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parts, other = shutil.copy(PARTS, tmp_path / "studied_parts.py"), tmp_path / "another_network.py"
    other.write_text("import torch\ndef wide():\n    return torch.nn.Linear(4, 3)\n")
    words = own(parts, data="curves", loss="=mse_loss")
    words += ["--model", f"{parts}:regressor,{other}:wide", *SMALL[2:], "--num-seeds", "1", "--paths", "none"]
    words = ["study", *words, "--out", str(tmp_path / "run")]
    assert main(words) == 0
    assert main(words) == 0
    other.write_text(other.read_text() + "# another line\n")
    assert main(words) == 2
    assert f"the source of `model {other}:wide` has changed since this run was begun" in " ".join(capsys.readouterr().err.split())


@pytest.mark.slow
def test_the_named_network_and_data_as_ones_own_give_the_same_bytes(tmp_path: Path) -> None:
    parts = tmp_path / "named_parts.py"  # the name of a configuration, which files have, is that of its factory
    parts.write_text(
        "from orograph.data.catalogue import load_data\nfrom orograph.models.catalogue import build_model\n"
        "def perceptron(init_seed, input_shape, classes):\n"
        "    given = {'init_seed': init_seed, 'input_shape': input_shape, 'classes': classes}\n"
        "    return build_model('MLP1', hidden_size=4, activation='relu', **given)\n"
        "globals()['MLP1-h4'] = perceptron\n"
        "def digits():\n    return load_data('digits', subset_size=100, subset_seed=0)\n"
    )
    named = ["--dataset", "digits", "--subset-size", "100", "--model", "MLP1", "--hidden-size", "4"]
    found: dict[str, Any] = {}
    more = ["--2d-slice", "--slice-points", "3", "--instability", "1", "--cohort", "2"]
    for place, words in (("named", named), ("own", ["--model", f"{parts}:MLP1-h4", "--data", f"{parts}:digits"])):
        out = tmp_path / place / "run"
        assert main(["study", *words, *SMALL, *more, "--out", str(out)]) == 0
        results = json.loads((out / NAME).read_text())
        found[place] = bytes_of(out), results
    (files, results), (own_files, own_results) = found["named"], found["own"]
    assert set(files) == set(own_files)
    configured = {"run.json", "configuration.toml", "copies/run.json", "copies/configuration.toml", NAME}
    assert {name for name in files if files[name] != own_files[name]} <= configured
    for part in ("histories", "curves", "surfaces", "spectra", "instability", "correlations"):
        assert results[part] == own_results[part]


X = torch.randn(60, 3, generator=torch.Generator().manual_seed(0))
Y = X @ torch.tensor([[1.0], [-2.0], [0.5]]) + 0.1 * X[:, :1].square()


def solve(model: torch.nn.Module, penalty: object, start: object, seed: int, report: Any) -> None:
    """Least squares, by the normal equations."""
    with torch.no_grad():
        model.weight.copy_(torch.linalg.lstsq(X, Y).solution.T)
    report(4, 0.25)


@pytest.mark.slow
def test_a_function_of_ones_own_trains_the_networks_of_a_study(tmp_path: Path) -> None:
    problem = og.Problem(lambda: torch.nn.Linear(3, 1, bias=False), torch.nn.MSELoss(), train=(X, Y), trainer=solve)
    small = {"num_seeds": 2, "fast": True, "top_k": 2, "products": 40, "paths": "linear", "curve_points": 3, "quiet": True}
    og.study(problem, out=tmp_path / "run", **small)
    records = list(Run.open(tmp_path / "run").records.values())
    truth = np.linalg.lstsq(X.double().numpy(), Y.double().numpy(), rcond=None)[1][0] / 60
    assert [each.scalars["train_loss"] for each in records] == pytest.approx([truth] * 2, rel=1e-5)  # float32
    first = records[0]
    assert (first.cell.configuration, first.scalars["trained"]) == ("lambda-solve", "by a function of one's own")
    assert first.scalars["epochs"] == 1  # a record of its end
    assert np.isnan([first.scalars["total_steps"], first.scalars["lr"]]).all()  # nobody counted
    results = json.loads((tmp_path / "run" / NAME).read_text())
    assert results["curves"][0]["status"] == "done"


@pytest.mark.parametrize(
    "chosen", [{"compare_optimizers": True}, {"track_curvature": 2}, {"lr": [0.1, 0.2]}, {"instability": [1]}], ids=str
)
def test_settings_of_the_programs_training_are_refused_beside_a_function_that_trains(
    chosen: dict[str, Any], tmp_path: Path
) -> None:
    problem = og.Problem(lambda: torch.nn.Linear(3, 1), torch.nn.MSELoss(), train=(X, Y), trainer=solve)
    with pytest.raises(OrographError, match=f"`{next(iter(chosen))}` is of the program's own training"):
        og.study(problem, out=tmp_path / "run", quiet=True, **chosen)
    assert not (tmp_path / "run").exists()
