"""A run as labelled arrays, against the numbers that went into it."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from writing import (
    CELLS,
    FAILED,
    LADDER,
    SHAPES,
    K,
    P,
    commit,
    create,
    eigenvalues,
    eigenvectors,
    pending,
    refine,
    scalars,
    state,
)

from orograph.errors import RunError
from orograph.store import dataset
from orograph.store.cells import Cell
from orograph.store.dataset import open_run

MISSING = Cell(1, "down", LADDER[0])


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    with create(folder) as run:
        refine(run)
        for cell in pending(run):
            if cell != MISSING:
                commit(run, cell)
    return folder


def at(ds: xr.Dataset, cell: Cell) -> xr.Dataset:
    return ds.sel(seed=cell.seed, direction=cell.direction, strength=cell.strength)


def test_every_number_lies_at_its_labels(path: Path) -> None:
    ds = open_run(path)
    for cell in CELLS:
        if cell in (FAILED, MISSING):
            continue
        point = at(ds, cell)
        np.testing.assert_array_equal(point.eigenvalue, eigenvalues(cell))
        np.testing.assert_array_equal(point.eigenvector, eigenvectors(cell))
        flat = np.concatenate([(tensor * 1e-3).numpy().ravel() for tensor in state(cell).values()])
        np.testing.assert_array_equal(point.gradient, flat)
        expected = scalars(cell)
        for name in ("train_loss", "test_accuracy", "epochs", "frozen"):
            assert point[name] == expected[name]
        np.testing.assert_array_equal(point.class_accuracy, expected["class_accuracy"])
        assert point.status == "done"
        assert point.which == "LM"


def test_the_grid_has_every_seed_direction_and_strength(path: Path) -> None:
    ds = open_run(path)
    assert ds.seed.values.tolist() == [0, 1]
    assert ds.direction.values.tolist() == ["up", "down"]
    assert ds.strength.values.tolist() == sorted([*LADDER, 0.05, LADDER[1] + 1e-7])
    assert ds.sizes["eigen"] == K
    assert ds.sizes["parameter"] == P
    assert ds["class"].values.tolist() == ["cat", "dog"]
    assert ds.tensor.values.tolist() == list(SHAPES)
    assert ds.eigen.values.tolist() == [1, 2, 3]


def test_a_cell_that_was_not_measured_is_nan_and_says_so(path: Path) -> None:
    ds = open_run(path)
    assert at(ds, MISSING).status == "missing"
    assert at(ds, FAILED).status == "failed"
    for cell in (MISSING, FAILED):
        assert np.isnan(at(ds, cell).eigenvalue).all()
        assert np.isnan(at(ds, cell).eigenvector).all()
        assert np.isnan(at(ds, cell).converged).all()
        assert np.isnan(at(ds, cell).test_loss)
    assert at(ds, FAILED).train_loss == np.inf
    assert at(ds, FAILED).failed_epoch == 3
    assert at(ds, MISSING).which == ""
    assert ds.stopped.isel(seed=0, direction=0).values.tolist()[:2] == ["", "patience"]


@pytest.mark.parametrize(
    "selection",
    [
        {"seed": 0, "direction": 0},
        {"seed": [1, 0], "strength": slice(None, None, -1)},
        {"seed": 1, "direction": 1, "strength": 2, "eigen": 0},
        {"eigen": slice(1, 3), "parameter": slice(3, 20, 4)},
        {"eigen": [2, 0], "parameter": [5, 5, 1], "direction": 0},
        {"seed": -1, "strength": [-1, 0], "eigen": -1},
        {"strength": slice(0, 0)},
    ],
)
def test_reading_a_part_is_reading_all_and_taking_the_part(path: Path, selection: dict) -> None:
    whole = open_run(path).eigenvector.load().isel(selection)
    part = open_run(path).eigenvector.isel(selection)
    assert part.dims == whole.dims
    np.testing.assert_array_equal(part.values, whole.values)


def test_only_the_chunks_looked_at_are_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = []
    original = dataset.map_chunk
    monkeypatch.setattr(dataset, "map_chunk", lambda chunk, array: read.append(chunk) or original(chunk, array))
    ds = open_run(path)
    line = ds.eigenvector.isel(seed=0, direction=0).sel(strength=LADDER[0])
    assert not read
    line.load()
    assert len(read) == 1


def test_labels_and_units_come_along(path: Path) -> None:
    ds = open_run(path)
    assert ds.eigenvalue.attrs == {"long_name": "Hessian eigenvalue", "units": "1"}
    assert ds.test_accuracy.attrs["units"] == "%"
    assert ds.strength.attrs["long_name"] == "regularisation strength λ"
    assert all(variable.attrs.get("long_name") for variable in ds.variables.values())


def test_a_run_without_any_point_opens(tmp_path: Path) -> None:
    create(tmp_path).close()
    ds = open_run(tmp_path)
    assert (ds.status == "missing").all()
    assert list(ds.data_vars) == ["status"]
    with pytest.raises(RunError, match="not a run"):
        open_run(tmp_path / "nowhere")
