"""Files that are there whole or not at all, whatever moment the process or the machine stops at.

Written under a temporary name, synced, renamed over the final one, and the folder synced, since a rename is only durable
with its folder.
"""

import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from orograph.errors import RunError
from orograph.memory import format_bytes

PARTIAL = ".partial"  # the ending of temporary names, zarr's own included


def sha256(content: bytes | memoryview) -> str:
    """The SHA-256 of some bytes, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def write_bytes(path: Path, content: bytes | memoryview) -> str:
    """Write a file atomically and durably; its folder is made if need be.

    Returns:
        The SHA-256 of the content.

    Raises:
        RunError: the system refuses (a full disk, no permission).
    """
    temporary = path.with_name(f".{path.name}{PARTIAL}")
    with _explained(path):
        make_folder(path.parent)
        try:
            with temporary.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
        sync(path.parent)
    return sha256(content)


def make_folder(path: Path) -> None:
    """Create a folder and its missing parents, durably."""
    if path.is_dir():
        return
    make_folder(path.parent)
    with _explained(path):
        path.mkdir(exist_ok=True)
        sync(path.parent)


def sync(path: Path) -> None:
    """Have the system write a file or a folder to the disk now."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_partial(folder: Path) -> None:
    """Delete what interrupted writes left behind."""
    for path in folder.rglob(f"*{PARTIAL}"):
        path.unlink(missing_ok=True)


def require_space(path: Path, size: float) -> None:
    """Check that the disk under `path`, which need not exist yet, has `size` bytes free.

    Raises:
        RunError: it has not.
    """
    existing = path.absolute()
    while not existing.exists():
        existing = existing.parent
    free = shutil.disk_usage(existing).free
    if size > free:
        raise RunError(
            f"the run needs {format_bytes(size)}, but the disk of {path} has {format_bytes(free)} free; keep the eigenvectors "
            "only as arrays or not at all, take fewer points, or write to another disk."
        )


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror}; free the disk or choose another place, and run again.") from error
