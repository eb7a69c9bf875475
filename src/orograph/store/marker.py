"""The marker that makes a directory a run, and whether a directory may be written to for a given one."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orograph.errors import RunError
from orograph.store.atomic import PARTIAL
from orograph.store.encoding import decode
from orograph.store.lock import LOCK_NAME

MARKER = "run.json"
FORMAT, VERSION = "orograph run", 1


def read_marker(path: Path) -> dict[str, Any] | None:
    """What the marker says; None where there is none."""
    if not (path / MARKER).is_file():
        return None
    content = decode(path / MARKER)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise RunError(f"{path / MARKER} is not that of an Orograph run; choose another directory.")
    if content["version"] > VERSION:
        raise RunError(f"{path} was written by a later version of Orograph; use that to go on.")
    return content


def check_directory(path: Path, content: Mapping[str, Any]) -> dict[str, Any] | None:
    """The marker of the same run if the directory holds it, None if it is free.

    Raises:
        RunError: it holds anything else.
    """
    if path.exists() and not path.is_dir():
        raise RunError(f"{path} is a file; give a directory for the run.")
    found = read_marker(path)
    if found is None:
        foreign = [p.name for p in path.iterdir() if p.name != LOCK_NAME and p.suffix != PARTIAL] if path.exists() else []
        if foreign:
            raise RunError(f"{path} is not a run and not empty (it holds '{min(foreign)}'); give a new or an empty directory.")
        return None
    if found["kind"] != content["kind"]:
        raise RunError(f"{path} holds a {found['kind']}, not a {content['kind']}; give another directory.")
    differing = _differences(found["configuration"], content["configuration"])
    if differing:
        raise RunError(f"{path} holds a run with {'; '.join(differing)}; give these values again, or another directory.")
    return found


def _differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Each key in which two configurations differ, with both values."""
    result = []
    for key in sorted({*old, *new}):
        was, now = old.get(key), new.get(key)
        if isinstance(was, Mapping) and isinstance(now, Mapping):
            result += _differences(was, now, f"{prefix}{key}.")
        elif was != now:
            result.append(f"{prefix}{key} = {_short(was)} (not {_short(now)})")
    return result


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
