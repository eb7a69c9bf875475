"""Names that come from elsewhere, and places to write to: nothing leaves a run, and nothing of it is written over."""

import json
import os
import shutil
from pathlib import Path

import pytest
from writing import CELLS, commit, create

import made_up_sweep
from orograph.cli import main
from orograph.errors import ConfigurationError, RunError, shown
from orograph.store.cells import Cell, Plan
from orograph.store.encoding import decode, sealed
from orograph.store.lock import RunLock
from orograph.store.names import require_free
from orograph.store.run import Run

ESCAPES = (
    "x/../../../../ESC",
    "../ESC",
    "/tmp/ESC",
    "..",
    ".",
    "a/b",
    "a\0b",
    "-a",
    "",
    "a" * 300,
    "ä",
    "\x1b[2J",
    None,
    3,
    ["x"],
)


@pytest.mark.parametrize("name", [each for each in ESCAPES if each != ""])
def test_a_plan_from_elsewhere_names_nothing_outside_the_run(tmp_path: Path, name: object) -> None:
    with create(tmp_path / "run", kind="study", cells=[Cell(0, configuration="MLP1")]):
        pass
    rows = decode(tmp_path / "run" / "plan.json")["cells"]
    for row in ([*rows[0][:4], name], [0, "up", 0.0, name], [0, name, 0.0, "0.00000"], [name, "up", 0.0, "0.00000"]):
        if row[0] == 3:  # a seed like any other
            continue
        (tmp_path / "run" / "plan.json").write_bytes(sealed({"cells": [row]}))
        with pytest.raises(RunError, match=r"plan\.json is damaged"):
            Run.open(tmp_path / "run")
    assert [each.name for each in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize(
    "text", ["0.1", "0.20000", "1e-1", "00.10000", "0.10000 ", "٠.١٠٠٠٠", "0.100000000001", "0.1" + "0" * 70]
)
def test_a_strength_is_written_as_its_value_with_some_decimals(text: str) -> None:
    rows = [[0, "up", 0.1, text]]
    if text == "0.1":
        assert Plan.from_plain(rows).name(Cell(0, "up", 0.1)) == "0-0.1"
        return
    with pytest.raises(ValueError, match="written as"):
        Plan.from_plain(rows)


@pytest.mark.parametrize("file", ["../../ESC", "/etc/passwd", "test_data/../../ESC", "", "run.json", "secrets/x", None])
def test_a_record_from_elsewhere_names_no_file_outside_the_run(tmp_path: Path, file: str | None) -> None:
    with create(tmp_path / "run") as run:
        commit(run, CELLS[0])
    record = tmp_path / "run" / "points" / "0-0.00000.json"
    content = decode(record)
    content["files"] = {file: "0" * 64} if file is not None else {"test_data/x": "much"}
    record.write_bytes(sealed(content))
    with pytest.raises(RunError, match=r"0-0\.00000\.json is damaged"):
        Run.open(tmp_path / "run")


@pytest.mark.parametrize("seed", [-1, 2**32, 2**63, 1.5, True, "0", None])
def test_a_seed_is_a_whole_number_that_every_stream_knows(seed: object) -> None:
    with pytest.raises(ConfigurationError, match="whole number"):
        Cell(seed)  # type: ignore[arg-type]


def test_a_lock_that_is_something_else_is_left_alone(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("precious\n")
    lock = tmp_path / "run" / ".lock"
    lock.parent.mkdir()
    for make in (
        lambda: lock.symlink_to(precious),
        lambda: os.link(precious, lock),
        lambda: os.mkfifo(lock),
        lambda: lock.mkdir(),
    ):
        make()
        with pytest.raises(RunError, match=r"not (a|the) lock"):
            RunLock(lock.parent)
        lock.rmdir() if lock.is_dir() else lock.unlink()
    assert precious.read_text() == "precious\n"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "small"
    made_up_sweep.write(path, 3, k=3)
    return path


@pytest.mark.parametrize("command", [["export"], ["card"], ["report", "--quiet"]])
@pytest.mark.parametrize(
    "name", ["run.json", "plan.json", "configuration.toml", "points/x.json", "test_data/Model-0.csv", ".lock"]
)
def test_a_command_writes_over_none_of_a_runs_own_files(run: Path, capsys, command: list[str], name: str) -> None:
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    assert main([command[0], str(run), *command[1:], "--out", str(run / name)]) == 2
    assert "own files" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_what_is_no_file_of_a_run_may_be_written_into_it(run: Path, tmp_path: Path) -> None:
    require_free(run / "README.md")
    require_free(run / "mine" / "table.csv")
    require_free(tmp_path / "run.json")
    (tmp_path / "link").symlink_to(run)
    with pytest.raises(ConfigurationError, match="own files"):
        require_free(tmp_path / "link" / "points" / "0.json")


@pytest.mark.parametrize("name", ["report.html", "README.md"])
def test_links_that_lie_in_wait_in_a_run_are_not_followed(run: Path, tmp_path: Path, capsys, name: str) -> None:
    mine = tmp_path / "run"
    shutil.copytree(run, mine)
    (tmp_path / "precious").write_text("precious")
    for trap in (name, f".{name}.partial"):
        (mine / trap).symlink_to(tmp_path / "precious")
    command = [{"report.html": "report", "README.md": "card"}[name], str(mine)]
    assert main(command) == 2
    assert f"{name} is a symbolic link to {tmp_path / 'precious'}" in capsys.readouterr().err
    (mine / name).unlink()
    assert main(command) == 0
    assert (tmp_path / "precious").read_text() == "precious"


@pytest.mark.parametrize("command", [["export"], ["card"], ["report", "--quiet"], ["measure"]])
@pytest.mark.parametrize("target", ["/dev/null", "a pipe", "a file", "nothing"])
def test_no_out_takes_the_place_of_a_link(run: Path, tmp_path: Path, capsys, command: list[str], target: str) -> None:
    (tmp_path / "a file").write_text("mine")
    os.mkfifo(tmp_path / "a pipe")
    link = tmp_path / "link.json"
    link.symlink_to(tmp_path / target)
    assert main([command[0], str(run), *command[1:], "--out", str(link)]) == 2
    told = capsys.readouterr().err
    assert f"--out {link} is a symbolic link to {tmp_path / target}" in told
    assert link.is_symlink()
    assert (tmp_path / "a file").read_text() == "mine"


@pytest.mark.parametrize("command", [["export"], ["card"], ["report", "--quiet"], ["measure"]])
def test_no_out_takes_the_place_of_a_pipe(run: Path, tmp_path: Path, capsys, command: list[str]) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert main([command[0], str(run), *command[1:], "--out", str(tmp_path / "pipe")]) == 2
    assert "it is a device, a pipe or a socket" in capsys.readouterr().err
    assert [each.name for each in tmp_path.iterdir()] == ["pipe"]
    assert (tmp_path / "pipe").is_fifo()


def test_names_that_cannot_be_told_apart_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="60 decimals"):
        create(tmp_path / "run", cells=[Cell(0, "up", 0.0), Cell(0, "up", 1e-300)])
    assert not list(tmp_path.iterdir())
    create(tmp_path / "run").close()


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("λ = 0.1, “ok”", "λ = 0.1, “ok”"),
        ("\x1b[2Jerror: all is well\nerror:", r"\x1b[2Jerror: all is well\nerror:"),
        ("a\u202eb\u2028c\x9b\ud800", r"a\u202eb\u2028c\x9b\ud800"),
    ],
)
def test_text_from_elsewhere_is_shown_as_it_is_on_one_line(text: str, wanted: str) -> None:
    assert shown(text) == wanted
    assert len(shown(text * 10_000)) < 1300


def test_a_message_with_anything_in_it_is_one_line_on_a_terminal(capsys, tmp_path: Path) -> None:
    hostile = tmp_path / "run\x1b[2J\n[bold]x[-b]"
    hostile.mkdir()
    (hostile / "run.json").write_text(json.dumps({"format": "other"}))
    assert main(["export", str(hostile)]) == 2
    said = capsys.readouterr().err
    assert "\x1b" not in said
    assert len(said.strip().splitlines()) == 1


@pytest.mark.parametrize(
    "error", [PermissionError(13, "Permission denied", "x"), OSError(28, "No space left on device"), MemoryError()]
)
def test_what_the_system_refuses_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys, error: BaseException, run: Path
) -> None:
    from orograph.commands import exporting

    def refuse(*args: object) -> None:
        raise error

    monkeypatch.setattr(exporting, "table", refuse)
    assert main(["export", str(run)]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_findings_that_a_mac_leaves_behind_are_none(run: Path, tmp_path: Path) -> None:
    mine = Path(shutil.copytree(run, tmp_path / "run"))
    for place in ("points", "findings/classes/0", "arrays.zarr/._eigenvalue", "test_data", "."):
        (mine / place).mkdir(parents=True, exist_ok=True)
        (mine / place / "._x.json").write_bytes(b"\x00\x05\x16\x07Mac OS X")
        (mine / place / "._zarr.json").write_bytes(b"\x00\x05\x16\x07Mac OS X")
    assert len(Run.open(mine).records) == 3
    assert main(["export", str(mine), "--out", str(tmp_path / "x.csv")]) == 0
