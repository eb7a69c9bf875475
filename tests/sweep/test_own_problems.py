"""Problems of one's own from the sweep to the card: regressions, labels, language, groups, own metrics, no test data."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from own_parts import curves, mlp, sign
from torch.nn import functional as F

import own_flags
from orograph.cli import main
from orograph.commands.brought import brought
from orograph.commands.card import card_text
from orograph.commands.rows import columns, table
from orograph.commands.settings import MeasureSettings
from orograph.report.sweep import sweep_data
from orograph.settings.shared import ModelSettings
from orograph.store.analysis import Analysis
from orograph.store.dataset import open_run
from orograph.store.run import Run
from own_flags import PARTS, own
from run_bytes import bytes_of

LADDER = ("--strengths", "0.001,0.1", "--k", "2", "--epochs", "2", "--threads", "1", "--quiet")
QUICK = ("--resamples", "19", "--probes", "3", "--lowest-products", "20", "--response-products", "20", "--path-steps", "0")

KINDS = own_flags.KINDS | {
    "blobs": own(model="classifier", data="blobs"),
    "metric": own(model="regressor", data="curves", loss="=mse_loss", metrics="worst_error", groups="sign"),
}
METRICS = own_flags.METRICS | {"blobs": ["accuracy"], "metric": ["worst_error"]}


def analysed(kind: str, out: Path) -> Path:
    assert main(["sweep", *KINDS[kind], *LADDER, "--out", str(out)]) == 0
    assert main(["analyze", str(out), *QUICK, "--quiet"]) == 0
    return out


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Runs by kind, made when they are first asked for."""
    root = tmp_path_factory.mktemp("own")

    class Made(dict[str, Path]):
        def __missing__(self, kind: str) -> Path:
            self[kind] = analysed(kind, root / kind)
            return self[kind]

    return Made()


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_problem_is_spoken_of_in_its_own_words(kind: str, folders: dict[str, Path], tmp_path: Path) -> None:
    run = Run.open(folders[kind])
    assert [each["name"] for each in run.metrics] == METRICS[kind]
    card = card_text(run, "mit")
    data = sweep_data(run)
    shown = {name for chain in data["chains"] for name in (*chain["scalars"], *chain["texts"], *chain["arrays"])}
    said = " ".join(f"{data['quantities'][name]['label']} {data['quantities'][name]['units']}" for name in shown)
    assert ("Test_Accuracy" in card) == ("test_accuracy" in shown) == (kind == "blobs")
    assert "test_accuracy" not in {name for names in data["tables"].values() for name in names} or kind == "blobs"
    assert "image" not in said
    assert ("group" in said) == (kind in ("regression", "language", "metric", "mean"))
    assert "group" not in said or "class" not in said
    assert ("nat" in said.split()) == (kind in ("labels", "language", "blobs"))
    exported = columns(table(run))
    for name in METRICS[kind]:
        assert any(each.startswith(f"train_{name}") for each in exported)
        assert any(each.startswith(f"test_{name}") for each in exported) == (kind != "alone")
    assert main(["report", str(run.path), "--out", str(tmp_path / "report.html"), "--quiet"]) == 0
    assert main(["watch", str(run.path), "--once"]) == 0


@pytest.mark.slow
def test_what_cannot_be_had_is_said_once(folders: dict[str, Path]) -> None:
    left = {kind: json.loads((folders[kind] / "analysis.json").read_text()).get("left_out", []) for kind in KINDS}
    assert any("no test losses" in text for text in left["alone"])
    assert not any("no test losses" in text for text in left["regression"])
    assert any("only a mean" in text for text in left["mean"])
    assert any("Without classes or other groups" in text for text in left["labels"])
    assert [text for text in left["blobs"] if "images" not in text] == []


@pytest.mark.slow
def test_shares_of_groups_are_those_of_dense_hessians(folders: dict[str, Path]) -> None:
    run = Run.open(folders["regression"])
    cell = next(iter(run.records))
    theta = torch.from_numpy(np.array(run.array(cell, "theta"))).double()
    (x, y), _ = curves()
    groups = sign(x, y)

    def loss(point: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
        first, bias, second, last = point.split([12, 3, 9, 3])
        hidden = torch.tanh(F.linear(x.double()[chosen], first.view(3, 4), bias))
        return (F.linear(hidden, second.view(3, 3), last) - y.double()[chosen]).square().mean(1).sum() / len(x)

    vectors = torch.from_numpy(np.array(run.array(cell, "eigenvector"))).double()
    shares = Analysis(run).array("classes", cell, "class_share")
    assert shares is not None
    for number, name in enumerate(run.classes):
        chosen = torch.tensor([each == name for each in groups])
        hessian = torch.autograd.functional.hessian(lambda point, chosen=chosen: loss(point, chosen), theta)
        wanted = torch.einsum("kp,pq,kq->k", vectors, hessian, vectors)
        np.testing.assert_allclose(shares[number], wanted, rtol=0, atol=1e-4 * wanted.abs().max())  # shares are float32 products


@pytest.mark.slow
def test_metrics_by_output_and_by_group_are_read_back_with_their_dimensions(folders: dict[str, Path]) -> None:
    ds = open_run(folders["regression"])
    assert isinstance(ds, xr.Dataset)
    assert ds.test_rmse_per_output.dims == ("seed", "direction", "strength", "output")
    assert list(ds["class"].values) == ["left", "right"]
    squares = (ds.test_rmse_per_output.values**2).mean(-1)
    np.testing.assert_allclose(squares, ds.test_rmse.values**2, rtol=1e-6)  # float64 sums of float32 outputs
    np.testing.assert_allclose(ds.test_rmse.values**2, ds.test_loss.values, rtol=1e-5)  # the loss is summed in float32 chunks


@pytest.mark.slow
def test_published_files_of_a_problem_of_ones_own_are_imported(folders: dict[str, Path], tmp_path: Path) -> None:
    assert (
        main(["import", str(folders["metric"]), *KINDS["metric"], "--threads", "1", "--quiet", "--out", str(tmp_path / "a")]) == 0
    )
    imported, made = Run.open(tmp_path / "a"), Run.open(folders["metric"])
    for one, other in zip(imported.records.values(), made.records.values(), strict=True):
        for name in ("train_loss", "test_loss", "test_worst_error", "train_worst_error"):
            assert one.scalars[name] == pytest.approx(other.scalars[name], rel=1e-6)  # float32 in another order
        assert one.scalars["claimed_test_worst_error"] == pytest.approx(other.scalars["test_worst_error"], abs=1e-4)  # 4 decimals
    assert imported.configuration["problem"] == made.configuration["problem"]


@pytest.mark.slow
def test_measure_gives_metrics_and_their_values_by_group(folders: dict[str, Path], tmp_path: Path) -> None:
    weights = min((folders["metric"] / "test_data").glob("*.pth"))
    small = ["--k", "2", "--probes", "2", "--trace-probes", "2", "--threads", "1", "--quiet", "--out", str(tmp_path / "m")]
    assert main(["measure", str(weights), *KINDS["metric"], "--parameters", "2.*", *small]) == 0
    found = json.loads((tmp_path / "m.json").read_text())
    record = min(Run.open(folders["metric"]).records.values(), key=lambda each: each.cell.strength)
    assert found["metrics"]["worst_error"] == pytest.approx(record.scalars["train_worst_error"], rel=1e-6)  # float32
    assert found["groups"]["names"] == ["left", "right"]
    assert found["parameters"] == 12


def test_measure_calls_a_factory_with_what_it_asks_for_and_knows_the_samples_of_a_built_in_network(tmp_path: Path) -> None:
    weights = mlp(init_seed=0, input_shape=(1, 8, 8), classes=10).state_dict()
    torch.save(weights, tmp_path / "net.pth")
    given: dict[str, Any] = {"checkpoint": str(tmp_path / "net.pth"), "data": f"{PARTS}:digits"}
    for own_or_built_in in ({"model": f"{PARTS}:mlp"}, {"model": "mlp", "widths": (4,)}):
        network, problem = brought(MeasureSettings(**own_or_built_in, **given))
        assert all(torch.equal(value, weights[name]) for name, value in network.state_dict().items())
        assert (problem.shape, problem.outputs, problem.test) == ((1, 8, 8), 10, None)


@pytest.mark.slow
@pytest.mark.parametrize("words", [["sweep"], ["analyze"]])
def test_a_changed_source_is_refused_by_name(words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parts = shutil.copy(PARTS, tmp_path / f"parts_{words[0]}.py")
    flags = [word.replace(str(PARTS), str(parts)) for word in KINDS["regression"]]
    ladder = ["--strengths", "0.01", "--k", "1", "--epochs", "1", "--threads", "1", "--quiet", "--out", str(tmp_path / "run")]
    assert main(["sweep", *flags, *ladder]) == 0
    assert main(["sweep", *flags, *ladder]) == 0
    parts.write_text(parts.read_text() + "# another line\n")
    again = ["sweep", *flags, *ladder] if words == ["sweep"] else ["analyze", str(tmp_path / "run")]
    assert main(again) == 2
    told = capsys.readouterr().err
    assert "the source of `data`" in told or "the source of --data" in told
    assert "has changed since this run was begun" in told


@pytest.mark.slow
def test_changed_data_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    numbers = tmp_path / "numbers.txt"
    parts = tmp_path / "parts_of_numbers.py"
    parts.write_text(
        "import numpy, torch\n"
        f"def data():\n    x = torch.tensor(numpy.loadtxt(r'{numbers}'), dtype=torch.float32)\n    return {{'train': (x, x)}}\n"
        "def model():\n    return torch.nn.Linear(2, 2)\n"
    )
    ladder = ["--strengths", "0.01", "--k", "1", "--epochs", "1", "--threads", "1", "--quiet", "--out", str(tmp_path / "run")]
    words = ["sweep", "--model", f"{parts}:model", "--data", f"{parts}:data", "--loss", "mse_loss", *ladder]
    np.savetxt(numbers, np.arange(8.0).reshape(4, 2))
    assert main(words) == 0
    np.savetxt(numbers, np.arange(8.0).reshape(4, 2) + 1)
    assert main(words) == 2
    assert main(["analyze", str(tmp_path / "run")]) == 2
    assert capsys.readouterr().err.count("gives other values than when this run was begun") == 2


@pytest.mark.slow
def test_the_named_network_and_data_as_ones_own_give_the_same_bytes(tmp_path: Path) -> None:
    named = ["--dataset", "digits", "--subset-size", "100", "--widths", "4"]
    found: dict[str, Any] = {}
    for place, parts in (("named", named), ("own", own(model="mlp", data="digits"))):
        out = tmp_path / place / "run"
        assert main(["sweep", *parts, *LADDER, "--out", str(out)]) == 0
        assert main(["analyze", str(out), *QUICK, "--quiet"]) == 0
        found[place] = bytes_of(out)
    titled = {name for name in found["named"] if name.startswith("figures/")}
    configured = {"run.json", "configuration.toml", "copies/run.json", "copies/configuration.toml"}
    assert set(found["named"]) == set(found["own"])
    differing = {name for name in found["named"] if found["named"][name] != found["own"][name]}
    assert differing <= titled | configured  # where the names stand


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--optimizer", "torch.optim:LBFGS"], "--optimizer torch.optim:LBFGS cannot step"),
        (["--optimizer", "os:system"], "--optimizer os:system is no function of your own"),
        (["--metrics", "os:system"], "--metrics os:system is no function of your own"),
        (["--metrics", "own_parts:mlp"], "--metrics mlp failed with TypeError"),
        (["--train", "os:system"], "--train os:system is no function of (model, penalty, start, seed, report)"),
        (["--train", "torch.optim:Adam"], "--train torch.optim:Adam is no function of"),
        (["--train", "own_parts:sign"], "--train own_parts:sign is no function of"),
    ],
)
def test_what_can_neither_train_nor_score_is_refused_before_anything_is_written(
    tmp_path: Path, capsys, flags: list[str], told: str
) -> None:
    small = ["--data", "digits", "--subset-size", "100", "--widths", "2", "--quiet"]
    assert main(["sweep", *small, *flags, *LADDER, "--out", str(tmp_path / "run")]) == 2
    assert told in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("sweep --model own_parts:mlp --data digits --activation relu", "--activation relu of --model own_parts:mlp"),
        ("sweep --model deep-linear --data digits --activation relu --dry-run", "--activation relu of --model deep-linear"),
        ("measure x.pth --model own_parts:mlp --data digits --activation relu", "--activation relu of --model own_parts:mlp"),
        ("follow x.pth --model own_parts:mlp --data digits --activation relu", "--activation relu of --model own_parts:mlp"),
        (
            "study --model MLP1,own_parts:mlp --data digits --activation tanh,relu",
            "--activation tanh,relu of --model own_parts:mlp",
        ),
        ("study --model own_parts:mlp --data digits --batch-norm", "--batch-norm True of --model own_parts:mlp"),
    ],
)
def test_an_option_that_a_network_is_built_without_is_refused(
    tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch, command: str, told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(command.split()) == 2
    assert f"{told} must be left out" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_run_that_recorded_an_idle_activation_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = ["--strengths", "0.01", "--k", "1", "--epochs", "1", "--threads", "1", "--quiet"]
    flags = ["--model", "own_parts:classifier", "--data", "own_parts:blobs", *small, "--out", str(tmp_path / "run")]
    with monkeypatch.context() as before:
        before.setattr(ModelSettings, "require_taken", lambda settings: None)
        assert main(["sweep", *flags, "--activation", "relu"]) == 0
    assert main(["sweep", *flags, "--activation", "relu"]) == 0
