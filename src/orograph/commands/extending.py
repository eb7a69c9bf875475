"""The command `orograph extend`: further points of a sweep that is there, or more eigenpairs at all of its points.

Further points are made as those of the sweep were, each from the nearest point before it on its chain; what is there keeps its
bytes. More pairs are computed where the points stand. What was asked for, time after time, is the run's history.
"""

import math
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from orograph.analysis.command import FILE
from orograph.commands.checksums import FILE as SUMS
from orograph.commands.settings import ExtendSettings
from orograph.errors import ConfigurationError, RunError
from orograph.problem import Problem
from orograph.settings.shared import ParallelExecution
from orograph.store.atomic import require_space
from orograph.store.cells import Cell
from orograph.store.extension import begin, clear, complete, settle
from orograph.store.lock import RunLock
from orograph.store.marker import no_run, read_marker
from orograph.store.names import EXTENSION
from orograph.store.provenance import provenance
from orograph.store.resume import begun_run, recorded_settings, reopened
from orograph.store.run import Run
from orograph.store.settled import is_settled
from orograph.sweep.bench import Bench, disk_of
from orograph.sweep.command import sweep
from orograph.sweep.cost import show_pairs_plan
from orograph.sweep.history import grouped, stages, with_asked
from orograph.sweep.pairs import good, measure_again
from orograph.sweep.record import require_recorded_loss, require_same
from orograph.sweep.settings import LadderSettings, SweepSettings
from orograph.sweep.stages import SweepContext
from orograph.sweep.surroundings import saved_in
from orograph.work.pools import start_workers
from orograph.work.problems import chosen_parts, packed_problem
from orograph.work.progress import Show, WorkProgress


def extend_run(command: ExtendSettings, problem: Problem | None = None, show: Show = "terminal") -> int:
    """The command: checks everything first, then works until all is there. Returns 1 where a point failed.

    Args:
        command: what is added to which run.
        problem: with names, where that of the run was in memory.
        show: where progress is told; `terminal` has the tables too.

    Raises:
        OrographError: the run or what is asked for cannot be used; nothing has been written then.
    """
    path, execution = Path(command.run), command.execution.of(command.run)
    if command.run and not execution.dry_run:
        finish(path)
    old, begun = sweep_of(command.run, "extend", problem)
    wanted, k = grown(begun, command), pairs_wanted(old, begun, command)
    if k != begun.spectrum.k:
        wanted = more_pairs(old, begun, k, execution, problem, show)
        if execution.dry_run:
            return 0
    code = sweep(wanted, execution, problem, show, grown=True)
    if show == "terminal" and not (execution.quiet or execution.dry_run):
        console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
        for name, found, again in ((FILE, "what was found in it", "analyze"), (SUMS, "its card and checksums", "card")):
            if (path / name).exists():
                console.print(f"{found} before is brought up to date by: orograph {again} {path}")
    return code


def finish(path: Path) -> None:
    """Ends what a command was stopped at: an extension that is whole takes its place, and nothing is left of it.

    Raises:
        RunError: another process is writing to the run.
    """
    clear(path)
    if not is_settled(path):
        lock = RunLock(path)
        try:
            settle(path)
        finally:
            lock.release()


def sweep_of(run: str, command: str, problem: Problem | None) -> tuple[Run, SweepSettings]:
    """The sweep in a directory, whose training is known, and what it was begun with.

    Raises:
        ConfigurationError: no directory was named.
        RunError: it is no sweep of this program, or it is damaged.
    """
    if not run:
        raise ConfigurationError(f"{command} needs a run: the directory that a sweep wrote.")
    old = begun_run(Path(run), "sweep")
    if old is None:
        raise no_run(Path(run))
    if "imported" in old.provenance:
        raise RunError(
            f"{run} was imported, and how its points were trained is not known; {command} takes the run that they come from."
        )
    settings = recorded_settings(old, SweepSettings)
    if problem is not None:
        named = {
            "data": settings.data.model_copy(update={"dataset": problem.names["data"]}),
            "model": settings.model.model_copy(update={"model": problem.names["model"]}),
            "problem": chosen_parts(problem),
        }
        settings = settings.model_copy(update=named)
    return old, settings


def grown(begun: SweepSettings, command: ExtendSettings) -> SweepSettings:
    """The settings of a run with what is added to its points.

    Raises:
        ConfigurationError: what is added is none that a ladder may hold.
    """
    ladder, anchor = begun.ladder, begun.anchor
    if command.strengths:
        known = ladder.ladder()
        new = [each for each in command.strengths if not any(math.isclose(each, one, rel_tol=1e-9) for one in known)]
        ladder = LadderSettings.model_validate({**ladder.model_dump(), "strengths": _with(known, new)})
    if command.direction not in ("same", ladder.direction):
        ladder = ladder.model_copy(update={"direction": "both"})
    if command.seeds:
        anchor = type(anchor).model_validate({**anchor.model_dump(), "seeds": _with(anchor.seeds, command.seeds)})
    return SweepSettings.model_validate(begun.model_copy(update={"ladder": ladder, "anchor": anchor}).model_dump())


def _with(known: Any, more: Any) -> tuple[Any, ...]:
    """What is known, and behind it what is new."""
    return tuple(dict.fromkeys([*known, *more]))


def pairs_wanted(old: Run, begun: SweepSettings, command: ExtendSettings) -> int:
    """How many pairs every point is to have, with those that a stopped command was to give.

    Raises:
        OrographError: they are fewer than there are, or others than those of a stopped command.
    """
    inner = read_marker(old.path / EXTENSION)
    pending = None if inner is None else int(inner["configuration"]["spectrum"]["k"])
    finish = f"finish that first by: orograph extend {old.path} --k {pending}"
    if pending is not None and (command.strengths or command.seeds or command.direction != "same"):
        raise RunError(f"{old.path} is being given {pending} pairs; {finish}.")
    if pending is not None and command.k not in (0, pending):
        raise RunError(f"{old.path} is being given {pending} pairs, not {command.k}; {finish}, or delete {old.path / EXTENSION}.")
    known = begun.spectrum.k
    if 0 < command.k < known:
        raise ConfigurationError(f"`k` {command.k} is below the {known} pairs that {old.path} has; choose from those.")
    return pending or command.k or known


def same_network(run: Run, inner: Run, cell: Cell) -> bool:
    """Whether two runs of one plan hold the same weights of a point."""
    found = [
        {file: digest for file, digest in each.records[cell].files.items() if file.endswith(".pth")} for each in (run, inner)
    ]
    return found[0] == found[1]


def more_pairs(
    old: Run, begun: SweepSettings, k: int, execution: ParallelExecution, problem: Problem | None, show: Show
) -> SweepSettings:
    """Gives every point so many pairs; the same again goes on. Returns what the settings of the run are then.

    Raises:
        OrographError: the problem is not the one that the run was made of, there are not so many pairs, or no room.
    """
    wanted = begun.model_copy(update={"spectrum": begun.spectrum.model_copy(update={"k": k})})
    points = [cell for cell in old.records if good(old, cell)]

    def room(parameters: int) -> None:
        if not execution.dry_run:
            require_space(old.path, disk_of(wanted, parameters).per_point * len(points))

    bench = Bench.prepare(wanted, execution, problem, room, partial(saved_in, old))
    if problem is not None:
        require_same(old, recorded_settings(old, SweepSettings), bench)
    if execution.dry_run:
        show_pairs_plan(bench, old, len(points), Console(), as_json=execution.json_output)
        return wanted
    made_by, layout = provenance(bench.device), bench.layout
    configuration = {**old.configuration, "spectrum": {**old.configuration["spectrum"], "k": k}}
    sent = packed_problem(problem) if execution.parallel != "none" else None

    def context() -> SweepContext:
        return SweepContext(bench.settings, execution.data_dir, bench.anchor, sent, bench.around)

    progress = WorkProgress("points", len(points), quiet=execution.quiet, show=show)
    with reopened(old, made_by) as run:
        bench.settle(run)
        require_recorded_loss(bench, run)
        with Run.create(
            begin(run.path, run.plan),
            kind="sweep",
            configuration=configuration,
            numerics=bench.settings.numerics.model_dump(),
            provenance=made_by,
            classes=bench.instruments.names,
            metrics=bench.instruments.metrics,
            tensors=dict(zip(layout.names, layout.shapes, strict=True)),
        ) as inner:
            for cell in [cell for cell in inner.records if not same_network(run, inner, cell)]:
                inner.forget(cell)  # made again in the run since
            progress.passed(len(inner.records), len(inner.records))
            workers = start_workers(bench, SweepContext, context, execution, progress.say)
            groups = [group for groups in grouped(stages(bench.settings, run.history)) for group in groups]
            try:
                with progress:
                    measure_again(bench, run, inner, groups, workers, progress)
            finally:
                workers.close()
        complete(run.path, configuration, with_asked(run.history, begun, wanted))
        settle(run.path)
    return wanted
