"""Commit records: one JSON file a point, the only truth about what a run holds.

A record is written last, after every file and chunk it names with their SHA-256. What no record names is not there.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orograph.errors import RunError
from orograph.store.atomic import sha256, write_bytes
from orograph.store.cells import Cell, Plan
from orograph.store.encoding import decode, encode, with_floats

FOLDER = "points"
STATUSES = ("done", "failed")


@dataclass(frozen=True)
class Record:
    """What was measured at one point.

    Attributes:
        cell: which point.
        slot: its place in the arrays.
        status: `done` or `failed`.
        scalars: numbers, texts and short lists by field name; NaN where null is written.
        files: SHA-256 by path relative to the run.
    """

    cell: Cell
    slot: int
    status: str
    scalars: Mapping[str, Any]
    files: Mapping[str, str]


def write_record(run: Path, name: str, record: Record) -> None:
    """Commit a point: from here on it is part of the run."""
    cell = record.cell
    named = {"configuration": cell.configuration} if cell.configuration else {}
    content = {
        "cell": {"seed": cell.seed, "direction": cell.direction, "strength": cell.strength, **named},
        "slot": record.slot,
        "status": record.status,
        "scalars": record.scalars,
        "files": record.files,
    }
    write_bytes(run / FOLDER / f"{name}.json", encode(content))


def read_records(run: Path, plan: Plan) -> dict[Cell, Record]:
    """All records of a run, in the order of their slots.

    Args:
        run: the run's directory.
        plan: its cells and their slots.

    Returns:
        The records by cell.

    Raises:
        RunError: a record is damaged, or a file it names is missing.
    """
    records = []
    present = {path.relative_to(run / FOLDER).as_posix() for path in (run / FOLDER).rglob("*.json")}
    for slot, cell in enumerate(plan.cells):
        name = f"{plan.name(cell)}.json"
        if name not in present:
            continue
        path = run / FOLDER / name
        record = _read(path)
        if (record.cell, record.slot) != (cell, slot):
            raise RunError(
                f"{path} records another point than its name says; restore it, or delete it to have it measured again."
            )
        missing = [file for file in record.files if not (run / file).is_file()]
        if missing:
            others = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            raise RunError(
                f"{run / missing[0]}{others} is missing; restore it, or delete {path} to have the point measured again."
            )
        records.append(record)
    return {record.cell: record for record in records}


def damaged_files(run: Path, record: Record) -> list[str]:
    """The files of a record, relative to the run, that are missing or whose content is not what was committed."""
    return [file for file, digest in record.files.items() if not (run / file).is_file() or _digest(run / file) != digest]


def _digest(path: Path) -> str:
    return sha256(path.read_bytes())


def _read(path: Path) -> Record:
    content = decode(path)
    try:
        return Record(
            cell=Cell(**content["cell"]),
            slot=content["slot"],
            status=content["status"],
            scalars=with_floats(content["scalars"]),
            files=content["files"],
        )
    except (KeyError, TypeError):
        raise RunError(f"{path} is damaged; restore it, or delete it to have the point measured again.") from None
