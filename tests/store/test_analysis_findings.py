"""Analyses beside the points of a run: current or not, replaced whole, and shown on the grid."""

from pathlib import Path

import numpy as np
import pytest
from writing import CELLS, FAILED, LADDER, K, commit, create, pending

from orograph.errors import RunError
from orograph.store.analysis import Analysis
from orograph.store.dataset import open_run
from orograph.store.run import Run

CELL, OTHER = CELLS[0], CELLS[1]
SETTINGS = {"probes": 3}


def made(path: Path) -> Run:
    run = create(path)
    for cell in pending(run):
        commit(run, cell)
    return run


def write(run: Run, value: float = 1.5, width: int = K) -> None:
    Analysis(run).write(
        "curvature", CELL, SETTINGS, {"trace": value, "certificate": "minimum"}, {"bound": np.arange(float(width)) + value}
    )


def test_what_was_written_is_current_until_the_settings_change(tmp_path: Path) -> None:
    with made(tmp_path) as run:
        write(run)
        for analysis in (Analysis(run), Analysis(Run.open(tmp_path))):
            assert analysis.current("curvature", CELL, SETTINGS)
            assert not analysis.current("curvature", CELL, {"probes": 4})
            assert not analysis.current("curvature", OTHER, SETTINGS)
            assert not analysis.current("classes", CELL, SETTINGS)
            assert analysis.scalars("curvature", CELL) == {"trace": 1.5, "certificate": "minimum"}
            np.testing.assert_array_equal(analysis.array("curvature", CELL, "bound"), np.arange(float(K)) + 1.5)
            assert analysis.array("curvature", CELL, "absent") is None
            assert analysis.scalars("curvature", OTHER) == {}


def test_it_is_replaced_whole(tmp_path: Path) -> None:
    with made(tmp_path) as run:
        write(run)
        Analysis(run).write("curvature", CELL, {"probes": 4}, {"trace": 2.0}, {})
        assert Analysis(Run.open(tmp_path)).scalars("curvature", CELL) == {"trace": 2.0}


def test_points_and_their_records_stay_as_they_were(tmp_path: Path) -> None:
    with made(tmp_path) as run:
        before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        write(run)
        assert {path: path.read_bytes() for path in before} == before
        assert run.damaged() == ()


def test_a_point_that_was_measured_again_is_analysed_again(tmp_path: Path) -> None:
    with made(tmp_path) as run:
        write(run)
        name = run.plan.name(CELL)
    (tmp_path / "points" / f"{name}.json").unlink()
    with create(tmp_path) as run:
        run.commit(CELL, scalars={"train_loss": 0.0}, arrays={"residual": np.zeros(K)})
        assert not Analysis(run).current("curvature", CELL, SETTINGS)
        assert Analysis(run).scalars("curvature", CELL) == {}
    assert "trace" not in open_run(tmp_path) or np.isnan(open_run(tmp_path).trace.values).all()


def test_a_run_opened_for_reading_is_not_written_to(tmp_path: Path) -> None:
    made(tmp_path).close()
    with pytest.raises(RunError, match="reading"):
        write(Run.open(tmp_path))


def test_the_dataset_holds_it_at_its_labels(tmp_path: Path) -> None:
    with made(tmp_path) as run:
        write(run)
    ds = open_run(tmp_path)
    here = {"seed": CELL.seed, "direction": CELL.direction, "strength": CELL.strength}
    assert ds.trace.sel(here) == 1.5
    assert ds.certificate.sel(here) == "minimum"
    np.testing.assert_array_equal(ds.bound.sel(here), np.arange(float(K)) + 1.5)
    assert np.isnan(ds.trace.sel(seed=1, direction="up", strength=LADDER[1]))
    assert np.isnan(ds.bound.sel(seed=FAILED.seed, direction="up", strength=FAILED.strength)).all()
    assert ds.trace.attrs["long_name"] == "trace of the Hessian"


def test_an_array_of_another_shape_than_most_is_left_out(tmp_path: Path) -> None:
    with made(tmp_path) as run:
        analysis = Analysis(run)
        for cell, width in ((CELL, 2), (OTHER, K), (CELLS[2], K)):
            analysis.write("curvature", cell, SETTINGS, {"trace": 1.0}, {"bound": np.ones(width)})
    bound = open_run(tmp_path).bound
    assert bound.sizes["eigen"] == K
    assert np.isnan(bound.sel(seed=CELL.seed, direction=CELL.direction, strength=CELL.strength)).all()
