"""A run that is damaged, each kind of its files in every way: nothing wrong is read, all is listed, and a repair mends it.

The truth is a run that nobody touched. After a repair and the same writing again the bytes are the same.
"""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from test_run_directory import files
from writing import CELLS, CONFIGURATION, commit, create

from orograph.cli import main
from orograph.commands.repairing import inspect, repair
from orograph.errors import RunError
from orograph.store.analysis import Analysis
from orograph.store.copies import ANCHOR
from orograph.store.dataset import open_run
from orograph.store.encoding import decode
from orograph.store.findings import FindingKey
from orograph.store.integrity import verified
from orograph.store.marker import IDENTITY, OF
from orograph.store.recorded import require_as_committed
from orograph.store.run import Run

FEW = (*CELLS[:2], CELLS[4])
FOUND = FindingKey("pair", "MLP1", "0-1")
KINDS = {
    "marker": "run.json",
    "plan": "plan.json",
    "record": "points/0-0.03333.json",
    "weights": "test_data/model_weights-0-0.03333.pth",
    "gradient": "test_data/gradients-0-0.00000.csv",
    "eigenvalues": "test_data/Hessian-eigenvalues-0-0.00000.csv",
    "chunk": "arrays.zarr/eigenvalue/c.1.0",
    "vectors": "arrays.zarr/eigenvector/c.4.0.0",
    "metadata": "arrays.zarr/gradient/zarr.json",
    "group": "arrays.zarr/zarr.json",
    "anchor": ANCHOR,
    "finding": "findings/pair/MLP1/0-1.json",
    "finding's arrays": "findings/pair/MLP1/0-1.safetensors",
    "analysis": "findings/curvature/0/0.00000.json",
    "analysis's arrays": "findings/curvature/0/0.00000.safetensors",
    "results": "analysis.json",
    "table": "test_data/Model-0.csv",
}


def write(path: Path, **changes: object) -> None:
    """All that is not there yet."""
    with create(path, **changes) as run:
        if run.kept(ANCHOR) is None:
            run.keep(ANCHOR, b"weights of the anchor" * 20)
        for cell in FEW:
            if cell not in run.records:
                commit(run, cell)
        if FOUND not in run.findings:
            run.commit_finding(FOUND, scalars={"barrier": 0.25, "nan": float("nan")}, arrays={"losses": np.linspace(0, 1, 9)})
        if not (analysis := Analysis(run)).current("curvature", CELLS[0], {}):
            analysis.write("curvature", CELLS[0], {}, {"trace": 2.0}, {"branch": np.arange(3)})
        run.keep_results("analysis.json", {"chains": [1.5, None], "settings": {"seed": 0}})


def everything(path: Path) -> dict[str, object]:
    """All that can be read from a run."""
    run = Run.open(path)
    ds = open_run(path).load()
    found: dict[str, object] = {
        "sweep": str(ds.drop_attrs().to_dict()),
        "anchor": run.kept(ANCHOR).read_bytes() if run.kept(ANCHOR) else None,
    }
    for cell, record in run.records.items():
        found[str(cell)] = {name: tensor.tolist() for name, tensor in run.weights(cell).items()}
        for name in ("eigenvalue", "eigenvector", "gradient", "residual"):
            found[f"{cell} {name}"] = run.array(cell, name).tolist()
        for file, digest in record.files.items():
            found[file] = verified(path / file, digest).read_bytes()
    found["pair"] = {name: array.tolist() for name, array in run.findings[FOUND].arrays(path).items()}
    found["branch"] = Analysis(run).array("curvature", CELLS[0], "branch").tolist()
    found["results"] = decode(path / "analysis.json") if (path / "analysis.json").exists() else None
    return found


def attempt(path: Path) -> tuple[str, object]:
    """What is said of a run that cannot be read, or all that it holds."""
    try:
        return "", everything(path)
    except RunError as error:
        return str(error), None


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("whole") / "run"
    write(path)
    return path


@pytest.fixture
def run(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "run"))


def flip(place: float, bit: int = 0) -> Callable[[Path], None]:
    def damage(file: Path) -> None:
        content = bytearray(file.read_bytes())
        content[min(int(place * len(content)), len(content) - 1)] ^= 1 << bit
        file.write_bytes(content)

    return damage


def to_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def to_pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "a bit early": flip(0.02),
    "a bit in the middle": flip(0.5, 3),
    "a bit late": flip(0.97),
    "cut off": lambda file: file.write_bytes(file.read_bytes()[: file.stat().st_size * 2 // 3]),
    "emptied": lambda file: file.write_bytes(b""),
    "zeroed": lambda file: file.write_bytes(bytes(file.stat().st_size)),
    "longer": lambda file: file.write_bytes(file.read_bytes() + b"\n1"),
    "removed": lambda file: file.unlink(),
    "a folder": to_folder,
    "a pipe": to_pipe,
}


PAIRS = [(kind, how) for kind in KINDS for how in DAMAGES]
EVERY = 3  # one pair in so many is quick: each kind meets three or four of the damages, each damage five or six of the kinds


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "how"),
    [pytest.param(*pair, marks=[] if number % EVERY == 0 else [pytest.mark.slow]) for number, pair in enumerate(PAIRS)],
)
def test_damage_is_never_read_always_listed_and_mended(whole: Path, run: Path, kind: str, how: str) -> None:
    damaged = run / KINDS[kind]
    DAMAGES[how](damaged)
    gone = how == "removed" and kind in ("record", "finding", "analysis")
    if not gone:  # what has no record is not there, and that is no damage
        told, read = attempt(run)
        assert str(run) in told if told else read == everything(whole) or kind in ("table", "results")
    listed = inspect(run)
    silent = how.startswith("a bit") and _says_the_same(damaged, whole / KINDS[kind])
    assert listed or silent or gone or (kind, how) == ("results", "removed")
    if listed:
        repair(run, listed)
        assert not inspect(run)
    write(run)
    assert not inspect(run)
    ours, theirs = files(run), files(whole)
    assert {name for name in theirs if ours.get(name) != theirs[name]} <= ({KINDS[kind]} if not listed else set())
    assert set(ours) == set(theirs)


def _says_the_same(one: Path, other: Path) -> bool:
    try:
        return one.is_file() and json.loads(one.read_bytes()) == json.loads(other.read_bytes())
    except ValueError:
        return False


def test_every_file_of_a_run_is_of_a_kind_that_is_covered(whole: Path) -> None:
    damaged = {name: whole / name for name in files(whole)}
    told = {"configuration.toml", ".lock"}  # written anew at every start; the lock is empty
    for name in damaged:
        if name in told or name.startswith("copies/") or name.endswith(".sha256"):
            continue
        patterns = ("run.json", "plan.json", "points/", "test_data/", "arrays.zarr/", "anchor.pth", "findings/", "analysis.json")
        assert name.startswith(patterns), f"{name} is of no kind that is damaged above"


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("arrays.zarr/eigenvalue/zarr.json", '"float64"', '"int64"'),
        ("arrays.zarr/converged/zarr.json", '"bool"', '"int8"'),
        ("arrays.zarr/gradient/zarr.json", '"parameter"', '"parametes"'),
        ("points/0-0.03333.json", '"status": "done"', '"status": "failed"'),
        ("points/0-0.03333.json", '"sha256"', '"sha257"'),
        ("points/0-0.03333.json", '"slot": 1', '"slot": 0'),
        ("run.json", '"threads": 1', '"threads": 2'),
        ("run.json", '"cat"', '"cow"'),
        ("plan.json", '"0.03333"', '"0.03334"'),
        ("analysis.json", "1.5", "1.25"),
        ("findings/pair/MLP1/0-1.json", "0.25", "0.75"),
    ],
)
def test_a_change_that_is_valid_in_itself_is_seen(run: Path, name: str, old: str, new: str) -> None:
    text = (run / name).read_text()
    assert old in text
    (run / name).write_text(text.replace(old, new))
    assert name in {damage.path for damage in inspect(run)}
    with pytest.raises(RunError, match="damaged"):
        everything(run)


def test_two_files_of_one_run_that_changed_places_are_seen(run: Path) -> None:
    one, other = (run / "arrays.zarr" / "eigenvalue" / f"c.{slot}.0" for slot in (0, 1))
    content = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(content)
    assert {damage.path for damage in inspect(run)} == {f"arrays.zarr/eigenvalue/c.{slot}.0" for slot in (0, 1)}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["record", "finding", "analysis"])
@pytest.mark.parametrize("earlier", [None, "theirs", "ours"])
def test_what_was_recorded_in_a_run_of_other_settings_is_told_and_made_again(
    whole: Path, run: Path, tmp_path: Path, kind: str, earlier: str | None
) -> None:
    other = tmp_path / "other"
    write(other, configuration=CONFIGURATION | {"polish": True})
    if earlier is not None:  # one of the two was made by a version whose records do not say of which run they are
        unsealed(other if earlier == "theirs" else run)
    foreign, stem = KINDS[kind], KINDS[kind].removesuffix(".json")
    shutil.copy(other / foreign, run / foreign)
    if (other / f"{stem}.safetensors").exists():
        shutil.copy(other / f"{stem}.safetensors", run / f"{stem}.safetensors")
    for act in (Run.open, write):
        with pytest.raises(RunError, match=rf"{Path(foreign).name} was recorded in another run; .* doctor {run} --repair"):
            act(run)
    assert [(damage.path, damage.why) for damage in inspect(run)] == [(foreign, "was recorded in another run")]
    repair(run, inspect(run))
    write(run)
    assert not inspect(run)
    assert everything(run) == everything(whole)
    assert (files(run) == files(whole)) == (earlier != "ours")


def test_a_run_that_is_moved_stays_whole_and_goes_on(whole: Path, run: Path, tmp_path: Path) -> None:
    moved = run.rename(tmp_path / "elsewhere")
    assert not inspect(moved)
    with create(moved) as opened:
        commit(opened, CELLS[2])
    assert not inspect(moved)
    assert Run.open(moved).identity == Run.open(whole).identity


def test_a_run_that_lost_its_marker_is_still_the_run_of_its_records(run: Path) -> None:
    for place in (run, run / "copies"):
        (place / "run.json").unlink()
    (run / "configuration.toml").unlink()
    (run / "configuration.toml").write_text('dataset = "mnist-5k"\nseeds = [0, 1]\nadded = 1\nladder = {points = 4, max = 0.1}\n')
    write(run, configuration=CONFIGURATION | {"added": 1})  # a setting that a later version has
    assert not inspect(run)
    assert len(Run.open(run).records) == len(FEW)


@pytest.mark.parametrize("kind", ["marker", "record", "weights", "chunk", "finding"])
def test_a_link_among_the_files_of_a_run_is_named_and_becomes_a_file(whole: Path, run: Path, tmp_path: Path, kind: str) -> None:
    file = run / KINDS[kind]
    file.rename(tmp_path / "elsewhere")
    file.symlink_to(tmp_path / "elsewhere")
    assert [(damage.path, damage.why) for damage in inspect(run)] == [(KINDS[kind], "is a symbolic link")]
    repair(run, inspect(run))
    assert not inspect(run)
    assert not file.is_symlink()
    assert files(run) == files(whole)
    file.unlink()
    file.symlink_to(whole / KINDS["table"])  # to something else than was committed: damage like any other
    assert "is a symbolic link" not in {damage.why for damage in inspect(run)}
    repair(run, inspect(run))
    write(run)
    assert files(run) == files(whole)


@pytest.mark.parametrize("name", [KINDS["weights"], ANCHOR])
def test_weights_of_a_run_that_are_read_by_another_command_are_those_that_were_committed(run: Path, name: str) -> None:
    require_as_committed(run / name)
    shutil.copy(run / name, run / "mine.pth")  # beside the run's own files: nobody committed it
    for file in (run / name, run / "mine.pth"):
        file.write_bytes(file.read_bytes() + b"x")
    require_as_committed(run / "mine.pth")
    with pytest.raises(RunError, match=rf"{Path(name).name} is damaged: it is not what was committed"):
        require_as_committed(run / name)


def test_damage_after_a_file_was_read_is_seen_too(run: Path) -> None:
    opened = Run.open(run)
    before = opened.array(CELLS[0], "eigenvalue").copy()
    chunk = run / "arrays.zarr" / "eigenvalue" / "c.0.0"
    chunk.write_bytes(bytes(len(chunk.read_bytes())))
    with pytest.raises(RunError, match=r"c\.0\.0 is damaged"):
        opened.array(CELLS[0], "eigenvalue")
    assert np.isfinite(before).all()


def test_a_file_is_read_for_its_sum_once(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from orograph.store import integrity

    opened, reads = [], integrity.open_file
    monkeypatch.setattr(integrity, "open_file", lambda path: opened.append(path) or reads(path))
    for _ in range(3):
        everything(run)
    assert len(opened) == len(set(opened)) > 10


def test_an_older_run_without_sums_of_its_own_files_opens_goes_on_and_gets_them(whole: Path, run: Path) -> None:
    unsealed(run)
    assert everything(run) == everything(whole)
    assert not inspect(run)
    write(run)
    assert (run / "copies" / "run.json").read_bytes() == (run / "run.json").read_bytes()
    (run / "plan.json").write_text("[")
    repair(run, inspect(run))
    assert everything(run) == everything(whole)


@pytest.mark.parametrize("name", ["plan.json", "arrays.zarr/gradient/zarr.json", ANCHOR])
def test_of_an_older_run_what_has_no_copy_is_made_again(whole: Path, run: Path, name: str) -> None:
    unsealed(run)
    (run / name).write_bytes(b"{")
    (run / f"{ANCHOR}.sha256").write_text("0" * 64)
    repair(run, inspect(run))
    write(run)
    assert not inspect(run)
    assert open_run(run).load().drop_attrs().equals(open_run(whole).load().drop_attrs())


@pytest.mark.parametrize("older", [False, True])
def test_an_array_whose_metadata_are_lost_is_not_taken_for_one_that_was_never_there(tmp_path: Path, older: bool) -> None:
    with create(tmp_path / "run", cells=CELLS[:2]) as run:
        for cell in CELLS[:2]:
            commit(run, cell)
    before = {cell: run.array(cell, "residual").tolist() for cell in CELLS[:2]}
    if older:
        shutil.rmtree(run.path / "copies")
    (run.path / "arrays.zarr" / "residual" / "zarr.json").unlink()
    with pytest.raises(RunError, match=r"residual/zarr\.json is missing"):
        Run.open(run.path)
    repair(run.path, inspect(run.path))
    with create(run.path, cells=CELLS[:2]) as run:
        assert len(run.records) == (1 if older else 2)
        for cell in CELLS[:2]:
            if cell not in run.records:
                commit(run, cell)
        assert {cell: run.array(cell, "residual").tolist() for cell in CELLS[:2]} == before
    assert not inspect(run.path)


def test_a_lost_marker_of_an_older_run_is_made_again_by_the_same_command_and_by_no_other(whole: Path, run: Path) -> None:
    unsealed(run)
    (run / "run.json").unlink()
    with pytest.raises(RunError, match="seeds"):
        create(run, configuration={"seeds": [5]})
    write(run)
    assert everything(run) == everything(whole)


def unsealed(run: Path) -> None:
    """As runs were before there were seals and copies."""
    shutil.rmtree(run / "copies")
    (run / f"{ANCHOR}.sha256").unlink()
    for file in (*run.glob("*.json"), *run.rglob("points/*.json"), *run.rglob("findings/**/*.json")):
        content = decode(file)
        content = content["cells"] if file.name == "plan.json" else content
        if isinstance(content, dict):
            content = {name: value for name, value in content.items() if name not in (IDENTITY, OF)}
        file.write_text(json.dumps(content, sort_keys=True, indent=1, ensure_ascii=False) + "\n")
    for file in run.rglob("zarr.json"):
        content = json.loads(file.read_text())
        content["attributes"].pop("sha256")
        file.write_text(json.dumps(content, indent=2))


def test_doctor_lists_repairs_and_says_what_to_do_then(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", str(run)]) == 0
    said = capsys.readouterr().out
    assert "is whole: 3 points recorded" in said
    assert "findings" not in said  # of a run that is whole, doctor finds nothing
    flip(0.5)(run / KINDS["chunk"])
    (run / "run.json").write_bytes(b"")
    assert main(["export", str(run), "--out", str(run.parent / "x.csv")]) == 2
    assert "doctor" in capsys.readouterr().err
    assert main(["doctor", str(run)]) == 1
    said = capsys.readouterr().out
    assert "run.json" in said
    assert "--repair" in said
    assert main(["doctor", str(run), "--repair"]) == 0
    assert "orograph sweep --config" in capsys.readouterr().out.replace("\n", " ")
    assert main(["doctor", str(run)]) == 0
    assert "is whole: 2 points recorded" in capsys.readouterr().out
    assert main(["doctor", "--repair"]) == 2
    assert main(["doctor", str(run.parent)]) == 2


@pytest.mark.parametrize(
    ("name", "harm"),
    [
        *((name, flip(0.5)) for name in ("run.json", ANCHOR, f"{ANCHOR}.sha256", "arrays.zarr/gradient/zarr.json")),
        *(("plan.json", harm) for harm in (Path.unlink, to_folder, to_pipe)),
    ],
)
def test_a_damaged_copy_is_listed_and_made_anew(
    whole: Path, run: Path, capsys: pytest.CaptureFixture[str], name: str, harm: Callable[[Path], None]
) -> None:
    harm(run / "copies" / name)
    assert [(each.path, each.remedy) for each in inspect(run)] == [(f"copies/{name}", "made anew from the original")]
    assert main(["doctor", str(run)]) == 1
    assert "copies/" in capsys.readouterr().out
    assert main(["doctor", str(run), "--repair"]) == 0
    assert "is whole again" in capsys.readouterr().out
    assert (run / "copies" / name).read_bytes() == (whole / "copies" / name).read_bytes()
    assert not inspect(run)


@pytest.mark.parametrize("name", ["run.json", "copies/run.json"])
def test_where_no_repair_helps_the_way_that_does_is_told(
    whole: Path, run: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    for each in ("run.json", "copies/run.json"):
        flip(0.5)(run / each)
    (run / name).unlink()  # either of them may be gone
    for command in (["export"], ["report"], ["card"], ["watch", "--once"], ["doctor"], ["doctor", "--repair"]):
        assert main([command[0], str(run), *command[1:]]) == 2
        told = capsys.readouterr().err
        assert "give the command that made the run again" in told
        assert "doctor" not in told
    write(run)  # as that command does
    assert everything(run) == everything(whole)


def test_a_run_that_is_being_written_is_not_repaired(run: Path) -> None:
    flip(0.5)(run / KINDS["chunk"])
    with create(run), pytest.raises(RunError, match="being written"):
        repair(run, inspect(run))
