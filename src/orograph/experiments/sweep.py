"""The λ-sweep: train at every strength, measure the converged point, commit it; resumable at any moment."""

import json
import random
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from rich.console import Console
from torch import Tensor
from torch.nn import functional as F

from orograph.curvature.hessian import HessianOperator
from orograph.data.catalogue import load_data
from orograph.data.dataset import Dataset
from orograph.errors import ConfigurationError
from orograph.experiments.anchors import read_anchor, settle_anchor, state_dict
from orograph.experiments.estimate import time_cost
from orograph.experiments.ladder import cells, cohorts
from orograph.experiments.point import Instruments, Measured, measure_point, spectrum_arrays
from orograph.experiments.progress import SweepProgress, duration, summary_table
from orograph.experiments.provenance import provenance
from orograph.experiments.settings import Execution, NumericsSettings, SweepSettings
from orograph.figures.style import save
from orograph.figures.sweep import sweep as draw_sweep
from orograph.memory import format_bytes
from orograph.models.catalogue import build_model
from orograph.objective import Objective
from orograph.parameters import Layout
from orograph.store.atomic import require_space
from orograph.store.cells import Cell
from orograph.store.dataset import open_run
from orograph.store.estimate import DiskEstimate, estimate_disk
from orograph.store.run import MARKER, Run
from orograph.training.cohort import train_cohort
from orograph.training.loop import Trained, train
from orograph.training.polish import Polished, polish

Theta = Float[Tensor, " P"]


def sweep(settings: SweepSettings, execution: Execution) -> int:
    """The command: checks everything first, then works until every point is committed. Returns the exit code.

    Raises:
        OrographError: anything that the user can mend; nothing has been written then.
    """
    console = Console(stderr=execution.json_output)
    out = Path(execution.out if execution.out != "auto" else f"runs/{settings.data.dataset}-{settings.digest()}")
    if (out / MARKER).exists():  # a resumed run keeps its numerics
        settings = settings.model_copy(update={"numerics": NumericsSettings(**Run.open(out).numerics)})
    bench = Bench.prepare(settings, execution)
    settings = bench.settings
    if execution.dry_run:
        print_plan(bench, out, console)
        return 0
    todo = cells(settings)
    disk = bench.disk()
    if not out.exists():
        require_space(out, disk.total)
    run = Run.create(
        out,
        kind="sweep",
        configuration=settings.model_dump(mode="json", exclude={"numerics"}),
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
        pictures = save(draw_sweep(open_run(run.path)), run.path / "figures" / "sweep")
        rows = [row(run, cell) for cell in todo]
    if execution.json_output:
        json.dump({"run": str(out), "points": rows}, sys.stdout, indent=1)
    elif not execution.quiet:
        console.print(summary_table(rows))
        console.print(f"files in [bold]{run.path / 'test_data'}[/], picture [bold]{pictures[0]}[/]", highlight=False)
    return 0


def row(run: Run, cell: Cell) -> dict[str, Any]:
    """A committed point as one flat mapping."""
    record = run.records[cell]
    return {"ID": cell.model_id, "L2_strength": cell.strength, "status": record.status, **record.scalars}


@dataclass
class Bench:
    """What a sweep works with: data, model, objectives, Hessian and anchor."""

    settings: SweepSettings
    data: Dataset
    device: torch.device
    model: torch.nn.Module
    instruments: Instruments
    given_anchor: Theta | None
    anchor: Theta | None = None
    initial: dict[int, Theta] = field(default_factory=dict)

    @classmethod
    def prepare(cls, settings: SweepSettings, execution: Execution) -> "Bench":
        """Loads and checks all that the sweep needs; writes nothing."""
        numerics = settings.numerics
        threads = numerics.threads or torch.get_num_threads()
        device = _device(numerics.device)
        settings = settings.model_copy(
            update={"numerics": numerics.model_copy(update={"threads": threads, "device": device.type})}
        )
        torch.set_num_threads(threads)
        _seed_everything(settings.anchor.seeds[0])
        size = settings.data.subset_size
        data = load_data(
            settings.data.dataset,
            data_dir=None if execution.data_dir == "auto" else execution.data_dir,
            subset_size=None if size == "all" else size,
            subset_seed=settings.data.subset_seed,
        )
        model = _build(settings, data, settings.anchor.seeds[0]).to(device)
        dtype = getattr(torch, numerics.dtype)
        train_set, test_set = (
            Objective(model, F.cross_entropy, part, memory=numerics.memory, dtype=dtype) for part in (data.train, data.test)
        )
        parameters = train_set.layout.size
        if settings.spectrum.k >= parameters:
            raise ConfigurationError(f"--k {settings.spectrum.k} must be below the number of parameters, {parameters}.")
        if settings.anchor.anchor == "required":
            raise ConfigurationError("--preset anchor needs --anchor: a .pth or .safetensors state dict, or train:SEED.")
        given = read_anchor(settings.anchor.anchor, model, train_set)
        hessian = HessianOperator.of(train_set)
        instruments = Instruments(train_set, test_set, hessian, settings.spectrum, len(data.classes))
        return cls(settings, data, device, model, instruments, given)

    @property
    def layout(self) -> Layout:
        return self.instruments.train.layout

    def disk(self) -> DiskEstimate:
        """What the run will take."""
        chosen = self.settings.spectrum
        return estimate_disk(len(cells(self.settings)), self.layout.size, chosen.k, chosen.eigenvectors, extra_vectors=1)

    def settle(self, run: Run) -> None:
        """Fixes the anchor of the run."""
        objective, name = self.instruments.train, self.settings.anchor.anchor
        self.anchor = settle_anchor(name, self.given_anchor, run, self.model, objective, self.settings.training, self.initialised)
        objective.anchor = self.anchor

    def initialised(self, seed: int) -> Theta:
        """θ as a seed initialises it."""
        if seed not in self.initial:
            objective = self.instruments.train
            named = dict(_build(self.settings, self.data, seed).named_parameters())
            self.initial[seed] = objective.layout.flatten(named).to(objective.theta)
        return self.initial[seed]

    def start(self, cell: Cell, previous: Theta | None) -> Theta:
        """Where training at a point begins."""
        choice = self.settings.anchor
        if choice.start == "previous" and previous is not None:
            return previous
        if choice.start != "anchor":
            return self.initialised(cell.seed)
        objective = self.instruments.train
        base = torch.zeros_like(objective.theta) if self.anchor is None else self.anchor
        noise = torch.randn(len(base), generator=torch.Generator().manual_seed(cell.seed), dtype=base.dtype)
        return base + choice.perturb * noise.to(base.device)


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

    if settings.anchor.start == "previous" and len(settings.anchor.seeds) == 1:
        objective.strength = group[0].strength
        return [train(objective, starts[0], settings.training, order_seed=group[0].seed, on_epoch=on_epoch)]
    seeds = [cell.seed for cell in group]
    return train_cohort(
        objective,
        torch.stack(starts),
        settings.training,
        strengths=torch.tensor([cell.strength for cell in group], dtype=torch.float64),
        anchors=bench.anchor,
        order_seeds=seeds[0] if len(set(seeds)) == 1 else seeds,
        on_epoch=on_epoch,
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


def print_plan(bench: Bench, out: Path, console: Console) -> None:
    """What would be done, and what it would cost."""
    settings, objective = bench.settings, bench.instruments.train
    points = len(cells(settings))
    cost = time_cost(settings, objective, bench.instruments.hessian, points)
    ladder = settings.ladder.ladder()
    disk = bench.disk()
    lines = {
        "run": str(out),
        "data": f"{settings.data.dataset}, {objective.count} training and {bench.instruments.test.count} test images",
        "model": f"{settings.model.model}, {objective.layout.size:,} parameters",
        "ladder": f"{len(ladder)} strengths from {ladder[0]:g} to {ladder[-1]:g}, {settings.ladder.direction}; "
        f"{len(settings.anchor.seeds)} seeds; {points} points in {len(cohorts(settings))} cohorts",
        "start": f"{settings.anchor.start}, anchor {settings.anchor.anchor}",
        "Hessian": bench.instruments.hessian.plan,
        "time": f"at most {duration(cost.seconds)}: {cost.epoch:.2f} s an epoch and model (at most {cost.epochs} a point), "
        f"{cost.product:.3f} s a product (about {cost.products} a point), without polishing",
        "disk": f"{format_bytes(disk.total)}: {format_bytes(disk.per_point)} a point",
    }
    for name, text in lines.items():
        console.print(f"[bold]{name:>8}[/]  {text}", highlight=False)


def _build(settings: SweepSettings, data: Dataset, seed: int) -> torch.nn.Module:
    return build_model(
        settings.model.model,
        input_shape=data.input_shape,
        classes=len(data.classes),
        init_seed=seed,
        widths=settings.model.widths,
        activation=settings.model.activation,
    )


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ConfigurationError(f"--device '{name}' is no device; use auto, cpu or cuda.") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigurationError(f"--device {name} needs a CUDA device, and PyTorch finds none; use cpu.")
    return device


def _seed_everything(seed: int) -> None:
    """The global streams too, for modules that draw from them."""
    torch.manual_seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - the legacy global stream is the one meant
    random.seed(seed)
