"""What two runs are compared by."""

import hashlib
from pathlib import Path


def bytes_of(out: Path) -> dict[str, str]:
    """A digest of every file but the timings, by path."""
    return {
        path.relative_to(out).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(out.rglob("*"))
        if path.is_file() and "timings" not in path.relative_to(out).parts
    }
