"""What the report of branches shows: the bifurcation diagram, what changes along each branch, and its events."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from orograph.analysis.command import FILE
from orograph.commands.branch_analysis import found_before
from orograph.report.about import about
from orograph.report.shapes import BranchAnalysis, require
from orograph.store.branch import Course, courses
from orograph.store.lookup import described, in_order, tables_of
from orograph.store.run import Run

_SHOWN = ("strength", "order_parameter", "train_loss", "objective", "arclength", "products")


def atlas_data(run: Run, atlas: Mapping[str, Any]) -> dict[str, Any]:
    """All that the page of an atlas is made of: its branches, and the graph that joins them."""
    known = [
        {**branch, "name": f"{each['run']}/{branch['name']}", "points": list(map(_plain, branch["points"]))}
        for each in atlas["branches"]
        for branch in each["branches"]
    ]
    for branch in known:
        branch["points"] = [{"point": number, **point} for number, point in enumerate(branch["points"])]
        branch["events"] = list(map(_plain, branch["events"]))
    graph = {name: atlas[name] for name in ("nodes", "edges", "maxwell", "barriers", "lost_classes", "ladders")}
    title = f"{run.path.resolve().name}: an atlas of critical points"
    return {**_page(run, known), "kind": "branch", "title": title, "atlas": graph}


def branch_data(run: Run) -> dict[str, Any]:
    """All that the page of branches is made of."""
    title = f"{run.path.resolve().name}: branches of critical points"
    known = [_course(each) for each in courses(run).values()]
    return {**_page(run, known), "kind": run.kind, "title": title, "analysis": _analysis(run, known)}


def _analysis(run: Run, known: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """What `orograph analyze` found; `grown` names the branches that have gone on since."""
    if (found := found_before(run)) is None:
        return None
    shown = require(BranchAnalysis, found, run.path / FILE, f"orograph analyze {run.path}")
    counts = {each["name"]: each["points"] for each in shown["branches"]}
    grown = [each["name"] for each in known if len(each["points"]) != counts.get(each["name"])]
    return {name: shown[name] for name in ("stretches", "maxwell", "lost_classes", "branches")} | {"grown": grown}


def _page(run: Run, branches: list[dict[str, Any]]) -> dict[str, Any]:
    names = in_order({name for each in branches for point in each["points"] for name in point} - {"point"})
    events = in_order({name for each in branches for event in each["events"] for name in event})
    metrics = [name for name in names if name.startswith(("test_", "train_", "class_", "group_")) and name not in _SHOWN]
    return {
        "about": about(run),
        "branches": branches,
        "metrics": metrics,
        "classes": list(run.classes),
        "names": names,
        "tables": {"branch": _columns(run, "branch", names), "events": _columns(run, "events", events)},
        "quantities": described([*names, *events, "branch_name", "point", "event_kind", "ended", "stretch", "work"], run.wording),
    }


def _columns(run: Run, table: str, known: Iterable[str]) -> list[str]:
    """Those of a table that some row has a value in."""
    columns = tables_of([each["name"] for each in run.metrics if not run.is_list(each["name"])])[table]
    return [name for name in columns if name in {"branch_name", "point", *known}]


def _course(course: Course) -> dict[str, Any]:
    return {
        "name": course.name,
        "points": [{"point": number, **_plain(each.scalars)} for number, each in enumerate(course.points)],
        "events": [_plain(each.scalars) for each in course.events],
        "ended": course.ended,
    }


def _plain(scalars: Any) -> dict[str, Any]:
    """Numbers that are none are left out: JSON has no word for them."""
    return {name: value for name, value in scalars.items() if not (isinstance(value, float) and math.isnan(value))}
