"""A run that goes on under other versions, with other numerics, or with another command than it was begun with."""

import json
from pathlib import Path

import pytest
from writing import CELLS, commit, create

from orograph.cli import main
from orograph.commands.card import card_text
from orograph.errors import RunError
from orograph.report.about import about
from orograph.settings.shared import NumericsSettings
from orograph.store.analysis import Analysis
from orograph.store.encoding import decode, sealed
from orograph.store.findings import FindingKey
from orograph.store.provenance import mixture
from orograph.store.resume import begun_run, not_taken, recorded_numerics
from orograph.store.run import Run
from orograph.sweep.settings import SweepNumerics

OLD = {"versions": {"torch": "2.12", "python": "3.11.7"}, "hardware": {"processor": "old"}}
NEW = {"versions": {"torch": "2.13", "python": "3.11.7"}, "hardware": {"processor": "new"}}


def test_points_made_elsewhere_record_with_what_and_the_run_says_so(tmp_path: Path) -> None:
    with create(tmp_path, provenance=OLD) as run:
        commit(run, CELLS[0])
    with create(tmp_path, provenance=NEW) as run:
        for cell in CELLS[1:3]:
            commit(run, cell)
    run = Run.open(tmp_path)
    assert run.provenance == OLD
    assert [run.records[cell].provenance for cell in CELLS[:3]] == [None, NEW, NEW]
    told = mixture(run)
    assert told == "2 of 3 points were made with processor new (not old), torch 2.13 (not 2.12): their last bits may differ."
    assert told in card_text(run, "mit")
    assert told in json.dumps(about(run))


def test_findings_made_elsewhere_record_with_what_and_the_run_says_so(tmp_path: Path) -> None:
    keys = [FindingKey("pair", "MLP1", name) for name in ("0-1", "0-2", "1-2")]
    for provenance, key in zip((OLD, NEW, NEW), keys, strict=True):
        with create(tmp_path, provenance=provenance, kind="study", cells=()) as run:
            run.commit_finding(key, scalars={"distance": 1.0})
    run = Run.open(tmp_path)
    assert [run.findings[key].provenance for key in keys] == [None, NEW, NEW]
    assert mixture(run).startswith("2 of 3 findings were made with processor new (not old), torch 2.13 (not 2.12)")


def test_what_an_analysis_finds_elsewhere_records_with_what(tmp_path: Path) -> None:
    with create(tmp_path, provenance=OLD) as run:
        commit(run, CELLS[0])
        Analysis(run).write("density", CELLS[0], {}, {"trace": 1.0}, {})
    with create(tmp_path, provenance=NEW) as run:
        Analysis(run).write("curvature", CELLS[0], {}, {"trace": 2.0}, {})
    made = {key.kind: finding.provenance for key, finding in Run.open(tmp_path).findings.items()}
    assert made == {"density": None, "curvature": NEW}


@pytest.mark.parametrize("made", ["x", [1], 3])
def test_a_finding_whose_provenance_is_none_is_damaged(tmp_path: Path, made: object) -> None:
    with create(tmp_path) as run:
        run.commit_finding(FindingKey("pair", "MLP1", "0-1"), scalars={"distance": 1.0})
    file = tmp_path / "findings" / "pair" / "MLP1" / "0-1.json"
    file.write_bytes(sealed({**decode(file), "provenance": made}))
    with pytest.raises(RunError, match="no record of a finding"):
        Run.open(tmp_path)


def test_points_made_alike_record_nothing_more(tmp_path: Path) -> None:
    imported = {**OLD, "imported": {"from": "x"}}
    for cell, provenance in zip(CELLS, (imported, OLD, imported), strict=False):
        with create(tmp_path, provenance=provenance) as run:
            commit(run, cell)
    assert {record.provenance for record in Run.open(tmp_path).records.values()} == {None}
    assert mixture(run) == ""


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, ""),
        ({"threads": 1, "memory": "1GiB"}, ""),
        ({"threads": 4}, "--threads 4 is not taken: the run was begun with 1 and keeps it"),
        ({"dtype": "float64"}, "--dtype float64"),
        ({"cohort": 3, "memory": "2GiB"}, "--cohort 3"),
    ],
)
def test_numerics_that_differ_are_named(given: dict[str, object], words: str) -> None:
    kept = NumericsSettings(threads=1, memory="1GiB", cohort=2)
    told = not_taken(NumericsSettings(**given), kept)
    assert words in told
    assert bool(told) == bool(words)
    assert len(told.split("; ")) == max(1, sum(getattr(kept, name) != value for name, value in given.items()))


def test_numerics_of_a_later_version_and_runs_of_another_kind_are_a_sentence(tmp_path: Path) -> None:
    create(tmp_path, numerics={"threads": 1, "later": True}).close()
    run = begun_run(tmp_path, "sweep")
    assert run is not None
    with pytest.raises(RunError, match=r"not known here .*'later'"):
        recorded_numerics(run, SweepNumerics)
    with pytest.raises(RunError, match="holds a sweep, not a study"):
        begun_run(tmp_path, "study")
    assert begun_run(tmp_path / "nowhere", "sweep") is None


SMALL = ["--dataset", "digits", "--subset-size", "60", "--epochs", "1", "--threads", "1", "--quiet"]
SWEEP = ["sweep", *SMALL, "--widths", "3", "--k", "2", "--points", "2", "--max", "0.01"]


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("swept") / "run"
    assert main([*SWEEP, "--out", str(out)]) == 0
    return out


def said(capsys: pytest.CaptureFixture[str], words: list[str], code: int) -> str:
    capsys.readouterr()
    assert main(words) == code
    return " ".join(capsys.readouterr().err.split())


@pytest.mark.slow
def test_commands_go_on_with_a_run_or_say_in_a_sentence_why_not(swept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.read_bytes() for path in swept.rglob("*.json") if "timings" not in path.parts}
    assert "--dtype float64 is not taken" in said(capsys, [*SWEEP, "--dtype", "float64", "--out", str(swept)], 0)
    study = ["study", *SMALL, "--hidden-size", "3", "--fast", "--top-k", "2", "--out", str(swept)]
    assert "holds a sweep, not a study" in said(capsys, study, 2)
    assert "give these values again" in said(capsys, [*SWEEP, "--epochs", "2", "--out", str(swept)], 2)
    assert {path: path.read_bytes() for path in before} == before


def test_fields_of_a_later_version_are_a_sentence(swept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    marker = swept / "run.json"
    content = marker.read_bytes()
    try:
        for table in ("configuration", "numerics"):
            changed = decode(marker)
            changed[table]["later"] = 1
            marker.write_bytes(sealed(changed))
            assert "later" in said(capsys, ["analyze", str(swept), "--dry-run"], 2)
            assert "later" in said(capsys, [*SWEEP, "--out", str(swept)], 2)
            marker.write_bytes(content)
    finally:
        marker.write_bytes(content)


def test_strengths_that_cannot_be_named_leave_no_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ladder = [*SWEEP[:-4], "--strengths"]
    assert "60 decimals" in said(capsys, [*ladder, "0,1e-300", "--dtype", "float64", "--out", str(tmp_path / "run")], 2)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["run.json", "plan.json", "points/0-0.00000.json"])
def test_what_a_message_names_as_the_way_out_works(swept: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    before = {path: path.read_bytes() for path in swept.rglob("*") if path.is_file() and "timings" not in path.parts}
    (swept / name).write_bytes(b"{")
    assert f"orograph doctor {swept} --repair" in said(capsys, [*SWEEP, "--out", str(swept)], 2)
    assert main(["doctor", str(swept), "--repair"]) == 0
    assert main([*SWEEP, "--out", str(swept)]) == 0
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.slow
def test_a_changed_state_trains_no_neighbour(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    assert main([*SWEEP, "--out", str(out)]) == 0
    before = {path: path.read_bytes() for path in (out / "test_data").iterdir()}
    (out / "points" / "0-0.01000.json").unlink()
    state = out / "arrays.zarr" / "theta" / "c.0.0"
    state.write_bytes(bytes(4) + state.read_bytes()[4:])
    assert "theta/c.0.0 is damaged" in said(capsys, [*SWEEP, "--out", str(out)], 2)
    assert not (out / "points" / "0-0.01000.json").exists()
    assert main(["doctor", str(out), "--repair"]) == 0
    assert main([*SWEEP, "--out", str(out)]) == 0
    assert {path: path.read_bytes() for path in before} == before
