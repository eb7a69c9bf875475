"""A run as a user meets it: made, resumed, refused, damaged; its files looked at with nothing but the standard library."""

import json
import tomllib
from pathlib import Path

import pytest
import torch
from writing import CELLS, CONFIGURATION, FAILED, LADDER, commit, create, pending, refine, scalars, state, write

from orograph.errors import RunError
from orograph.store.atomic import temporary_name
from orograph.store.cells import Cell
from orograph.store.run import Run


def files(path: Path) -> dict[str, bytes]:
    """All bytes of a run but its timings."""
    return {
        str(file.relative_to(path)): file.read_bytes()
        for file in sorted(path.rglob("*"))
        if file.is_file() and file.relative_to(path).parts[0] != "timings"
    }


def test_the_configuration_can_be_run_again_from_the_run(tmp_path: Path) -> None:
    create(tmp_path).close()
    written = tomllib.loads((tmp_path / "configuration.toml").read_text())
    assert written == {key: value for key, value in CONFIGURATION.items() if value is not None}
    run = Run.open(tmp_path)
    assert run.configuration == CONFIGURATION
    assert (run.kind, run.numerics, run.provenance) == ("sweep", {"threads": 1}, {"torch": "2.13"})
    assert run.classes == ("cat", "dog")


def test_a_commit_record_holds_scalars_status_slot_and_the_hash_of_every_file(tmp_path: Path) -> None:
    with create(tmp_path) as run:
        commit(run, CELLS[1])
    record = json.loads((tmp_path / "points" / "0-0.03333.json").read_text())
    assert record["status"] == "done"
    assert record["slot"] == 1
    assert record["scalars"]["train_loss"] == scalars(CELLS[1])["train_loss"]
    others = {"points", "timings", "copies", "run.json", "configuration.toml", "plan.json", ".lock"}
    written = {name for name in files(tmp_path) if name.split("/")[0] not in others and "zarr.json" not in name}
    assert written - {"test_data/Model-0.csv", "test_data/Model-0_split_accuracy.csv"} == set(record["files"])
    assert Run.open(tmp_path).damaged() == ()


def test_resuming_finds_what_was_recorded_and_what_is_pending(tmp_path: Path) -> None:
    with create(tmp_path) as run:
        for cell in CELLS[:5]:
            commit(run, cell)
        before = dict(run.records)
    with create(tmp_path, numerics={"threads": 8}, provenance={"torch": "9"}) as run:
        assert {cell: record.files for cell, record in run.records.items()} == {c: r.files for c, r in before.items()}
        assert pending(run) == list(CELLS[5:])
        assert run.numerics == {"threads": 1}
        assert run.provenance == {"torch": "2.13"}
        weights = run.weights(CELLS[2])
        assert list(weights) == list(state(CELLS[2]))
        assert all(torch.equal(weights[name], tensor) for name, tensor in state(CELLS[2]).items())
        with pytest.raises(RunError, match="never rewritten"):
            commit(run, CELLS[2])


@pytest.mark.slow
def test_a_run_resumed_after_each_point_has_the_same_bytes(tmp_path: Path) -> None:
    write(tmp_path / "whole")
    for _ in CELLS:
        with create(tmp_path / "parts") as run:
            commit(run, pending(run)[0])
    for _ in range(2):
        with create(tmp_path / "parts") as run:
            refine(run)
            commit(run, pending(run)[0])
    assert files(tmp_path / "whole") == files(tmp_path / "parts")


def test_points_added_later_rename_and_rewrite_nothing(tmp_path: Path) -> None:
    with create(tmp_path) as run:
        for cell in CELLS:
            commit(run, cell)
        before = files(tmp_path)
        refine(run)
        assert pending(run) == [Cell(0, "up", 0.05), Cell(0, "up", LADDER[1] + 1e-7)]
        for cell in pending(run):
            commit(run, cell)
        assert run.add(CELLS) == ()
    after = files(tmp_path)
    changed = {name for name in before if before[name] != after.get(name)} - {".lock"}
    assert changed <= {"plan.json", "copies/plan.json", "test_data/Model-0.csv", "test_data/Model-0_split_accuracy.csv"} | {
        name for name in before if name.endswith("zarr.json")
    }
    rows = (tmp_path / "test_data" / "Model-0.csv").read_text().splitlines()[1:]
    assert [float(row.split(",")[0]) for row in rows] == sorted([*LADDER, 0.05, LADDER[1] + 1e-7])


def test_another_configuration_is_refused_with_both_values_and_nothing_is_written(tmp_path: Path) -> None:
    create(tmp_path).close()
    before = files(tmp_path)
    changed = {**CONFIGURATION, "ladder": {"points": 4, "max": 0.2}, "seeds": [0], "extra": 1}
    with pytest.raises(RunError) as caught:
        create(tmp_path, configuration=changed)
    message = str(caught.value)
    assert "ladder.max = 0.1 (not 0.2)" in message
    assert "seeds = [0, 1] (not [0])" in message
    assert "extra = None (not 1)" in message
    assert "points" not in message
    assert files(tmp_path) == before
    with pytest.raises(RunError, match="holds a sweep, not a study"):
        create(tmp_path, kind="study")
    with pytest.raises(RunError, match="other points"):
        create(tmp_path, cells=CELLS[1:])
    with pytest.raises(RunError, match=r"groups .* and there are a, b now"):
        create(tmp_path, classes=("a", "b"))


def test_a_run_that_has_lost_its_marker_is_told_from_one_of_another_kind(tmp_path: Path) -> None:
    create(tmp_path).close()
    (tmp_path / "run.json").unlink()
    (tmp_path / "copies" / "run.json").unlink()
    with pytest.raises(RunError, match="holds a run with a 'dataset', not a study"):
        create(tmp_path, kind="study", configuration={"seeds": [0, 1], "architecture": {}})


def test_a_directory_that_is_not_a_run_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(RunError, match=r"not a run and not empty \(it holds 'thesis.tex'\)"):
        create(tmp_path)
    assert files(tmp_path) == {"thesis.tex": b"precious"}
    with pytest.raises(RunError, match="is a file"):
        create(tmp_path / "thesis.tex")
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(RunError, match="not a run"):
            Run.open(path)
    (tmp_path / "run.json").write_text('{"format": "of something else"}')
    with pytest.raises(RunError, match="not that of an Orograph run"):
        create(tmp_path)


def test_a_run_of_a_later_version_is_refused(tmp_path: Path) -> None:
    create(tmp_path).close()
    marker = tmp_path / "run.json"
    marker.write_text(marker.read_text().replace('"version": 1', '"version": 2'))
    with pytest.raises(RunError, match="later version"):
        Run.open(tmp_path)


def test_an_empty_directory_and_one_where_creation_was_interrupted_are_free(tmp_path: Path) -> None:
    (tmp_path / ".lock").touch()
    partial = temporary_name("run.json")
    (tmp_path / partial).write_text("{")
    create(tmp_path).close()
    assert partial not in files(tmp_path)
    (tmp_path / "plan.json").unlink()
    (tmp_path / "configuration.toml").unlink()
    create(tmp_path).close()
    write(tmp_path / "other")
    assert (tmp_path / "plan.json").exists()


def test_a_missing_file_is_named_and_so_is_the_way_out(tmp_path: Path) -> None:
    with create(tmp_path) as run:
        commit(run, CELLS[0])
    (tmp_path / "test_data" / "gradients-0-0.00000.csv").unlink()
    for opening in (create, Run.open):
        with pytest.raises(RunError, match=r"gradients-0-0\.00000\.csv is missing; .* delete .*points/0-0\.00000\.json"):
            opening(tmp_path)
    (tmp_path / "points" / "0-0.00000.json").unlink()
    with create(tmp_path) as run:
        commit(run, pending(run)[0])
    assert Run.open(tmp_path).damaged() == ()


@pytest.mark.parametrize(
    "name",
    [
        "test_data/Hessian-eigenvectors-0-0.00000.csv",
        "arrays.zarr/gradient/c.0.0",
        "test_data/model_weights-0-0.00000.pth",
        "test_data/Model-0.csv",
    ],
)
def test_one_changed_byte_is_found(tmp_path: Path, name: str) -> None:
    with create(tmp_path) as run:
        commit(run, CELLS[0])
    content = bytearray((tmp_path / name).read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / name).write_bytes(content)
    assert Run.open(tmp_path).damaged() == (name,)


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    with create(tmp_path) as run:
        commit(run, CELLS[0])
    record = tmp_path / "points" / "0-0.00000.json"
    whole = record.read_text()
    for text in (whole[:-30], "{}", "[]", whole.replace('"slot": 0', '"slot": 3')):
        record.write_text(text)
        with pytest.raises(RunError, match=r"0-0\.00000\.json"):
            Run.open(tmp_path)


def test_lost_tables_are_rebuilt_from_the_records(tmp_path: Path) -> None:
    write(tmp_path)
    before = files(tmp_path)
    for table in (tmp_path / "test_data").glob("Model-*.csv"):
        table.unlink()
    create(tmp_path).close()
    assert files(tmp_path) == before


def test_only_its_creator_writes_to_a_run(tmp_path: Path) -> None:
    create(tmp_path).close()
    for action in (lambda run: commit(run, CELLS[0]), refine, lambda run: run.keep("a.pth", b"")):
        with pytest.raises(RunError, match="open for reading"):
            action(Run.open(tmp_path))


def test_what_is_not_planned_is_not_recorded(tmp_path: Path) -> None:
    with create(tmp_path) as run:
        with pytest.raises(RunError, match="not planned"):
            commit(run, Cell(7))
        with pytest.raises(RunError, match="status 'fine'"):
            run.commit(CELLS[0], status="fine")


def test_a_failed_point_is_a_record_without_files(tmp_path: Path) -> None:
    with create(tmp_path) as run:
        commit(run, FAILED)
        assert FAILED not in pending(run)
    record = Run.open(tmp_path).records[FAILED]
    assert record.status == "failed"
    assert not record.files
    assert record.scalars["train_loss"] == float("inf")


def test_an_anchor_is_kept_with_the_run(tmp_path: Path) -> None:
    with create(tmp_path) as run:
        assert run.keep("anchor.pth", b"weights").read_bytes() == b"weights"
