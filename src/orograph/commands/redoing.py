"""The command `orograph redo`: points of a sweep taken out and made again, and whether they are what they were."""

import math
from collections.abc import Mapping
from typing import Any

from rich.console import Console

from orograph.commands.extending import sweep_of
from orograph.commands.settings import RedoSettings
from orograph.errors import ConfigurationError
from orograph.problem import Problem
from orograph.store.cells import Cell
from orograph.store.encoding import encode
from orograph.store.records import Record
from orograph.store.resume import begun_run
from orograph.store.run import Run
from orograph.sweep.command import sweep
from orograph.sweep.history import planned, stages
from orograph.sweep.settings import SweepSettings
from orograph.sweep.stages import title
from orograph.work.progress import Show


def redo(command: RedoSettings, problem: Problem | None = None, show: Show = "terminal") -> int:
    """The command: checks everything first, then takes the points out and makes them. Returns 1 where a point failed.

    Args:
        command: which points of which run.
        problem: with names, where that of the run was in memory.
        show: where progress is told; `terminal` has the tables too.

    Raises:
        OrographError: the run cannot be used, or has no such points; nothing has been written then.
    """
    old, settings = sweep_of(command.run, "redo", problem)
    chosen = chosen_points(old, settings, command)
    execution = command.execution.of(command.run)
    console = Console(stderr=execution.json_output, highlight=False, markup=False, soft_wrap=True)
    telling = show == "terminal" and not execution.quiet
    if telling and execution.dry_run:
        console.print(f"   again  {'; '.join(map(title, chosen))}")
    code = sweep(settings, execution, problem, show, again=chosen)
    now = begun_run(old.path, "sweep")
    if telling and not execution.dry_run and now is not None:
        for cell in chosen:
            console.print(f"{title(cell)}: {compared(old.records[cell], now.records[cell])}")
    return code


def chosen_points(run: Run, settings: SweepSettings, command: RedoSettings) -> list[Cell]:
    """The recorded points that a command means, in the order of their slots.

    Raises:
        ConfigurationError: it names none, or one that is not there.
    """
    if not command.strengths:
        known = ", ".join(f"{strength:g}" for strength in sorted({cell.strength for cell in run.records})[:5])
        raise ConfigurationError(f"redo needs `strengths`: those of the points that are made again, as {known or 0}.")
    own = set(planned(stages(settings, run.history)))
    at = {each: [cell for cell in run.records if math.isclose(cell.strength, each, rel_tol=1e-9)] for each in command.strengths}
    for strength, there in at.items():
        if not there:
            near = sorted({cell.strength for cell in run.records}, key=lambda each: abs(each - strength))[:3]
            told = ", ".join(f"{each:g}" for each in sorted(near))
            raise ConfigurationError(f"`strengths` {strength:g} is of no recorded point of {run.path}; the nearest are {told}.")
    meant = set().union(*at.values())
    absent = next((seed for seed in command.seeds if seed not in {cell.seed for cell in meant}), None)
    if absent is not None:
        raise ConfigurationError(f"`seeds` {absent} is of no recorded point of {run.path} at these `strengths`.")
    found = [
        cell
        for cell in run.records
        if cell in meant and (not command.seeds or cell.seed in command.seeds) and command.direction in ("any", cell.direction)
    ]
    if not found:
        raise ConfigurationError(f"`direction` {command.direction} is of no recorded point of {run.path} at these `strengths`.")
    inserted = next((cell for cell in found if cell not in own), None)
    if inserted is not None:
        raise ConfigurationError(
            f"`strengths` {inserted.strength:g} is of a point that an analysis inserted; `orograph analyze --refine` makes those."
        )
    return found


def compared(before: Record, now: Record) -> str:
    """What a point is beside what it was, in half a line."""
    if (before.status, before.files) == (now.status, now.files) and encode(before.scalars) == encode(now.scalars):
        return "the same bytes as before"
    if before.status != now.status:
        return f"{now.status}, and was {before.status}"
    was, found = _numbers(before.scalars), _numbers(now.scalars)
    apart = {name: abs(found[name] - was[name]) / (abs(was[name]) or 1.0) for name in was.keys() & found.keys()}
    told = [
        f"{name} {found[name]:.7g} (was {was[name]:.7g})" for name in ("train_loss", "objective", "lambda_first") if name in apart
    ]
    return f"other bytes: {', '.join(told)}" if told else "other bytes"


def _numbers(scalars: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in scalars.items() if isinstance(value, int | float)}
