"""`orograph analyze` as a user runs it on a small sweep of `digits`; its numbers against dense Hessians of the stored weights."""

import json
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from drawing import drawn
from orograph.analysis import command
from orograph.analysis.command import analyze
from orograph.analysis.comparisons import commands
from orograph.analysis.settings import AnalyzeSettings
from orograph.cli import main
from orograph.data.catalogue import load_data
from orograph.models.catalogue import build_model
from orograph.store.analysis import of_run
from orograph.store.dataset import open_run
from orograph.store.encoding import decode
from orograph.store.run import Run
from orograph.sweep.settings import SweepSettings

SWEEP = ("--dataset", "digits", "--widths", "4", "--epochs", "3", "--k", "4", "--threads", "1", "--dtype", "float64", "--quiet")
SWEEP += ("--polish", "--polish-tolerance", "1e-9", "--tolerance", "1e-6", "--subset-size", "300")
FEW = ("--probes", "3", "--images", "2", "--path-steps", "60", "--resamples", "19", "--quiet")


def run_sweep(out: Path, *args: str) -> Path:
    assert main(["sweep", *SWEEP, "--out", str(out), *args]) == 0
    return out


def run_analyze(out: Path, *args: str) -> int:
    return main(["analyze", str(out), *FEW, *args])


DRAW = command.draw


@pytest.fixture(autouse=True, scope="module")
def _no_pictures() -> Iterator[None]:
    """Drawing takes longer than all else; one test has its own."""
    patch = pytest.MonkeyPatch()
    patch.setattr(command, "draw", lambda *args: [])
    yield
    patch.undo()


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep as it was before any analysis."""
    torch.set_num_threads(1)
    return run_sweep(tmp_path_factory.mktemp("swept") / "run", "--strengths", "0.011,0.012", "--direction", "both")


@pytest.fixture(scope="module")
def folder(swept: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, analysed."""
    out = shutil.copytree(swept, tmp_path_factory.mktemp("analysed") / "run")
    assert run_analyze(out) == 0
    return out


def dense(folder: Path, strength: float) -> tuple[torch.Tensor, list[torch.Tensor], torch.Tensor]:
    """∇L and the Hessian of each class's part of L, at the stored weights of the way up; nothing of orograph's analysis."""
    data = load_data("digits", subset_size=300)
    model = build_model("mlp", input_shape=data.input_shape, classes=10, widths=(4,), activation="sigmoid", init_seed=0).double()
    (path,) = (folder / "test_data").glob(f"model_weights-0-{strength:.5f}.pth")
    model.load_state_dict(torch.load(path, weights_only=True))
    names = [name for name, _ in model.named_parameters()]
    shapes = [p.shape for p in model.parameters()]
    theta = torch.cat([p.detach().reshape(-1) for p in model.parameters()])

    def summed(flat: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
        parts = flat.split([shape.numel() for shape in shapes])
        named = {name: part.view(shape) for name, part, shape in zip(names, parts, shapes, strict=True)}
        outputs = torch.func.functional_call(model, named, (data.train_inputs[chosen].double(),))
        return F.cross_entropy(outputs, data.train_targets[chosen], reduction="sum") / len(data.train_targets)

    everything = torch.arange(len(data.train_targets))
    gradient = torch.func.grad(summed)(theta, everything)
    by_class = [torch.func.hessian(summed)(theta, everything[data.train_targets == label]) for label in range(10)]
    return gradient, by_class, theta


def test_class_shares_curvature_and_certificates_are_those_of_dense_hessians(folder: Path) -> None:
    point = open_run(folder).sel(seed=0, direction="up", strength=0.011)
    gradient, by_class, theta = dense(folder, 0.011)
    hessian = torch.stack(by_class).sum(0)
    vectors = torch.from_numpy(point.eigenvector.values).double()
    shares = torch.stack([(vectors @ part * vectors).sum(1) for part in by_class])
    # Eigenvectors are recorded in float32.
    np.testing.assert_allclose(point.class_share.values, shares.numpy(), atol=1e-6)
    np.testing.assert_allclose(point.class_share.values.sum(0), point.eigenvalue.values, atol=1e-5)
    assert point.share_defect_largest < 1e-5
    np.testing.assert_allclose(point.sample_share.values.sum(-1), point.eigenvalue.values, atol=1e-5)
    exact = torch.linalg.eigvalsh(hessian)
    strength = 0.011
    assert point.objective_lambda_min.item() == pytest.approx(
        exact[0].item() + 2 * strength, abs=2 * point.objective_lambda_min_residual.item() + 1e-9
    )
    assert point.certificate.item() == "minimum"
    square = gradient @ gradient
    beta = 1 / (1 + square)
    trace, squared = hessian.trace(), (hessian**2).sum()
    bent = gradient @ hessian @ gradient
    scalar = beta * (trace**2 - squared) - 2 * beta**2 * (trace * bent - (hessian @ gradient).square().sum())
    assert abs(point.scalar_curvature.item() - scalar.item()) < 6 * point.scalar_curvature_error.item() + 1e-9
    solved = torch.linalg.solve(hessian + 2 * strength * torch.eye(len(theta)), theta)
    assert point.susceptibility.item() == pytest.approx(4 * (theta @ solved).item(), rel=1e-3)
    weights = [vectors[:, place : place + size].square().sum(1) for place, size in ((0, 256), (256, 4))]
    np.testing.assert_allclose(point.tensor_weight.values[:, :2].T, torch.stack(weights).numpy(), atol=1e-6)


def test_the_envelope_identity_holds_to_a_ten_thousandth(folder: Path) -> None:
    chain = json.loads((folder / "analysis.json").read_text())["chains"][0]
    assert max(step["defect"] for step in chain["envelope"]) < 1e-4
    assert all(step["outside"] == 0 for step in chain["envelope"])


def test_the_top_images_are_the_samples_with_the_largest_shares(folder: Path) -> None:
    point = open_run(folder).sel(seed=0, direction="up", strength=0.011)
    shares = point.sample_share.values
    expected = np.sort(shares, axis=1)[:, ::-1][:, :2]
    np.testing.assert_allclose(point.top_image_share.values, expected, rtol=1e-5)


def test_the_file_and_the_dataset_hold_everything(folder: Path) -> None:
    results = json.loads((folder / "analysis.json").read_text())
    assert [(chain["seed"], chain["direction"]) for chain in results["chains"]] == [(0, "up"), (0, "down")]
    assert "30 evenly spaced" in results["chains"][0]["changes_not_searched"]
    assert {"rate", "null"} == set(results["commands"])
    ds = open_run(folder)
    assert np.isfinite(ds.branch.values).all()
    assert ds.class_share.dims == ("seed", "direction", "strength", "class", "eigen")
    assert all(variable.attrs.get("long_name") for variable in ds.variables.values())


@pytest.mark.slow
def test_everything_is_drawn(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "draw", DRAW)
    with drawn("coarsely"):
        assert run_analyze(folder) == 0
    names = {path.stem for path in (folder / "figures").glob("*.png")}
    for way in ("up", "down"):
        assert {f"branches-0-{way}", f"angles-0-{way}", f"classes-0-{way}", f"curvature-0-{way}"} <= names
        assert f"images-0-{way}-0_01100" in names
    assert {"thermodynamics-0", "hysteresis-0"} <= names


def stamps(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in sorted((folder / "findings").rglob("*")) if path.is_file()}


def test_the_same_command_again_computes_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, points = stamps(folder), {path: path.read_bytes() for path in (folder / "points").iterdir()}
    monkeypatch.setattr(command, "analyse_point", lambda *args: pytest.fail("a point was analysed again"))
    assert run_analyze(folder) == 0
    assert stamps(folder) == before
    assert {path: path.read_bytes() for path in (folder / "points").iterdir()} == points


@pytest.mark.slow
def test_a_further_part_leaves_the_others_alone(folder: Path) -> None:
    before = stamps(folder)
    assert run_analyze(folder, "--density", "--density-probes", "2") == 0
    after = stamps(folder)
    assert {path for path in after if path not in before}
    assert {path: after[path] for path in before} == before
    ds = open_run(folder)
    point = ds.sel(seed=0, direction="up", strength=0.011)
    width = np.diff(point.density_grid.values[:2])
    assert (point.density.values.sum() * width).item() == pytest.approx(1, abs=1e-6)
    assert np.isfinite(ds.bulk_edge.values).all()


@pytest.mark.slow
def test_an_interrupted_analysis_ends_with_the_same_bytes(
    swept: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    again = shutil.copytree(swept, tmp_path / "run")
    original, left = command.analyse_point, iter(range(7))

    def interrupted(*args) -> None:
        if next(left, None) is None:
            raise KeyboardInterrupt
        original(*args)

    monkeypatch.setattr(command, "analyse_point", interrupted)
    assert run_analyze(again) == 130
    monkeypatch.undo()
    assert run_analyze(again) == 0
    for path in (again / "findings").rglob("*"):
        if path.is_file() and path.parent.parent.name != "density":
            assert path.read_bytes() == (folder / path.relative_to(again)).read_bytes(), path
    assert (again / "analysis.json").stat().st_size > 1000


@pytest.mark.slow
def test_a_dry_run_writes_nothing(swept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(swept.rglob("*"))
    assert analyze(AnalyzeSettings(run=str(swept), dry_run=True)) == 0
    assert sorted(swept.rglob("*")) == before
    text = capsys.readouterr().out
    for word in ("classes", "curvature", "certificate", "response", "products", "4 points"):
        assert word in text
    assert analyze(AnalyzeSettings(run=str(swept), dry_run=True, json_output=True)) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["run"], told["points"], told["parts"]["curvature"]) == (str(swept), 4, 4)
    assert told["seconds"] > 0


def test_json_is_what_the_file_holds(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_analyze(folder, "--json") == 0
    results = json.loads(capsys.readouterr().out)
    assert results == decode(folder / "analysis.json")  # which is without its seal
    assert results["of"] == of_run(Run.open(folder))["of"]


@pytest.mark.slow
def test_a_run_without_eigenvectors_is_analysed_without_what_needs_them(tmp_path: Path) -> None:
    out = run_sweep(tmp_path / "run", "--points", "2", "--max", "0.01", "--eigenvectors", "none")
    assert run_analyze(out, "--lowest-products", "0", "--response-products", "0") == 0
    ds = open_run(out)
    assert "scalar_curvature" in ds
    assert "class_share" not in ds
    assert "certificate" not in ds
    assert json.loads((out / "analysis.json").read_text())["chains"][0]["branches"] is None


def test_the_commands_for_comparison_are_sweeps(folder: Path) -> None:
    found = commands(Run.open(folder))
    rate, null = shlex.split(found["rate"]), shlex.split(found["null"])
    assert rate[:2] == null[:2] == ["orograph", "sweep"]
    assert rate[rate.index("--strengths") + 1] == "0.011,0.0115,0.012"
    settings = SweepSettings.model_validate(Run.open(folder).configuration)
    assert float(rate[rate.index("--lr") + 1]) == pytest.approx(settings.training.lr / 3)
    assert null[null.index("--direction") + 1] == "up"
    assert null[null.index("--seeds") + 1] == "1"


@pytest.mark.slow
def test_loops_are_held_against_other_runs(folder: Path, tmp_path: Path) -> None:
    null = run_sweep(tmp_path / "null", "--strengths", "0.011,0.012", "--seeds", "1")
    assert run_analyze(folder, "--null", str(null), "--rate", str(folder)) == 0
    results = json.loads((folder / "analysis.json").read_text())
    (areas,) = results["loop_areas"]
    assert areas["rate"]["other"] == areas["area"]
    assert areas["null"]["other"] >= 0
    assert results["commands"] == {}


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ([], "needs a run"),
        (["nowhere"], "not a run"),
        (["nowhere", "--probes", "2"], "--probes 2"),
        (["nowhere", "--reffine"], "--refine"),
        (["nowhere", "--refine-width", "-1"], "-1"),
    ],
)
def test_bad_input_is_one_sentence(capsys: pytest.CaptureFixture[str], args: list[str], words: str) -> None:
    assert main(["analyze", *args]) == 2
    text = capsys.readouterr().err
    assert text.startswith("error: ")
    assert len(text.strip().splitlines()) == 1
    assert words in text


@pytest.mark.slow
def test_what_a_run_cannot_give_is_refused_before_anything_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    small = (
        "--dataset",
        "digits",
        "--widths",
        "4",
        "--epochs",
        "1",
        "--k",
        "0",
        "--threads",
        "1",
        "--quiet",
        "--points",
        "1",
        "--end",
        "train",
    )
    assert main(["sweep", *small, "--out", str(out)]) == 0
    before = sorted(out.rglob("*"))
    assert run_analyze(out, "--refine") == 2
    assert "polished" in capsys.readouterr().err
    assert run_analyze(out, "--rate", str(tmp_path / "absent")) == 2
    assert "not a run" in capsys.readouterr().err
    assert sorted(out.rglob("*")) == before


@pytest.mark.slow
def test_refinement_finds_first_order_jumps_of_two_layers_and_goes_on_where_it_stopped(tmp_path: Path) -> None:
    out, two_layers = tmp_path / "run", [word if word != "4" else "6,6" for word in SWEEP[:4]]
    ladder = ("--min", "0.004", "--max", "0.032", "--points", "8", "--epochs", "5", "--end", "train")
    rest = [word for word in SWEEP[4:] if word not in ("--epochs", "3")]
    assert main(["sweep", *two_layers, *rest, *ladder, "--out", str(out)]) == 0
    args = ("--refine", "--refine-points", "5", "--lowest-products", "0")
    assert run_analyze(out, *args) == 0
    results = json.loads((out / "analysis.json").read_text())["chains"][0]
    assert len(Run.open(out).plan.cells) == 8 + results["inserted"]
    # L_eff itself falls over these steps, by up to 0.04: no branch of minima does that.
    assert [each["change"]["evidence"] for each in results["transitions"]] == ["energy"] * len(results["transitions"])
    steps = [(each["change"]["low"], each["change"]["high"]) for each in results["transitions"]]
    assert (0.012, 0.016) in steps
    for each in results["transitions"]:
        judgement = each["judgement"]
        assert judgement["order"] == "first"
        assert judgement["steepness"] > 3
        assert each["change"]["low"] <= judgement["low"] < judgement["high"] <= each["change"]["high"]
    before = {path: path.read_bytes() for path in (out / "points").iterdir()}
    assert run_analyze(out, *args) == 0
    assert {path: path.read_bytes() for path in (out / "points").iterdir()} == before
