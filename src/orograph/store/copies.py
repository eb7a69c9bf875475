"""The few files without which a run cannot be read, each kept twice: a damaged one is restored from its copy.

They are the marker, the plan, a kept anchor and the metadata of arrays. A copy is made only of a file that is whole; marker, plan
and metadata carry their seals, and beside what carries none lies its SHA-256, as `sha256sum --check` reads it.
"""

from pathlib import Path

from orograph.errors import ConfigurationError, RunError
from orograph.reading import read_file
from orograph.store.arrays import FOLDER, METADATA, check_metadata
from orograph.store.atomic import write_bytes, write_bytes_if_changed
from orograph.store.cells import EMPTY_PLAN, Plan
from orograph.store.encoding import decode, sealed, way_out
from orograph.store.integrity import digest_of, verified
from orograph.store.marker import marker_at
from orograph.store.names import COPIES, MARKER, PLAN

ANCHOR = "anchor.pth"
SUM = ".sha256"  # the ending of the file that holds the SHA-256 of another


def write_own(run: Path, name: str, content: bytes) -> None:
    """Write one of the run's own files and its copy."""
    write_bytes_if_changed(run / name, content)
    write_bytes_if_changed(run / COPIES / name, content)


def keep_copies(run: Path) -> None:
    """Bring every copy up to date, those of runs that have none yet too.

    Raises:
        RunError: a file is damaged: its copy is left as it is.
    """
    for name in own_files(run):
        check_own(run / name)
        write_own(run, name, (run / name).read_bytes())
        if name == ANCHOR:
            write_own(run, name + SUM, sum_line(run, name))


def own_files(run: Path) -> list[str]:
    """Those there are, or were, by path relative to the run."""
    wanted = [MARKER, PLAN, ANCHOR]
    for folder in (run, run / COPIES):
        wanted += sorted(path.relative_to(folder).as_posix() for path in (folder / FOLDER).rglob(METADATA))
    return [name for name in dict.fromkeys(wanted) if (run / name).is_file() or (run / COPIES / name).is_file()]


def check_own(file: Path) -> None:
    """Raises:
    RunError: one of the run's own files, or its copy, is missing or damaged.
    """
    if not file.is_file():
        raise RunError(f"{file} is missing; {way_out(file)}")
    if file.name == MARKER:
        marker_at(file)
    elif file.name == PLAN:
        read_plan(file)
    elif file.name == METADATA:
        check_metadata(file)
    else:
        check_sum(file)


def restorable(run: Path, name: str) -> bool:
    """Whether a file has a copy that is whole."""
    try:
        check_own(run / COPIES / name)
    except RunError:
        return False
    return True


def restore(run: Path, name: str) -> None:
    """Put the copy in the place of a damaged or lost file."""
    remove(run / name)
    write_bytes(run / name, (run / COPIES / name).read_bytes())
    if (run / COPIES / f"{name}{SUM}").is_file():
        write_bytes(run / f"{name}{SUM}", (run / COPIES / f"{name}{SUM}").read_bytes())


def remove(file: Path) -> None:
    """Delete a damaged file, or an empty folder in its place.

    Raises:
        RunError: the system refuses.
    """
    try:
        file.rmdir() if file.is_dir() and not file.is_symlink() else file.unlink(missing_ok=True)
    except OSError as error:
        raise RunError(f"cannot remove {file}: {error.strerror}; remove it yourself, and run again.") from None


def sum_line(run: Path, name: str) -> bytes:
    """What the file beside another holds."""
    return f"{digest_of(run / name)}  {name}\n".encode()


def check_sum(file: Path) -> None:
    """Raises:
    RunError: a file is not what the sum beside it says, if there is one.
    """
    if not file.is_file():
        raise RunError(f"{file} is damaged: it is missing, or no regular file; {way_out(file)}")
    beside = file.with_name(file.name + SUM)
    if not beside.is_file():
        return
    try:
        digest = read_file(beside, 1000).decode().split(" ")[0]
    except (OSError, ValueError):
        digest = "none"
    verified(file, digest)


def plan_bytes(plan: Plan) -> bytes:
    """What the plan's file holds."""
    return sealed({"cells": plan.to_plain()})


def read_plan(file: Path) -> Plan:
    """The plan in a file; empty where there is none. Older runs have the rows alone, without a seal.

    Raises:
        RunError: it is damaged.
    """
    if not file.exists():
        return EMPTY_PLAN
    content = decode(file)
    try:
        return Plan.from_plain(content["cells"] if isinstance(content, dict) else content)
    except (KeyError, TypeError, ValueError, ConfigurationError) as error:
        reason = str(error) if isinstance(error, ConfigurationError) else "it is no plan."
        raise RunError(f"{file} is damaged: {reason.rstrip('.')}; {way_out(file)}") from None
