"""A sweep that grows is held against one that was asked for all of it from the start: equal bytes where it is the same work."""

import json
from pathlib import Path

import numpy as np
import pytest

import orograph.store.extension as extension
from forked import finish_despite_kills, lasting
from growing_runs import contents, grow, make, of_points
from orograph.cli import main
from orograph.store.dataset import open_run
from orograph.store.lock import RunLock
from orograph.store.run import Run


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main([*words, "--quiet"]) == 2
    error = capsys.readouterr().err
    assert len(error.strip().splitlines()) == 1
    return error


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind",
    [
        "",
        pytest.param("--direction both --end train --seeds 0,1 --hessian objective", marks=pytest.mark.slow),
        pytest.param("--start fresh --cohort 2 --activation relu --published", marks=pytest.mark.slow),
        pytest.param("--k 0 --index", marks=pytest.mark.slow),
    ],
)
def test_more_pairs_are_those_of_a_run_that_was_asked_for_them_from_the_start(kind: str, tmp_path: Path) -> None:
    grown = make(tmp_path / "grown", *kind.split())
    grow(grown, "--k", "4")
    words = kind.replace("--k 0", "").split()
    assert contents(grown) == contents(make(tmp_path / "whole", *words, "--k", "4"))
    assert main(["doctor", str(grown)]) == 0


@pytest.mark.slow
def test_what_was_asked_for_is_recorded_and_the_run_goes_on_by_its_configuration(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = make(tmp_path / "run")
    grow(out, "--strengths", "0.03")
    grow(out, "--k", "3")
    before = contents(out)
    grow(out, "--k", "3")  # again
    grow(out)
    history = json.loads((out / "run.json").read_text())["history"]
    assert [each["strengths"] for each in history] == [[0.01, 0.02], [0.01, 0.02, 0.03], [0.01, 0.02, 0.03]]
    assert [each["k"] for each in history] == [2, 2, 3]
    assert main(["sweep", "--config", str(out / "configuration.toml"), "--quiet", "--out", str(out)]) == 0
    assert contents(out) == before
    error = refused(capsys, "sweep", "--config", str(out / "configuration.toml"), "--k", "2", "--out", str(out))
    assert "spectrum.k = 3 (not 2)" in error
    assert "orograph extend" in error


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["", "--end train", pytest.param("--start fresh --cohort 1", marks=pytest.mark.slow)])
def test_a_ladder_that_goes_on_is_that_of_a_longer_one(kind: str, tmp_path: Path) -> None:
    grown = make(tmp_path / "grown", *kind.split())
    grow(grown, "--strengths", "0.03,0.04")
    whole = make(tmp_path / "whole", *kind.split(), "--strengths", "0.01,0.02,0.03,0.04")
    assert contents(grown) == contents(whole)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["", "--end train"])
def test_a_descent_begins_where_the_climb_ended(kind: str, tmp_path: Path) -> None:
    grown = make(tmp_path / "grown", *kind.split())
    grow(grown, "--direction", "down")
    assert contents(grown) == contents(make(tmp_path / "whole", *kind.split(), "--direction", "both"))


@pytest.mark.slow
def test_a_further_seed_is_that_of_a_run_of_its_own_and_leaves_the_others_alone(tmp_path: Path) -> None:
    grown = make(tmp_path / "grown", "--end", "train")
    before = of_points(grown, "0-0.0")
    grow(grown, "--seeds", "1")
    assert of_points(grown, "0-0.0") == before
    alone, found = open_run(make(tmp_path / "alone", "--end", "train", "--seeds", "1")), open_run(grown)
    assert found.seed.values.tolist() == [0, 1]
    for name in ("theta", "eigenvalue", "train_loss"):
        assert np.array_equal(found[name].sel(seed=[1]), alone[name])


@pytest.mark.slow
def test_a_strength_between_others_begins_at_the_one_before_it(tmp_path: Path) -> None:
    grown = make(tmp_path / "grown", "--direction", "both", "--strengths", "0.01,0.012,0.014")
    stems = ("-0.01000", "-0.01200", "-0.01400")
    before = of_points(grown, *stems)
    grow(grown, "--strengths", "0.011,0.0125,0.013")
    assert of_points(grown, *stems) == before
    found = open_run(grown)
    theta = found.theta.load()
    ways = {
        "up": [(0.011, 0.01), (0.0125, 0.012), (0.013, 0.0125)],
        "down": [(0.013, 0.014), (0.0125, 0.013), (0.011, 0.012)],
    }
    for direction, pairs in ways.items():
        for strength, neighbour in pairs:
            here, there = (theta.sel(seed=0, direction=direction, strength=each) for each in (strength, neighbour))
            moved = found.moved.sel(seed=0, direction=direction, strength=strength).item()
            assert moved == pytest.approx(np.linalg.norm((here - there).astype(float)), rel=1e-6)
    # of one branch, the critical points are those to which the finer ladder leads, to the tolerance of both
    whole = open_run(make(tmp_path / "whole", "--direction", "both", "--strengths", "0.01,0.011,0.012,0.0125,0.013,0.014"))
    assert (found.branch_kept != 0).all()
    assert (found.polish_converged == 1).all()
    assert np.allclose(found.objective, whole.objective, rtol=1e-6)


@pytest.mark.slow
def test_until_all_pairs_are_there_the_run_is_what_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = make(tmp_path / "run")
    before = contents(out)
    commit = Run.commit

    def stopped(self: Run, cell: object, **rest: object) -> object:
        if self.path.name == "extension" and self.records:
            raise KeyboardInterrupt
        return commit(self, cell, **rest)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(Run, "commit", stopped)
        assert main(["extend", str(out), "--k", "3", "--quiet"]) == 130
    assert {name: each for name, each in contents(out).items() if not name.startswith("extension/")} == before
    assert open_run(out).sizes["eigen"] == 2
    assert main(["doctor", str(out)]) == 0
    capsys.readouterr()
    assert "3 pairs, not 4" in refused(capsys, "extend", str(out), "--k", "4")
    assert "being given 3 pairs" in refused(capsys, "extend", str(out), "--seeds", "4")
    assert main(["card", str(out)]) == 2
    assert "being given more pairs" in capsys.readouterr().err
    grow(out)
    assert contents(out) == contents(make(tmp_path / "whole", "--k", "3"))


@pytest.mark.slow
@pytest.mark.parametrize("after", [pytest.param(0, marks=pytest.mark.slow), 3, pytest.param(11, marks=pytest.mark.slow)])
def test_renames_that_were_stopped_are_finished(
    after: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = make(tmp_path / "run")
    move, count = extension._move, iter(range(1000))

    def stopped(source: Path, target: Path) -> None:
        if next(count) == after:
            raise KeyboardInterrupt
        move(source, target)

    with monkeypatch.context() as patched:
        patched.setattr(extension, "_move", stopped)
        assert main(["extend", str(out), "--k", "3", "--quiet"]) == 130
    capsys.readouterr()
    for words in (("doctor", str(out)), ("analyze", str(out)), ("export", str(out))):
        assert main([*words]) == 2
        assert f"finish that by: orograph extend {out}" in capsys.readouterr().err.replace("\n", " ")
    grow(out)
    assert not (out / "extension").exists()
    assert contents(out) == contents(make(tmp_path / "whole", "--k", "3"))


@pytest.mark.slow
def test_kills_leave_no_trace(tmp_path: Path) -> None:
    words = ["extend", "{}", "--k", "4", "--quiet"]
    for name in ("whole", "killed"):
        make(tmp_path / name, "--points", "4")
    whole = lasting([word.format(tmp_path / "whole") for word in words])
    finish_despite_kills([word.format(tmp_path / "killed") for word in words], 4, whole)
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


def test_what_cannot_be_added_is_refused_before_anything_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = make(tmp_path / "run")
    before = contents(out)
    assert "below the 2 pairs" in refused(capsys, "extend", str(out), "--k", "1")
    assert "must be below the number of parameters" in refused(capsys, "extend", str(out), "--k", "100000")
    assert "by a second command" in refused(capsys, "extend", str(out), "--k", "3", "--seeds", "1")
    assert "-0.1" in refused(capsys, "extend", str(out), "--strengths=-0.1")
    assert "not a run" in refused(capsys, "extend", str(tmp_path))
    assert "extend needs a run" in refused(capsys, "extend")
    lock = RunLock(out)
    try:
        for words in (("--k", "3"), ("--seeds", "1")):
            assert "is being written by" in refused(capsys, "extend", str(out), *words)
    finally:
        lock.release()
    assert contents(out) == before
    assert "history" not in json.loads((out / "run.json").read_text())


@pytest.mark.slow
def test_a_plan_tells_what_is_to_do_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = make(tmp_path / "run")
    before = contents(out)
    for words, told in (
        (("--k", "3"), "3 pairs in place of 2 at 2 points"),
        (("--strengths", "0.03", "--seeds", "1"), "4 points"),
    ):
        assert main(["extend", str(out), *words, "--dry-run"]) == 0
        assert told in capsys.readouterr().out
    assert main(["extend", str(out), "--k", "3", "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["points"] == 2
    assert contents(out) == before


@pytest.mark.slow
def test_findings_are_those_of_the_points_as_they_are(tmp_path: Path) -> None:
    out = make(tmp_path / "run")
    quick = ["--quiet", "--path-steps", "0", "--resamples", "19", "--probes", "3", "--images", "2"]
    assert main(["analyze", str(out), *quick]) == 0
    assert open_run(out).class_share.sizes["eigen"] == 2
    grow(out, "--k", "3")
    assert "class_share" not in open_run(out)  # of other pairs
    assert main(["analyze", str(out), *quick]) == 0
    assert open_run(out).class_share.sizes["eigen"] == 3


def test_a_strength_that_is_there_but_for_rounding_is_that_one(tmp_path: Path) -> None:
    out = make(tmp_path / "run")
    before = contents(out)
    grow(out, "--strengths", "0.010000000000000002,0.02")  # as 0.1 * 0.1 is
    assert contents(out) == before
