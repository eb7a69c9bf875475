"""Which step of which branch comes next: one of each branch that goes on, and what leaves the branch points as they are met.

Branches are independent of one another, so that several workers follow several; the next step of one waits for its last.
"""

from collections.abc import Mapping
from typing import Any

from orograph.branches.settings import FollowSettings
from orograph.branches.stages import Advanced
from orograph.store.branch import POINT, Course, courses, end_key, event_key, point_key, switch_key
from orograph.store.findings import Finding, FindingKey, Result
from orograph.store.lookup import quantity
from orograph.store.run import Run
from orograph.work.loop import Task, work_through
from orograph.work.pools import Workers
from orograph.work.progress import WorkProgress


class Schedule:
    """The branches of a run, followed step by step.

    Args:
        run: open for writing, its first points committed.
        settings: of the run.
        progress: told of each point.
    """

    def __init__(self, run: Run, settings: FollowSettings, progress: WorkProgress) -> None:
        self._run, self._settings, self._progress = run, settings, progress
        self._busy: set[str] = set()
        self._troubled = False

    def run(self, workers: Workers) -> None:
        """Work until every branch has ended."""
        work_through(workers, self._take, undone=self._stop)

    def _stop(self) -> None:
        self._troubled = True

    def _take(self) -> Task | None:
        if self._troubled:
            return None
        known = courses(self._run)
        for course in known.values():
            if course.name not in self._busy and not course.ended and (task := self._next(course)) is not None:
                return task
        for course in known.values():
            for event in course.events:
                if self._leads_on(course, event):
                    return self._leaving(course, event)
        return None

    def _next(self, course: Course) -> Task | None:
        number = len(course.points) - 1
        if len(course.points) >= self._settings.branch.points:
            self._end(course.name, f"{self._settings.branch.points} points were asked for")
            return None
        first, last = course.points[0], course.points[number]
        self._busy.add(course.name)

        def done(found: Advanced, seconds: float) -> None:
            self._busy.discard(course.name)
            for place, event in enumerate(found.events, 1 + sum(each.scalars["after"] < number for each in course.events)):
                self._commit(event_key(course.name, place), event)
            if found.point is not None:
                self.point(course.name, number + 1, found.point)
            if found.ended:
                self._end(course.name, found.ended)

        begun = (dict(first.scalars), first.arrays(self._run.path))
        return Task(
            "advance",
            (number, dict(last.scalars), last.arrays(self._run.path), begun),
            done,
            f"{course.name}, point {number + 1}",
        )

    def _leads_on(self, course: Course, event: Finding) -> bool:
        """Whether what leaves an event is still to be found."""
        key = switch_key(course.name, int(event.key.name))
        levels = course.name.count(".")
        wanted = (
            levels < self._settings.branch.switch and event.scalars["event_kind"] == "branch" and event.scalars["kernel_size"] > 0
        )
        return wanted and key not in self._run.findings and key.stem not in self._busy

    def _leaving(self, course: Course, event: Finding) -> Task:
        number = int(event.key.name)
        key = switch_key(course.name, number)
        self._busy.add(key.stem)

        def done(found: dict[str, Result], seconds: float) -> None:
            self._busy.discard(key.stem)
            names = {f"{course.name}.{number}{way}": first for way, first in found.items()}
            self._progress.more(len(names) * self._settings.branch.points, len(names) * self._settings.branch.points)
            for name, first in names.items():
                self.point(name, 0, first)
            self._commit(key, Result({"branches": ",".join(names)}))

        title = f"what leaves event {number} of {course.name}"
        after = int(event.scalars["after"])
        rates = [each.scalars["strength_rate"] for each in course.points[after : after + 2]]
        turns = len(rates) == 2 and rates[0] * rates[1] < 0  # λ turns: these are arms
        return Task("switch", ({**event.scalars, "turns": turns}, event.arrays(self._run.path)), done, title)

    def point(self, branch: str, number: int, found: Result) -> None:
        """Commits a point of a branch, unless it is there."""
        if self._commit(point_key(branch, number), found):
            self._progress.completed(f"{branch}, point {number}", in_words(found.scalars))

    def _end(self, branch: str, why: str) -> None:
        self._commit(end_key(branch), Result({"ended": why}))
        left = self._settings.branch.points - sum(key.kind == POINT and key.configuration == branch for key in self._run.findings)
        self._progress.more(-left, -left)

    def _commit(self, key: FindingKey, found: Result) -> bool:
        """Whether it was not there already: a step that was cut off between two of its findings is made again."""
        if key in self._run.findings:
            return False
        self._run.commit_finding(key, scalars=found.scalars, arrays=found.arrays)
        return True


def in_words(scalars: Mapping[str, Any]) -> str:
    """A point in half a line."""
    told = {"strength": "{:.6g}", "order_parameter": "{:.5g}", "train_loss": "{:.4g}"}
    parts = [f"{quantity(name).heading} {text.format(scalars[name])}" for name, text in told.items()]
    if "objective_negative_eigenvalues" in scalars:
        more = "+" if scalars["objective_negative_eigenvalues_lower_bound"] else ""
        parts.append(f"index {scalars['objective_negative_eigenvalues']:.0f}{more}")
    return ", ".join(parts)
