"""JSON whose bytes depend on the values alone: sorted keys, floats in the shortest form that reads back to the same number.

JSON has no NaN and no infinities: NaN becomes null, infinities the strings "Infinity" and "-Infinity".

A sealed mapping carries the SHA-256 of the encoding of all its other fields. Whoever decodes it checks that; files of runs that
were made before there were seals have none.
"""

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orograph.errors import RunError
from orograph.reading import read_file
from orograph.store.atomic import sha256

SEAL = "sha256"
_DIGEST = re.compile(r"[0-9a-f]{64}")
_INFINITIES = {"Infinity": math.inf, "-Infinity": -math.inf}


def plain(value: Any) -> Any:
    """Mappings, sequences and scalars of any library as what JSON knows.

    Raises:
        TypeError: something else.
    """
    return _plain(value, infinite=True)


def _plain(value: Any, *, infinite: bool) -> Any:
    """The same; of infinities null where they have no text."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item, infinite=infinite) for key, item in value.items()}
    if hasattr(value, "tolist"):  # numpy and torch, arrays and scalars
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [_plain(item, infinite=infinite) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) or not infinite else "Infinity" if value > 0 else "-Infinity"
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} cannot be recorded; pass numbers, text, lists or mappings")


def encode(value: Any) -> bytes:
    """The JSON of a value."""
    return (json.dumps(plain(value), sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def json_text(value: Any) -> str:
    """The JSON of a value for other programs, its fields in their own order; null stands for NaN and for infinities, so that a
    field of numbers holds no text."""
    return json.dumps(_plain(value, infinite=False), indent=1, ensure_ascii=False, allow_nan=False)


def sealed(value: Mapping[str, Any]) -> bytes:
    """The JSON of a mapping with its seal."""
    content = plain(value)
    return encode({**content, SEAL: seal_of(content)})


def seal_of(content: Mapping[str, Any]) -> str:
    """The seal of a mapping, which is that of its other fields."""
    return sha256(encode({name: value for name, value in content.items() if name != SEAL}))


def broken(content: Any) -> bool:
    """Whether a decoded mapping has a seal that is not its own, or what looks like one under a damaged name."""
    if not isinstance(content, dict):
        return False
    if SEAL not in content:
        return any(is_digest(value) for value in content.values())
    try:
        return bool(content[SEAL] != seal_of(content))
    except (ValueError, RecursionError):  # a text that is no UTF-8, lists in lists without end
        return True


def is_digest(value: Any) -> bool:
    """Whether this is a SHA-256 in hexadecimal."""
    return isinstance(value, str) and _DIGEST.fullmatch(value) is not None


def parsed(path: Path) -> Any:
    """What a JSON file says, its seal included and not looked at.

    Raises:
        RunError: the file cannot be read, or is no JSON.
    """
    try:
        text = read_file(path).decode()
        content = json.loads(text, parse_int=_whole)
        if "\\u" in text:  # as which halves of characters can be written, that no table and no file takes
            json.dumps(content, ensure_ascii=False).encode()
        return content
    except OSError as error:
        raise RunError(f"cannot read {path}: {error.strerror}.") from None
    except (
        ValueError,
        RecursionError,
        OverflowError,
    ):  # no JSON, no UTF-8, integers of thousands of digits, lists in lists without end
        raise RunError(f"{path} is damaged: it is no JSON; {way_out(path)}") from None


def _whole(digits: str) -> int:
    value = int(digits)
    float(value)  # whoever computes with it would fail
    return value


def decode(path: Path) -> Any:
    """The value in a JSON file, with null as it stands; of a sealed mapping all but the seal.

    Raises:
        RunError: as `parsed`, or its seal is broken.
    """
    return opened(parsed(path), path)


def opened(content: Any, path: Path) -> Any:
    """What was parsed, without its seal.

    Raises:
        RunError: the seal is broken.
    """
    if broken(content):
        raise RunError(f"{path} is damaged: it is not what was written (another SHA-256); {way_out(path)}")
    return {name: value for name, value in content.items() if name != SEAL} if isinstance(content, dict) else content


def way_out(path: Path) -> str:
    """What to do about a damaged file of a run, as the end of a sentence."""
    run = next(
        (str(folder) for folder in path.parents if any((folder / name).exists() for name in ("points", "run.json"))), "RUN"
    )
    return f"restore it, or have it made again by: orograph doctor {run} --repair."


def with_floats(value: Any) -> Any:
    """What `plain` did to NaN and the infinities, undone."""
    if value is None:
        return math.nan
    if isinstance(value, dict):
        return {key: with_floats(item) for key, item in value.items()}
    if isinstance(value, list):
        return [with_floats(item) for item in value]
    return _INFINITIES.get(value, value) if isinstance(value, str) else value
