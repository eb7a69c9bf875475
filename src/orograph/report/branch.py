"""What the report of branches shows: the bifurcation diagram, what changes along each branch, and its events."""

import math
from typing import Any

from orograph.report.about import about
from orograph.store.branch import Course, courses
from orograph.store.lookup import TABLES, described, in_order
from orograph.store.run import Run

_SHOWN = ("strength", "order_parameter", "train_loss", "objective", "arclength", "products")


def branch_data(run: Run) -> dict[str, Any]:
    """All that the page of branches is made of."""
    known = list(courses(run).values())
    names = in_order({name for course in known for each in course.points for name in each.scalars})
    events = in_order({name for course in known for each in course.events for name in each.scalars})
    metrics = [name for name in names if name.startswith(("test_", "train_", "class_", "group_")) and name not in _SHOWN]
    return {
        "kind": run.kind,
        "title": f"{run.path.resolve().name}: branches of critical points",
        "about": about(run),
        "branches": [_course(course) for course in known],
        "metrics": metrics,
        "classes": list(run.classes),
        "names": names,
        "tables": {name: list(TABLES[name]) for name in ("branch", "events")},
        "quantities": described([*names, *events, "branch_name", "point", "event_kind", "ended"]),
    }


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
