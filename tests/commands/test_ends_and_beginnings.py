"""What is refused before anything is computed, and what is told of a run that is not whole."""

import importlib
import json
import shutil
from pathlib import Path

import pytest

from orograph.cli import main
from orograph.commands.repairing import inspect
from orograph.store.analysis import of_run
from orograph.store.encoding import sealed
from orograph.store.resume import begun_run
from orograph.store.run import Run

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


STUDY = "study --dataset digits --subset-size 60 --model MLP1 --hidden-size 3 --num-seeds 2 --threads 1 --quiet".split()  # noqa: SIM905


@pytest.mark.parametrize(
    ("words", "parameters", "pairs"),
    [
        (SMALL, 235, 2),
        ([*SMALL, "--dry-run"], 235, 2),
        ([*STUDY, "--dry-run"], 235, 10),
        (["measure", __file__, "--data", "digits", "--k", "4"], 26122, 4),
    ],
)
def test_what_memory_does_not_hold_is_refused_before_it_is_made(
    capsys, monkeypatch, tmp_path: Path, words: list[str], parameters: int, pairs: int
) -> None:
    """Its eigenvectors and the basis count, too: six vectors alone would fit."""
    monkeypatch.setattr("orograph.work.trial.free_memory", lambda: 6 * 4 * parameters + 1)
    monkeypatch.setattr("orograph.problem.Problem.build", None)
    said = refused(capsys, *words, "--out", str(tmp_path / "run"))
    assert f"with {parameters:,} parameters needs" in said
    assert f"with {pairs} eigenvectors" in said
    assert "of memory are free; give smaller widths or fewer eigenpairs" in said
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("words", "parameters"), [(SMALL, 235), (STUDY, 235)])
def test_the_plan_of_a_slow_network_is_made_of_one_step(
    capsys, monkeypatch, tmp_path: Path, words: list[str], parameters: int
) -> None:
    monkeypatch.setattr("orograph.work.trial._PATIENCE", 0.0)
    for module, name in (("orograph.sweep.command", "Bench"), ("orograph.study.command", "StudyBench")):
        monkeypatch.setattr(importlib.import_module(module), name, None)  # would try everything
    assert main([*words, "--dry-run", "--out", str(tmp_path / "run")]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "one step on" in said
    assert f" {parameters} parameters" in said
    assert main([*words, "--dry-run", "--json", "--out", str(tmp_path / "run")]) == 0
    assert json.loads(capsys.readouterr().out)["seconds"] > 0
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("number", ["1e-46", "1e-39"])
def test_a_strength_that_the_arithmetic_does_not_hold_is_refused_by_name(capsys, tmp_path: Path, number: str) -> None:
    said = refused(capsys, *SMALL, "--strengths", f"0,{number}", "--out", str(tmp_path / "run"))
    assert f"--strengths {number} is below what float32 holds" in said


def test_a_function_of_ones_own_that_exits_is_told(capsys, tmp_path: Path) -> None:
    (tmp_path / "leaving.py").write_text("import sys\ndef data():\n    sys.exit(3)\n")
    own = f"{tmp_path}/leaving.py:data"
    said = refused(capsys, "sweep", "--data", own, "--model", own, "--quiet", "--out", str(tmp_path / "run"))
    assert "failed with SystemExit: 3" in said


@pytest.mark.slow
def test_an_optimiser_that_cannot_be_made_is_told_by_its_own_flag(capsys, tmp_path: Path) -> None:
    said = refused(capsys, *SMALL, "--strengths", "0.01", "--optimizer", "torch.nn:Linear", "--out", str(tmp_path / "run"))
    assert "--optimizer torch.nn:Linear cannot be made of parameters and --lr" in said


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


def test_a_plan_without_a_copy_is_made_again_by_the_command_that_the_repair_names(capsys, run: Path, tmp_path: Path) -> None:
    out = copied(run, tmp_path)
    shutil.rmtree(out / "copies")
    (out / "plan.json").write_bytes(b"[")
    assert main(["doctor", str(out), "--repair"]) == 0
    assert "orograph sweep --config" in capsys.readouterr().out.replace("\n", " ")
    begun = begun_run(out, "sweep")
    assert begun is not None
    assert begun.plan.cells == ()


@pytest.mark.slow
def test_a_plan_that_is_lost_with_its_copy_is_told_with_the_command_that_makes_it(capsys, run: Path, tmp_path: Path) -> None:
    out = copied(run, tmp_path)
    for place in (out, out / "copies"):
        (place / "plan.json").unlink()
    said = refused(capsys, "doctor", str(out), "--repair")
    assert "give the command that made the run again" in said
    assert "doctor" not in said
    assert main([*SMALL, "--strengths", "0,0.01", "--out", str(out)]) == 0
    assert not inspect(out)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["run.json", "plan.json"])
def test_a_file_that_is_damaged_with_its_copy_is_made_again_by_the_runs_own_command(
    capsys, run: Path, tmp_path: Path, name: str
) -> None:
    out = copied(run, tmp_path)
    for place in (out, out / "copies"):
        (place / name).write_bytes(b"{")
    if name == "run.json":
        assert "give the command that made the run again" in refused(capsys, "doctor", str(out), "--repair")
        assert (out / name).read_bytes() == b"{"  # nothing is removed that has no replacement
        (out / name).unlink()  # as earlier versions left it
    else:
        assert main(["doctor", str(out), "--repair"]) == 0
    assert main([*SMALL, "--strengths", "0,0.01", "--out", str(out)]) == 0
    assert not inspect(out)
    assert [(place / name).read_bytes() for place in (out, out / "copies")] == 2 * [(run / name).read_bytes()]


def test_the_marker_of_a_later_version_is_never_written_over(capsys, run: Path, tmp_path: Path) -> None:
    out = copied(run, tmp_path)
    for place in (out, out / "copies"):
        later = json.loads((place / "run.json").read_bytes()) | {"version": 2}
        (place / "run.json").write_text(json.dumps(later))
    assert "later version" in refused(capsys, *SMALL, "--strengths", "0,0.01", "--out", str(out))


def test_results_that_were_found_in_another_run_are_told(capsys, run: Path, tmp_path: Path) -> None:
    out = copied(run, tmp_path)
    results = {"chains": [], "loops": [], "loop_areas": [], "commands": {}}
    for own in ({}, of_run(Run.open(run))):  # as earlier versions wrote it, and as it is
        (out / "analysis.json").write_bytes(sealed(results | own))
        assert not inspect(out)
    (out / "analysis.json").write_bytes(sealed(results | {"of": "another"}))
    assert "was found in another run" in refused(capsys, "report", str(out))
    assert main(["doctor", str(out), "--repair"]) == 0
    assert f"orograph analyze {out}" in capsys.readouterr().out
    assert not inspect(out)


PRINTING = """
import torch
print("{")
def model():
    print("[")
    return torch.nn.Linear(2, 2)
def data():
    print("]")
    batches = [(torch.arange(8.0).reshape(4, 2), torch.tensor([0, 1, 1, 0]))]
    return batches, batches
"""


@pytest.mark.slow
def test_json_has_standard_output_to_itself(capsys, tmp_path: Path) -> None:
    (tmp_path / "telling.py").write_text(PRINTING)
    out, own = str(tmp_path / "run"), str(tmp_path / "telling.py")
    few = "--k 1 --epochs 1 --threads 1 --strengths 0.01 --json".split()  # noqa: SIM905
    assert main(["sweep", "--model", f"{own}:model", "--data", f"{own}:data", *few, "--out", out]) == 0
    told = capsys.readouterr()
    assert json.loads(told.out)["run"] == out
    assert {"{", "[", "]"} <= set(told.err.splitlines())


@pytest.mark.slow
def test_a_marker_without_a_copy_is_made_again_by_its_own_command_beside_whatever_lies_there(
    capsys, run: Path, tmp_path: Path
) -> None:
    out = copied(run, tmp_path)
    shutil.rmtree(out / "copies")
    (out / "run.json").unlink()
    (out / "my notes").touch()
    assert "give the command that made the run again" in refused(capsys, "doctor", str(out))
    assert "epochs = 1 (not 2)" in refused(capsys, *SMALL, "--strengths", "0,0.01", "--epochs", "2", "--out", str(out))
    assert main([*SMALL, "--strengths", "0,0.01", "--out", str(out)]) == 0
    assert not inspect(out)


@pytest.mark.slow
def test_who_goes_on_with_a_run_is_told_of_a_truncated_state_before_anything_is_done(capsys, run: Path, tmp_path: Path) -> None:
    out = copied(run, tmp_path)
    state = next(out.rglob("model_weights-0-0.00000.pth"))
    state.write_bytes(state.read_bytes()[:500])
    assert f"{state} is damaged" in refused(capsys, *SMALL, "--strengths", "0,0.01", "--out", str(out))


def copied(run: Path, folder: Path) -> Path:
    return Path(shutil.copytree(run, folder / "run"))


def test_export_and_report_say_how_many_points_there_are(capsys, run: Path, tmp_path: Path) -> None:
    next((run / "points").glob("*.json")).unlink()
    assert main(["export", str(run), "--out", str(tmp_path / "table.csv")]) == 0
    assert main(["report", str(run), "--out", str(tmp_path / "page.html")]) == 0
    assert capsys.readouterr().out.count("1 of 2 points are recorded") == 2
