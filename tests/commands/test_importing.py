"""Artifacts that `published_writer` made become a run.

The writer is a program of its own: double backward for the Hessian, ARPACK for the pairs, its own network. So what is compared
here was computed twice, by programs that share no line.
"""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from orograph.cli import main
from orograph.data.catalogue import load_data
from orograph.store.dataset import open_run

pytestmark = pytest.mark.slow  # the writer takes its time

MODEL = ("--dataset", "digits", "--subset-size", "200", "--widths", "6,5", "--threads", "1")
STRENGTHS = [0.001, 0.004, 0.012]


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("published")
    data = load_data("digits", subset_size=200)
    parts = {"x": data.train_inputs, "y": data.train_targets, "test_x": data.test_inputs, "test_y": data.test_targets}
    torch.save(parts, place / "data.pt")
    script = Path(__file__).with_name("published_writer.py")
    subprocess.run([sys.executable, str(script), str(place / "data.pt"), str(place / "theirs")], check=True)
    return place / "theirs"


@pytest.fixture(scope="module")
def imported(published: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("imported") / "run"
    assert main(["import", str(published), *MODEL, "--out", str(out), "--quiet"]) == 0
    return out


@pytest.fixture
def copied(published: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(published, tmp_path / "theirs"))


def refused(capsys: pytest.CaptureFixture[str], folder: Path, out: Path, *args: str) -> str:
    assert main(["import", str(folder), *MODEL, "--out", str(out), "--quiet", *args]) == 2
    error = capsys.readouterr().err
    assert len(error.strip().splitlines()) == 1
    return error


def test_what_is_measured_is_what_the_writer_measured(imported: Path) -> None:
    ds = open_run(imported)
    assert ds.strength.values.tolist() == STRENGTHS
    assert ds.direction.values.tolist() == ["up", "down"]
    assert (ds.status == "done").all()
    for name in ("train_loss", "objective", "test_loss"):  # files have nine decimals, measuring is in float32
        np.testing.assert_allclose(ds[name], ds[f"claimed_{name}"], rtol=2e-6)
    np.testing.assert_allclose(ds.test_accuracy, ds.claimed_test_accuracy, atol=1e-4)
    assert float(ds.claimed_gradient_difference.max()) < 1e-6


def test_pairs_computed_elsewhere_are_certified_here(imported: Path, published: Path) -> None:
    ds = open_run(imported)
    there = np.loadtxt(published / "Hessian-eigenvalues-0-down-0.00400.csv")
    here = ds.eigenvalue.sel(seed=0, direction="down", strength=0.004).values
    np.testing.assert_array_equal(here, there)
    assert (ds.residual.values <= 1e-5 * np.abs(ds.eigenvalue.values).max()).all()  # vectors were rounded to float32
    assert (ds.converged == 1).all()


@pytest.mark.slow
def test_imported_runs_are_analysed_and_reported(imported: Path) -> None:
    few = ["--probes", "3", "--lowest-products", "30", "--response-products", "10", "--path-steps", "0", "--resamples", "19"]
    assert main(["analyze", str(imported), *few, "--quiet"]) == 0
    assert main(["report", str(imported), "--quiet"]) == 0
    ds = open_run(imported)
    np.testing.assert_allclose(ds.class_share.sum("class"), ds.eigenvalue, rtol=1e-3, atol=1e-4)
    assert (imported / "report.html").stat().st_size > 1e6


@pytest.mark.slow
def test_an_import_goes_on_where_it_stopped(published: Path, imported: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(imported, out, ignore=shutil.ignore_patterns("findings", "analysis.json", "report.html", "figures"))
    record = out / "points" / "0-0.00400.json"
    before = record.read_bytes()
    record.unlink()
    assert main(["import", str(published), *MODEL, "--out", str(out), "--quiet"]) == 0
    assert record.read_bytes() == before


@pytest.mark.slow
def test_a_wrong_eigenvector_shows_in_its_residual(copied: Path, tmp_path: Path) -> None:
    path = copied / "Hessian-eigenvectors-0-0.00100.csv"
    vectors = np.loadtxt(path, delimiter=",")
    np.savetxt(path, vectors[[1, 0, 2, 3]], delimiter=",")
    assert main(["import", str(copied), *MODEL, "--out", str(tmp_path / "run"), "--quiet"]) == 0
    flags = open_run(tmp_path / "run").converged.sel(seed=0, direction="up")
    assert flags.sel(strength=0.001).values.tolist() == [0, 0, 1, 1]
    assert (flags.sel(strength=[0.004, 0.012]) == 1).all()


def test_weights_alone_make_a_run(copied: Path, tmp_path: Path) -> None:
    for path in copied.glob("*.csv"):
        path.unlink()
    assert main(["import", str(copied), *MODEL, "--out", str(tmp_path / "run"), "--quiet"]) == 0
    ds = open_run(tmp_path / "run")
    assert ds.strength.values.tolist() == STRENGTHS
    assert "eigenvalue" not in ds
    assert "claimed_train_loss" not in ds


def test_a_folder_without_weights(capsys, tmp_path: Path) -> None:
    assert "model_weights" in refused(capsys, tmp_path, tmp_path / "run")
    assert "no folder" in refused(capsys, tmp_path / "absent", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_weights_of_another_model(capsys, published: Path, tmp_path: Path) -> None:
    assert "fc1.weight" in refused(capsys, published, tmp_path / "run", "--widths", "7,5")
    assert not (tmp_path / "run").exists()  # where the mended command is to write


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("Model-0.csv", "a,b\n1,2\n", "L2_strength"),
        ("Model-0.csv", "L2_strength\nmuch\n", "no number"),
        ("gradients-0-0.00400.csv", "dL/dfc1.weight: 1, 2\n", "fc1.weight"),
        ("Hessian-eigenvectors-0-0.00400.csv", "1,2,3\n", "one eigenvector a line"),
        ("Hessian-eigenvalues-0-0.00400.csv", "1.0\n", "eigenvalues"),
        ("model_weights-0-0.00400.pth", "nothing", "torch.save"),
    ],
)
def test_a_damaged_file(capsys, copied: Path, tmp_path: Path, name: str, content: str, words: str) -> None:
    (copied / name).write_text(content)
    if name.startswith("Hessian-eigenvalues"):
        (copied / "Hessian-eigenvectors-0-0.00400.csv").unlink()
    assert words in refused(capsys, copied, tmp_path / "run")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("model_weights-0-inf.pth", "", "a strength as 0.01000"),
        ("model_weights-99999999999-0.00000.pth", "", "is not named"),
        ("Hessian-eigenvalues-0-0.00400.csv", "1.0\n", "other files"),
        ("Hessian-eigenvalues-0-0.00400.csv", "nan\n", "NaN or infinity"),
    ],
)
def test_what_names_and_short_files_show_is_said_before_anything_is_computed(
    capsys, copied: Path, tmp_path: Path, name: str, content: str, words: str
) -> None:
    (copied / name).write_text(content)
    assert words in refused(capsys, copied, tmp_path / "run")
    assert not (tmp_path / "run").exists()
