"""What becomes of the steps of a study whose workers say that they lost their task."""

from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from orograph.errors import OrographError
from orograph.store.run import Run
from orograph.study import command as studying
from orograph.study.settings import StudyExecution, StudySettings
from orograph.work.pools import Here, WorkerLost


class Losing(Here):
    """Loses the tasks of one kind of step, so many times."""

    kind, times = "", 0

    def submit(self, stage: str, *arguments: Any) -> "Future[tuple[Any, float]]":
        if arguments[0].kind == self.kind and self.times:
            self.times -= 1
            lost: Future[tuple[Any, float]] = Future()
            lost.set_exception(WorkerLost())
            return lost
        return super().submit(stage, *arguments)


def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, times: int, **optimisation: Any) -> Run:
    settings = StudySettings.model_validate(
        {
            "data": {"dataset": "digits", "subset_size": 100},
            "architecture": {"model": ("MLP1",), "hidden_size": (3,)},
            "optimisation": {"num_seeds": 2, "epochs": 1, **optimisation},
            "metrics": {"fast": True, "top_k": 2},
            "connectivity": {"paths": ("linear",), "curve_points": 3},
            "numerics": {"threads": 1},
        }
    )

    def start(bench: Any, context: Any, make: Any, execution: Any, say: Any) -> Losing:
        workers = Losing(bench, context.stages, say)
        workers.kind, workers.times = kind, times
        return workers

    monkeypatch.setattr(studying, "start_workers", start)
    assert studying.study(settings, StudyExecution(out=str(tmp_path / "run"), quiet=True)) == 0
    return Run.open(tmp_path / "run")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["training", "minimum", "pair"])
def test_a_step_lost_once_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    run = study(tmp_path, monkeypatch, kind, 1)
    assert {record.status for record in run.records.values()} == {"done"}
    assert {finding.status for finding in run.findings.values()} == {"done"}


def test_a_minimum_lost_twice_is_recorded_and_the_others_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = study(tmp_path, monkeypatch, "minimum", 2)
    failed = [finding for finding in run.findings.values() if finding.status == "failed"]
    assert [(finding.key.kind, finding.scalars["error"]) for finding in failed] == [("minimum", "its worker was lost twice")]
    assert len(run.findings) == 3


def test_networks_lost_twice_fail_with_all_that_needs_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = study(tmp_path, monkeypatch, "training", 2)
    assert {record.scalars["error"] for record in run.records.values()} == {"its worker was lost twice"}
    assert {finding.status for finding in run.findings.values()} == {"failed"}
    assert all("failed: its worker was lost twice" in finding.scalars["error"] for finding in run.findings.values())


def test_a_learning_rate_lost_twice_ends_the_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OrographError, match="lost twice"):
        study(tmp_path, monkeypatch, "rate", 2, compare_optimizers=True)
