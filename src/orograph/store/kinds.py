"""Whether the fields of a record are of the kinds that the registry of quantities gives them, wherever the record came from.

What nobody entered is free: readers leave out what they cannot show.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal

from orograph.errors import ConfigurationError, RunError
from orograph.store.branch_quantities import BRANCH_TEXTS
from orograph.store.encoding import plain, way_out, with_floats
from orograph.store.escape_quantities import ESCAPE_TEXTS
from orograph.store.lookup import find
from orograph.store.measure_quantities import MEASURE_MATRICES, MEASURE_TEXTS
from orograph.store.quantities import MAPPINGS, TEXTS

Kind = Literal[
    "a number",
    "a text",
    "a list of numbers",
    "a list of lists of numbers",
    "a list of lists of whole numbers",
    "a list of numbers by epoch",
    "",
]
COURSES = ("history", "curvature")  # one mapping an epoch
_RANGES = ("clusters",)  # first and one past the last


def check_fields(path: Path, scalars: Mapping[str, Any]) -> None:
    """Check the fields that were read from a file.

    Raises:
        RunError: one is of another kind than it should be.
    """
    if wrong := wrong_field(scalars):
        raise RunError(f"{path} is damaged: its field '{wrong[0]}' is not {wrong[1]}; {way_out(path)}")


def checked_fields(name: str, scalars: Mapping[str, Any]) -> dict[str, Any]:
    """Fields that are to be written, in the form in which they are read again.

    Raises:
        ConfigurationError: one is of another kind than the registry says: nobody could read it.
    """
    fields: dict[str, Any] = with_floats(plain(scalars))
    if wrong := wrong_field(fields):
        raise ConfigurationError(f"field '{wrong[0]}' of {name} is {fields[wrong[0]]!r}, but is to be {wrong[1]}.")
    return fields


def wrong_field(scalars: Mapping[str, Any]) -> tuple[str, Kind] | None:
    """The first field that is of another kind than it should be, and that kind."""
    return next(((name, kind) for name, value in scalars.items() if not _is(kind := kind_of(name), value)), None)


@cache
def kind_of(name: str) -> Kind:
    """What a field of a record holds; empty where anything may stand."""
    if name in COURSES:
        return "a list of numbers by epoch"
    if name in _RANGES:
        return "a list of lists of whole numbers"
    if name in TEXTS | BRANCH_TEXTS | ESCAPE_TEXTS | MEASURE_TEXTS:
        return "a text"
    if name in MEASURE_MATRICES:
        return "a list of lists of numbers"
    known = find(name)
    if known is None or name in MAPPINGS or len(known.dims) > 1:
        return ""
    return "a list of numbers" if known.dims else "a number"


def _is(kind: Kind, value: Any) -> bool:
    if value is None or value != value:  # null, as which NaN is written
        return kind not in ("a list of numbers by epoch", "a list of lists of whole numbers")
    match kind:
        case "a number":
            return _is_number(value)
        case "a text":
            return isinstance(value, str)
        case "a list of numbers":
            return isinstance(value, list) and all(map(_is_number, value))
        case "a list of lists of numbers":
            return isinstance(value, list) and all(isinstance(row, list) and all(map(_is_number, row)) for row in value)
        case "a list of lists of whole numbers":
            return isinstance(value, list) and all(map(_is_range, value))
        case "a list of numbers by epoch":
            return isinstance(value, list) and all(map(_is_epoch, value))
    return True


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)


def _is_range(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(isinstance(end, int) for end in value)


def _is_epoch(value: Any) -> bool:
    if not isinstance(value, dict) or not all(map(_is_number, value.values())):
        return False
    return "epoch" in value and value["epoch"] == value["epoch"] // 1  # older studies wrote 2.0
