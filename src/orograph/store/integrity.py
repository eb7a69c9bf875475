"""What a run reads is what was committed: every file is held against its recorded SHA-256 before it is used.

A file is read for this once a process; while its size, its times and its inode stay, it is known.
"""

import hashlib
from pathlib import Path

from orograph.errors import RunError
from orograph.reading import open_file
from orograph.store.encoding import way_out

_known: dict[tuple[str, int, int, int], str] = {}


def digest_of(path: Path) -> str:
    """The SHA-256 of a file as it is now.

    Raises:
        OSError: it cannot be read.
    """
    stat = path.stat()
    key = str(path), stat.st_size, stat.st_mtime_ns, stat.st_ino
    if key not in _known:
        with open_file(path) as file:
            _known[key] = hashlib.file_digest(file, "sha256").hexdigest()
    return _known[key]


def verified(path: Path, digest: str) -> Path:
    """The path, of a file that holds what was committed.

    Raises:
        RunError: it does not, or it cannot be read.
    """
    try:
        found = digest_of(path)
    except OSError as error:
        raise RunError(f"cannot read {path}: {error.strerror}; {way_out(path)}") from None
    if found != digest:
        raise RunError(f"{path} is damaged: it is not what was committed (another SHA-256); {way_out(path)}")
    return path
