"""The marker that makes a directory a run, and whether a directory may be written to for a given one."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomli_w

from orograph.errors import RunError, a
from orograph.reading import read_file
from orograph.store.atomic import is_temporary, sha256, write_bytes
from orograph.store.encoding import encode, opened, parsed, way_out
from orograph.store.names import CONFIGURATION, COPIES, MARKER, OWN, PLAN

FORMAT, VERSION = "orograph run", 1
IDENTITY, OF = "identity", "of"  # of a run, in its marker; and in all that belongs to it
HISTORY = "history"  # what was asked for, time after time, of a run that has grown
GROWS = ("ladder.", "anchor.seeds ", "spectrum.k ")  # the settings in which it may
_FIELDS = {
    "version": int,
    "kind": str,
    "configuration": dict,
    "numerics": dict,
    "provenance": dict,
    "classes": list,
    "tensors": list,
}


class LaterVersion(RunError):
    """A run that only a later version can read."""


def read_marker(path: Path) -> dict[str, Any] | None:
    """What the marker says; None where there is none.

    Raises:
        RunError: it is damaged, of something else, or of a later version.
    """
    return marker_at(path / MARKER)


def marker_at(file: Path) -> dict[str, Any] | None:
    """The marker in a file, which may be its copy."""
    if not file.is_file():
        return None
    content = parsed(file)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise RunError(f"{file} is not that of an Orograph run, or is damaged; choose another directory, or {way_out(file)}")
    if isinstance(content.get("version"), int) and content["version"] > VERSION:  # whose seals may be others
        raise LaterVersion(f"{file.parent} was written by a later version of Orograph; use that to go on.")
    content = opened(content, file)
    wrong = [name for name, kind in _FIELDS.items() if not isinstance(content.get(name), kind)]
    if not wrong and not all(isinstance(name, str) for name in content["classes"]):
        wrong.append("classes")
    if not wrong and not all(map(_is_shape, content["tensors"])):
        wrong.append("tensors")
    if not wrong and not (isinstance(content.get("metrics", []), list) and all(map(_is_metric, content.get("metrics", [])))):
        wrong.append("metrics")
    if not wrong and not isinstance(content.get(IDENTITY, ""), str):
        wrong.append(IDENTITY)
    if not wrong and not (isinstance(content.get(HISTORY, []), list) and all(map(_is_asked, content.get(HISTORY, [])))):
        wrong.append(HISTORY)
    if wrong:
        raise RunError(f"{file} is damaged: its field '{wrong[0]}' is missing or of the wrong kind; {way_out(file)}")
    return content


def identity_of(definition: Mapping[str, Any]) -> str:
    """What tells a run from those of other settings, wherever it lies: the digest of what defines it."""
    return sha256(encode(definition))[:16]


def _is_shape(entry: Any) -> bool:
    """Whether this is `[name, [sizes]]`."""
    if not isinstance(entry, list) or len(entry) != 2 or not isinstance(entry[0], str) or not isinstance(entry[1], list):
        return False
    return all(isinstance(size, int) and size >= 0 for size in entry[1])


def _is_metric(entry: Any) -> bool:
    """Whether this is a metric's name, label, unit and direction."""
    return isinstance(entry, dict) and all(isinstance(entry.get(name), str) for name in ("name", "label", "unit", "better"))


def _is_asked(entry: Any) -> bool:
    """Whether this is what was asked for at one time."""
    kinds = {"strengths": list, "direction": str, "seeds": list, "k": int}
    return isinstance(entry, dict) and all(isinstance(entry.get(name), kind) for name, kind in kinds.items())


def check_directory(
    path: Path,
    content: Mapping[str, Any],
    defaults: Mapping[str, Mapping[str, Any]] | None = None,
    grows: bool = False,
) -> dict[str, Any] | None:
    """The marker of the same run if the directory holds it or its copy, None if it is free, or holds all of the run but that.

    Args:
        path: the directory.
        content: of the marker of the run.
        defaults: groups of settings that a configuration leaves out where they are these, by name.
        grows: whether what it holds may differ in what of a run may grow.

    Raises:
        RunError: it holds anything else.
    """
    if path.exists() and not path.is_dir():
        raise RunError(f"{path} is a file; give a directory for the run.")
    found = None if lacks_its_marker(path) else read_marker(path) or marker_at(path / COPIES / MARKER)
    if found is None:
        own = {*OWN, f".{MARKER}.partial"}
        names = [each.name for each in path.iterdir() if not is_temporary(each.name)] if path.exists() else []
        foreign = [name for name in names if name not in own]
        if foreign and not lacks_its_marker(path):  # beside a run lie its figures, its report, and what people put there
            raise RunError(f"{path} is not a run and not empty (it holds '{min(foreign)}'); give a new or an empty directory.")
        if CONFIGURATION not in names:
            return None
        written = _written(path / CONFIGURATION)
        written.pop("numerics", None)
        found = {"kind": content["kind"], "configuration": written}
        content = {"kind": content["kind"], "configuration": without_none(content["configuration"])}
    if found["kind"] != content["kind"]:
        raise RunError(f"{path} holds {a(found['kind'])}, not {a(content['kind'])}; give another directory.")
    tables, own = (set(each["configuration"]) for each in (found, content))
    if tables - own and own - tables:  # a configuration alone does not say its kind, but each kind has tables of its own
        raise RunError(f"{path} holds a run with a '{min(tables - own)}', not {a(content['kind'])}; give another directory.")
    was, now = (with_groups(defaults or {}, each["configuration"], own | tables) for each in (found, content))
    differing = differences(was, now)
    if grows:
        differing = [each for each in differing if not each.startswith(GROWS)]
    if differing:
        more = "; orograph extend adds to a run" if all(each.startswith(GROWS) for each in differing) else ""
        said = "; ".join(differing)
        raise RunError(f"{path} holds a run with {said}; give these values again, or another directory{more}.")
    if "format" not in found:
        return None
    groups = [list(each.get("classes", ())) for each in (found, content)]
    if groups[0] != groups[1]:
        begun, given = (", ".join(each) or "none" for each in groups)
        raise RunError(f"{path} holds a run with the groups {begun}, and there are {given} now; give another directory.")
    return found


def lacks_its_marker(path: Path) -> bool:
    """Whether a directory is a run but for its marker and the copy of that, neither of which is there and whole."""
    begun = any(all((path / name).exists() for name in names) for names in ((PLAN, "points"), ("findings",)))
    return begun and (path / CONFIGURATION).exists() and not any(map(_is_marker, (path / MARKER, path / COPIES / MARKER)))


def has_marker(path: Path) -> bool:
    """Whether a directory is a run that says what it is: by its marker or the copy of that, whole or damaged."""
    return any((path / name).exists() for name in (MARKER, f"{COPIES}/{MARKER}")) and not lacks_its_marker(path)


def _is_marker(file: Path) -> bool:
    """Whether a file may say what a run is: to this version, to a later one, or once the system lets it be read."""
    if not file.exists():
        return False
    try:
        read_file(file)
        marker_at(file)
    except (OSError, LaterVersion):
        return True
    except RunError:
        return False
    return True


def no_run(path: Path) -> RunError:
    """The error for a directory without a marker."""
    if lacks_its_marker(path):
        again = f"give the command that made the run again, with the settings of {CONFIGURATION} beside it: that writes it anew"
        return RunError(f"{path} has lost its {MARKER}, and has no copy of it that is whole; {again}.")
    return RunError(f"{path} is not a run: it has no {MARKER}; give the directory that a sweep or a study wrote.")


def _written(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(read_file(path, 2**20).decode())
    except (OSError, ValueError, RecursionError):
        raise RunError(f"{path.parent} has lost its {MARKER}, and {path.name} is damaged; choose another directory.") from None


def write_configuration(path: Path, content: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    """The configuration once more, to be edited and run from, with the numerics that were asked for when the run was begun.

    What says the same in another order is left as it is.
    """
    if outdated(path, content["configuration"]):
        asked = _asked_before(path / CONFIGURATION) or asked
        numerics = without_none({"numerics": asked} if asked else {})
        write_bytes(path / CONFIGURATION, tomli_w.dumps({**without_none(content["configuration"]), **numerics}).encode())


def _asked_before(file: Path) -> Mapping[str, Any]:
    """The numerics in a `configuration.toml`; empty where there are none."""
    try:
        found = tomllib.loads(read_file(file).decode()).get("numerics", {})
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def outdated(path: Path, configuration: Mapping[str, Any]) -> str:
    """Why a run's `configuration.toml` does not say what its marker says; empty where it does, in whatever order."""
    file = path / CONFIGURATION
    try:
        found = tomllib.loads(read_file(file).decode())
    except (OSError, ValueError, RecursionError):
        return "is no TOML" if file.exists() else "is missing"
    same = {name: value for name, value in found.items() if name != "numerics"} == without_none(configuration)
    return "" if same else f"says something else than {MARKER}"


def without_none(value: Any) -> Any:
    """TOML has no null: what is None is left out."""
    if isinstance(value, Mapping):
        return {key: without_none(item) for key, item in value.items() if item is not None}
    return [without_none(item) for item in value] if isinstance(value, list) else value


def with_groups(defaults: Mapping[str, Any], configuration: Mapping[str, Any], named: set[str]) -> dict[str, Any]:
    """A configuration with the groups that only another one names, as they are when they are left out."""
    return {**{name: value for name, value in defaults.items() if name in named}, **configuration}


def differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Each key in which two configurations differ, with both values."""
    result = []
    for key in sorted({*old, *new}):
        was, now = old.get(key), new.get(key)
        if isinstance(was, Mapping) and isinstance(now, Mapping):
            result += differences(was, now, f"{prefix}{key}.")
        elif was != now:
            result.append(f"{prefix}{key} = {_short(was)} (not {_short(now)})")
    return result


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
