"""The command `orograph escape`: chains that leave a metastable state, and the law of their times; resumable at any moment."""

import math
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from orograph.errors import shown
from orograph.escapes.bench import EscapeBench
from orograph.escapes.cost import show_plan
from orograph.escapes.passages import run_cohort
from orograph.escapes.results import gather
from orograph.escapes.settings import EscapeCommand, EscapeSettings
from orograph.escapes.wells import measured_well, state_of
from orograph.figures.style import save
from orograph.figures.survivals import escapes as draw
from orograph.problem import Problem
from orograph.remarks import answer
from orograph.settings.base import BEGINS_AT
from orograph.settings.shared import Execution
from orograph.store.atomic import require_writable
from orograph.store.encoding import json_text
from orograph.store.escape import ESCAPE, ESCAPE_FILE, passages_key, well_key
from orograph.store.lookup import quantity
from orograph.store.provenance import provenance
from orograph.store.resume import begun_run, settled_numerics
from orograph.store.run import Run
from orograph.work.progress import Show, WorkProgress
from orograph.work.wide import show_table


def escape_command(command: EscapeCommand) -> int:
    """The command, as the command line gives it."""
    return escape_states(EscapeSettings.model_validate(command.model_dump(exclude={"execution"})), command.execution)


def escape_states(settings: EscapeSettings, execution: Execution, problem: Problem | None = None, show: Show = "terminal") -> int:
    """Checks everything first, then works until every chain has escaped or is censored. Returns the exit code.

    Args:
        settings: of the run.
        execution: how this process does it.
        problem: with names, that the sweep was made of.
        show: where progress is told; `terminal` has the table too.

    Raises:
        OrographError: anything that the user can mend; nothing has been written then.
    """
    console = Console(stderr=execution.json_output)
    asked = settings.numerics.model_dump()
    folder = EscapeBench.folder_of(settings, execution)
    if not execution.dry_run:
        require_writable(folder)
    old = begun_run(folder, ESCAPE)
    bench = EscapeBench.prepare(
        settings.model_copy(update={"numerics": settled_numerics(old, settings.numerics, execution)}), execution, problem
    )
    settings = bench.settings
    if execution.dry_run:
        show_plan(bench, folder, Console(), as_json=execution.json_output)
        return 0
    wells = range(len(settings.well.at))
    chains, size = settings.sgd.chains, settings.numerics.cohort
    parts = [range(first, min(first + size, chains)) for first in range(0, chains, size)]
    with WorkProgress("results", len(wells) + len(settings.cells()) * len(parts), quiet=execution.quiet, show=show) as progress:
        known = {} if old is None else old.findings
        # All others are found before anything is written: one of them may be refused.
        found = {number: measured_well(bench, number, progress) for number in wells if well_key(number) not in known}
        with Run.create(
            folder,
            kind=ESCAPE,
            configuration={**settings.configuration(), BEGINS_AT: bench.digest},
            numerics=settings.numerics.model_dump(),
            asked=asked,
            provenance=provenance(bench.device),
            tensors=dict(zip(bench.sweep.layout.names, bench.sweep.layout.shapes, strict=True)),
        ) as run:
            done = len(run.findings)
            progress.passed(done, done)
            for number, well in found.items():
                run.commit_finding(well_key(number), scalars=well.scalars, arrays=well.arrays)
                progress.completed(f"state at λ = {settings.well.at[number]:g}", f"height {well.scalars['height']:.4g}")
            for number in range(len(settings.cells())):
                for members in parts:
                    if passages_key(number, members.start) not in run.findings:
                        _run_cohort(bench, run, number, members, progress)
            low, high = bench.jump.ends
            jump = {"run": bench.source.path.resolve().name, "number": bench.jump.number, "low": low, "high": high}
            results = gather(run, jump)
            run.keep_results(ESCAPE_FILE, results)
            picture, _ = save(draw(results), run.path / "figures" / ESCAPE)
    if execution.json_output:
        answer(json_text(results))
    elif show == "terminal" and not execution.quiet:
        _print(results, console)
        numbers = shown(run.path / ESCAPE_FILE)
        console.print(Text.assemble("numbers in ", (numbers, "bold"), ", picture ", (shown(picture), "bold")), highlight=False)
    return 0


def _run_cohort(bench: EscapeBench, run: Run, number: int, members: range, progress: WorkProgress) -> None:
    cell = bench.settings.cells()[number]
    at, batch_size, lr = cell
    well = run.findings[well_key(at)]
    strength = bench.settings.well.at[at]
    name = f"λ = {strength:g}, batch {batch_size}, learning rate {lr:g}, chains {members.start} to {members.stop - 1}"

    def told(steps: int, left: int) -> None:
        progress.say(f"{name}: step {steps:,}, {left} go on")

    found = run_cohort(
        bench, well, state_of(bench, well, run.path), cell, number, members, told, lambda text: progress.say(f"{name}: {text}")
    )
    run.commit_finding(passages_key(number, members.start), scalars=found.scalars)
    progress.completed(name, f"{sum(found.scalars['escaped'])} of {len(members)} escaped")


def _print(results: dict[str, Any], console: Console) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    columns = {"strength": "{:.6g}", "batch_size": "{:.0f}", "lr": "{:g}", "escaped": "{}", "chains": "{}", "mean_time": "{:.4g}"}
    for name in columns:
        table.add_column(quantity(name).heading, overflow="fold")
    table.add_column("95 % of it", overflow="fold")
    for cell in results["cells"]:
        told = [text.format(cell[name]) if cell.get(name, math.nan) == cell.get(name) else "" for name, text in columns.items()]
        low, high = cell.get("rate_low", 0), cell.get("rate_high", 0)
        interval = f"{1 / high:.4g} to {1 / low:.4g}" if low else f"above {1 / high:.4g}" if high else ""
        table.add_row(*told, f"{interval}{', unstable' if cell['unstable'] else ''}")
    show_table(table, console, keys=3)
    for sentence in verdict(results):
        console.print(sentence, highlight=False, markup=False)


def verdict(results: dict[str, Any]) -> list[str]:
    """What was found, in sentences."""
    laws = results["laws"]
    if laws is None:
        told = f"no law was fitted: {results['no_laws']}"
    else:
        told = (
            f"Arrhenius against power law: {laws['verdict']}; Akaike's criterion of the power law less that of Arrhenius is "
            f"{laws['difference']:.3g} ({laws['low']:.3g} to {laws['high']:.3g})."
        )
    return [told, *(results[name] for name in ("heights", "rule", "rates"))]
