"""The λ-sweep: train at every strength, measure the converged point, commit it; resumable at any moment."""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console

from orograph.experiments.anchors import state_dict
from orograph.experiments.bench import Bench, Theta
from orograph.experiments.estimate import print_plan
from orograph.experiments.ladder import cells, cohorts
from orograph.experiments.point import Measured, measure_point, spectrum_arrays
from orograph.experiments.progress import SweepProgress, summary_table
from orograph.experiments.provenance import provenance
from orograph.experiments.settings import Execution, NumericsSettings, SweepSettings
from orograph.figures.style import save
from orograph.figures.sweep import sweep as draw_sweep
from orograph.memory import format_bytes
from orograph.store.atomic import require_space
from orograph.store.cells import Cell
from orograph.store.dataset import open_run
from orograph.store.run import MARKER, Run
from orograph.training.cohort import train_cohort
from orograph.training.loop import Trained, train
from orograph.training.polish import Polished, polish
from orograph.training.stability import StabilityObserver


def sweep(settings: SweepSettings, execution: Execution) -> int:
    """The command: checks everything first, then works until every point is committed. Returns the exit code.

    Raises:
        OrographError: anything that the user can mend; nothing has been written then.
    """
    console = Console(stderr=execution.json_output)
    out = Path(execution.out if execution.out != "auto" else f"runs/{settings.data.dataset}-{settings.digest()}")
    todo = pending = cells(settings)
    if (out / MARKER).exists():  # a resumed run keeps its numerics
        old = Run.open(out)
        settings = settings.model_copy(update={"numerics": NumericsSettings(**old.numerics)})
        pending = [cell for cell in todo if cell not in old.records]
    bench = Bench.prepare(settings, execution)
    settings = bench.settings
    if execution.dry_run:
        print_plan(bench, out, console)
        return 0
    disk = bench.disk()
    require_space(out, disk.per_point * len(pending))
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
        done = len(run.records)
        if not execution.quiet:
            size = format_bytes(disk.total)
            console.print(f"[bold]{out}[/]: {len(todo)} points, {done} done, {size} when finished", highlight=False)
        bench.settle(run)
        with SweepProgress(len(todo), done, quiet=execution.quiet) as progress:
            run_cohorts(bench, run, progress)
        pictures = save(
            draw_sweep(open_run(run.path), describe_run(settings, bench.instruments.train.count)), run.path / "figures" / "sweep"
        )
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


def run_cohorts(bench: Bench, run: Run, progress: SweepProgress) -> None:
    """Every cohort that is not committed yet, in order.

    A cohort is trained again as a whole if any of its points is missing: its members are the same bits either way.
    """
    last: dict[int, Theta] = {}  # where each seed's chain stands: its last good point
    neighbour: dict[tuple[int, str], Theta] = {}
    for group in cohorts(bench.settings):
        trained: list[Trained] | None = None
        seconds = 0.0
        if not all(cell in run.records for cell in group):
            starts = [bench.start(cell, last.get(cell.seed)) for cell in group]
            began = time.perf_counter()
            trained = train_group(bench, group, starts, progress)
            seconds = (time.perf_counter() - began) / len(group)
        for index, cell in enumerate(group):
            chain = (cell.seed, cell.direction)
            if cell in run.records:
                theta = committed_theta(bench, run, cell)
            else:
                assert trained is not None
                theta = commit_point(bench, run, cell, trained[index], neighbour.get(chain), seconds, progress)
            if theta is not None:
                last[cell.seed] = neighbour[chain] = theta


def committed_theta(bench: Bench, run: Run, cell: Cell) -> Theta | None:
    """θ of a committed point, None of a failed one."""
    if run.records[cell].status == "failed":
        return None
    return torch.from_numpy(np.array(run.array(cell, "theta"))).to(bench.instruments.train.theta)


def train_group(bench: Bench, group: list[Cell], starts: list[Theta], progress: SweepProgress) -> list[Trained]:
    """A single continuation chain takes the lean loop; everything else trains as a cohort."""
    objective, settings = bench.instruments.train, bench.settings

    def on_epoch(epoch: int, value: float) -> None:
        progress.say(f"λ = {group[0].strength:g}: epoch {epoch}, L_eff {value:.4f}")

    observed: Any = {}
    if every := settings.tracking.track_curvature:
        observed = {"observer": StabilityObserver(objective, settings.training), "every": every}
    if settings.anchor.start == "previous" and len(settings.anchor.seeds) == 1:
        objective.strength = group[0].strength
        return [train(objective, starts[0], settings.training, order_seed=group[0].seed, on_epoch=on_epoch, **observed)]
    seeds = [cell.seed for cell in group]
    return train_cohort(
        objective,
        torch.stack(starts),
        settings.training,
        strengths=torch.tensor([cell.strength for cell in group], dtype=torch.float64),
        anchors=bench.anchor,
        order_seeds=seeds[0] if len(set(seeds)) == 1 else seeds,
        on_epoch=on_epoch,
        **observed,
    )


def commit_point(
    bench: Bench,
    run: Run,
    cell: Cell,
    trained: Trained,
    neighbour: Theta | None,
    seconds: float,
    progress: SweepProgress,
) -> Theta | None:
    """Polishes, measures and commits one trained point. Returns its θ, None when the training failed."""
    name = f"{cell.model_id}, λ = {cell.strength:g}"
    scalars: dict[str, Any] = {
        "failed_epoch": trained.failed_epoch,
        "epochs": trained.epochs,
        "total_steps": trained.steps,
        "best_epoch": trained.best_epoch,
        "stopped": trained.stopped,
        "history": trained.history,
    }
    timings = {"training": seconds}
    if trained.failed_epoch is not None:
        run.commit(cell, status="failed", scalars=scalars, timings=timings)
        progress.finished(name, row(run, cell))
        return None
    theta = trained.theta
    if bench.settings.training.polish:
        began = time.perf_counter()
        polished = polish_point(bench, theta, cell, progress)
        theta = polished.theta
        scalars |= polish_scalars(polished)
        timings["polishing"] = time.perf_counter() - began
    moved = None if neighbour is None else (theta - neighbour).double().norm().item()
    scalars |= {"moved": moved, "frozen": moved == 0.0}
    measured = measure_point(bench.instruments, theta, cell.strength, lambda count: progress.say(f"{name}: product {count}"))
    scalars |= measured.scalars
    if bench.settings.training.published:  # the published files hold running averages over the moving model
        scalars |= {"final_train_loss": scalars["train_loss"], "final_objective": scalars["objective"]}
        scalars |= {"train_loss": trained.running_loss, "objective": trained.running_objective}
    write_point(bench, run, cell, theta, scalars, measured, timings | measured.seconds)
    progress.finished(name, row(run, cell))
    return theta


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


def polish_point(bench: Bench, theta: Theta, cell: Cell, progress: SweepProgress) -> Polished:
    """Newton-CG to a critical point of L_eff."""
    settings, objective = bench.settings.training, bench.instruments.train
    objective.strength = cell.strength
    say: Callable[..., None] = lambda *facts: progress.say(f"λ = {cell.strength:g}: polishing")  # noqa: E731
    return polish(
        objective,
        theta,
        hessian=bench.instruments.hessian,
        tolerance=settings.polish_tolerance,
        max_products=settings.polish_products,
        on_step=say,
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
