"""More of every point of a run, made beside the run and put into it at once.

`RUN/extension` is a run of its own with the plan of RUN. While it is made, RUN stays what it was for whoever reads it. Once it is
whole, `whole.json` in it says so, and what RUN is then; from there on its files take the places of RUN's own, each by a rename.
Whatever moment that is stopped at, it is gone on with, and until then RUN says that it waits for that.
"""

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from orograph.errors import RunError
from orograph.store import records
from orograph.store.arrays import FOLDER as ARRAYS
from orograph.store.arrays import METADATA
from orograph.store.atomic import make_folder, sync, write_bytes
from orograph.store.cells import Plan
from orograph.store.copies import plan_bytes, read_plan, write_own
from orograph.store.encoding import decode, sealed
from orograph.store.marker import HISTORY, IDENTITY, read_marker
from orograph.store.names import EXTENSION, MARKER, PLAN, TIMINGS
from orograph.store.settled import WHOLE

_GONE = f".{EXTENSION}.gone"  # what is left to be deleted


def clear(path: Path) -> None:
    """Deletes what is left of an extension that has taken its place."""
    shutil.rmtree(path / _GONE, ignore_errors=True)


def begin(path: Path, plan: Plan) -> Path:
    """The folder of the run within a run, with its plan: names and slots are those of the run, whose order may have grown."""
    folder = path / EXTENSION
    clear(path)
    make_folder(folder)
    write_own(folder, PLAN, plan_bytes(plan))
    return folder


def complete(path: Path, configuration: Mapping[str, Any], history: Sequence[Mapping[str, Any]]) -> None:
    """Says that the run within is whole, and what the run is with it. From here on its numbers are those of the run."""
    write_bytes(path / EXTENSION / WHOLE, sealed({"configuration": configuration, HISTORY: history}))


def settle(path: Path) -> None:
    """Puts the run within, which is whole, into the run; whoever calls holds the run's lock.

    Raises:
        RunError: the disk refuses, or a record is damaged.
    """
    inner = path / EXTENSION
    said, marker, session = decode(inner / WHOLE), read_marker(path), read_marker(inner)
    if marker is None or session is None:
        raise RunError(
            f"{path / MARKER if marker is None else inner / MARKER} is missing; restore it, and give the command again."
        )
    plan = read_plan(inner / PLAN)
    own = {name: value for name, value in marker["provenance"].items() if name != "imported"}
    found = []
    for slot, cell in enumerate(plan.cells):
        file = inner / records.FOLDER / f"{plan.name(cell)}.json"
        if file.exists():
            found.append((plan.name(cell), records.read_record(file, cell, slot, session.get(IDENTITY))))
    folders = set()
    for stem, record in found:
        for name in (*record.files, f"{TIMINGS}/{stem}.json"):
            if (inner / name).exists():  # else it has its place already
                make_folder((path / name).parent)
                _move(inner / name, path / name)
                folders.add((path / name).parent)
    for folder in folders:
        sync(folder)
    for file in sorted((inner / ARRAYS).rglob(METADATA)):
        write_own(path, file.relative_to(inner).as_posix(), file.read_bytes())
    for stem, record in found:
        made, identity = record.provenance or session["provenance"], marker.get(IDENTITY)
        before = records.read_record(path / records.FOLDER / f"{stem}.json", record.cell, record.slot, identity)
        elsewhere = before.provenance if made == own else made  # trained elsewhere and measured here: where it was trained
        records.write_record(path, stem, replace(record, provenance=elsewhere), identity)
    write_own(path, MARKER, sealed(marker | said))
    os.rename(inner, path / _GONE)
    sync(path)
    clear(path)


def _move(source: Path, target: Path) -> None:
    os.replace(source, target)
