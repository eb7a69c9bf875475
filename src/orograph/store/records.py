"""Commit records: one JSON file a point, the only truth about what a run holds.

A record is written last, after every file and chunk it names with their SHA-256. What no record names is not there.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orograph.brief import brief
from orograph.errors import ConfigurationError, RunError
from orograph.store.arrays import FOLDER as ARRAYS
from orograph.store.arrays import METADATA
from orograph.store.atomic import write_bytes
from orograph.store.cells import Cell, Plan
from orograph.store.encoding import decode, sealed, way_out, with_floats
from orograph.store.integrity import digest_of
from orograph.store.kinds import check_fields
from orograph.store.marker import IDENTITY, OF
from orograph.store.names import COPIES, checked_files

FOLDER = "points"
STATUSES = ("done", "failed")
ELSEWHERE = "was recorded in another run"


@brief
@dataclass(frozen=True)
class Record:
    """What was measured at one point.

    Attributes:
        cell: which point.
        slot: its place in the arrays.
        status: `done` or `failed`.
        scalars: numbers, texts and short lists by field name; NaN where null is written.
        files: SHA-256 by path relative to the run.
        provenance: versions and hardware, where they are not those of the run.
    """

    cell: Cell
    slot: int
    status: str
    scalars: Mapping[str, Any]
    files: Mapping[str, str]
    provenance: Mapping[str, Any] | None = None


# Of the published procedure the tables hold running averages over the moving model; losses of the state have their own names.
AVERAGED = {"train_loss": "final_train_loss", "objective": "final_objective"}


def at_state(scalars: Mapping[str, Any]) -> dict[str, Any]:
    """A record's scalars with the losses at θ, where it also has averages over the last epoch."""
    return dict(scalars) | {name: scalars[own] for name, own in AVERAGED.items() if own in scalars}


def write_record(run: Path, name: str, record: Record, identity: str | None = None) -> None:
    """Commit a point: from here on it is part of the run, whose identity it carries."""
    cell = record.cell
    named = {"configuration": cell.configuration} if cell.configuration else {}
    content: dict[str, Any] = {
        "cell": {"seed": cell.seed, "direction": cell.direction, "strength": cell.strength, **named},
        "slot": record.slot,
        "status": record.status,
        "scalars": record.scalars,
        "files": record.files,
    }
    if record.provenance is not None:
        content["provenance"] = record.provenance
    if identity is not None:
        content[OF] = identity
    write_bytes(run / FOLDER / f"{name}.json", sealed(content))


def read_records(run: Path, plan: Plan, identity: str | None = None) -> dict[Cell, Record]:
    """All records of a run, in the order of their slots.

    Args:
        run: the run's directory.
        plan: its cells and their slots.
        identity: of the run; None of one whose records do not carry it.

    Returns:
        The records by cell.

    Raises:
        RunError: a record is damaged, or of another run, or a file it names is missing.
    """
    records, metadata = [], set[str]()
    present = {path.relative_to(run / FOLDER).as_posix() for path in (run / FOLDER).rglob("*.json")}
    for slot, cell in enumerate(plan.cells):
        name = f"{plan.name(cell)}.json"
        if name not in present:
            continue
        path = run / FOLDER / name
        record = read_record(path, cell, slot, identity)
        missing = [file for file in record.files if not (run / file).is_file()]
        if missing:
            others = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            raise RunError(
                f"{run / missing[0]}{others} is missing; restore it, or delete {path} to have the point measured again."
            )
        metadata |= metadata_of(record)
        records.append(record)
    pending = len(records) < len(plan.cells)  # which write again what has no copy
    for file in sorted(metadata):  # without which an array would seem never to have been recorded
        if not (run / file).is_file() and ((run / COPIES / file).is_file() or not pending):
            raise RunError(f"{run / file} is missing; {way_out(run / file)}")
    return {record.cell: record for record in records}


def read_record(path: Path, cell: Cell, slot: int, identity: str | None = None) -> Record:
    """The record of a point in a file.

    Raises:
        RunError: it is damaged, or of another point or another run.
    """
    content = decode(path)
    require_own(path, content, identity)
    try:
        record = Record(
            cell=Cell(**content["cell"]),
            slot=content["slot"],
            status=content["status"],
            scalars=with_floats(_mapping(content["scalars"])),
            files=checked_files(content["files"]),
            provenance=None if content.get("provenance") is None else _mapping(content["provenance"]),
        )
    except (KeyError, TypeError, ConfigurationError):
        raise RunError(f"{path} is damaged: it is no record of a point; {way_out(path)}") from None
    if record.status not in STATUSES:
        raise RunError(f"{path} is damaged: its status is none of {', '.join(STATUSES)}; {way_out(path)}")
    check_fields(path, record.scalars)
    if (record.cell, record.slot) != (cell, slot) or isinstance(record.slot, bool):
        raise RunError(f"{path} records another point than its name says; {way_out(path)}")
    return record


def require_own(path: Path, content: Any, identity: str | None) -> None:
    """Raises:
    RunError: a record is of another run than this one, or of an earlier version's.
    """
    if isinstance(content, dict) and content.get(OF) != identity:
        raise RunError(f"{path} {ELSEWHERE}; {way_out(path)}")


def begun_as(run: Path, identity: str) -> dict[str, str]:
    """The identity that a new marker states: in place of a lost one that of the records; those of earlier versions have none."""
    for path in sorted((run / FOLDER).rglob("*.json")):
        try:
            content = decode(path)
        except RunError:
            continue
        return {IDENTITY: str(content[OF])} if isinstance(content, dict) and OF in content else {}
    return {IDENTITY: identity}


def metadata_of(record: Record) -> set[str]:
    """The metadata of the arrays that a record has chunks of, relative to the run."""
    return {f"{file.rpartition('/')[0]}/{METADATA}" for file in record.files if file.startswith(f"{ARRAYS}/")}


def damaged_files(run: Path, record: Record) -> list[str]:
    """The files of a record, relative to the run, that are missing or whose content is not what was committed."""
    return [file for file, digest in record.files.items() if is_damaged(run / file, digest)]


def is_damaged(path: Path, digest: str) -> bool:
    """Whether a file is missing, cannot be read, or holds something else."""
    try:
        return digest_of(path) != digest
    except OSError:
        return True


def _mapping(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError("no mapping")
    return value
