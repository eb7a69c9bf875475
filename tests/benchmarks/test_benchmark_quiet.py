"""What counts as load, on made-up snapshots of processor time that can be added up by hand; and where tables are written."""

from pathlib import Path

import pytest

import quiet
import report
from quiet import Snapshot, Watch, describe, load_between, require_quiet


def at(time: float, busy: float, stolen: float = 0.0, **processes: float) -> Snapshot:
    return Snapshot(time, busy, stolen, {int(name[1:]): seconds for name, seconds in processes.items()})


def test_own_processes_are_no_load() -> None:
    load = load_between(at(0, 10, p1=4, p2=2), at(2, 13.1, p1=7, p2=2), own={1})
    assert load.cores == pytest.approx(0.05)
    assert load.quiet


def test_a_busy_process_and_the_hypervisor_are_load() -> None:
    load = load_between(at(0, 0, p1=0, p2=0), at(2, 1.0, 0.5, p1=0.0, p2=1.0), own={1})
    assert load.cores == pytest.approx(0.75)
    assert load.stolen == pytest.approx(0.25)
    assert load.processes == [(0.5, 2)]
    assert not load.quiet
    assert "hypervisor 25 %" in describe(load)


def busy_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(100))
    monkeypatch.setattr(quiet, "snapshot", lambda: at(float(n := next(clock)), float(n), p2=float(n)))


def test_a_busy_machine_is_refused_with_exit_code_2(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    busy_machine(monkeypatch)
    with pytest.raises(SystemExit) as ended:
        require_quiet(force=False, seconds=0)
    assert ended.value.code == 2
    assert "others use 100 % of a core" in capsys.readouterr().err


def test_force_measures_but_says_that_the_machine_is_not_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    busy_machine(monkeypatch)
    assert require_quiet(force=True, seconds=0) is False


def test_a_system_that_cannot_be_watched_is_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(quiet, "snapshot", lambda: None)
    with pytest.raises(SystemExit):
        require_quiet(force=False, seconds=0)
    assert "no /proc" in capsys.readouterr().err


def test_the_watch_averages_over_what_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = iter([at(0, 0), at(2, 2), at(12, 102), at(14, 102)])
    monkeypatch.setattr(quiet, "snapshot", lambda: next(seen))
    watch = Watch()
    watch.look()
    watch.skip()  # ten seconds in which nothing was measured
    watch.look()
    assert watch.cores == pytest.approx(0.5)
    assert watch.worst is not None
    assert watch.worst.cores == pytest.approx(1.0)


def test_tables_replace_what_stands_between_their_markers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- a.py -->\nold\n<!-- end -->\nbetween\n<!-- b.py -->\nkept\n<!-- end -->\nafter\n")
    monkeypatch.setattr("sys.argv", ["benchmarks/a.py"])
    for text in ("first\n", "second\n"):
        report._write(page, text)
    expected = "before\n<!-- a.py -->\n\nsecond\n\n<!-- end -->\nbetween\n<!-- b.py -->\nkept\n<!-- end -->\nafter\n"
    assert page.read_text() == expected


def test_a_verdict_names_measurement_and_target() -> None:
    assert report.verdict("x", 2.5, 2.2, at_least=True) == "x: 2.50× (target: at least 2.2×) met."
    assert report.verdict("x", 0.61, 0.6, at_least=False, unit="%") == "x: 61.0 % (target: at most 60 %) MISSED."
    assert report.verdict("x", float("nan"), 1.0, at_least=True) == "x: not measured."
