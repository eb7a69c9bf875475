"""Findings read back as they were committed, byte for byte the same when made again, and never half there."""

from pathlib import Path

import numpy as np
import pytest

from orograph.errors import RunError
from orograph.store.cells import Cell
from orograph.store.findings import FindingKey
from orograph.store.run import Run

KEY = FindingKey("pair", "MLP1-h16-SGD", "0-1")
SCALARS = {"barrier": 0.25, "missing": float("nan"), "seeds": [0, 1], "paths": {"linear": {"largest": float("inf")}}}
ARRAYS = {"losses": np.linspace(0, 1, 5), "flags": np.array([True, False]), "grid": np.arange(6, dtype=np.float32).reshape(2, 3)}


def study(path: Path) -> Run:
    cells = [Cell(seed, configuration=KEY.configuration) for seed in (0, 1)]
    return Run.create(path, kind="study", configuration={"a": 1}, numerics={}, provenance={}, cells=cells)


def test_a_finding_reads_back_as_committed(tmp_path: Path) -> None:
    with study(tmp_path / "run") as run:
        run.commit_finding(KEY, scalars=SCALARS, arrays=ARRAYS, timings={"seconds": 1.0})
    found = Run.open(tmp_path / "run").findings[KEY]
    assert found.status == "done"
    assert found.scalars["barrier"] == 0.25
    assert np.isnan(found.scalars["missing"])
    assert found.scalars["paths"]["linear"]["largest"] == float("inf")
    arrays = found.arrays(tmp_path / "run")
    assert set(arrays) == set(ARRAYS)
    for name, array in ARRAYS.items():
        assert arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(arrays[name], array)


def test_the_same_finding_has_the_same_bytes(tmp_path: Path) -> None:
    contents = []
    for name in ("one", "two"):
        with study(tmp_path / name) as run:
            run.commit_finding(KEY, scalars=SCALARS, arrays=dict(reversed(ARRAYS.items())) if name == "two" else ARRAYS)
        contents.append([(tmp_path / name / f"{KEY.stem}{ending}").read_bytes() for ending in (".json", ".safetensors")])
    assert contents[0] == contents[1]


def test_a_finding_without_its_record_is_not_there(tmp_path: Path) -> None:
    with study(tmp_path / "run") as run:
        run.commit_finding(KEY, scalars=SCALARS, arrays=ARRAYS)
    (tmp_path / "run" / f"{KEY.stem}.json").unlink()
    assert not Run.open(tmp_path / "run").findings


def test_a_finding_whose_arrays_are_gone_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    with study(tmp_path / "run") as run:
        run.commit_finding(KEY, scalars=SCALARS, arrays=ARRAYS)
    (tmp_path / "run" / f"{KEY.stem}.safetensors").unlink()
    with pytest.raises(RunError, match="restore it, or delete"):
        Run.open(tmp_path / "run")


def test_a_finding_is_never_rewritten(tmp_path: Path) -> None:
    with study(tmp_path / "run") as run:
        run.commit_finding(KEY, scalars=SCALARS)
        with pytest.raises(RunError, match="never rewritten"):
            run.commit_finding(KEY, scalars=SCALARS)


def test_damage_is_found(tmp_path: Path) -> None:
    with study(tmp_path / "run") as run:
        run.commit_finding(KEY, scalars=SCALARS, arrays=ARRAYS)
    path = tmp_path / "run" / f"{KEY.stem}.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    assert Run.open(tmp_path / "run").damaged() == (f"{KEY.stem}.safetensors",)


def test_findings_are_read_only_without_the_lock(tmp_path: Path) -> None:
    study(tmp_path / "run").close()
    with pytest.raises(RunError, match="open for reading"):
        Run.open(tmp_path / "run").commit_finding(KEY, scalars=SCALARS)
