"""What was run and on what, in words that every report begins with."""

from collections.abc import Mapping
from typing import Any

from orograph.sources import MEMORY
from orograph.store.provenance import mixture
from orograph.store.run import Run
from orograph.store.wording import stated

Fact = tuple[str, str]
_SPACED = ("points", "min", "max", "spacing")


def about(run: Run) -> list[dict[str, Any]]:
    """Settings, numerics, versions and hardware: sections of facts, those of the run first."""
    sections = [{"name": name, "facts": _facts(_chosen(values))} for name, values in _tables(stated(run.configuration))]
    sections.append({"name": "numerics", "facts": _facts(run.numerics)})
    sections += [{"name": name, "facts": _facts(values)} for name, values in _tables(run.provenance)]
    if told := mixture(run):
        sections.append({"name": "mixture", "facts": [("points", told)]})
    return [section for section in sections if section["facts"]]


def _tables(values: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """Mappings within a mapping by name, and what is not in any as one of its own."""
    inner = [(name, value) for name, value in values.items() if isinstance(value, Mapping)]
    rest = {name: value for name, value in values.items() if not isinstance(value, Mapping)}
    return [("run", rest), *inner]


def _chosen(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """Without what an explicit list of strengths stands in place of."""
    given = values.get("strengths") and values.get("spacing") != "adaptive"
    return {name: value for name, value in values.items() if not (given and name in _SPACED)}


def _facts(values: Mapping[str, Any]) -> list[Fact]:
    return [(name.replace("_", " "), _text(value)) for name, value in values.items()]


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_text(item)}" for name, item in value.items()) or "–"
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value)) or "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return named(value) or "–"
    return "–" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def named(part: str) -> str:
    """What a part of a problem is called, for a reader: an object in memory by its own name."""
    return f"{part.removeprefix(MEMORY)} (in memory)" if part.startswith(MEMORY) else part
