"""`ds.orograph` against selections spelled out by hand, on a made-up sweep."""

import numpy as np
import pytest
import xarray as xr

import made_up_sweep
from orograph.errors import ConfigurationError
from orograph.store.dataset import open_run


@pytest.fixture(scope="module")
def ds(tmp_path_factory: pytest.TempPathFactory) -> xr.Dataset:
    path = tmp_path_factory.mktemp("runs") / "small"
    made_up_sweep.write(path, 5, k=3, directions=("up", "down"), failed=2)
    return open_run(path)


def test_a_chain_has_the_finished_points_alone(ds: xr.Dataset) -> None:
    assert ds.orograph.chain().strength.values.tolist() == [0, 0.025, 0.075, 0.1]
    assert ds.orograph.chain(0, "down").strength.values.tolist() == [0, 0.025, 0.05, 0.075, 0.1]
    assert set(ds.orograph.chains()) == {(0, "up"), (0, "down")}


def test_a_point_is_the_nearest_that_is_finished(ds: xr.Dataset) -> None:
    point = ds.orograph.point(0.051, direction="up")
    assert float(point.strength) == 0.075
    np.testing.assert_array_equal(point.eigenvalue, made_up_sweep.eigenvalues(0.075, 3))


def test_a_loop_is_up_less_down_where_both_are(ds: xr.Dataset) -> None:
    gap = ds.orograph.loop("test_loss")
    assert gap.strength.values.tolist() == [0, 0.025, 0.075, 0.1]
    np.testing.assert_allclose(gap, -0.05, rtol=1e-12)
    assert gap.attrs["long_name"] == "test loss, up less down"


def test_a_table_has_a_row_for_every_recorded_point(ds: xr.Dataset) -> None:
    frame = ds.orograph.table()
    assert len(frame) == 10
    assert frame.set_index(["direction", "strength"]).test_loss["down", 0.05] == made_up_sweep.expected_loss(0.05, "down")


def test_every_quantity_says_what_it_is_and_in_which_unit(ds: xr.Dataset) -> None:
    for name, variable in ds.variables.items():
        assert variable.attrs["long_name"], name
    assert ds.test_loss.attrs["units"] == "nat"


def test_what_is_not_there_is_named(ds: xr.Dataset) -> None:
    with pytest.raises(ConfigurationError, match="seed 7"):
        ds.orograph.chain(7)
    with pytest.raises(ConfigurationError, match="needs a sweep"):
        xr.Dataset({"a": 1}).orograph.chain()
