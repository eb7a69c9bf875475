"""Workers change when things happen, never what is written: the bytes are those of one process, whatever dies on the way.

The truth is a run of one process without workers; deaths are real SIGKILLs, or a worker that says it lost its task.
"""

from collections.abc import Callable
from concurrent.futures import Future
from functools import cache
from pathlib import Path
from typing import Any

import psutil
import pytest
from small_sweeps import words

from forked import finish, start, wait_until
from orograph.cli import main
from orograph.errors import OrographError
from orograph.settings.shared import ParallelExecution
from orograph.store.run import Run
from orograph.sweep import command as sweeping
from orograph.sweep.bench import Bench
from orograph.sweep.settings import SweepSettings
from orograph.work import clusters
from orograph.work.pools import Here, WorkerLost
from orograph.work.worker import Say
from run_bytes import bytes_of, wait_for_worker

FRESH = ("--start", "fresh", "--cohort", "2")
CHAIN = ("--polish", "--polish-products", "30")
TWO = ("--parallel", "processes", "--jobs", "2")


class Unreliable(Here):
    """Two slots in this process, in which the chosen tasks are lost: `(stage, how often)`."""

    slots = 2

    def __init__(self, bench: Bench, stages: dict[str, Any], say: Say, losses: dict[str, int]) -> None:
        super().__init__(bench, stages, say)
        self._losses = dict(losses)

    def submit(self, stage: str, *arguments: Any) -> "Future[tuple[Any, float]]":
        if self._losses.get(stage, 0):
            self._losses[stage] -= 1
            lost: Future[tuple[Any, float]] = Future()
            lost.set_exception(WorkerLost())
            return lost
        return super().submit(stage, *arguments)


def settings_of(start: str) -> SweepSettings:
    """A small sweep."""
    return SweepSettings.model_validate(
        {
            "data": {"dataset": "digits", "subset_size": 100},
            "model": {"widths": (4, 4)},
            "ladder": {"points": 4, "max": 0.01},
            "anchor": {"start": start},
            "training": {"epochs": 2},
            "spectrum": {"k": 2},
            "numerics": {"threads": 1, "cohort": 2},
        }
    )


def small(out: Path, start: str, losses: dict[str, int]) -> Run:
    """A small sweep with unreliable workers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            sweeping, "start_workers", lambda bench, context, make, execution, say: Unreliable(bench, context.stages, say, losses)
        )
        assert sweeping.sweep(settings_of(start), ParallelExecution(out=str(out), quiet=True)) == 0
    return Run.open(out)


@pytest.fixture(scope="module")
def nothing_lost(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, str]]:
    """The bytes of the small sweep without workers, by its start."""

    @cache
    def alone(start: str) -> dict[str, str]:
        out = tmp_path_factory.mktemp("nothing-lost") / "run"
        assert sweeping.sweep(settings_of(start), ParallelExecution(out=str(out), quiet=True)) == 0
        return bytes_of(out)

    return alone


@pytest.mark.slow
@pytest.mark.parametrize("start", ["fresh", "previous"])
def test_a_lost_task_is_tried_again(tmp_path: Path, nothing_lost: Callable[[str], dict[str, str]], start: str) -> None:
    small(tmp_path / "run", start, {"train": 1, "measure": 1})
    assert bytes_of(tmp_path / "run") == nothing_lost(start)


@pytest.mark.slow
@pytest.mark.parametrize(("start", "losses", "left"), [("previous", {"measure": 2}, 4), ("fresh", {"train": 3}, 2)])
def test_what_is_lost_twice_is_told_not_recorded_and_done_by_the_same_command(
    tmp_path: Path, nothing_lost: Callable[[str], dict[str, str]], start: str, losses: dict[str, int], left: int
) -> None:
    out = tmp_path / "run"
    with pytest.raises(OrographError, match=r"lost twice.*the same command"):
        small(out, start, losses)
    run = Run.open(out)
    assert all(record.status == "done" for record in run.records.values())
    assert 4 - len(run.records) >= left
    small(out, start, {})
    assert bytes_of(out) == nothing_lost(start)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The bytes of independent points, without workers."""
    out = tmp_path_factory.mktemp("alone") / "run"
    finish(words(out, *FRESH))
    return bytes_of(out)


@pytest.mark.slow
def test_spectra_computed_elsewhere_write_the_same_bytes(tmp_path: Path) -> None:
    finish(words(tmp_path / "alone", *CHAIN))
    finish(words(tmp_path / "two", *CHAIN, *TWO))
    assert bytes_of(tmp_path / "two") == bytes_of(tmp_path / "alone")


@pytest.mark.slow
def test_a_killed_worker_loses_nothing(tmp_path: Path, alone: dict[str, str]) -> None:
    driver = start(words(tmp_path / "two", *FRESH, *TWO))
    worker = wait_for_worker(driver)
    wait_until(lambda: sum(worker.cpu_times()[:2]) > 0.5, driver)  # user and system seconds: it has begun
    worker.kill()
    driver.join(600)
    assert driver.exitcode == 0
    assert bytes_of(tmp_path / "two") == alone


@pytest.mark.slow
def test_a_killed_driver_loses_nothing_and_leaves_nobody_behind(tmp_path: Path, alone: dict[str, str]) -> None:
    driver = start(words(tmp_path / "two", *FRESH, *TWO))
    wait_for_worker(driver)
    wait_until(lambda: list((tmp_path / "two" / "points").glob("*.json")), driver)
    children = psutil.Process(driver.pid).children(recursive=True)
    driver.kill()
    driver.join()
    _, alive = psutil.wait_procs(children, timeout=20)
    assert not alive
    finish(words(tmp_path / "two", *FRESH, *TWO))
    assert bytes_of(tmp_path / "two") == alone


@pytest.mark.cluster
@pytest.mark.parametrize("kind", ["dask", "ray"])
def test_a_local_cluster_writes_the_same_bytes(tmp_path: Path, alone: dict[str, str], kind: str) -> None:
    pytest.importorskip("distributed" if kind == "dask" else "ray")
    finish(words(tmp_path / kind, *FRESH, "--parallel", kind, "--jobs", "2"))
    assert bytes_of(tmp_path / kind) == alone


@pytest.mark.cluster
def test_a_scheduler_that_does_not_answer_is_said_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("distributed")
    monkeypatch.setattr(clusters, "PATIENCE", 1)
    assert main(words(tmp_path / "run", "--parallel", "dask", "--address", "tcp://127.0.0.1:1")) == 2
    assert "no Dask scheduler answers at --address tcp://127.0.0.1:1" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
