"""The command `orograph connect`: curves between two minima of one's own, one after the other; resumable at any moment."""

import time
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from orograph.commands.exporting import csv_bytes
from orograph.commands.rows import table
from orograph.connections.cost import disk, passes, show_plan
from orograph.connections.ends import Ends, folder_of
from orograph.connections.results import gather, measured
from orograph.connections.settings import ConnectCommand, ConnectSettings
from orograph.errors import OrographError, shown
from orograph.figures.known_classes import class_courses
from orograph.figures.study_connectivity import connectivity
from orograph.figures.style import save
from orograph.remarks import answer
from orograph.report.report import FILE as PAGE
from orograph.report.report import render
from orograph.settings.base import BEGINS_AT
from orograph.settings.shared import Execution
from orograph.store.atomic import require_space, require_writable, write_bytes
from orograph.store.connection import CHANGES, CONNECTION, CONNECTION_FILE, curve_key, row
from orograph.store.connection_quantities import WAYS
from orograph.store.encoding import json_text
from orograph.store.lookup import TABLES, heading
from orograph.store.provenance import provenance
from orograph.store.resume import begun_run, settled_numerics
from orograph.store.run import Run
from orograph.work.problems import as_begun
from orograph.work.progress import WorkProgress
from orograph.work.wide import show_table

TABLE = "connection.csv"


def connect_command(command: ConnectCommand) -> int:
    """The command, as the command line gives it."""
    return connect_minima(ConnectSettings.model_validate(command.model_dump(exclude={"execution"})), command.execution)


def connect_minima(settings: ConnectSettings, execution: Execution) -> int:
    """Checks everything first, then computes every curve. Returns the exit code: 1 where no curve could be had.

    Raises:
        OrographError: anything that the user can mend; nothing has been written then.
    """
    console = Console(stderr=execution.json_output)
    out = folder_of(settings, execution)
    if not execution.dry_run:
        require_writable(out)
    asked = settings.numerics.model_dump()
    old = begun_run(out, CONNECTION)
    if old is None:
        settings.model.require_taken()
    numerics = settled_numerics(old, settings.numerics, execution)
    begun = as_begun(settings.problem, old.configuration if old else None)
    ends = Ends.prepare(settings.model_copy(update={"numerics": numerics, "problem": begun}), execution)
    settings = ends.settings
    if execution.dry_run:
        show_plan(ends, out, Console(), as_json=execution.json_output)
        return 0
    missing = [name for name in settings.curves.paths if old is None or curve_key(name) not in old.findings]
    require_space(out, disk(ends) if missing else 0)
    layout = ends.train.layout
    with Run.create(
        out,
        kind=CONNECTION,
        configuration={**settings.configuration(), BEGINS_AT: ends.digest},
        numerics=settings.numerics.model_dump(),
        asked=asked,
        provenance=provenance(ends.first.device),
        classes=ends.classes,
        tensors=dict(zip(layout.names, layout.shapes, strict=True)),
    ) as run:
        _compute(run, ends, execution)
        results = gather(run, ends)
        run.keep_results(CONNECTION_FILE, results)
        write_bytes(run.path / TABLE, csv_bytes(table(run)))
        _draw(run, results)
        write_bytes(run.path / PAGE, render(run).encode())
    if execution.json_output:
        answer(json_text(results))
    elif not execution.quiet:
        _print(results, console)
        told = Text.assemble(
            "all of it in ", (shown(out / PAGE), "bold"), ", numbers in ", (shown(out / CONNECTION_FILE), "bold")
        )
        console.print(told, highlight=False, soft_wrap=True)
    return 0 if results["paths"] else 1


def _compute(run: Run, ends: Ends, execution: Execution) -> None:
    """Every curve that is not there yet; one that cannot be had is committed with the reason."""
    names = ends.settings.curves.paths
    work = {name: passes(ends, name) for name in names}
    known = [name for name in names if curve_key(name) in run.findings]
    with WorkProgress("curves", len(names), work=sum(work.values()), quiet=execution.quiet) as progress:
        progress.passed(len(known), sum(work[name] for name in known))
        for name in names:
            if name in known:
                continue
            progress.say(WAYS[name])

            def told(step: int, name: str = name) -> None:
                progress.say(f"{WAYS[name]}: step {step:,}")

            began = time.perf_counter()
            try:
                found = measured(ends, name, told)
            except OrographError as error:
                run.commit_finding(curve_key(name), status="failed", scalars={"error": str(error)})
                progress.completed(WAYS[name], f"failed: {error}", work[name], failed=True)
                continue
            timings = {"seconds": time.perf_counter() - began}
            run.commit_finding(curve_key(name), scalars=found.scalars, arrays=found.arrays, timings=timings)
            progress.completed(WAYS[name], f"barrier {found.scalars[f'{name}_barrier']:.4g}", work[name])


def _draw(run: Run, results: dict[str, Any]) -> None:
    title = f"{results['a']} to {results['b']}, ‖θ_b − θ_a‖ = {results['distance']:.4g}"
    entry = {"kind": CONNECTION, "configuration": CONNECTION, "paths": results["paths"]}
    save(connectivity({"curves": [entry], "configuration": run.configuration}, title), run.path / "figures" / "paths")
    if run.classes and results["paths"]:
        save(class_courses(results, title), run.path / "figures" / "classes")


def _print(results: dict[str, Any], console: Console) -> None:
    rows = [row(name, path) for name, path in results["paths"].items()]
    names = {name.rpartition(".")[2]: heading(name) for name in TABLES["connections"]}
    known = {key: words for key, words in names.items() if key not in CHANGES and any(key in each for each in rows)}
    told = Table(box=None, pad_edge=False, header_style="bold")
    for words in known.values():
        told.add_column(words, overflow="fold")
    for each in rows:
        values = (each.get(key, "") for key in known)
        told.add_row(*(f"{value:.4g}" if isinstance(value, float) else str(value) for value in values))
    show_table(told, console)
    for each in rows:
        if changes := "; ".join(f"{part} {each[part]}" for part in CHANGES if each[part]):
            console.print(f"{each['path_name']}: classes {changes}", highlight=False, markup=False, soft_wrap=True)
    for name, why in results["failures"].items():
        console.print(f"{WAYS[name]}: {why}", highlight=False, markup=False, soft_wrap=True)
