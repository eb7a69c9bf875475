"""A run as rows of numbers and texts, one a point: what tables of every kind are made of."""

from collections.abc import Mapping, Sequence
from typing import Any

from orograph.commands.branch_analysis import found_before
from orograph.store.analysis import Analysis
from orograph.store.branch import BRANCH, Course, courses
from orograph.store.connection import CONNECTION, by_position
from orograph.store.escape import ESCAPE, cells
from orograph.store.findings import FindingKey
from orograph.store.lookup import quantity
from orograph.store.part import WHOLE, Part
from orograph.store.run import Run
from orograph.store.track import TRACK, moments

Row = dict[str, Any]


def table(run: Run, part: Part = WHOLE) -> list[Row]:
    """One row a point of the part, a measurement of a track, an event of a branch, a chain of an escape or a position of a curve:
    what identifies it, its status, and every number and text that was recorded or found there.

    Short lists become one column an entry, named for the class or numbered from 1.
    """
    if run.kind == TRACK:
        return [{"step": step, "status": each.status, **_flat(each.scalars, ())} for step, each in moments(run).items()]
    if run.kind == BRANCH:
        analysed = {each["name"]: each for each in (found_before(run) or {}).get("branches", [])}
        return [
            row
            for course in courses(run).values()
            for row in _along(course, run.classes, _by_point(course, analysed.get(course.name, {})))
        ]
    if run.kind == ESCAPE:
        chains = [(where, zip(*lists.values(), strict=True), [*lists]) for where, lists in cells(run)]
        return [
            {**where, "member": member, **dict(zip(names, each, strict=True))}
            for where, every, names in chains
            for member, each in enumerate(every)
        ]
    if run.kind == CONNECTION:
        return by_position(run)
    analysis = Analysis(run)
    kinds = dict.fromkeys(key.kind for key in run.findings)
    rows = []
    for cell, record in run.records.items():
        if not part.holds(cell):
            continue
        row: Row = {"configuration": cell.configuration} if run.kind == "study" else {}
        row |= {"seed": cell.seed}
        if run.kind == "sweep":
            row |= {"direction": cell.direction, "L2_strength": cell.strength}
        row |= {"status": record.status, **_flat(record.scalars, run.classes)}
        if run.kind == "study":
            found = run.findings.get(FindingKey("minimum", cell.configuration, str(cell.seed)))
            row |= _flat(found.scalars, run.classes) if found else {}
        else:
            for kind in kinds:
                row |= _flat(analysis.scalars(kind, cell), run.classes)
            if any(file.startswith("arrays.zarr/eigenvalue/") for file in record.files):
                values = run.array(cell, "eigenvalue").tolist()
                row |= {f"eigenvalue_{number}": value for number, value in enumerate(values, 1)}
        rows.append(row)
    return rows


def _along(course: Course, classes: Sequence[str], analysed: Sequence[Row]) -> list[Row]:
    """The points of a branch with what an analysis found of them, each followed by the events behind it."""
    rows = []
    for number, (point, found) in enumerate(zip(course.points, analysed, strict=True)):
        rows.append({"branch_name": course.name, "point": number, **_flat(point.scalars, classes), **found})
        behind = [each for each in course.events if each.scalars["after"] == number]
        rows += [{"branch_name": course.name, **_flat(each.scalars, classes)} for each in behind]
    return rows


def _by_point(course: Course, analysed: Mapping[str, Any]) -> list[Row]:
    """Of each point of a branch what an analysis found; nothing where the branch has gone on since."""
    known = {name: values for name in ("stretch", "work") if (values := analysed.get(name)) is not None}
    if any(len(values) != len(course.points) for values in known.values()):
        known = {}
    return [{name: values[number] for name, values in known.items()} for number in range(len(course.points))]


def _flat(scalars: Mapping[str, Any], classes: Sequence[str]) -> Row:
    row: Row = {}
    for name, value in scalars.items():
        if isinstance(value, list) and value and all(isinstance(item, int | float) for item in value):
            by_class = quantity(name).dims == ("class",) and len(value) == len(classes)
            labels = classes if by_class else range(1, len(value) + 1)
            row |= {f"{name}_{label}": item for label, item in zip(labels, value, strict=True)}
        elif isinstance(value, str | bool | int | float):
            row[name] = value
    return row


def columns(rows: Sequence[Row]) -> list[str]:
    """All names, in the order in which they first come."""
    return list(dict.fromkeys(name for row in rows for name in row))
