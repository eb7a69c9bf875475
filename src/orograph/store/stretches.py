"""Stretches of branches: critical points of one index between two events, along which λ goes one way.

F = L_eff is known at the points with its slope dF/dλ = q exactly, so that between them it is a cubic of error h⁴.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from scipy.interpolate import CubicHermiteSpline

from orograph.store.branch import DIVIDING, Course, courses, event_key, point_key
from orograph.store.findings import Finding
from orograph.store.run import Run

_LOOKS = 33  # places at which a gap is looked at between two roots
INDEX = "objective_negative_eigenvalues"


@dataclass(frozen=True, eq=False)
class Stretch:
    """Critical points of one index between two events.

    Attributes:
        path: directory of the run of the branch.
        course: the branch.
        number: among the stretches of its branch, from 0.
        points: at least one, in the order of the branch.
        begins: the event before it, None at the start of the branch.
        ends: the event behind it, None at the end of the branch.
    """

    path: Path
    course: Course
    number: int
    points: tuple[Finding, ...]
    begins: Finding | None
    ends: Finding | None

    @property
    def name(self) -> str:
        """Unique in an atlas."""
        return f"{self.path.resolve().name}/{self.course.name}/{self.number}"

    @property
    def index(self) -> int | None:
        """How many directions go down; None where it was not asked for."""
        found = self.points[0].scalars.get(INDEX)
        return None if found is None else int(found)

    @cached_property
    def corners(self) -> tuple[dict[str, Any], ...]:
        """Its points with the events at its ends, by λ ascending; where there are several at one λ, one of them."""
        found = [dict(each.scalars) for each in (self.begins, *self.points, self.ends) if each is not None]
        by_strength = {each["strength"]: each for each in found}
        return tuple(by_strength[strength] for strength in sorted(by_strength))

    @property
    def low(self) -> float:
        """The smallest λ."""
        return float(self.corners[0]["strength"])

    @property
    def high(self) -> float:
        """The largest λ."""
        return float(self.corners[-1]["strength"])

    @cached_property
    def energy(self) -> CubicHermiteSpline | None:
        """L_eff as a function of λ; None of a single point."""
        if len(self.corners) < 2:
            return None
        strengths, energies, slopes = (
            np.array([each[name] for each in self.corners]) for name in ("strength", "objective", "order_parameter")
        )
        return CubicHermiteSpline(strengths, energies, slopes)

    @cached_property
    def error(self) -> float:
        """How far L_eff may be off between the corners: a sixteenth (h⁴) of what half of them are off by at the others."""
        rounding = 1e-10 * max(abs(float(each["objective"])) for each in self.corners)
        if self.energy is None or len(self.corners) < 5:
            return rounding
        coarse = CubicHermiteSpline(self.energy.x[::2], self.energy(self.energy.x[::2]), self.energy(self.energy.x[::2], 1))
        inside = self.energy.x[1:-1:2]
        return rounding + float(np.abs(coarse(inside) - self.energy(inside)).max()) / 16

    def covers(self, strength: float) -> bool:
        """Whether it reaches so far."""
        return self.low <= strength <= self.high

    def at(self, strength: float) -> tuple[float, float]:
        """L and q at a λ that it covers: q is the slope of L_eff, and L = L_eff − λq."""
        if self.energy is None:
            return float(self.points[0].scalars["train_loss"]), float(self.corners[0]["order_parameter"])
        energy, slope = float(self.energy(strength)), float(self.energy(strength, 1))
        return energy - strength * slope, slope


def stretches(run: Run) -> list[Stretch]:
    """Those of all branches of a run."""
    return [each for course in courses(run).values() for each in divided(run.path, course)]


def stretches_told(atlas: Mapping[str, Any]) -> list[Stretch]:
    """Those of all branches that an atlas tells of, as its file has it: without vectors."""
    found = []
    for each in atlas["branches"]:
        for branch in each["branches"]:
            course = course_told(str(branch["name"]), branch["points"], branch["events"], str(branch["ended"]))
            found += divided(Path(each["run"]), course)
    return found


def course_told(name: str, points: Sequence[Mapping[str, Any]], events: Sequence[Mapping[str, Any]], ended: str = "") -> Course:
    """A branch of which only the numbers of its points and events are at hand."""
    return Course(
        name,
        tuple(Finding(point_key(name, i), "done", dict(each), {}) for i, each in enumerate(points)),
        tuple(Finding(event_key(name, i), "done", dict(each), {}) for i, each in enumerate(events)),
        ended,
    )


def divided(path: Path, course: Course) -> list[Stretch]:
    """Those of one branch of the run in a directory."""
    dividing = [event for event in course.events if event.scalars["event_kind"] in DIVIDING]
    found: list[Stretch] = []
    first, before = 0, None
    for event in [*dividing, None]:
        last = len(course.points) if event is None else int(event.scalars["after"]) + 1
        points = course.points[first:last]
        end = event if event is not None else _end(course)
        if points:
            found.append(Stretch(path, course, len(found), points, before, end))
        first, before = max(first, last), event
    return found


def _end(course: Course) -> Finding | None:
    """The event in which a branch ends, if θ reaches θ_ref."""
    return next((event for event in course.events if event.scalars["event_kind"] == "end"), None)


def crossings(one: Stretch, other: Stretch) -> list[float]:
    """Every λ at which two stretches pass equal L_eff, on both sides of which they differ by more than they are known to.

    So copies of one branch, of its symmetry, are equally deep nowhere for being so everywhere.
    """
    low, high = max(one.low, other.low), min(one.high, other.high)
    if one.energy is None or other.energy is None or not low < high:
        return []
    knots = np.unique(np.concatenate([[low, high], one.energy.x, other.energy.x]))
    knots = knots[(knots >= low) & (knots <= high)]
    gap = CubicHermiteSpline(knots, one.energy(knots) - other.energy(knots), one.energy(knots, 1) - other.energy(knots, 1))
    inside: Sequence[float] = [float(root) for root in gap.roots(extrapolate=False) if np.isfinite(root)]
    inside = _clear(gap, sorted(inside), (low, high), one.error + other.error)
    # Stretches that meet in an event have equal L_eff there, which is no Maxwell point.
    ends = [float(each.scalars["strength"]) for each in (one.begins, one.ends, other.begins, other.ends) if each is not None]
    return [root for root in inside if all(abs(root - end) > 1e-6 * max(abs(end), 1e-12) for end in ends)]


def _clear(gap: CubicHermiteSpline, roots: Sequence[float], ends: tuple[float, float], error: float) -> list[float]:
    """The roots between which and their neighbours a gap rises above the error."""
    places = [ends[0], *roots, ends[1]]
    told = [bool(np.abs(gap(np.linspace(first, second, _LOOKS))).max() > error) for first, second in itertools.pairwise(places)]
    return [root for number, root in enumerate(roots) if told[number] and told[number + 1]]


def lost_classes(stretch: Stretch, classes: Sequence[str]) -> list[tuple[str, float]]:
    """Each class whose test accuracy falls through a half along a stretch as λ grows, and where."""
    found = []
    known = [each for each in stretch.corners if isinstance(each.get("class_accuracy"), list)]
    for number, name in enumerate(classes):
        for lower, upper in itertools.pairwise(known):
            first, second = (each["class_accuracy"][number] for each in (lower, upper))
            if first >= 50 > second:
                share = (first - 50) / (first - second)
                found.append((name, float(lower["strength"] + share * (upper["strength"] - lower["strength"]))))
    return found
