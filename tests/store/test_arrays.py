"""Chunks written here, read by zarr and xarray themselves."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr

from orograph.errors import ConfigurationError, RunError
from orograph.store.arrays import ArrayStore


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "int8", "bool", ">f4"])
@pytest.mark.parametrize("shape", [(3,), (2, 5), (2, 3, 4)])
def test_zarr_reads_what_was_written(tmp_path: Path, dtype: str, shape: tuple[int, ...]) -> None:
    values = (np.arange(np.prod(shape)).reshape(shape) % 2).astype(dtype)
    store = ArrayStore(tmp_path)
    store.write("thing", 2, np.asfortranarray(values), 4, dims=("a", "b", "c")[: len(shape)])
    array = zarr.open_group(tmp_path, mode="r")["thing"]
    assert array.shape == (4, *shape)
    assert array.chunks == (1, *shape)
    np.testing.assert_array_equal(array[2], values)
    np.testing.assert_array_equal(store.read("thing", 2), values)


def test_xarray_opens_the_arrays_with_their_dimensions_and_labels(tmp_path: Path) -> None:
    store = ArrayStore(tmp_path)
    store.write("eigenvalue", 0, np.array([2.0, 1.0]), 3)
    ds = xr.open_zarr(tmp_path, consolidated=False, chunks=None)
    assert ds.eigenvalue.dims == ("slot", "eigen")
    assert ds.eigenvalue.attrs["long_name"] == "Hessian eigenvalue"
    np.testing.assert_array_equal(ds.eigenvalue.values, [[2, 1], [np.nan] * 2, [np.nan] * 2])


def test_an_array_of_nothing_but_its_fill_value_is_written_too(tmp_path: Path) -> None:
    path, _ = ArrayStore(tmp_path).write("residual", 1, np.full(3, np.nan), 2)
    assert path.stat().st_size == 24


def test_later_slots_lengthen_the_array_and_rewrite_no_chunk(tmp_path: Path) -> None:
    store = ArrayStore(tmp_path)
    path, _ = store.write("residual", 0, np.array([1.0]), 1)
    before = path.stat().st_mtime_ns, path.stat().st_ino
    store.write("residual", 3, np.array([4.0]), 4)
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == before
    np.testing.assert_array_equal(zarr.open_array(tmp_path / "residual", mode="r")[:, 0], [1, np.nan, np.nan, 4])


def test_another_shape_or_type_than_before_is_refused(tmp_path: Path) -> None:
    store = ArrayStore(tmp_path)
    store.write("residual", 0, np.zeros(3), 2)
    for values in (np.zeros(4), np.zeros(3, dtype=np.float32)):
        with pytest.raises(RunError, match="'residual' holds"):
            store.write("residual", 1, values, 2)


def test_scalars_and_unnamed_dimensions_are_refused(tmp_path: Path) -> None:
    store = ArrayStore(tmp_path)
    for name, values in (("residual", np.array(1.0)), ("residual", np.zeros((2, 2))), ("unheard", np.zeros(3))):
        with pytest.raises(ConfigurationError, match="name one for each axis"):
            store.write(name, 0, values, 1)
    assert not list(tmp_path.iterdir())
