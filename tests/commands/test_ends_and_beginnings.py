"""What is refused before anything is computed, and what is told of a run that is not whole."""

import importlib
from pathlib import Path

import pytest

from orograph.cli import main
from orograph.commands.repairing import inspect

SMALL = "sweep --dataset digits --widths 3 --k 2 --epochs 1 --threads 1 --quiet".split()  # noqa: SIM905


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(list(words)) == 2
    told = capsys.readouterr()
    assert told.err.startswith("error: ")
    assert len(told.err.strip().splitlines()) == 1
    return told.err


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "run"
    assert main([*SMALL, "--strengths", "0,0.01", "--out", str(out)]) == 0
    return out


@pytest.mark.parametrize("place", ["/dev/null/x", "/proc/x"])
@pytest.mark.parametrize("words", [SMALL, ["measure", "absent.pth"]])
def test_where_nothing_can_be_written_nothing_is_computed(capsys, monkeypatch, place: str, words: list[str]) -> None:
    for module, name in (("orograph.sweep.command", "Bench"), ("orograph.commands.measure", "brought")):
        monkeypatch.setattr(importlib.import_module(module), name, None)  # would compute
    assert f"cannot write {place}" in refused(capsys, *words, "--out", place)


@pytest.mark.parametrize("number", ["1e-46", "1e-39"])
def test_a_strength_that_the_arithmetic_does_not_hold_is_refused_by_name(capsys, tmp_path: Path, number: str) -> None:
    said = refused(capsys, *SMALL, "--strengths", f"0,{number}", "--out", str(tmp_path / "run"))
    assert f"--strengths {number} is below what float32 holds" in said


def test_a_function_of_ones_own_that_exits_is_told(capsys, tmp_path: Path) -> None:
    (tmp_path / "leaving.py").write_text("import sys\ndef data():\n    sys.exit(3)\n")
    own = f"{tmp_path}/leaving.py:data"
    said = refused(capsys, "sweep", "--data", own, "--model", own, "--quiet", "--out", str(tmp_path / "run"))
    assert "failed with SystemExit: 3" in said


def test_another_group_of_settings_is_told_field_by_field(capsys, run: Path) -> None:
    said = refused(capsys, *SMALL, "--strengths", "0,0.01", "--metrics", "accuracy,margin", "--out", str(run))
    assert "problem.metrics = " in said
    assert "problem = " not in said
    assert said.count("(not ") == 1


def test_a_changed_configuration_and_what_is_missing_are_seen_and_mended(capsys, run: Path) -> None:
    file = run / "configuration.toml"
    before = file.read_bytes()
    file.write_bytes(before.replace(b"epochs = 1", b"epochs = 2"))
    assert [damage.path for damage in inspect(run)] == ["configuration.toml"]
    assert main(["doctor", str(run), "--repair"]) == 0
    assert b"epochs = 1" in file.read_bytes()
    file.unlink()
    (run / "plan.json").unlink()
    assert ("plan.json", "is missing") in [(damage.path, damage.why) for damage in inspect(run)]
    assert main(["doctor", str(run), "--repair"]) == 0
    assert not inspect(run)


def test_export_and_report_say_how_many_points_there_are(capsys, run: Path, tmp_path: Path) -> None:
    next((run / "points").glob("*.json")).unlink()
    assert main(["export", str(run), "--out", str(tmp_path / "table.csv")]) == 0
    assert main(["report", str(run), "--out", str(tmp_path / "page.html")]) == 0
    assert capsys.readouterr().out.count("1 of 2 points are recorded") == 2
