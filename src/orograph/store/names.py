"""The names of the files of a run, checked in one place: those that come from a run made elsewhere stay inside it.

What is a run's own at its top is listed too: nothing else is written over by a command that is told where to write.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from orograph.errors import ConfigurationError
from orograph.store.atomic import require_no_device, require_writable
from orograph.store.encoding import is_digest

MARKER = "run.json"
CONFIGURATION = "configuration.toml"
PLAN = "plan.json"
COPIES = "copies"
TIMINGS = "timings"
EXTENSION = "extension"
_RESULTS = ("analysis.json", "landscape_analysis_results.json")
_FOLDERS = ("points", "findings", "test_data", "arrays.zarr", COPIES, TIMINGS, EXTENSION)
OWN = frozenset([MARKER, CONFIGURATION, PLAN, ".lock", "anchor.pth", "anchor.pth.sha256", *_FOLDERS, *_RESULTS])

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,199}")
_STRENGTH = re.compile(r"[0-9]{1,40}\.[0-9]{1,60}")


def is_name(text: object) -> bool:
    """Whether this may be the name of a folder or the stem of a file: letters, digits and . _ + - only, no path."""
    return isinstance(text, str) and _NAME.fullmatch(text) is not None


def is_written_strength(text: object, strength: float) -> bool:
    """Whether a strength is written so, with some number of decimals."""
    if not isinstance(text, str) or not _STRENGTH.fullmatch(text):
        return False
    return f"{strength:.{len(text.partition('.')[2])}f}" == text


def checked_files(files: Any) -> dict[str, str]:
    """SHA-256 by path, as a record has them.

    Raises:
        TypeError: they are no such mapping, or a path leads out of the run.
    """
    if not isinstance(files, Mapping) or not all(_is_inside(name) and is_digest(digest) for name, digest in files.items()):
        raise TypeError("files")
    return dict(files)


def _is_inside(name: object) -> bool:
    if not isinstance(name, str) or not name or "\0" in name:
        return False
    path = PurePosixPath(name)
    return (
        not path.is_absolute() and ".." not in path.parts and path.parts[0] in ("points", "findings", "test_data", "arrays.zarr")
    )


def require_free(out: Path) -> None:
    """Check that a file to be written is none of a run's own, of whichever run, takes the place of nothing but a file, and can
    be written. A link is neither replaced, which whoever made it would miss, nor followed, since a run's own may lie in wait.

    Raises:
        ConfigurationError: it is one, or a link.
        RunError: it cannot be.
    """
    if out.is_symlink():
        raise ConfigurationError(
            f"`out` {out} is a symbolic link to {os.readlink(out)}, which a file would replace; name the file itself, or remove "
            "the link."
        )
    require_no_device(out)
    if run_around(out) is not None:
        raise ConfigurationError(f"`out` {out} is one of the run's own files; choose another name.")
    require_writable(out)


def run_around(file: Path) -> Path | None:
    """The run of whose own files this is one, or would be."""
    place = file.parent.resolve() / file.name
    mine = (folder for folder in place.parents if (folder / MARKER).is_file() and place.relative_to(folder).parts[0] in OWN)
    return next(mine, None)
