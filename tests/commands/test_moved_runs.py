"""A run is carried to another place and gone on with there: with its own anchor, with more workers, and to the same bytes."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from growing_runs import contents, grow, make
from orograph.cli import main
from orograph.store.dataset import open_run


@pytest.fixture
def anchor(tmp_path: Path) -> Path:
    first = make(tmp_path / "first", "--strengths", "0.01")
    return Path(shutil.copy(first / "test_data" / "model_weights-0-0.01000.pth", tmp_path / "minimum.pth"))


@pytest.mark.slow
def test_a_run_that_was_moved_needs_nothing_of_where_it_was(anchor: Path, tmp_path: Path) -> None:
    words = ("--anchor", str(anchor), "--strengths", "0.01,0.02,0.03")
    whole = make(tmp_path / "whole", *words)
    shutil.copytree(whole, tmp_path / "there" / "run")
    shutil.copytree(whole, tmp_path / "here")
    anchor.unlink()
    moved = Path(shutil.move(tmp_path / "here", tmp_path / "elsewhere"))
    (moved / "points" / "0-0.02000.json").unlink()  # as one that was stopped
    assert main(["sweep", "--config", str(moved / "configuration.toml"), "--quiet", "--out", str(moved)]) == 0
    assert contents(moved) == contents(whole)
    grow(moved, "--strengths", "0.04", "--k", "0")
    assert (open_run(moved).status == "done").all()


@pytest.mark.slow
def test_the_workers_of_a_run_that_was_moved_need_no_file_of_its_anchor(anchor: Path, tmp_path: Path) -> None:
    whole = make(tmp_path / "whole", "--anchor", str(anchor))
    moved = Path(shutil.copytree(whole, tmp_path / "there" / "run"))
    anchor.unlink()
    grow(whole, "--strengths", "0.03")
    grow(moved, "--strengths", "0.03", "--parallel", "processes", "--jobs", "1")
    assert contents(moved) == contents(whole)


@pytest.mark.slow
def test_another_file_of_the_anchors_name_is_refused(anchor: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = make(tmp_path / "run", "--anchor", str(anchor))
    shutil.copy(out / "test_data" / "model_weights-0-0.02000.pth", anchor)
    assert main(["extend", str(out), "--strengths", "0.03", "--quiet"]) == 2
    assert "is not the anchor that this run was begun with" in capsys.readouterr().err


@pytest.mark.slow
def test_more_workers_add_the_same_points(tmp_path: Path) -> None:
    alone, together = make(tmp_path / "alone"), make(tmp_path / "together")
    for args in (("--strengths", "0.005,0.015,0.03"), ("--seeds", "1"), ("--k", "3")):
        grow(alone, *args)
        grow(together, *args, "--parallel", "processes", "--jobs", "2")
    assert contents(together) == contents(alone)


@pytest.mark.slow
def test_an_import_of_ones_own_run_knows_what_it_is_of(anchor: Path, tmp_path: Path) -> None:
    own = make(tmp_path / "own", "--anchor", str(anchor), "--which", "LA", "--hessian", "objective", "--direction", "both")
    assert main(["card", str(own), "--license", "cc-by-4.0"]) == 0
    assert main(["import", str(own), "--out", str(tmp_path / "again"), "--quiet"]) == 0
    here, there = open_run(own), open_run(tmp_path / "again")
    for name in (
        "train_loss",
        "objective",
        "test_accuracy",
        "anchor_distance",
        "theta",
        "eigenvalue",
        "gradient",
        "class_accuracy",
    ):
        assert (here[name] == there[name]).all(), name
    assert (abs(here.residual - there.residual) <= 1e-4 * abs(here.eigenvalue)).all()  # these by a product in float64
    assert (there.hessian == "objective").all()
    assert "--which LA" in " ".join(f"--{name} {value}" for name, value in _spectrum(tmp_path / "again").items())


@pytest.mark.slow
def test_eigenvectors_that_are_in_arrays_alone_are_verified_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own, out = make(tmp_path / "own", "--eigenvectors", "zarr"), tmp_path / "again"
    assert main(["import", str(own), "--out", str(out)]) == 0
    assert "2 points, 4 pairs verified by a product each: 4 within the tolerance 0.001" in " ".join(
        capsys.readouterr().err.split()
    )
    here, there = open_run(own), open_run(out)
    np.testing.assert_allclose(there.eigenvector, here.eigenvector, atol=1e-7)
    assert (abs(here.residual - there.residual) <= 1e-4 * abs(here.eigenvalue)).all()
    assert _spectrum(out)["eigenvectors"] == "zarr"
    chunk = next(path for path in (own / "arrays.zarr" / "eigenvector").rglob("c.*"))
    chunk.write_bytes(chunk.read_bytes()[:-4] + b"\0\0\0?")
    assert main(["import", str(own), "--out", str(tmp_path / "other"), "--quiet"]) == 2
    assert f"{chunk.name} is damaged" in capsys.readouterr().err


def _spectrum(run: Path) -> dict[str, object]:
    import tomllib

    found: dict[str, object] = tomllib.loads((run / "configuration.toml").read_text())["spectrum"]
    return found
