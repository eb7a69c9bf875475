"""The command `orograph follow`: a branch of critical points through folds, and those that leave it; resumable at any moment."""

from contextlib import ExitStack
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from rich.text import Text

from orograph.branches.bench import FollowBench
from orograph.branches.cost import show_plan
from orograph.branches.schedule import Schedule
from orograph.branches.settings import FollowCommand, FollowSettings
from orograph.branches.stages import FollowContext, both_ways
from orograph.errors import shown
from orograph.figures.courses import bifurcations
from orograph.figures.style import save
from orograph.memory import format_bytes
from orograph.problem import Problem
from orograph.remarks import answer
from orograph.settings.base import BEGINS_AT, folder_name
from orograph.settings.shared import ParallelExecution
from orograph.store.atomic import require_space, require_writable
from orograph.store.branch import BRANCH, courses, open_branch, point_key
from orograph.store.encoding import json_text
from orograph.store.lookup import quantity
from orograph.store.provenance import provenance
from orograph.store.resume import begun_run, settled_numerics
from orograph.store.run import Run
from orograph.work.pools import start_workers
from orograph.work.problems import packed_problem
from orograph.work.progress import Show, WorkProgress
from orograph.work.wide import show_table

PICTURE = "branches"


def follow_command(command: FollowCommand) -> int:
    """The command, as the command line gives it."""
    return follow_branches(FollowSettings.model_validate(command.model_dump(exclude={"execution"})), command.execution)


def follow_branches(
    settings: FollowSettings, execution: ParallelExecution, problem: Problem | None = None, show: Show = "terminal"
) -> int:
    """Checks everything first, then works until every branch has ended. Returns the exit code.

    Args:
        settings: of the run.
        execution: how this process does it.
        problem: with names, in place of what the settings name.
        show: where progress is told; `terminal` has the tables too.

    Raises:
        OrographError: anything that the user can mend; nothing has been written then.
    """
    console = Console(stderr=execution.json_output)
    out = folder_of(settings, execution)
    if not execution.dry_run:
        require_writable(out)
    asked = settings.numerics.model_dump()
    old = begun_run(out, BRANCH)
    if old is None:
        settings.model.require_taken()
    settings = settings.model_copy(update={"numerics": settled_numerics(old, settings.numerics, execution)})
    width = (2 + settings.branch.pairs) * getattr(torch, settings.numerics.dtype).itemsize  # bytes of a point and parameter

    def room(parameters: int) -> None:
        if not execution.dry_run:
            require_space(out, width * parameters * settings.branch.points)

    bench = FollowBench.prepare(settings, execution, problem, room)
    settings, layout = bench.settings, bench.instruments.train.layout
    per_point = width * layout.size
    if execution.dry_run:
        show_plan(bench, out, per_point, Console(), as_json=execution.json_output)
        return 0
    ways = 2 if settings.branch.direction == "both" else 1
    progress = WorkProgress("points", ways * settings.branch.points, quiet=execution.quiet, show=show)
    names = ("up", "down") if settings.branch.direction == "both" else (settings.branch.direction,)
    begun = old is not None and all(point_key(name, 0) in old.findings for name in names)
    with progress:
        first = {} if begun else both_ways(bench, progress.say)
    sent = packed_problem(problem) if execution.parallel != "none" else None
    told_all = show == "terminal" and not execution.quiet
    with ExitStack() as until:
        workers = start_workers(
            bench, FollowContext, lambda: FollowContext(settings, execution.data_dir, sent), execution, progress.say
        )  # before anything is written: a cluster may not answer
        until.callback(workers.close)
        run = Run.create(
            out,
            kind=BRANCH,
            configuration={**settings.configuration(), BEGINS_AT: bench.digest},
            numerics=settings.numerics.model_dump(),
            asked=asked,
            provenance=provenance(bench.device),
            classes=bench.instruments.names,
            metrics=bench.instruments.metrics,
            tensors=dict(zip(layout.names, layout.shapes, strict=True)),
        )
        with run:
            if told_all and not execution.json_output:
                text = f": up to {settings.branch.points} points a branch, {format_bytes(per_point)} each"
                console.print(Text.assemble((shown(out), "bold"), text), highlight=False)
            known = sum(len(course.points) for course in courses(run).values())
            progress.passed(known, known)
            schedule = Schedule(run, settings, progress)
            with progress:
                for name, found in first.items():
                    schedule.point(name, 0, found)
                schedule.run(workers)
            until.close()
            picture, _ = save(bifurcations(open_branch(run)), run.path / "figures" / PICTURE)
    if execution.json_output:
        answer(json_text({"run": str(out), "branches": plain(run)}))
    elif told_all:
        _print(run, console)
        console.print(Text.assemble("picture ", (shown(picture), "bold"), "; orograph report shows all"), highlight=False)
    return 0


def folder_of(settings: FollowSettings, execution: ParallelExecution) -> Path:
    """Where the run is written."""
    if execution.out:
        return Path(execution.out)
    source = Path(settings.run)
    return Path("runs") / f"{folder_name(source.resolve().name if source.is_dir() else source.stem)}-branches"


def plain(run: Run) -> list[dict[str, object]]:
    """Every branch with its events, as plain values."""
    return [
        {
            "name": course.name,
            "points": len(course.points),
            "first_strength": course.points[0].scalars["strength"],
            "last_strength": course.points[-1].scalars["strength"],
            "events": [dict(each.scalars) for each in course.events],
            "ended": course.ended,
        }
        for course in courses(run).values()
    ]


def _print(run: Run, console: Console) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    columns = {"strength": "{:.8g}", "order_parameter": "{:.6g}", "objective": "{:.6g}", "event_eigenvalue": "{:.1e}"}
    for name in ("branch", "what", *(quantity(name).heading for name in columns), "kernel"):
        table.add_column(name, overflow="fold")
    for course in courses(run).values():
        for label, each in (("begins", course.points[0]), *((e.scalars["event_kind"], e) for e in course.events)):
            told = [text.format(each.scalars[name]) if name in each.scalars else "" for name, text in columns.items()]
            table.add_row(course.name, label, *told, f"{each.scalars.get('kernel_size', '')}")
        last = [
            text.format(course.points[-1].scalars[name]) if name in course.points[-1].scalars else ""
            for name, text in columns.items()
        ]
        table.add_row(course.name, "ends", *last, "")
    show_table(table, console, keys=2)
    for course in courses(run).values():
        console.print(
            f"{course.name}: {len(course.points)} points, {course.points[-1].scalars['products']:,} products; {course.ended}",
            highlight=False,
            markup=False,
        )
