"""A run in progress, as its files show it: written here step by step, looked at between the steps."""

import os
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

import made_up_sweep
from orograph.cli import main
from orograph.commands.watch import look, view
from orograph.store.run import Run


def shown(path: Path) -> str:
    console = Console(width=100, no_color=True)
    with console.capture() as capture:
        console.print(view(look(path)))
    return " ".join(capture.get().split())  # however lines were broken


@pytest.fixture
def unfinished(tmp_path: Path) -> Path:
    """Six points, the last two of them still to do; each committed ten seconds after the one before."""
    path = tmp_path / "run"
    made_up_sweep.write(path, 6, k=2, failed=1)
    run = Run.open(path)
    for cell in run.plan.cells[4:]:
        (path / "points" / f"{run.plan.name(cell)}.json").unlink()
    now = time.time()
    for place, cell in enumerate(run.plan.cells[:4]):
        moment = now - 10 * (4 - place)
        os.utime(path / "points" / f"{run.plan.name(cell)}.json", (moment, moment))
    return path


def test_what_is_done_failed_and_left(unfinished: Path) -> None:
    seen = look(unfinished)
    assert (seen.done, seen.failed, seen.planned, seen.finished) == (4, 1, 6, False)
    assert seen.seconds == pytest.approx(10, abs=0.01)
    text = shown(unfinished)
    assert "4 of 6 points, 1 failed" in text
    assert "nobody is writing" in text
    assert text.count("━") == 40  # of 60
    assert "test acc. 73.00 %" in text  # 97 − 400 λ at λ = 0.06


def test_a_writer_is_named_while_it_lives_with_the_time_left(unfinished: Path) -> None:
    lock = unfinished / ".lock"
    lock.write_text(f"process {os.getpid()} on {os.uname().nodename}\n")
    assert "10 s each, about 20 s left" in shown(unfinished)
    lock.write_text(f"process 4194305 on {os.uname().nodename}\n")  # beyond the largest number of a process
    assert look(unfinished).writer == ""


def test_looking_once_changes_nothing(unfinished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.stat().st_mtime_ns for path in unfinished.rglob("*")}
    assert main(["watch", str(unfinished), "--once"]) == 0
    assert "4 of 6" in " ".join(capsys.readouterr().out.split())  # a long path wraps the line
    assert {path: path.stat().st_mtime_ns for path in unfinished.rglob("*")} == before


@pytest.mark.parametrize("args", [[], ["absent"], ["{run}", "--every", "0"]])
def test_bad_input_is_one_sentence(args: list[str], unfinished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["watch", *(arg.format(run=unfinished) for arg in args)]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


@pytest.mark.slow
def test_tensorboard_reads_back_what_was_recorded(unfinished: Path, tmp_path: Path) -> None:
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    assert main(["watch", str(unfinished), "--once", "--tensorboard", str(tmp_path / "events")]) == 0
    events = reader.EventAccumulator(str(tmp_path / "events")).Reload()
    accuracies = [(event.step, event.value) for event in events.Scalars("0/test_accuracy")]
    run = Run.open(unfinished)
    cells = run.plan.cells
    done = [
        (place, run.records[cell].scalars["test_accuracy"])
        for place, cell in enumerate(cells[:4])
        if run.records[cell].status == "done"
    ]
    assert dict(accuracies) == pytest.approx(dict(done))


def test_tensorboard_that_is_not_there_is_said(
    unfinished: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    assert main(["watch", str(unfinished), "--tensorboard", "events"]) == 2
    assert "orograph[tensorboard]" in capsys.readouterr().err
