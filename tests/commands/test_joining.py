"""Sweeps that are joined hold what they held, byte for byte, and what none of them holds can be made."""

import json
import shutil
from pathlib import Path

import pytest

from growing_runs import contents, make, of_points
from orograph.cli import main
from orograph.store.dataset import open_run


def join(out: Path, *runs: Path) -> None:
    assert main(["join", *map(str, runs), "--out", str(out), "--quiet"]) == 0


@pytest.mark.slow
def test_two_seeds_are_one_run(tmp_path: Path) -> None:
    one, other = make(tmp_path / "one", "--end", "train"), make(tmp_path / "other", "--end", "train", "--seeds", "1")
    before = contents(one), contents(other)
    join(tmp_path / "both", one, other)
    assert (contents(one), contents(other)) == before
    found = open_run(tmp_path / "both")
    assert (found.status == "done").all()
    for seed, each in enumerate((one, other)):
        alone = open_run(each)
        for name in ("theta", "eigenvector", "train_loss", "residual"):
            assert (found[name].sel(seed=[seed]) == alone[name]).all()
    assert main(["doctor", str(tmp_path / "both")]) == 0
    files = [name for name in before[1] if name.startswith("test_data/")]
    assert {name: contents(tmp_path / "both")[name] for name in files} == {name: before[1][name] for name in files}


@pytest.mark.slow
def test_what_none_of_them_holds_is_made_by_the_sweep(tmp_path: Path) -> None:
    one, other = make(tmp_path / "one"), make(tmp_path / "other", "--seeds", "1", "--strengths", "0.02,0.03")
    join(tmp_path / "both", one, other)
    found = open_run(tmp_path / "both")
    assert sorted((found.status == "missing").sum(["direction", "strength"]).values) == [1, 1]
    kept = of_points(tmp_path / "both", "0-0.01000", "1-0.03000")
    words = ["sweep", "--config", str(tmp_path / "both" / "configuration.toml"), "--quiet", "--out", str(tmp_path / "both")]
    assert main(words) == 0
    assert (open_run(tmp_path / "both").status == "done").all()
    assert of_points(tmp_path / "both", "0-0.01000", "1-0.03000") == kept


@pytest.mark.slow
def test_a_join_that_was_stopped_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import orograph.commands.joining as joining

    one, other = make(tmp_path / "one"), make(tmp_path / "other", "--seeds", "1")
    adopt, count = joining.adopt, iter(range(100))

    def stopped(*args: object) -> object:
        if next(count) == 3:
            raise KeyboardInterrupt
        return adopt(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(joining, "adopt", stopped)
    words = ["join", str(one), str(other), "--quiet", "--out"]
    assert main([*words, str(tmp_path / "stopped")]) == 130
    assert main([*words, str(tmp_path / "stopped")]) == 0
    assert main([*words, str(tmp_path / "whole")]) == 0
    assert contents(tmp_path / "stopped") == contents(tmp_path / "whole")


@pytest.mark.slow
def test_runs_that_differ_otherwise_are_refused_by_the_difference(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = make(tmp_path / "one", "--end", "train")
    for name, words, told in (
        ("rate", ("--lr", "0.01"), "training.lr = 0.0015 (not 0.01)"),
        ("data", ("--subset-size", "150"), "data.subset_size = 200 (not 150)"),
        ("pairs", ("--k", "3"), f"orograph extend {one} --k 3"),
        ("dtype", ("--dtype", "float64"), "numerics.dtype = 'float32' (not 'float64')"),
    ):
        other = make(tmp_path / name, "--end", "train", "--seeds", "1", *words)
        assert main(["join", str(one), str(other), "--out", str(tmp_path / "out"), "--quiet"]) == 2
        assert told in capsys.readouterr().err
        assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_point_of_both_is_taken_once_and_refused_where_it_differs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, other = make(tmp_path / "one", "--end", "train"), make(tmp_path / "other", "--end", "train", "--strengths", "0.01,0.03")
    join(tmp_path / "both", one, other)
    assert (open_run(tmp_path / "both").status == "done").all()
    third = make(tmp_path / "third", "--end", "train", "--strengths", "0.02,0.03")
    assert main(["join", str(one), str(third), "--out", str(tmp_path / "out"), "--quiet"]) == 2
    assert "both hold 0, λ = 0.02, with other numbers" in capsys.readouterr().err


@pytest.mark.slow
def test_a_point_of_both_may_stand_behind_another_neighbour(tmp_path: Path) -> None:
    apart = ("--start", "fresh", "--end", "train", "--cohort", "1")
    one, other = make(tmp_path / "one", *apart), make(tmp_path / "other", *apart, "--strengths", "0.02,0.03")
    join(tmp_path / "both", one, other)
    assert (open_run(tmp_path / "both").status == "done").all()
    assert of_points(tmp_path / "both", "0-0.02000") == of_points(one, "0-0.02000")


@pytest.mark.slow
def test_points_made_with_other_threads_say_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, other = make(tmp_path / "one"), make(tmp_path / "other", "--seeds", "1", "--threads", "2")
    join(tmp_path / "both", one, other)
    capsys.readouterr()
    assert main(["doctor", str(tmp_path / "both")]) == 0
    assert "2 of 4 points were made with threads 2 (not 1)" in capsys.readouterr().out.replace("\n", " ")
    record = json.loads((tmp_path / "both" / "points" / "1-0.01000.json").read_text())
    assert record["provenance"]["numerics"]["threads"] == 2


def test_damaged_files_are_not_taken_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, other = make(tmp_path / "one"), make(tmp_path / "other", "--seeds", "1")
    file = other / "test_data" / "Hessian-eigenvalues-1-0.01000.csv"
    file.write_bytes(b"1\n2\n")
    assert main(["join", str(one), str(other), "--out", str(tmp_path / "out"), "--quiet"]) == 2
    assert "is damaged" in capsys.readouterr().err
    assert main(["join", str(one), "--out", str(tmp_path / "out"), "--quiet"]) == 2
    assert main(["join", str(one), str(other), "--out", str(one), "--quiet"]) == 2
    shutil.rmtree(other)
    assert main(["join", str(one), str(other), "--out", str(tmp_path / "out"), "--quiet"]) == 2
