"""Workers change when things happen, never what is written: the bytes are those of one process, whatever dies on the way.

The truth is a run of one process without workers; deaths are real SIGKILLs, or a worker that says it lost its task.
"""

import subprocess
import time
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import psutil
import pytest
from small_sweeps import command, words

from orograph.cli import main
from orograph.experiments import sweep as sweeping
from orograph.experiments import workers
from orograph.experiments.bench import Bench
from orograph.experiments.settings import ParallelExecution, SweepSettings
from orograph.experiments.stages import Say
from orograph.experiments.workers import Here, WorkerLost
from orograph.store.run import Run
from run_bytes import bytes_of, wait_for_worker

FRESH = ("--start", "fresh", "--cohort", "2", "--points", "6")
CHAIN = ("--direction", "both", "--polish", "--polish-products", "60")
TWO = ("--parallel", "processes", "--jobs", "2")


class Unreliable(Here):
    """Two slots in this process, in which the chosen tasks are lost: `(stage, how often)`."""

    slots = 2

    def __init__(self, bench: Bench, say: Say, losses: dict[str, int]) -> None:
        super().__init__(bench, say)
        self._losses = dict(losses)

    def submit(self, stage: str, *arguments: Any) -> "Future[tuple[Any, float]]":
        if self._losses.get(stage, 0):
            self._losses[stage] -= 1
            lost: Future[tuple[Any, float]] = Future()
            lost.set_exception(WorkerLost())
            return lost
        return super().submit(stage, *arguments)


def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, losses: dict[str, int] | None, **anchor: Any) -> Path:
    """A small sweep with unreliable workers; reliable ones when there are no losses."""
    settings = SweepSettings.model_validate(
        {
            "data": {"dataset": "digits", "subset_size": 100},
            "model": {"widths": (4, 4)},
            "ladder": {"points": 4, "max": 0.01},
            "anchor": anchor,
            "training": {"epochs": 2},
            "spectrum": {"k": 2},
            "numerics": {"threads": 1, "cohort": 2},
        }
    )
    out = tmp_path / name
    if losses is not None:
        monkeypatch.setattr(sweeping, "start_workers", lambda bench, execution, say: Unreliable(bench, say, losses))
    assert sweeping.sweep(settings, ParallelExecution(out=str(out), quiet=True)) == 0
    monkeypatch.undo()
    return out


@pytest.mark.slow
@pytest.mark.parametrize("start", ["fresh", "previous"])
@pytest.mark.parametrize("losses", [{"train": 1}, {"measure": 1}])
def test_a_lost_task_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: str, losses: dict[str, int]) -> None:
    whole = small(tmp_path, monkeypatch, "whole", None, start=start)
    unreliable = small(tmp_path, monkeypatch, "unreliable", losses, start=start)
    assert bytes_of(unreliable) == bytes_of(whole)


@pytest.mark.slow
def test_a_measurement_lost_twice_is_a_failed_point_and_the_sweep_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = list(Run.open(small(tmp_path, monkeypatch, "run", {"measure": 2}, start="previous")).records.values())
    assert [record.status for record in records].count("failed") == 1
    failed = next(record for record in records if record.status == "failed")
    assert "lost twice" in failed.scalars["error"]


@pytest.mark.slow
def test_a_cohort_lost_twice_fails_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run.open(small(tmp_path, monkeypatch, "run", {"train": 3}, start="fresh"))
    failed = sorted(cell.strength for cell, record in run.records.items() if record.status == "failed")
    assert len(failed) == 2
    assert len(run.records) == 4


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The bytes of independent points, without workers."""
    out = tmp_path_factory.mktemp("alone") / "run"
    subprocess.run(command(out, *FRESH), check=True, timeout=600)
    return bytes_of(out)


@pytest.mark.slow
def test_spectra_computed_elsewhere_write_the_same_bytes(tmp_path: Path) -> None:
    subprocess.run(command(tmp_path / "alone", *CHAIN), check=True, timeout=600)
    subprocess.run(command(tmp_path / "two", *CHAIN, *TWO), check=True, timeout=600)
    assert bytes_of(tmp_path / "two") == bytes_of(tmp_path / "alone")


@pytest.mark.slow
def test_a_killed_worker_loses_nothing(tmp_path: Path, alone: dict[str, str]) -> None:
    driver = subprocess.Popen(command(tmp_path / "two", *FRESH, *TWO))
    worker = wait_for_worker(driver)
    time.sleep(2)
    worker.kill()
    assert driver.wait(600) == 0
    assert bytes_of(tmp_path / "two") == alone


@pytest.mark.slow
def test_a_killed_driver_loses_nothing_and_leaves_nobody_behind(tmp_path: Path, alone: dict[str, str]) -> None:
    driver = subprocess.Popen(command(tmp_path / "two", *FRESH, *TWO))
    wait_for_worker(driver)
    while not list((tmp_path / "two" / "points").glob("*.json")):
        assert driver.poll() is None, "killed too late"
        time.sleep(0.05)
    children = psutil.Process(driver.pid).children(recursive=True)
    driver.kill()
    driver.wait()
    _, alive = psutil.wait_procs(children, timeout=20)
    assert not alive
    subprocess.run(command(tmp_path / "two", *FRESH, *TWO), check=True, timeout=600)
    assert bytes_of(tmp_path / "two") == alone


@pytest.mark.cluster
@pytest.mark.parametrize("kind", ["dask", "ray"])
def test_a_local_cluster_writes_the_same_bytes(tmp_path: Path, alone: dict[str, str], kind: str) -> None:
    pytest.importorskip("distributed" if kind == "dask" else "ray")
    subprocess.run(command(tmp_path / kind, *FRESH, "--parallel", kind, "--jobs", "2"), check=True, timeout=600)
    assert bytes_of(tmp_path / kind) == alone


@pytest.mark.cluster
def test_a_scheduler_that_does_not_answer_is_said_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("distributed")
    monkeypatch.setattr(workers, "PATIENCE", 1)
    assert main(words(tmp_path / "run", "--parallel", "dask", "--address", "tcp://127.0.0.1:1")) == 2
    assert "no Dask scheduler answers at --address tcp://127.0.0.1:1" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
