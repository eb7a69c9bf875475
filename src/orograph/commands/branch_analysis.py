"""What `orograph analyze` finds of a run of branches: stretches, events, lost classes, equal depth, and F against ∫ q dλ.

Along a branch L_eff changes by dF = q dλ alone: what the points say of F is held against the integral of what they say of q, with
how far two rules for that integral differ beside it. Where two stretches of minima are equally deep is
found between their points; `orograph atlas` certifies it.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64
from rich.console import Console
from rich.table import Table

from orograph.analysis.command import FILE
from orograph.analysis.command import analyze as analyze_sweep
from orograph.analysis.settings import AnalyzeSettings
from orograph.continuation.envelope import FEWEST, work_again, work_along
from orograph.errors import ConfigurationError, RunError, shown
from orograph.problem import Problem
from orograph.remarks import answer
from orograph.store.analysis import of_another, of_run
from orograph.store.branch import BRANCH, Course, courses
from orograph.store.encoding import decode, json_text
from orograph.store.marker import has_marker
from orograph.store.resume import reopened
from orograph.store.run import Run
from orograph.store.stretches import Stretch, crossings, lost_classes, stretches
from orograph.work.progress import Show
from orograph.work.wide import show_table

_ANY = {"run", "quiet", "json_output", "dry_run", "data_dir"}  # settings that are of every kind of run


def analyze(settings: AnalyzeSettings, problem: Problem | None = None, show: Show = "terminal") -> int:
    """The command, of a sweep or of branches. Returns the exit code.

    Args:
        settings: of the analysis.
        problem: with names, that the run was made of.
        show: where progress is told; `terminal` has the summary too.

    Raises:
        OrographError: the run or an option cannot be used; nothing has been written then.
    """
    if not (settings.run and has_marker(Path(settings.run)) and (run := Run.open(settings.run)).kind == BRANCH):
        return analyze_sweep(settings, problem, show)
    usual = type(settings)()
    other = [name for name, value in settings if name not in _ANY and value != getattr(usual, name)]
    if other:
        raise ConfigurationError(f"`{other[0]}` is of the analysis of a sweep, and {run.path} holds branches; leave it out.")
    known = courses(run)
    if not known:
        raise RunError(f"no branch of {run.path} has a point yet; orograph follow goes on with it.")
    console = Console(stderr=settings.json_output)
    results = {**of_run(run), **found_of(run)}
    if settings.dry_run:
        points = sum(len(course.points) for course in known.values())
        if settings.json_output:
            answer(json_text({"run": str(run.path), "branches": len(known), "points": points, "products": 0}))
            return 0
        console.print(f"{len(known)} branches, {points} points, {len(results['stretches'])} stretches; no product is needed")
        return 0
    with reopened(run, run.provenance) as writing:
        writing.keep_results(FILE, results)
    if settings.json_output:
        answer(json_text(results))
    elif show == "terminal" and not settings.quiet:
        _print(results, console)
        console.print(f"numbers in {shown(run.path / FILE)}", highlight=False, markup=False)
    return 0


def found_of(run: Run) -> dict[str, Any]:
    """All that the points of a run of branches show, as plain values.

    Args:
        run: of branches.
    """
    known = stretches(run)
    minima = [each for each in known if each.index == 0]
    pairs = [(one, other) for number, one in enumerate(minima) for other in minima[number + 1 :]]
    return {
        "run": run.path.resolve().name,
        "branches": [_branch(each, [one for one in known if one.course.name == each.name]) for each in courses(run).values()],
        "stretches": [_stretch(each) for each in known],
        "maxwell": [
            {"one": _name(one), "other": _name(other), "strength": at} for one, other in pairs for at in crossings(one, other)
        ],
        "lost_classes": [
            {"stretch": _name(each), "class": name, "strength": at}
            for each in minima
            for name, at in lost_classes(each, run.classes)
        ],
    }


def found_before(run: Run) -> dict[str, Any] | None:
    """What `analyze` has written of a run of branches; None where it was not there yet.

    Args:
        run: of branches.

    Raises:
        RunError: the file is damaged, or of another run.
    """
    path = run.path / FILE
    if not path.is_file():
        return None
    if of_another(run, found := decode(path)):
        raise RunError(f"{path} was found in another run; have it made anew by: orograph analyze {run.path}.")
    return dict(found)


def _branch(course: Course, known: Sequence[Stretch]) -> dict[str, Any]:
    """What is found of a branch: of each of its points the stretch on which it lies, and ∫ q dλ from the first to it."""
    gained = _gained(course)
    return {
        "name": course.name,
        "points": len(course.points),
        "ended": course.ended,
        "events": [dict(each.scalars) for each in course.events],
        "envelope": None if gained is None else _envelope(course, gained),
        "stretch": [_name(each) for each in known for _ in each.points],
        "work": None if gained is None else gained.tolist(),
    }


def _gained(course: Course) -> Float64[np.ndarray, " n"] | None:
    if len(course.points) < FEWEST:
        return None
    return work_along(*_along(course, "arclength", "strength", "order_parameter"))


def _along(course: Course, *names: str) -> list[Float64[np.ndarray, " n"]]:
    return [np.array([each.scalars[name] for each in course.points]) for name in names]


def _envelope(course: Course, gained: Float64[np.ndarray, " n"]) -> dict[str, float]:
    """F at the points against F at the first and ∫ q dλ from there: the largest difference, how far two rules for the
    integral are apart, and how far F goes in all."""
    s, energy, strength, q, rate = _along(course, "arclength", "objective", "strength", "order_parameter", "strength_rate")
    return {
        "largest_difference": float(np.abs(energy - energy[0] - gained).max()),
        "integral_error": float(np.abs(gained - work_again(s, strength, q, rate)).max()),
        "range": float(np.ptp(energy)),
    }


def _stretch(stretch: Stretch) -> dict[str, Any]:
    low, high = stretch.corners[0], stretch.corners[-1]
    found: dict[str, Any] = {"name": _name(stretch), "index": stretch.index, "points": len(stretch.points)}
    for place, corner in (("low", low), ("high", high)):
        found[place] = {name: corner[name] for name in ("strength", "objective", "order_parameter")}
    for place, event in (("begins", stretch.begins), ("ends", stretch.ends)):
        found[place] = None if event is None else event.scalars["event_kind"]
    return found


def _name(stretch: Stretch) -> str:
    return f"{stretch.course.name}/{stretch.number}"


def _print(results: dict[str, Any], console: Console) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("stretch", "index", "points", "λ", "from", "to"):
        table.add_column(name, overflow="fold")
    for each in results["stretches"]:
        between = f"{each['low']['strength']:.7g} to {each['high']['strength']:.7g}"
        index = "not known" if each["index"] is None else str(each["index"])
        table.add_row(each["name"], index, str(each["points"]), between, each["begins"] or "the start", each["ends"] or "the end")
    show_table(table, console)
    for each in results["maxwell"]:
        console.print(f"{each['one']} and {each['other']} are equally deep at λ = {each['strength']:.7g}", highlight=False)
    for each in results["lost_classes"]:
        console.print(
            f"{each['stretch']} loses class {each['class']} at λ = {each['strength']:.5g}", highlight=False, markup=False
        )
    for each in results["branches"]:
        if (found := each["envelope"]) is not None:
            text = f"L_eff differs from ∫ q dλ by {found['largest_difference']:.2g} at most, of a range of {found['range']:.3g}"
            text += f"; two rules for that integral differ by {found['integral_error']:.2g} on these points"
            console.print(f"{each['name']}: {text}", highlight=False, markup=False)
