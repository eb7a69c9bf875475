"""A sweep with its analysis and a study, each file of either damaged in turn: whoever reads says so or says what is right.

The truth is the run before it was damaged, and its bytes are those after the repair and the same commands again.
"""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import xarray

from orograph.cli import main
from orograph.commands.card import card_text
from orograph.commands.exporting import csv_bytes, table
from orograph.commands.repairing import RESULTS, inspect, repair
from orograph.commands.watch import look
from orograph.errors import RunError
from orograph.report.packing import script_json
from orograph.report.study import study_data
from orograph.report.sweep import sweep_data
from orograph.store.dataset import open_run
from orograph.store.run import Run
from run_bytes import bytes_of

SMALL = "--dataset digits --epochs 1 --threads 1 --quiet"
COMMANDS = {
    "sweep": [
        f"sweep {SMALL} --widths 3 --k 2 --points 2 --max 0.01 --anchor train:0",
        "analyze RUN --resamples 19 --quiet",
    ],
    "study": [
        f"study {SMALL} --model MLP1 --hidden-size 2 --num-seeds 2 --fast --curve-points 3 --paths linear --subset-size 100"
    ],
}


def flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 4]) + content[middle + 1 :]


DAMAGES: dict[str, Callable[[bytes], bytes | None]] = {
    "a bit": flipped,
    "cut off": lambda content: content[:-7],
    "emptied": lambda content: b"",
    "removed": lambda content: None,
}


def made(kind: str, out: Path) -> None:
    """The run, or what is missing of it."""
    for command in COMMANDS[kind]:
        words = [str(out) if word == "RUN" else word for word in command.split()]
        assert main([*words, *(() if "RUN" in command else ("--out", str(out)))]) == 0


def readings(out: Path) -> list[str]:
    """What each reader says of a run; nothing where it refuses."""
    return [_answer(read, out) for read in (_table, _page, _card, _dataset, _glance)]


def _answer(read: Callable[[Run], str], out: Path) -> str:
    try:
        return read(Run.open(out))
    except RunError:
        return ""


def _table(run: Run) -> str:
    return csv_bytes(table(run)).decode()


def _page(run: Run) -> str:
    return script_json(study_data(run) if run.kind == "study" else sweep_data(run))


def _card(run: Run) -> str:
    return card_text(run, "mit").partition("## Files")[0]  # then come sizes


def _dataset(run: Run) -> str:
    found = open_run(run.path).load()
    parts = found.to_dict() if isinstance(found, xarray.DataTree) else {"": found}
    return str({name: part.to_dict() for name, part in parts.items()})


def _glance(run: Run) -> str:
    seen = look(run.path)
    return str((seen.planned, seen.done, seen.failed))


@pytest.mark.slow
@pytest.mark.parametrize("kind", COMMANDS)
def test_a_damaged_file_is_told_or_changes_nothing_and_is_mended(tmp_path: Path, kind: str) -> None:
    out = tmp_path / "run"
    made(kind, out)
    whole, right = bytes_of(out), readings(out)
    assert all(right)
    shutil.copytree(out, tmp_path / "kept")
    names = [name for name in whole if not name.endswith((".lock", ".png", ".pdf", ".svg"))]  # drawn anew; a lock is empty
    arrays = [name for name in names if name.startswith("arrays.zarr/")]  # all alike: one in three is damaged
    names = sorted({*names} - {*arrays} | {*arrays[::3]})
    for number, name in enumerate(names):
        how = list(DAMAGES)[number % len(DAMAGES)]
        file, before = out / name, (out / name).read_bytes()
        content = DAMAGES[how](before)
        file.unlink() if content is None else file.write_bytes(content)
        said, listed = readings(out), inspect(out)
        gone = content is None and (name.startswith(("points/", "findings/")) or name in RESULTS)
        for one, other in zip(said, right, strict=True):
            assert one in ("", other) or gone, (name, how)
        if not listed:  # a copy that nobody reads while its file is whole, and what is written at every start
            assert gone or name.startswith("copies/") or name in ("configuration.toml", "anchor.pth.sha256"), (name, how)
        file.write_bytes(before)
    for name in names[::3]:
        (out / name).write_bytes(flipped((out / name).read_bytes()))
    repair(out, inspect(out))
    assert not inspect(out)
    made(kind, out)
    again = bytes_of(out)
    again["configuration.toml"] = whole["configuration.toml"]  # it may name the numerics that were settled, not those asked for
    assert again == whole
