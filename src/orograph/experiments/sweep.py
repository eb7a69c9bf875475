"""The λ-sweep: train at every strength, measure the converged point, commit it; resumable at any moment."""

import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console

from orograph.experiments.anchors import state_dict
from orograph.experiments.bench import Bench, Theta
from orograph.experiments.estimate import print_plan
from orograph.experiments.ladder import cells, cohorts
from orograph.experiments.point import Measured, spectrum_arrays
from orograph.experiments.progress import SweepProgress, summary_table
from orograph.experiments.provenance import provenance
from orograph.experiments.schedule import Chain, Point, Schedule
from orograph.experiments.settings import ParallelExecution, SweepCommand, SweepNumerics, SweepSettings
from orograph.experiments.stages import title
from orograph.experiments.workers import Workers, start_workers
from orograph.figures.style import save
from orograph.figures.sweep import sweep as draw_sweep
from orograph.memory import format_bytes
from orograph.store.atomic import require_space
from orograph.store.cells import Cell
from orograph.store.dataset import open_run
from orograph.store.run import MARKER, Run
from orograph.training.polish import Polished


def sweep_command(command: SweepCommand) -> int:
    """The command, as the command line gives it."""
    return sweep(SweepSettings.model_validate(command.model_dump(exclude={"execution"})), command.execution)


def sweep(settings: SweepSettings, execution: ParallelExecution) -> int:
    """Checks everything first, then works until every point is committed. Returns the exit code.

    Raises:
        OrographError: anything that the user can mend; nothing has been written then.
    """
    console = Console(stderr=execution.json_output)
    out = Path(execution.out if execution.out != "auto" else f"runs/{settings.data.dataset}-{settings.digest()}")
    todo = pending = cells(settings)
    if (out / MARKER).exists():  # a resumed run keeps its numerics
        old = Run.open(out)
        settings = settings.model_copy(update={"numerics": SweepNumerics(**old.numerics)})
        pending = [cell for cell in todo if cell not in old.records]
    else:
        settings = settings.model_copy(update={"numerics": execution.shared(settings.numerics)})
    bench = Bench.prepare(settings, execution)
    settings = bench.settings
    if execution.dry_run:
        print_plan(bench, out, console)
        return 0
    disk = bench.disk()
    require_space(out, disk.per_point * len(pending))
    progress = SweepProgress(len(todo), len(todo) - len(pending), quiet=execution.quiet)
    with ExitStack() as until:
        workers = start_workers(bench, execution, progress.say)  # before anything is written: a cluster may not answer
        until.callback(workers.close)
        run = Run.create(
            out,
            kind="sweep",
            configuration=settings.configuration(),
            numerics=settings.numerics.model_dump(),
            provenance=provenance(bench.device),
            cells=todo,
            classes=bench.data.classes,
            tensors=dict(zip(bench.layout.names, bench.layout.shapes, strict=True)),
        )
        with run:
            if not execution.quiet:
                counts = f"{len(todo)} points, {progress.done} done, {format_bytes(disk.total)} when finished"
                console.print(f"[bold]{out}[/]: {counts}", highlight=False)
            bench.settle(run)
            with progress:
                run_groups(bench, run, cohorts(settings), workers, progress)
            until.close()  # a cluster ends while the picture is drawn
            title_line = describe_run(settings, bench.instruments.train.count)
            pictures = save(draw_sweep(open_run(run.path), title_line), run.path / "figures" / "sweep")
            rows = [row(run, cell) for cell in todo]
    if execution.json_output:
        json.dump({"run": str(out), "points": rows}, sys.stdout, indent=1)
    elif not execution.quiet:
        console.print(summary_table(rows))
        console.print(f"files in [bold]{run.path / 'test_data'}[/], picture [bold]{pictures[0]}[/]", highlight=False)
    return 0


def describe_run(settings: SweepSettings, count: int) -> str:
    """The line above the figure."""
    return (
        f"{settings.model.model} on {settings.data.dataset} ({count:,} images), anchor {Path(settings.anchor.anchor).name}, "
        f"start {settings.anchor.start}, seeds {', '.join(map(str, settings.anchor.seeds))}"
    )


def row(run: Run, cell: Cell) -> dict[str, Any]:
    """A committed point as one flat mapping."""
    record = run.records[cell]
    return {"ID": cell.model_id, "L2_strength": cell.strength, "status": record.status, **record.scalars}


def run_groups(
    bench: Bench,
    run: Run,
    groups: Sequence[Sequence[Cell]],
    workers: Workers,
    progress: SweepProgress,
    *,
    starts: Mapping[Cell, Theta] | None = None,
    neighbours: Mapping[Chain, Theta] | None = None,
) -> None:
    """Every group of points that is not committed yet, trained, measured and committed."""

    def theta_of(cell: Cell) -> Theta | None:
        return committed_theta(bench, run, cell)

    def commit(point: Point, neighbour: Theta | None) -> None:
        commit_point(bench, run, point, neighbour)
        progress.finished(title(point.cell), row(run, point.cell))

    known = run.records.__contains__
    Schedule(bench, groups, known=known, theta_of=theta_of, commit=commit, starts=starts, neighbours=neighbours).run(workers)


def committed_theta(bench: Bench, run: Run, cell: Cell) -> Theta | None:
    """θ of a committed point, None of a failed one."""
    if run.records[cell].status == "failed":
        return None
    return torch.from_numpy(np.array(run.array(cell, "theta"))).to(bench.instruments.train.theta)


def commit_point(bench: Bench, run: Run, point: Point, neighbour: Theta | None) -> None:
    """Commits one finished point, `neighbour` the last good θ before it."""
    trained, measured, theta = point.trained, point.measured, point.theta
    scalars: dict[str, Any] = {"error": point.failure} if point.failure else {}
    if trained is not None:
        scalars |= {
            "failed_epoch": trained.failed_epoch,
            "epochs": trained.epochs,
            "total_steps": trained.steps,
            "best_epoch": trained.best_epoch,
            "stopped": trained.stopped,
            "history": trained.history,
        }
    if measured is None or trained is None or theta is None:
        run.commit(point.cell, status="failed", scalars=scalars, timings=point.timings)
        return
    if point.polished is not None:
        scalars |= polish_scalars(point.polished)
    moved = None if neighbour is None else (theta - neighbour).double().norm().item()
    scalars |= {"moved": moved, "frozen": moved == 0.0}
    scalars |= measured.scalars
    if bench.settings.training.published:  # the published files hold running averages over the moving model
        scalars |= {"final_train_loss": scalars["train_loss"], "final_objective": scalars["objective"]}
        scalars |= {"train_loss": trained.running_loss, "objective": trained.running_objective}
    write_point(bench, run, point.cell, theta, scalars, measured, point.timings)


def write_point(
    bench: Bench, run: Run, cell: Cell, theta: Theta, scalars: dict[str, Any], measured: Measured, timings: dict[str, float]
) -> None:
    """Hands a point to the store."""
    objective, keep, spectrum = bench.instruments.train, bench.settings.spectrum.eigenvectors, measured.spectrum
    run.commit(
        cell,
        scalars=scalars,
        arrays={"theta": theta, **(spectrum_arrays(spectrum) if spectrum else {})},
        weights=state_dict(bench.model, objective, theta),
        gradient=objective.layout.unflatten(measured.gradient),
        eigenvalues=spectrum.eigenvalues if spectrum else None,
        eigenvectors=spectrum.eigenvectors if spectrum and keep != "none" else None,
        eigenvectors_csv=keep == "both",
        timings=timings,
    )


def polish_scalars(polished: Polished) -> dict[str, Any]:
    """What a record says of polishing."""
    return {
        "polish_converged": polished.converged,
        "polish_products": polished.products,
        "polish_gradient_before": polished.gradient_norm_before,
        "polish_gradient_after": polished.gradient_norm,
        "polish_distance": polished.distance,
        "polish_objective_change": polished.objective_change,
        "polish_negative_curvature": polished.negative_curvature,
    }
