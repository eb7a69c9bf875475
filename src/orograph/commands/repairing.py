"""What is damaged in a run, and its repair: own files from their copies, the rest by marking it to be made again.

A point or a finding of which anything is damaged loses its record and its files: the command that made it makes just that again,
and its bytes are the same. So nothing is lost that is not damaged already.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from orograph.errors import RunError
from orograph.store import artifacts, findings, records
from orograph.store.analysis import of_another
from orograph.store.arrays import FOLDER, METADATA
from orograph.store.atomic import write_bytes
from orograph.store.cells import Cell, Plan
from orograph.store.copies import ANCHOR, SUM, check_own, own_files, read_plan, restorable, restore
from orograph.store.encoding import decode
from orograph.store.lock import RunLock
from orograph.store.marker import IDENTITY, has_marker, marker_at, no_run, outdated
from orograph.store.names import CONFIGURATION, COPIES, MARKER, PLAN
from orograph.store.removal import remove_all, remove_point
from orograph.store.run import Run
from orograph.store.settled import require_settled

OTHER = "was found in another run"
RESULTS = ("analysis.json", "landscape_analysis_results.json")
REMEDIES = {
    "own": "restored from its copy",
    "lost": "removed: it is made again",
    "point": "the point is marked to be measured again",
    "finding": "removed: it is computed again",
    "result": "removed: it is put together again",
    "table": "written again from the records",
    "link": "replaced by a copy of the file that it leads to",
    "configuration": f"written again from {MARKER}",
    "copy": "made anew from the original",
}
Kind = Literal["own", "lost", "point", "finding", "result", "table", "link", "configuration", "copy"]


@dataclass(frozen=True)
class Damage:
    """A file of a run that is missing, cannot be read, or is not what was committed.

    Attributes:
        path: relative to the run.
        why: in words.
        kind: what it is, which decides its remedy.
        cell: the point it belongs to, if it is of one.
    """

    path: str
    why: str
    kind: Kind
    cell: Cell | None = None

    @property
    def remedy(self) -> str:
        return REMEDIES[self.kind]


def inspect(path: Path) -> list[Damage]:
    """Everything in a run that is damaged; reads all of it.

    Raises:
        RunError: it is not a run, or one whose extension waits to take its place.
    """
    if not has_marker(path):
        raise no_run(path)
    require_settled(path)  # a repair would take for damage what is only half way
    found = [damage for name in own_files(path) if (damage := _own(path, name))]
    read = _read(path, found)
    if read is None:
        return found
    plan, identity = read
    arrays = {damage.path for damage in found if damage.path.endswith(METADATA) and damage.kind == "lost"}
    pending = any(not (path / records.FOLDER / f"{plan.name(cell)}.json").exists() for cell in plan.cells)
    known = None if pending else set(own_files(path))  # points to come write again what has no copy
    for slot, cell in enumerate(plan.cells):
        found += _point(path, plan, cell, slot, identity, arrays, known)
    found += _findings(path, identity)
    found += [Damage(name, why, "result") for name in RESULTS if (why := _unreadable(path / name))]
    found += _copies(path, {damage.path for damage in found})
    found += _links(path, {damage.path for damage in found})
    if all(damage.kind in ("link", "copy") for damage in found):
        run = Run.open(path)
        there = [name for name in RESULTS if (path / name).exists()]
        found += [Damage(name, OTHER, "result") for name in there if of_another(run, decode(path / name))]
        if why := outdated(path, run.configuration):
            found.append(Damage(CONFIGURATION, why, "configuration"))
        found += [Damage(name, "is not what follows from the records", "table") for name in run.damaged()]
    return found


def repair(path: Path, damages: Iterable[Damage]) -> None:
    """Carry out the remedy of each.

    Raises:
        RunError: another process is writing to the run, or its marker is damaged and its copy is.
    """
    damages = list(damages)
    if any(damage.kind == "lost" and damage.path == MARKER for damage in damages):
        raise RunError(f"{path / MARKER} is damaged and has no whole copy; restore it, or make the run anew in another folder.")
    lock = RunLock(path)
    try:
        for damage in damages:
            if damage.kind == "own":
                restore(path, damage.path)
        for damage in damages:
            if damage.kind == "lost":
                names = (damage.path, damage.path + SUM)
                remove_all(path, [*names, *(f"{COPIES}/{name}" for name in names)])  # a damaged copy restores nothing
        plan = read_plan(path / PLAN)
        for damage in damages:
            if damage.cell is not None:
                remove_point(path, plan, damage.cell)
            elif damage.kind == "finding":
                stem = damage.path.rpartition(".")[0]
                remove_all(path, [f"{stem}.json", f"{stem}.safetensors"])
            elif damage.kind == "copy":
                remove_all(path, [damage.path])
                write_bytes(path / damage.path, (path / damage.path.removeprefix(f"{COPIES}/")).read_bytes())
            elif damage.kind == "link":
                content = (path / damage.path).read_bytes()
                remove_all(path, [damage.path])
                write_bytes(path / damage.path, content)
            elif damage.kind == "result" or (damage.kind == "table" and not (path / damage.path).is_file()):
                remove_all(path, [damage.path])
    finally:
        lock.release()
    if (path / PLAN).exists():
        _open_again(path)


def _open_again(path: Path) -> None:
    """As its own command would, which brings tables, configuration and copies up to date."""
    run = Run.open(path)
    Run.create(
        path,
        kind=run.kind,
        configuration=run.configuration,
        numerics=run.numerics,
        asked=run.numerics,
        provenance=run.provenance,
        classes=run.classes,
        tensors=run.tensors,
    ).close()


def _own(path: Path, name: str) -> Damage | None:
    try:
        check_own(path / name)
    except RunError as error:
        return Damage(name, _reason(error), "own" if restorable(path, name) else "lost")
    if name == ANCHOR and (path / COPIES / name).is_file() and not (path / f"{name}{SUM}").is_file():
        return Damage(name, "has lost its SHA-256", "own" if restorable(path, name) else "lost")
    return None


def _read(path: Path, found: list[Damage]) -> tuple[Plan, str | None] | None:
    """The plan and the identity, or those of the copies; None where a plan or a marker and its copy cannot be read."""
    lost = {damage.path for damage in found if damage.kind == "lost"}
    if {MARKER, PLAN} & lost:
        return None
    damaged = {damage.path for damage in found}
    plan, marker = (path / COPIES / name if name in damaged else path / name for name in (PLAN, MARKER))
    return read_plan(plan), (marker_at(marker) or {}).get(IDENTITY)


def _point(
    path: Path, plan: Plan, cell: Cell, slot: int, identity: str | None, lost: set[str], known: set[str] | None
) -> list[Damage]:
    name = f"{records.FOLDER}/{plan.name(cell)}.json"
    if not (path / name).exists():
        return []
    try:
        record = records.read_record(path / name, cell, slot, identity)
    except RunError as error:
        return [Damage(name, _reason(error), "point", cell)]
    damages = []
    for file in records.damaged_files(path, record):
        missing = not (path / file).exists()
        damages.append(Damage(file, "is missing" if missing else "is not what was committed", "point", cell))
    wanted = records.metadata_of(record)
    for file in sorted(wanted & lost | (set() if known is None else wanted - known)):
        damages.append(Damage(name, f"is written again with {file}", "point", cell))
        lost.discard(file)  # one point is enough to have the metadata back
        if known is not None:
            known.add(file)
    return damages


def _findings(path: Path, identity: str | None) -> list[Damage]:
    found = []
    for file in findings.finding_records(path):
        name = file.relative_to(path).as_posix()
        try:
            finding = findings.read_finding(path, file, identity)
        except RunError as error:
            found.append(Damage(name, _reason(error), "finding"))
            continue
        for each in findings.damaged_finding_files(path, finding):
            missing = not (path / each).exists()
            found.append(Damage(each, "is missing" if missing else "is not what was committed", "finding"))
    return found


def _copies(path: Path, known: set[str]) -> list[Damage]:
    """Copies that would restore nothing, or something else, of originals that are whole; older runs have none."""
    if not (path / COPIES).is_dir():
        return []
    found = []
    for name in [*own_files(path), f"{ANCHOR}{SUM}"]:
        original, copy = path / name, path / COPIES / name
        if name in known or not original.is_file():
            continue
        if not copy.exists():
            found.append(Damage(f"{COPIES}/{name}", "is missing", "copy"))
        elif not copy.is_file() or copy.read_bytes() != original.read_bytes():
            found.append(Damage(f"{COPIES}/{name}", "is not what the original is", "copy"))
    return found


def _links(path: Path, known: set[str]) -> list[Damage]:
    """Files that are symbolic links, which no command makes: what they lead to may change, or go, without the run."""
    folders = (records.FOLDER, findings.FOLDER, artifacts.FOLDER, FOLDER, COPIES)
    own = [path / MARKER, path / PLAN, path / ANCHOR, *(file for name in folders for file in (path / name).rglob("*"))]
    names = [file.relative_to(path).as_posix() for file in sorted(own) if file.is_symlink() and file.is_file()]
    return [Damage(name, "is a symbolic link", "link") for name in names if name not in known]


def _unreadable(file: Path) -> str:
    if not file.exists():
        return ""
    try:
        decode(file)
    except RunError as error:
        return _reason(error)
    return ""


def _reason(error: RunError) -> str:
    """Of a message `FILE is damaged: why; what to do` the middle."""
    head = str(error).partition("; ")[0]
    for known in ("is missing", records.ELSEWHERE):
        if head.endswith(f" {known}"):
            return known
    return head.rpartition("damaged: ")[2] if "damaged: " in head else "is damaged"
