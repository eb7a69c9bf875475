"""`SHA256SUMS`: the digest of every file of a folder, for `sha256sum --check`: nobody needs this program to check a copy."""

from pathlib import Path

from orograph.store.integrity import digest_of

FILE = "SHA256SUMS"
_LEFT_OUT = (FILE, ".lock")  # what is written here, and what only says who writes


def checksums(folder: Path) -> bytes:
    """A line for each regular file, sorted by path.

    Args:
        folder: the folder; links in it are neither followed nor listed.

    Returns:
        The file's content, in UTF-8.

    Raises:
        OSError: a file cannot be read.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    names = [(path.relative_to(folder).as_posix(), path) for path in files]
    return "".join(_line(digest_of(path), name) for name, path in names if name not in _LEFT_OUT).encode()


def _line(digest: str, name: str) -> str:
    """As coreutils write it: a name that would break the line is escaped, which a backslash before the digest says."""
    escaped = name.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
    return f"{'' if escaped == name else chr(92)}{digest}  {escaped}\n"
