"""A point that is made again has the bytes that it had: it begins where it began."""

import json
from pathlib import Path

import pytest

from growing_runs import contents, grow, make
from orograph.cli import main
from orograph.store.encoding import decode, sealed


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind",
    [
        "",
        pytest.param("--end train --direction both", marks=pytest.mark.slow),
        pytest.param("--start fresh --cohort 2", marks=pytest.mark.slow),
    ],
)
def test_a_point_made_again_has_the_bytes_that_it_had(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = make(tmp_path / "run", *kind.split(), "--strengths", "0.01,0.02,0.03")
    before = contents(out)
    assert main(["redo", str(out), "--strengths", "0.02"]) == 0
    assert "0, λ = 0.02: the same bytes as before" in capsys.readouterr().out
    assert contents(out) == before


@pytest.mark.slow
def test_points_that_were_added_begin_again_where_they_began(tmp_path: Path) -> None:
    out = make(tmp_path / "run", "--strengths", "0.01,0.03")
    grow(out, "--strengths", "0.02", "--direction", "down")
    before = contents(out)
    for strength in ("0.01,0.02", "0.03"):
        assert main(["redo", str(out), "--strengths", strength, "--quiet"]) == 0
        assert contents(out) == before


@pytest.mark.slow
def test_only_the_points_that_are_meant_are_made_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = make(tmp_path / "run", "--direction", "both", "--seeds", "0,1")
    record = out / "points" / "1-down-0.01000.json"
    times = {path: path.stat().st_mtime_ns for path in record.parent.iterdir()}
    words = ["redo", str(out), "--strengths", "0.01", "--seeds", "1", "--direction", "down"]
    assert main([*words, "--dry-run"]) == 0
    assert "1 points" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in record.parent.iterdir()} == times
    assert main([*words, "--json"]) == 0
    told = capsys.readouterr()
    assert len(json.loads(told.out)["points"]) == 8
    assert "1-down, λ = 0.01: the same bytes as before" in told.err
    assert [path for path in record.parent.iterdir() if path.stat().st_mtime_ns != times[path]] == [record]
    other = out / "points" / "0-0.01000.json"
    other.write_bytes(sealed({**decode(other), "status": "failed"}))
    assert main(words) == 0  # another's failure is not this command's
    rows = [line.split()[:2] for line in capsys.readouterr().out.splitlines() if " cut" in line or "0.01 " in line]
    assert [row for row in rows if len(row) == 2 and row[0].startswith(("0", "1"))] == [["1-down", "0.01"]]


def test_points_that_are_not_there_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = make(tmp_path / "run")
    before = contents(out)
    for words, told in (
        ((), "redo needs --strengths"),
        (("--strengths", "0.015"), "0.015 is of no recorded point"),
        (("--strengths", "0.01", "--seeds", "3"), "--seeds 3 is of no recorded point"),
        (("--strengths", "0.01", "--direction", "down"), "is of no recorded point"),
    ):
        assert main(["redo", str(out), *words, "--quiet"]) == 2
        assert told in capsys.readouterr().err
    assert contents(out) == before
