"""Files that are there whole or not at all, whatever moment the process or the machine stops at.

Written under a temporary name, synced, renamed over the final one, and the folder synced, since a rename is only durable
with its folder. A temporary name is new each time, so that two writers of one file do not meet, and its file is opened only if
it was not there, so that no link is followed; while it is written it is locked, which tells it from what a dead process left.
"""

import contextlib
import errno
import fcntl
import hashlib
import os
import re
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from orograph.errors import RunError
from orograph.memory import format_bytes

_PARTIAL = re.compile(r"\..*\.[0-9a-f]{16}\.partial")
_LONGEST = 200  # bytes of a final name that its temporary one repeats: names end at 255


def sha256(content: bytes | memoryview) -> str:
    """The SHA-256 of some bytes, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def write_bytes(path: Path, content: bytes | memoryview) -> str:
    """Write a file atomically and durably; its folder is made if need be. A link of this name is replaced, not followed.

    Returns:
        The SHA-256 of the content.

    Raises:
        RunError: the system refuses (a full disk, no permission), or a device or a pipe has that name: it would be replaced too.
    """
    require_no_device(path)
    temporary = path.with_name(temporary_name(path.name))
    with _explained(path):
        make_folder(path.parent)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        try:
            with open(descriptor, "wb") as file:
                with contextlib.suppress(OSError):  # some file systems have no locks
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
                temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        sync(path.parent)
    return sha256(content)


def require_no_device(path: Path) -> None:
    """Check that a file does not take the place of a device, a pipe or a socket.

    Raises:
        RunError: it would.
    """
    try:
        mode = path.lstat().st_mode
    except OSError:
        return  # there is none, or opening it will tell
    if not (stat.S_ISREG(mode) or stat.S_ISLNK(mode) or stat.S_ISDIR(mode)):
        raise RunError(f"cannot write {path}: it is a device, a pipe or a socket, which a file would replace; name a file.")


def write_bytes_if_changed(path: Path, content: bytes) -> None:
    """Write a file unless it holds just this."""
    if not path.is_file() or path.read_bytes() != content:
        write_bytes(path, content)


def temporary_name(name: str) -> str:
    """A name that nobody else has, known as temporary by its form."""
    short = name.encode()[:_LONGEST].decode(errors="ignore")
    return f".{short}.{secrets.token_hex(8)}.partial"


def is_temporary(name: str) -> bool:
    """Whether a name is of the form that `temporary_name` gives."""
    return _PARTIAL.fullmatch(name) is not None


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
    """Delete what interrupted writes left behind, and nothing of anybody else's: not what a living process writes just now."""
    for path in folder.rglob("*.partial"):
        if is_temporary(path.name) and not _being_written(path):
            path.unlink(missing_ok=True)


def _being_written(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return True  # gone, or none of ours
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def free_space(path: Path) -> int:
    """Bytes free on the disk under `path`, which need not exist yet."""
    existing = path.absolute()
    while not existing.exists():
        existing = existing.parent
    return shutil.disk_usage(existing).free


def told_space(path: Path, size: float) -> str:
    """What a plan adds to a size: that the disk under `path` has less free, or nothing."""
    return f", more than the {format_bytes(free)} free there" if size > (free := free_space(path)) else ""


def require_space(path: Path, size: float) -> None:
    """Check that the disk under `path`, which need not exist yet, has `size` bytes free.

    Raises:
        RunError: it has not.
    """
    if size > (free := free_space(path)):
        raise RunError(
            f"the run needs {format_bytes(size)}, but the disk of {path} has {format_bytes(free)} free; keep the eigenvectors "
            "only as arrays or not at all, take fewer points, or write to another disk."
        )


def require_writable(out: Path) -> None:
    """Check, before anything is computed, that a file or a folder can be made under a name; nothing is left behind.

    Raises:
        RunError: something on the way is no folder, or the folder that is there takes no files.
    """
    folder = out.absolute()
    while not os.path.lexists(folder):
        folder = folder.parent
    if folder == out.absolute() and not folder.is_dir():
        folder = folder.parent  # a file, which is written over
    if not folder.is_dir():
        raise RunError(f"cannot write {out}: {folder} is no folder; choose another place.")
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise RunError(f"cannot write {out}: {folder} takes no files ({error.strerror}); choose another place.") from None


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        way = "free the disk or choose another place" if full else "choose another place"
        raise RunError(f"cannot write {path}: {error.strerror}; {way}, and run again.") from error
