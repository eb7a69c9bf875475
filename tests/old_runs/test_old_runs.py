"""Runs that an earlier program made, packed beside this file: they open, go on, are analysed, reported, exported and shared.

They are what version 0.1.0 wrote while its commands lay in one folder `experiments`, by the commands below. The two that end in
`-half` were killed. What a run that goes on must end with is what that program ended with, left alone: the same files, byte by
byte. Both ran with the plainest instructions (`PLAIN`), so that the make of the processor does not matter for these: an emulated
one wrote them alike. It matters for the last digits of an odd number in the records.
"""

import json
import math
import os
import platform
import subprocess
import sys
import tarfile
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from orograph.cli import main
from orograph.commands.rows import table
from orograph.store.dataset import open_run
from orograph.store.run import Run
from run_bytes import bytes_of

SWEEP = "sweep --dataset digits --subset-size 100 --widths 4 --epochs 5 --lr 0.01 --k 2 --threads 1 --quiet --out {run} "
SWEEP_BOTH = SWEEP + "--strengths 0.001,0.003,0.02 --direction both --polish --track-curvature 2"
COMMANDS = {
    "sweep": SWEEP_BOTH,
    "sweep-half": SWEEP_BOTH,
    "published": SWEEP + "--points 2 --max 0.001 --batch-size 20 --published",
    "study": "study --dataset digits --subset-size 100 --model MLP1 --hidden-size 3,4 --num-seeds 2 --epochs 6 --batch-size 20 "
    "--lr 0.05 --fast --top-k 2 --products 60 --spectrum-plot --keep-eigenvectors --curve-points 3 --path-epochs 1 --2d-slice "
    "--slice-points 3 --track-curvature 2 --instability 1 --threads 1 --cohort 2 --quiet --out {run}",
    "imported": "import {published}/test_data --dataset digits --subset-size 100 --widths 4 --threads 1 --quiet --out {run}",
}
COMMANDS["study-half"] = COMMANDS["study"]
FINISHED = ("sweep", "published", "study", "imported")
ANALYZE = (
    "analyze --probes 3 --lowest-products 30 --response-products 10 --density --density-probes 2 --path-steps 2 --resamples 19 "
    "--images 2 --quiet {run}"
)
PLAIN = {
    "OMP_NUM_THREADS": "1",
    "ATEN_CPU_CAPABILITY": "default",
    "MKL_CBWR": "COMPATIBLE",
    "OPENBLAS_CORETYPE": "Prescott",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
}


def unpacked(name: str, where: Path) -> Path:
    with tarfile.open(Path(__file__).with_name(f"{name}.tar.xz")) as archive:
        archive.extractall(where, filter="data")
    return where / name


def go_on(run: Path, command: str, **folders: Path) -> None:
    """A command as it was computed then; the bytes of then need the versions of then."""
    made = json.loads((run / "run.json").read_text())["provenance"]
    changed = [name for name in ("torch", "numpy", "scipy") if made["versions"][name] != version(name)]
    if changed or platform.machine() not in made["hardware"]["system"]:
        pytest.skip(f"last bits are another's: {', '.join(changed) or platform.machine()}")
    words = command.format(run=run, **folders).split()
    subprocess.run([sys.executable, "-m", "orograph", *words], env=os.environ | PLAIN, check=True)


def kept(out: Path) -> dict[str, str]:
    """The published files and the arrays of a run: names in records may change, these do not, but for the pairs."""
    whole = {path: digest for path, digest in bytes_of(out).items() if path.startswith(("test_data/", "arrays.zarr/"))}
    return {path: digest for path, digest in whole.items() if not any(word in path for word in PAIRS)}


# Searches for copies take more steps now before they claim that there are none, and the pairs have digits of these.
PAIRS = ("Hessian-eigen", "arrays.zarr/eigen", "arrays.zarr/residual", "arrays.zarr/bound")
# Of an iteration that stops far from convergence, the rounding of single products is seen: to a hundredth of 1e-2.
STOPPED = ("finite_lambda_max", "lambda_max_residual", "residuals", "lambda_max_by_epoch")
STOPPED += ("stability_by_epoch", "preconditioned_lambda_max_by_epoch", "preconditioned_stability_by_epoch")
# Pairs are stated as they have converged; then, the products of searches for copies went into them, too, which were fewer.
VECTORS = ("eigenvector", "bound", "residual")


# Estimates of studies: more samples are taken now, for stated errors to cover what they say, and means are without their bias.
ESTIMATES = {
    "loss_increase": "loss_increase_error",
    "flatness_measure": "loss_increase_error",
    "sharpness_even": "sharpness_even_error",
    "finite_trace": "finite_trace_error",
    "relative_flatness": "relative_flatness_error",
    "participation_ratio": "participation_ratio_error",
}
TEXTS = {"plan", "condition_number_note"}  # the plan's has become another one; the note has three digits of a residual
DIFFERENT = {*STOPPED, *ESTIMATES, *ESTIMATES.values(), *TEXTS}


def assert_alike(found: xr.DataTree, wanted: xr.DataTree, *, but: Iterable[str] = ()) -> None:
    """All that is wanted is there, to the digits that a float32 has; texts are the same."""
    for node in wanted.subtree:
        names = [name for name in node.data_vars if name not in but]
        ours, theirs = (each[node.path].to_dataset(inherit=False)[names].drop_attrs() for each in (found, wanted))
        xr.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-7)


def assert_within_errors(found: xr.DataTree, wanted: xr.DataTree) -> None:
    """Estimates from few samples agree within five of their standard errors, as a normal one does but once in a million."""
    for node in wanted.subtree:
        for name, error in ESTIMATES.items():
            if name in node:
                ours, theirs = (each[node.path].to_dataset() for each in (found, wanted))
                errors = np.hypot(*(each[error].values if error in each else 0.0 for each in (ours, theirs)))
                assert (np.abs(ours[name] - theirs[name]) <= 5 * errors).all(), name


def assert_within_bounds(found: xr.DataTree, wanted: xr.DataTree) -> None:
    """Eigenvectors agree within what is stated of both."""
    for node in wanted.subtree:
        if set(VECTORS) <= set(node.data_vars):
            ours, theirs = (each[node.path].to_dataset() for each in (found, wanted))
            cosines = abs((ours.eigenvector.astype(float) * theirs.eigenvector).sum("parameter"))
            sines = (1 - cosines.clip(max=1) ** 2) ** 0.5
            assert (sines <= ours.bound + theirs.bound + 1e-3).where(ours.bound.notnull() & theirs.bound.notnull(), True).all()
            assert (ours.residual <= 1e-3 * abs(ours.eigenvalue)).where(ours.status == "done", True).all()


def tree(run: Path) -> xr.DataTree:
    opened = open_run(run)
    return opened if isinstance(opened, xr.DataTree) else xr.DataTree(opened)


def numbers(values: object) -> set[float]:
    """Those that a record holds at its top."""
    assert isinstance(values, dict)
    return {float(value) for value in values.values() if isinstance(value, float) and math.isfinite(value)}


@pytest.mark.parametrize("name", COMMANDS)
def test_an_old_run_opens_and_says_what_its_tables_say(name: str, tmp_path: Path) -> None:
    run = unpacked(name, tmp_path)
    opened = open_run(run)
    for path in run.glob("test_data/**/Model-?.csv"):
        frame = pd.read_csv(path)
        found = opened[path.parent.name].ds.sel(seed=int(path.stem[-1])) if name.startswith("study") else opened
        if not name.startswith("study"):
            found = found.sel(seed=0, direction="up", strength=frame.L2_strength.values)
        np.testing.assert_allclose(found.train_loss, frame.Train_Loss.squeeze(), rtol=0, atol=1e-9)  # tables have nine decimals
        np.testing.assert_allclose(found.test_accuracy, frame.Test_Accuracy.squeeze(), rtol=0, atol=1e-4)
        assert (found.status == "done").all()


@pytest.mark.parametrize("name", FINISHED)
def test_every_number_of_an_old_record_is_exported(name: str, tmp_path: Path) -> None:
    run = unpacked(name, tmp_path)
    kinds = ["points/**"] + [f"findings/{part}/**" for part in ("minimum", "curvature", "response", "density")]
    recorded = [json.loads(path.read_text())["scalars"] for kind in kinds for path in run.glob(f"{kind}/*.json")]
    wanted = np.array(sorted(set().union(*map(numbers, recorded))))
    shown = np.array(sorted(set().union(*(numbers(row) for row in table(Run.open(run))))))
    nearest = shown[np.abs(shown[:, None] - wanted).argmin(axis=0)]
    np.testing.assert_allclose(nearest, wanted, rtol=1e-7)  # a minimum's norms are measured twice, and written once
    assert main(["export", str(run), "--to", "netcdf", "--out", str(tmp_path / "run.nc")]) == 0


@pytest.mark.parametrize("name", ["sweep-half", *FINISHED])
def test_an_old_run_is_reported_and_shared(name: str, tmp_path: Path) -> None:
    run = unpacked(name, tmp_path)
    assert main(["report", str(run), "--quiet"]) == 0
    assert main(["card", str(run)]) == 0
    assert "digits" in (run / "report.html").read_text()
    assert "digits" in (run / "README.md").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sweep", "study"])
def test_a_killed_run_goes_on_to_the_files_and_numbers_of_then(kind: str, tmp_path: Path) -> None:
    run, whole = unpacked(f"{kind}-half", tmp_path), unpacked(kind, tmp_path)
    wanted = tree(whole)
    if kind == "sweep":
        wanted = xr.DataTree(open_run(whole)[list(open_run(run))])  # the whole one was analysed, too
    go_on(run, COMMANDS[kind])
    assert kept(run) == kept(whole)
    assert_alike(tree(run), wanted, but=DIFFERENT if kind == "study" else (*VECTORS, "products"))
    assert_within_errors(tree(run), wanted)
    assert_within_bounds(tree(run), wanted)
    for node in wanted.subtree:
        for name in set(STOPPED) & set(node.data_vars):
            np.testing.assert_allclose(tree(run)[node.path][name], node[name], rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["published", "imported"])
def test_a_point_that_an_old_run_lost_is_made_again(name: str, tmp_path: Path) -> None:
    run, published = unpacked(name, tmp_path), unpacked("published", tmp_path / "theirs")
    before, pairs = kept(run), open_run(run).load()
    (run / "points" / "0-0.00100.json").unlink()
    go_on(run, COMMANDS[name], published=published)
    assert kept(run) == before
    again = open_run(run)
    assert (again.status == "done").all()
    assert (abs(again.eigenvalue - pairs.eigenvalue) <= again.residual + pairs.residual).all()
    cosines = (again.eigenvector * pairs.eigenvector).sum("parameter")
    assert (abs(cosines) > 1 - 1e-5).all()


@pytest.mark.slow
def test_an_old_analysis_keeps_its_numbers_when_it_goes_on(tmp_path: Path) -> None:
    run, whole = unpacked("sweep", tmp_path), unpacked("sweep", tmp_path / "whole")
    for part in ("classes", "curvature"):
        (run / "findings" / part / "0-down" / "0.00300.json").unlink()
    go_on(run, ANALYZE)
    assert_alike(tree(run), tree(whole))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["published", "imported"])
def test_an_old_run_is_analysed(name: str, tmp_path: Path) -> None:
    run = unpacked(name, tmp_path)
    assert main(ANALYZE.format(run=run).split()) == 0
    assert "scalar_curvature" in open_run(run)
