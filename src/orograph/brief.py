"""How results show themselves: ten lines at most, an array by its type, its shape and its range."""

import dataclasses
import math
from collections.abc import Collection, Iterator, Mapping
from typing import Any, TypeVar

LINES, WIDTH = 10, 120
_TEXT = 60  # letters of a text, or of what somebody else's object says of itself
_SHORT = 4  # numbers of an array, or entries of a collection, that are shown one by one
Kind = TypeVar("Kind", bound=type)


def brief(kind: Kind) -> Kind:
    """Gives a dataclass a `repr` that fits ten lines of 120 letters, whatever its fields hold.

    Args:
        kind: the class.

    Returns:
        The same class.
    """
    kind.__repr__ = _told_of  # type: ignore[assignment,method-assign]
    return kind


def _told_of(result: Any) -> str:
    """`Spectrum(eigenvalues=float32 (30,) 0.12 to 4.8, …)`, over as many lines as it takes."""
    name, parts = type(result).__name__, list(_parts(result))
    text = f"{name}({', '.join(parts)})"
    if len(text) <= WIDTH:
        return text
    lines, left = [f"{name}("], len(parts)
    for part in parts:
        word = _cut(part, WIDTH - 4)
        if len(lines) > 1 and len(lines[-1]) + len(word) + 3 <= WIDTH:
            lines[-1] += f", {word}"
        elif len(lines) == LINES - 2 + (left == 1):
            lines.append(f"  … and {left} more")
            break
        else:
            lines[-1] += "," if len(lines) > 1 else ""
            lines.append(f"  {word}")
        left -= 1
    return "\n".join([*lines, ")"])


def _parts(result: Any, *, inner: bool = False) -> Iterator[str]:
    for field in dataclasses.fields(result):
        if field.repr:
            yield f"{field.name}={_told(getattr(result, field.name, None), inner=inner)}"


def _part(result: Any) -> str:
    """A result within another: its first field, and those behind it that fit."""
    chosen: list[str] = []
    for part in _parts(result, inner=True):
        if chosen and sum(map(len, chosen)) + len(part) > _TEXT // 2:
            chosen.append("…")
            break
        chosen.append(part)
    return f"{type(result).__name__}({', '.join(chosen)})"


def _told(value: Any, *, inner: bool = False) -> str:
    """A value in a few words; a result within a result by its first fields, one within that by its name."""
    if value is None or isinstance(value, bool | int):
        return repr(value)
    if isinstance(value, float):
        text = f"{value:.6g}"
        return f"{text}.0" if text.removeprefix("-").isdecimal() else text
    if isinstance(value, str):
        return repr(_cut(value, _TEXT))
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return _array(value)
    name = type(value).__name__
    if dataclasses.is_dataclass(value):
        return f"{name}(…)" if inner else _part(value)
    if isinstance(value, Mapping | Collection):
        return f"{name} of {len(value)}" if inner else _collection(value)
    if isinstance(value, type) or callable(value):
        return str(getattr(value, "__qualname__", name))
    said = repr(value)
    return said if len(said) <= _TEXT and "\n" not in said else f"{name}(…)"


def _collection(values: Mapping[Any, Any] | Collection[Any]) -> str:
    """The first entries, and how many there are where these are not all."""
    if isinstance(values, Mapping):
        told = [f"{_told(key, inner=True)}: {_told(value, inner=True)}" for key, value in _first(values.items())]
    else:
        told = [_told(value, inner=True) for value in _first(values)]
    rest = [] if len(values) <= _SHORT else [f"… {len(values)} in all"]
    opening, closing = "{}" if isinstance(values, Mapping | set | frozenset) else "()" if isinstance(values, tuple) else "[]"
    return f"{opening}{', '.join([*told, *rest])}{closing}"


def _first(values: Collection[Any]) -> Iterator[Any]:
    return (value for value, _ in zip(values, range(_SHORT), strict=False))


def _array(values: Any) -> str:
    """`float64 (30, 97) -0.12 to 4.8`; a few numbers as they are."""
    kind, shape = str(values.dtype).removeprefix("torch."), tuple(values.shape)
    size = math.prod(shape)
    try:
        if size <= _SHORT and len(shape) <= 1:
            return f"{kind} {_numbers(values.tolist())}"
        flat = values[values == values]  # without NaN
        least, most = float(flat.min()), float(flat.max())
    except (TypeError, ValueError, RuntimeError, IndexError, NotImplementedError):  # no numbers, or none that are there
        return f"{kind} {shape}"
    return f"{kind} {shape} {least:.4g} to {most:.4g}"


def _numbers(values: Any) -> str:
    if isinstance(values, list):
        return f"[{', '.join(map(_numbers, values))}]"
    return f"{values:.5g}" if isinstance(values, float) else _cut(str(values), _TEXT)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
