"""Experiments in one call: the runs are those of the command line, byte for byte where everything has a name, and those of
objects in memory say so and ask for them again.

Independent of the code: the command line is the truth for the bytes, run.json is read as text, IPython's display is a stand-in.
"""

import json
import logging
import random
import shutil
import subprocess
import sys
import threading
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import orograph as og
import own_problem
from orograph.analysis.settings import AnalyzeSettings
from orograph.cli import main
from orograph.errors import ConfigurationError, OrographError, RunError
from orograph.experiments import homes
from orograph.memory import parse_bytes
from orograph.study.settings import StudyCommand
from orograph.sweep.settings import LadderSettings, SweepCommand, SweepNumerics, SweepSettings
from orograph.training.settings import TrainingSettings
from orograph.work.progress import WorkProgress, suited
from run_bytes import bytes_of

SMALL: dict[str, Any] = {"strengths": [0.001, 0.01], "k": 3, "epochs": 3, "threads": 1, "quiet": True}
WORDS = "--strengths 0.001,0.01 --k 3 --epochs 3 --threads 1 --quiet"
NAMED = "--model own_problem:net --data own_problem:load --loss own_problem:loss --metrics accuracy,own_problem:confident "


def recorded(run: Path) -> dict[str, Any]:
    """What the run was made of, as it stands in its marker."""
    found: dict[str, Any] = json.loads((run / "run.json").read_text())["configuration"]
    return found


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep of parts that have names."""
    out = tmp_path_factory.mktemp("named") / "run"
    og.sweep(own_problem.problem(), out=out, **SMALL)
    return out


@pytest.mark.slow
def test_a_sweep_of_named_parts_is_that_of_the_command_line(named: Path, tmp_path: Path) -> None:
    found = og.open_run(named)
    assert found.test_accuracy.shape == found.test_confident.shape == (1, 1, 2)
    assert main(["sweep", *NAMED.split(), *WORDS.split(), "--out", str(tmp_path / "command")]) == 0
    assert bytes_of(named) == bytes_of(tmp_path / "command")
    chosen = recorded(named)
    assert chosen["model"]["model"] == "own_problem:net"
    assert set(chosen["problem"]["sources"]) == {"model", "data", "loss", "confident"}
    assert main(["sweep", *NAMED.split(), *WORDS.split(), "--out", str(named)]) == 0  # goes on with it


@pytest.mark.slow
def test_a_sweep_of_built_in_parts_is_that_of_the_command_line(tmp_path: Path) -> None:
    given = SMALL | {"widths": 4, "data": "digits", "subset_size": 60, "strengths": np.array([0.001, 0.01])}
    og.sweep(out=tmp_path / "python", **given)
    words = f"sweep --dataset digits --subset-size 60 --widths 4 {WORDS} --out"
    assert main([*words.split(), str(tmp_path / "command")]) == 0
    assert bytes_of(tmp_path / "python") == bytes_of(tmp_path / "command")


@pytest.fixture(scope="module")
def made_in_memory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep of objects."""
    out = tmp_path_factory.mktemp("memory") / "run"
    og.sweep(own_problem.in_memory(), out=out, **SMALL)
    return out


@pytest.mark.slow
def test_a_run_of_objects_says_so_and_has_the_numbers_of_the_named_one(made_in_memory: Path, named: Path) -> None:
    chosen = recorded(made_in_memory)
    assert chosen["model"]["model"] == "object:lambda"
    assert chosen["data"]["dataset"] == "object:tensors"
    assert set(chosen["problem"]["sources"]) == {"loss", "confident"}
    assert len(chosen["problem"]["checksum"]) == 64
    wanted, found = og.open_run(named), og.open_run(made_in_memory)
    for name in ("theta", "eigenvalue", "test_accuracy", "test_confident"):
        assert np.array_equal(wanted[name], found[name]), name


def test_a_run_of_objects_asks_for_them_in_one_sentence(made_in_memory: Path) -> None:
    with pytest.raises(
        ConfigurationError, match=r"the model of this run, lambda, was an object in memory.*og\.analyze\(run, problem\)"
    ):
        og.analyze(made_in_memory, quiet=True)
    assert main(["analyze", str(made_in_memory), "--quiet"]) == 2


@pytest.mark.parametrize(
    ("other", "says"),
    [
        ({"model": nn.Linear(4, 3)}, r"another network than .*its parameter 0\.weight is not there, and was \(5, 4\)"),
        (
            {"model": lambda: nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3))},
            r"0\.weight is \(6, 4\), and was \(5, 4\)",
        ),
        ({"train": own_problem.data(41)["train"]}, "has other data than"),
    ],
)
def test_another_problem_than_that_of_the_run_is_refused(made_in_memory: Path, other: dict[str, Any], says: str) -> None:
    before = bytes_of(made_in_memory)
    with pytest.raises(RunError, match=says):
        og.analyze(made_in_memory, own_problem.problem(**{"model": own_problem.net, **own_problem.data(), **other}), quiet=True)
    assert bytes_of(made_in_memory) == before


@pytest.mark.slow
def test_a_sweep_of_objects_is_resumed_by_the_same_call_and_not_with_other_data(made_in_memory: Path) -> None:
    before = bytes_of(made_in_memory)
    og.sweep(own_problem.in_memory(), out=made_in_memory, **SMALL)
    assert bytes_of(made_in_memory) == before
    with pytest.raises(RunError, match=r"problem\.checksum"):
        og.sweep(own_problem.in_memory(train=own_problem.data(41)["train"]), out=made_in_memory, **SMALL)


@pytest.mark.slow
def test_an_analysis_with_the_problem_finds_what_it_finds_of_names(made_in_memory: Path, named: Path, tmp_path: Path) -> None:
    few: dict[str, Any] = {"path_steps": 0, "probes": 3, "resamples": 19, "quiet": True}
    wanted = og.analyze(shutil.copytree(named, tmp_path / "named"), **few)
    found = og.analyze(shutil.copytree(made_in_memory, tmp_path / "memory"), own_problem.in_memory(), **few)
    assert set(wanted.data_vars) == set(found.data_vars)
    assert np.array_equal(wanted.scalar_curvature, found.scalar_curvature)
    assert np.array_equal(wanted.class_share, found.class_share)


@pytest.mark.slow
def test_a_study_of_several_networks_in_memory(tmp_path: Path) -> None:
    wide = own_problem.in_memory(model=nn.Sequential(nn.Linear(4, 9), nn.Tanh(), nn.Linear(9, 3)))
    chosen = {"num_seeds": 2, "epochs": 2, "top_k": 2, "fast": True, "paths": "linear", "quiet": True}
    found = og.study({"narrow": own_problem.in_memory(), "wide": wide}, out=tmp_path / "run", **chosen)
    assert list(found) == ["narrow-AdamW", "wide-AdamW"]
    assert recorded(tmp_path / "run")["architecture"]["model"] == ["object:narrow", "object:wide"]
    named = og.study(own_problem.problem(), out=tmp_path / "named", **chosen)
    assert np.array_equal(named["net-AdamW"].test_loss, found["narrow-AdamW"].test_loss)


def test_problems_of_a_study_that_differ_in_more_than_their_networks_are_refused() -> None:
    one, other = own_problem.in_memory(), own_problem.in_memory(train=own_problem.data(41)["train"])
    with pytest.raises(ConfigurationError, match="two networks are called lambda; give the problems by names"):
        og.study([one, one])
    with pytest.raises(ConfigurationError, match="b has another data set"):
        og.study({"a": one, "b": other})


@pytest.mark.parametrize(
    ("chosen", "says"),
    [
        ({"strength": [0.1]}, "unknown setting 'strength'; did you mean 'strengths'"),
        ({"dry_run": True}, "unknown setting 'dry_run'"),
        ({"widths": 4}, "`widths` is a part of the problem"),
        ({"strengths": [-1.0]}, "a strength λ must be a number ≥ 0"),
        ({"progress": "loud"}, "unknown progress 'loud'"),
        ({"strengths": []}, "`strengths` is empty; give one λ at least"),
    ],
)
def test_what_cannot_be_chosen_is_one_sentence(chosen: dict[str, Any], says: str, tmp_path: Path) -> None:
    with pytest.raises(OrographError, match=says):
        og.sweep(own_problem.in_memory(), out=tmp_path / "run", **chosen)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "call",
    [
        lambda given: og.sweep(given, strengths=[0.1]),
        og.study,
        lambda given: og.study([given]),
        lambda given: og.analyze("nowhere", given),
        lambda given: og.escape("nowhere", given),
        lambda given: og.connect(given, None, None),
        lambda given: og.Tracker(given, out="nowhere"),
    ],
)
def test_a_module_in_place_of_a_problem_is_one_sentence(call: Callable[[Any], Any]) -> None:
    with pytest.raises(ConfigurationError, match="`problem` must be a Problem, not a Linear"):
        call(nn.Linear(2, 1))


def test_an_objective_and_a_sweep_take_the_same_budgets_of_memory() -> None:
    problem = og.Problem(nn.Linear(2, 1), nn.MSELoss(), train=(torch.ones(3, 2), torch.ones(3, 1)))
    assert problem.objective(memory="128KiB").memory == parse_bytes(SweepNumerics(memory="128KiB").memory) == 2**17
    for refuse in (lambda: problem.objective(memory="4"), lambda: SweepNumerics(memory="4")):
        with pytest.raises(ConfigurationError, match="give it a unit, like 4GiB"):
            refuse()


@pytest.mark.parametrize("kind", [SweepCommand, StudyCommand, AnalyzeSettings])
def test_every_setting_has_a_name_of_its_own_and_a_description(kind: Any) -> None:
    fields, _ = homes(kind)
    inner = [field.annotation for field in kind.model_fields.values() if hasattr(field.annotation, "model_fields")]
    every = [(name, field) for group in inner or [kind] for name, field in group.model_fields.items()]
    assert len({name for name, _ in every}) == len(every)
    assert all(field.description for _, field in every)
    assert {name for name, _ in every} - set(fields) <= {"json_output", "dry_run", "sources", "checksum"}


@pytest.mark.slow
def test_settings_may_come_as_an_object_with_others_on_top(tmp_path: Path) -> None:
    settings = SweepSettings(ladder=LadderSettings(strengths=(0.1, 0.2)), training=TrainingSettings(epochs=1))
    found = og.sweep(own_problem.in_memory(), settings=settings, k=2, quiet=True, out=tmp_path / "run")
    assert found.strength.values.tolist() == [0.1, 0.2]
    assert recorded(tmp_path / "run")["training"]["epochs"] == 1
    assert recorded(tmp_path / "run")["spectrum"]["k"] == 2


@pytest.mark.slow
def test_the_weights_that_a_module_comes_with_can_be_the_anchor(tmp_path: Path) -> None:
    torch.manual_seed(7)
    module = own_problem.net()
    own = torch.cat([each.detach().flatten() for each in module.parameters()]).numpy()
    chosen = {"anchor": "initial:0", "start": "anchor", "strengths": [0.001, 1000.0], "lr": 1e-4}
    found = og.sweep(own_problem.in_memory(model=module), out=tmp_path / "run", **SMALL | chosen)
    held = found.theta.sel(strength=1000.0).values.ravel()
    assert np.abs(held - own).max() < 1e-3  # three epochs of one step of 1e-4 each, and back
    distance = np.linalg.norm(found.theta.values.reshape(2, -1).astype(float) - own, axis=1)
    assert found.anchor_distance.values.ravel() == pytest.approx(distance, rel=1e-3, abs=1e-7)  # float32


@pytest.mark.slow
def test_points_that_fail_are_told_by_a_warning(tmp_path: Path) -> None:
    inputs = torch.randn(20, 2)
    problem = og.Problem(nn.Linear(2, 1), nn.MSELoss(), train=(inputs, inputs.sum(1, keepdim=True)))
    with pytest.warns(RuntimeWarning, match="some points of .* failed; `status` says which"):
        found = og.sweep(problem, optimizer="SGD", lr=1e20, strengths=[0.1], k=0, epochs=5, quiet=True, out=tmp_path / "run")
    assert found.status.values.ravel().tolist() == ["failed"]


@pytest.mark.slow
def test_random_streams_and_threads_are_left_as_they_were(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002 - the global stream
    og.sweep(own_problem.in_memory(), out=tmp_path / "run", **SMALL | {"threads": 2, "epochs": 1, "k": 0})
    assert torch.get_num_threads() == 1
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]  # noqa: NPY002 - as above
    assert random.getstate() == before[2]


@pytest.mark.slow
def test_progress_is_one_line_of_a_notebook_rewritten(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Any) -> None:
    shown: list[str] = []

    class Handle:
        def update(self, bundle: dict[str, str], raw: bool) -> None:
            assert raw
            shown[-1] = bundle["text/plain"]

    def display(bundle: dict[str, str], raw: bool, display_id: bool) -> Handle:
        assert raw
        assert display_id
        assert "text/html" in bundle
        shown.append(bundle["text/plain"])
        return Handle()

    kernel = types.SimpleNamespace(kernel=object())
    ipython = types.ModuleType("IPython")
    ipython.get_ipython = lambda: kernel  # type: ignore[attr-defined]
    ipython.display = types.ModuleType("IPython.display")  # type: ignore[attr-defined]
    ipython.display.display = display
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", ipython.display)
    assert suited() == "notebook"
    og.sweep(own_problem.in_memory(), out=tmp_path / "run", **SMALL | {"quiet": False})
    assert len(shown) == 1
    assert shown[0].startswith("2 of 2 points, ")
    assert capsys.readouterr() == ("", "")
    og.sweep(own_problem.in_memory(), out=tmp_path / "again", **SMALL)
    assert len(shown) == 1


@pytest.mark.slow
def test_progress_is_log_records_where_logging_is_set_up(caplog: pytest.LogCaptureFixture, tmp_path: Path, capsys: Any) -> None:
    caplog.set_level(logging.INFO)
    og.sweep(own_problem.in_memory(), out=tmp_path / "run", **SMALL | {"quiet": False})
    told = [record.getMessage() for record in caplog.records if record.name == "orograph"]
    assert [line[:5] for line in told] == ["[1/2]", "[2/2]"]
    assert "λ = 0.001: train L " in told[0]
    assert capsys.readouterr() == ("", "")
    caplog.clear()
    og.sweep(own_problem.in_memory(), out=tmp_path / "again", progress="log", **SMALL)
    assert not caplog.records


def test_progress_is_lines_where_nothing_is_set_up(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    assert suited() == "lines"
    with WorkProgress("points", 1, show="lines") as progress:
        progress.completed("here", "done")
    assert capsys.readouterr().err == "[1/1] here: done ETA 0 s\n"


MANY = SMALL | {"start": "fresh", "cohort": 1}


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Independent points of objects, without workers."""
    out = tmp_path_factory.mktemp("alone") / "run"
    og.sweep(own_problem.in_memory(), out=out, **MANY)
    return out


@pytest.mark.slow
def test_workers_write_the_same_bytes_of_objects(alone: Path, tmp_path: Path) -> None:
    """Of names: `sweep/test_parallel.py`."""
    og.sweep(own_problem.in_memory(), out=tmp_path / "two", parallel="processes", jobs=2, **MANY)
    assert bytes_of(tmp_path / "two") == bytes_of(alone)


@pytest.mark.slow
def test_workers_of_a_study_write_the_same_bytes_of_objects(tmp_path: Path) -> None:
    chosen = {"num_seeds": 2, "epochs": 1, "top_k": 2, "fast": True, "paths": "linear", "threads": 1, "quiet": True}
    problems = {"a": own_problem.in_memory(), "b": own_problem.in_memory(model=nn.Linear(4, 3))}
    og.study(problems, out=tmp_path / "one", **chosen)
    og.study(problems, out=tmp_path / "two", parallel="processes", jobs=2, **chosen)
    assert bytes_of(tmp_path / "two") == bytes_of(tmp_path / "one")


SCRIPT = """
import torch, orograph as og
from torch import nn
def net():
    return nn.Linear(3, 2)
x = torch.randn(40, 3)
problem = og.Problem(net, nn.CrossEntropyLoss(), train=(x, (x.sum(1) > 0).long()))
print("begun")
og.sweep(problem, strengths=[0.01, 0.1], start="fresh", k=1, epochs=1, parallel="processes", jobs=2, out="run", quiet=True)
print(sorted(og.open_run("run").status.values.ravel()))
"""


@pytest.mark.slow
def test_a_script_without_a_guard_is_not_run_again_by_its_workers(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "begun\n['done', 'done']\n"


@pytest.mark.cluster
@pytest.mark.parametrize("kind", ["dask", "ray"])
def test_clusters_write_the_same_bytes_of_objects(alone: Path, tmp_path: Path, kind: str) -> None:
    """Of names: `sweep/test_parallel.py`."""
    pytest.importorskip("distributed" if kind == "dask" else "ray")
    og.sweep(own_problem.in_memory(), out=tmp_path / "two", parallel=kind, jobs=2, **MANY)
    assert bytes_of(tmp_path / "two") == bytes_of(alone)


def test_what_cannot_be_sent_to_workers_is_said_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = threading.Lock()
    stuck = own_problem.in_memory(model=lambda: own_problem.net() if lock else None)
    with pytest.raises(ConfigurationError, match=r"cannot be sent to other processes: cannot pickle '_thread\.lock' object"):
        og.sweep(stuck, out=tmp_path / "run", parallel="processes", jobs=2, **SMALL)
    monkeypatch.setitem(sys.modules, "cloudpickle", None)
    with pytest.raises(ConfigurationError, match="needs the package cloudpickle"):
        og.sweep(own_problem.in_memory(), out=tmp_path / "run", parallel="processes", jobs=2, **SMALL)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_module_that_starts_elsewhere_does_not_go_on_with_a_run_and_is_analysed_all_the_same(tmp_path: Path) -> None:
    inputs = torch.randn(20, 3)

    def problem(seed: int) -> og.Problem:
        torch.manual_seed(seed)
        return og.Problem(nn.Linear(3, 1), nn.MSELoss(), train=(inputs, inputs.sum(1, keepdim=True)))

    same = problem(0)
    before = [parameter.clone() for parameter in same.model.parameters()]
    given: dict[str, Any] = {"k": 1, "epochs": 1, "quiet": True, "out": tmp_path / "run", "strengths": [0.01, 0.1]}
    og.sweep(same, **given)
    assert all(torch.equal(one, other) for one, other in zip(before, same.model.parameters(), strict=True))
    og.sweep(same, **given)
    og.sweep(problem(0), **given)
    with pytest.raises(ConfigurationError, match="other weights than when this run was begun"):
        og.sweep(problem(1), **given)
    og.analyze(tmp_path / "run", problem(1), path_steps=0, quiet=True)


@pytest.mark.slow
def test_an_optimizer_may_be_a_class_or_a_function(tmp_path: Path) -> None:
    problem = own_problem.problem()
    chosen = SMALL | {"strengths": [0.01], "epochs": 2, "k": 0, "lr": 0.1}

    def own(parameters: Any, lr: float) -> torch.optim.Optimizer:
        return torch.optim.SGD(parameters, lr=lr)

    given = {"name": "torch.optim:SGD", "class": torch.optim.SGD, "function": own}
    for name, optimizer in given.items():
        og.sweep(problem, optimizer=optimizer, out=tmp_path / name, **chosen)
    file = "test_data/model_weights-0-0.01000.pth"
    states = [torch.load(tmp_path / name / file, weights_only=True) for name in given]
    assert all(torch.equal(each, other[key]) for other in states[1:] for key, each in states[0].items())
    assert recorded(tmp_path / "class")["training"]["optimizer"] == "torch.optim.sgd:SGD"
    assert recorded(tmp_path / "function")["training"]["optimizer"] == "object:own"
    og.analyze(tmp_path / "function", problem, path_steps=0, quiet=True)  # measures what was trained
    with pytest.raises(ConfigurationError, match="give a problem with it"):
        og.sweep(optimizer=own, data="digits", quiet=True)
    with pytest.raises(OrographError, match="optimizer of this run, own, was an object in memory; give it again"):
        og.sweep(problem, optimizer="object:own", out=tmp_path / "gone", **chosen)
