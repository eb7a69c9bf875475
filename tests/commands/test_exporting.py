"""A run as one file, read back by other programs: pandas, pyarrow, and SciPy's reader of netCDF."""

import csv
import io
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import scipy.io

import made_up_sweep
from orograph.cli import main
from orograph.commands.exporting import csv_bytes, table
from orograph.store.run import Run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "small"
    made_up_sweep.write(path, 5, k=3, directions=("up", "down"), failed=2)
    return path


def test_a_table_of_all_points_in_full_precision(run: Path, tmp_path: Path) -> None:
    assert main(["export", str(run), "--out", str(tmp_path / "all.csv")]) == 0
    frame = pd.read_csv(tmp_path / "all.csv", float_precision="round_trip")
    assert len(frame) == 10
    assert frame.status.tolist().count("failed") == 1
    done = frame[frame.status == "done"]
    wanted = [made_up_sweep.expected_loss(s, way) for s, way in zip(done.L2_strength, done.direction, strict=True)]
    assert done.test_loss.tolist() == wanted
    assert done["class_accuracy_<b>"].tolist() == [80.0] * 9
    assert done[["eigenvalue_1", "eigenvalue_2", "eigenvalue_3"]].iloc[1].tolist() == made_up_sweep.eigenvalues(0.025, 3).tolist()


def test_parquet_holds_the_same_table_with_units(run: Path, tmp_path: Path) -> None:
    assert main(["export", str(run), "--to", "parquet", "--out", str(tmp_path / "all.parquet")]) == 0
    found = pq.read_table(tmp_path / "all.parquet")
    frame = pd.read_csv(io.BytesIO(csv_bytes(table(Run.open(run)))), float_precision="round_trip")
    pd.testing.assert_frame_equal(found.to_pandas().astype(object).fillna(-1), frame.astype(object).fillna(-1), check_dtype=False)
    assert found.schema.field("test_loss").metadata[b"units"] == b"nat"


def test_netcdf_is_read_by_scipy(run: Path, tmp_path: Path) -> None:
    for extra in ((), ("--vectors",)):
        out = tmp_path / f"arrays{len(extra)}.nc"
        assert main(["export", str(run), "--to", "netcdf", "--out", str(out), *extra]) == 0
        with scipy.io.netcdf_file(out, "r", mmap=False) as file:
            eigenvalue = file.variables["eigenvalue"]
            assert eigenvalue.dimensions == ("seed", "direction", "strength", "eigen")
            assert eigenvalue.long_name.decode() == "Hessian eigenvalue"
            np.testing.assert_array_equal(eigenvalue[0, 1, 3], made_up_sweep.eigenvalues(0.075, 3))
            assert np.isnan(eigenvalue[0, 0, 2]).all()
            assert ("gradient" in file.variables) == bool(extra)


@pytest.mark.parametrize("args", [[], ["{empty}"], ["{run}", "--to", "excel"], ["{run}", "--out", "{empty}"]])
def test_bad_input_is_one_sentence(args: list[str], run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", *(arg.format(run=run, empty=tmp_path) for arg in args)]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


@pytest.mark.parametrize("text", ["=cmd|' /C calc'!A0", "+1", "-x", "@SUM(A1)", "=\t1\r\n"])
def test_a_text_that_a_spreadsheet_would_compute_is_written_behind_an_apostrophe(text: str) -> None:
    rows = [{"name": text, text: "plain", "number": -1.5, "count": -3}]
    header, line = csv.reader(io.StringIO(csv_bytes(rows).decode(), newline=""))
    escaped = "'" + text.replace("\t", "\\t").replace("\r", "\\r").replace("\n", "\\n")
    assert header == ["name", escaped, "number", "count"]
    assert line == [escaped, "plain", "-1.5", "-3"]
