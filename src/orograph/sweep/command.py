"""The λ-sweep: train at every strength, measure the converged point, commit it; resumable at any moment."""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from orograph.errors import ConfigurationError, shown
from orograph.memory import format_bytes
from orograph.problem import Problem
from orograph.remarks import answer
from orograph.settings.base import folder_name
from orograph.settings.shared import ParallelExecution
from orograph.store.atomic import require_space, require_writable
from orograph.store.cells import EMPTY_PLAN, Cell
from orograph.store.encoding import json_text
from orograph.store.provenance import mixture, provenance
from orograph.store.resume import begun_run, recorded_settings, settled_numerics
from orograph.store.run import Run
from orograph.sweep.bench import Bench, disk_of
from orograph.sweep.cost import rough_plan, show_plan
from orograph.sweep.history import grouped, origins, planned, stages, with_asked
from orograph.sweep.pairs import good
from orograph.sweep.placing import place
from orograph.sweep.plan import cells
from orograph.sweep.progress import describe
from orograph.sweep.record import commit_point, committed_state, require_recorded_loss, require_same, row
from orograph.sweep.schedule import PointWork, Schedule
from orograph.sweep.settings import SweepCommand, SweepSettings
from orograph.sweep.stages import SweepContext, title
from orograph.sweep.states import State
from orograph.sweep.surroundings import saved_in
from orograph.sweep.tables import sweep_table
from orograph.work.behind import Behind
from orograph.work.definition import definition
from orograph.work.pools import Workers, start_workers
from orograph.work.problems import as_begun, packed_problem
from orograph.work.progress import Show, WorkProgress
from orograph.work.wide import show_table


def sweep_command(command: SweepCommand) -> int:
    """The command, as the command line gives it."""
    return sweep(SweepSettings.model_validate(command.model_dump(exclude={"execution"})), command.execution)


def sweep(
    settings: SweepSettings,
    execution: ParallelExecution,
    problem: Problem | None = None,
    show: Show = "terminal",
    *,
    grown: bool = False,
    again: Collection[Cell] = (),
) -> int:
    """Checks everything first, then works until every point is committed. Returns the exit code: 1 where a point failed, of those
    that are made again where there are such.

    Args:
        settings: of the sweep.
        execution: how this process does it.
        problem: with names, in place of what the settings name.
        show: where progress is told; `terminal` has the tables too.
        grown: whether the run may hold less than the settings say, and grows to that.
        again: committed points that are taken out and made again.

    Raises:
        OrographError: anything that the user can mend; nothing has been written then.
    """
    console = Console(stderr=execution.json_output)
    out = folder_of(settings, execution)
    if not execution.dry_run:
        require_writable(out)
    EMPTY_PLAN.extended(cells(settings))  # strengths that no name can tell apart are refused before anything is computed
    asked = settings.numerics.model_dump()
    old = begun_run(out, "sweep")
    if old is None:
        refuse_decay(settings)
        settings.model.require_taken()
    settings = settings.model_copy(update={"numerics": settled_numerics(old, settings.numerics, execution)})
    if old is not None:
        settings = as_begun_before(settings, old)
    history: Sequence[Mapping[str, Any]] = () if old is None else old.history
    if old is not None and grown:
        history = with_asked(history, recorded_settings(old, SweepSettings), settings)

    def lacking(cell: Cell) -> bool:
        return old is None or cell not in old.records or cell in again

    if execution.dry_run and problem is None and not (grown or again) and rough_plan(settings, execution, out, Console()):
        return 0
    begun = as_begun(settings.problem, old.configuration if old else None)
    missing = sum(map(lacking, cells(settings)))

    def room(parameters: int) -> None:
        if not execution.dry_run:
            require_space(out, disk_of(settings, parameters).per_point * missing)

    bench = Bench.prepare(settings.model_copy(update={"problem": begun}), execution, problem, room, partial(saved_in, old))
    if old is None:
        bench.settings = bench.ended()
    settings = bench.settings
    if old is not None and (grown or again):  # before anything of it is changed
        if problem is not None:
            require_same(old, recorded_settings(old, SweepSettings), bench)
        require_recorded_loss(bench, old)
    if execution.dry_run:
        show_plan(bench, out, Console(), missing if grown or again else None, as_json=execution.json_output)
        return 0
    if settings.ladder.unplaced:
        bench.settings = settings = place(
            bench, WorkProgress("strengths", settings.ladder.points, quiet=execution.quiet, show=show)
        )
    asked_for = stages(settings, history)
    todo = planned(asked_for)
    pending = list(filter(lacking, todo))
    disk = bench.disk()

    def context() -> SweepContext:
        return SweepContext(settings, execution.data_dir, bench.anchor, sent, bench.around)

    sent = packed_problem(problem) if execution.parallel != "none" else None
    told_all = show == "terminal" and not execution.quiet
    progress = WorkProgress("points", len(todo), quiet=execution.quiet, show=show)
    progress.passed(len(todo) - len(pending), len(todo) - len(pending))
    with ExitStack() as until:
        workers = start_workers(
            bench, SweepContext, context, execution, progress.say
        )  # before anything is written: a cluster may not answer
        until.callback(workers.close)
        run = Run.create(
            out,
            kind="sweep",
            configuration=settings.configuration(),
            numerics=settings.numerics.model_dump(),
            asked=asked,
            defaults=settings.left_out(),
            provenance=provenance(bench.device),
            cells=todo,
            classes=bench.instruments.names,
            metrics=bench.instruments.metrics,
            tensors=dict(zip(bench.layout.names, bench.layout.shapes, strict=True)),
            defined_by=lambda: definition(settings, bench.problem, {"": bench.instruments.train}),
            history=history,
            grows=grown,
        )
        with run:
            if told_all:
                counts = f"{len(todo)} points, {progress.done} done, {format_bytes(disk.total)} when finished"
                console.print(Text.assemble((shown(out), "bold"), f": {counts}"), highlight=False)
            bench.settle(run)
            require_recorded_loss(bench, run)
            for cell in again:
                run.forget(cell)
            continues = settings.anchor.start == "previous"
            with progress, Behind() as behind:
                behind.do(_drawing)
                for stage, groups in zip(asked_for, grouped(asked_for), strict=True):
                    before = origins(stage, {cell for group in groups for cell in group}, partial(good, run))
                    run_groups(bench, run, groups, workers, progress, starts=before if continues else {}, before=before)
            until.close()  # a cluster ends while the picture is drawn
            pictures = _drawing()(run, settings, bench.instruments.train.count)
            rows, score = [row(run, cell) for cell in todo], run.score
            made = [row(run, cell) for cell in pending] if again else rows
            told = mixture(run)
    if execution.json_output:
        answer(json_text({"run": str(out), "points": rows}))
    elif told_all:
        show_table(sweep_table(made, score), console, keys=2)
        files, picture = shown(run.path / "test_data"), shown(pictures[0])
        console.print(Text.assemble("files in ", (files, "bold"), ", picture ", (picture, "bold")), highlight=False)
        if told:
            console.print(told, highlight=False, markup=False)
    return 1 if any(each["status"] == "failed" for each in made) else 0


def _drawing() -> Callable[[Run, SweepSettings, int], list[Path]]:
    """What draws the picture; imported while the first network trains, since it takes a second, and never for a plan."""
    from orograph.sweep.pictures import draw

    return draw


def as_begun_before(settings: SweepSettings, old: Run) -> SweepSettings:
    """With what a run settled when it was begun: the end of its points, and the strengths that it found."""
    ladder, ending = (found if isinstance(found := old.configuration.get(name), Mapping) else {} for name in ("ladder", "ending"))
    end = ending.get("end", "auto")  # where none is recorded points are trained
    if settings.ending.end == "auto" or (settings.ending.end, end) == ("train", "auto"):
        settings = settings.ending_as(end)
    if settings.ladder.unplaced and ladder.get("spacing") == "adaptive":
        settings = settings.model_copy(update={"ladder": settings.ladder.placed(ladder.get("strengths"))})
    return settings


def folder_of(settings: SweepSettings, execution: ParallelExecution) -> Path:
    """Where the run is written."""
    return Path(execution.out or f"runs/{folder_name(settings.data.dataset)}-{settings.digest()}")


def refuse_decay(settings: SweepSettings) -> None:
    """A sweep is of L_eff, whose minima, patience and F(λ) know nothing of what an optimiser adds to it.

    Raises:
        ConfigurationError: the optimiser has a weight decay of its own.
    """
    decay = settings.training.weight_decay
    if decay:
        raise ConfigurationError(
            f"`weight_decay` {decay:g} is minimised beside L_eff and belongs to none of its numbers: patience, F(λ) and critical "
            f"points would be those of another function; around the origin raise the strengths by {decay / 2:g} instead (λ‖θ‖² "
            "has no factor ½), or leave it out."
        )


def run_groups(
    bench: Bench,
    run: Run,
    groups: Sequence[Sequence[Cell]],
    workers: Workers,
    progress: WorkProgress,
    *,
    starts: Mapping[Cell, Cell],
    before: Mapping[Cell, Cell],
) -> None:
    """Every group of points that is not committed yet, trained, measured and committed.

    Args:
        bench, run: where.
        groups: of points, in the order of work.
        workers: who works.
        progress: told of each point.
        starts: committed points at which some begin, in place of the one before them.
        before: committed points that stand before some on their chain.
    """

    def state_of(cell: Cell) -> State | None:
        behind.wait()
        return committed_state(bench, run, cell)

    def commit(point: PointWork, neighbour: State | None) -> None:
        def written(write: Callable[[], Any]) -> None:
            write()
            found = row(run, cell)
            progress.completed(title(cell), describe(found, run.score), failed=found["status"] == "failed")

        cell = point.cell
        commit_point(bench, run, point, neighbour, lambda write: behind.do(partial(written, write)))

    known = run.records.__contains__
    with Behind() as behind:
        Schedule(bench, groups, known=known, state_of=state_of, commit=commit, starts=starts, before=before).run(workers)
