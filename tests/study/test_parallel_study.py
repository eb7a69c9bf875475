"""What becomes of the steps of a study whose workers say that they lost their task."""

from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from orograph.cli import main
from orograph.errors import OrographError, RunError
from orograph.store.run import Run
from orograph.study import command as studying
from orograph.study import stages
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


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "recorded", "found"), [("minimum", 2, {"minimum", "pair"}), ("training", 0, set()), ("pair", 2, {"minimum"})]
)
def test_what_is_lost_twice_is_told_not_recorded_and_done_by_the_same_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, recorded: int, found: set[str]
) -> None:
    with pytest.raises(OrographError, match=r"lost twice.*the same command"):
        study(tmp_path, monkeypatch, kind, 2)
    run = Run.open(tmp_path / "run")
    assert len(run.records) == recorded
    assert {key.kind for key in run.findings} == found
    run = study(tmp_path, monkeypatch, kind, 0)
    assert {each.status for each in (*run.records.values(), *run.findings.values())} == {"done"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "trouble",
    [
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory"),
        OSError(28, "No space left on device"),
        RunError("cannot read something"),
    ],
)
def test_a_trouble_that_passes_is_no_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trouble: Exception) -> None:
    def troubled(*args: Any, **options: Any) -> None:
        raise trouble

    with monkeypatch.context() as patch:
        patch.setattr(stages, "measure_minimum", troubled)
        with pytest.raises(OrographError, match=r"minimum 0: .*of 2 alike.; nothing of this is recorded"):
            study(tmp_path, monkeypatch, "", 0)
    run = study(tmp_path, monkeypatch, "", 0)
    assert {each.status for each in (*run.records.values(), *run.findings.values())} == {"done"}


@pytest.mark.slow
def test_a_diverged_network_is_a_result_and_the_exit_code_says_so(tmp_path: Path) -> None:
    words = ["--dataset", "digits", "--subset-size", "100", "--model", "MLP1", "--hidden-size", "3", "--num-seeds", "1"]
    words += ["--paths", "none", "--epochs", "2", "--fast", "--top-k", "2", "--optimizer", "SGD", "--lr", "1e30", "--quiet"]
    assert main(["study", *words, "--out", str(tmp_path / "run")]) == 1
    run = Run.open(tmp_path / "run")
    assert {record.status for record in run.records.values()} == {"failed"}
    assert main(["study", *words, "--out", str(tmp_path / "run")]) == 1


@pytest.mark.slow
def test_damaged_weights_are_no_result_and_measured_once_they_are_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = study(tmp_path, monkeypatch, "", 0)
    [weights] = run.path.glob("test_data/*/model_weights-0-*.pth")
    whole = weights.read_bytes()
    for record in run.path.glob("findings/minimum/*/0.*"):
        record.unlink()
    weights.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(RunError, match=r"model_weights-0.*damaged.*--repair"):
        study(tmp_path, monkeypatch, "", 0)
    weights.write_bytes(whole)
    assert {finding.status for finding in study(tmp_path, monkeypatch, "", 0).findings.values()} == {"done"}


@pytest.mark.slow
def test_a_learning_rate_lost_twice_ends_the_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OrographError, match="lost twice"):
        study(tmp_path, monkeypatch, "rate", 2, compare_optimizers=True)
