"""The steps that make a point, each a function of the bench and plain values, so that any process can do it.

Training a cohort, polishing one of its points, following one to the next strength, measuring some of them. None of them writes:
what they return is committed by the process that holds the run.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from orograph.settings.shared import Execution
from orograph.store.cells import Cell
from orograph.sweep.anchors import seed_of
from orograph.sweep.bench import Bench, Theta
from orograph.sweep.point import Measured, measure_points
from orograph.sweep.settings import SweepSettings
from orograph.sweep.states import State
from orograph.training.advancing import Advanced, advance
from orograph.training.cohort import train_cohort
from orograph.training.loop import Trained, train
from orograph.training.own import train_own
from orograph.training.polishing import Polished, polish
from orograph.training.stability import StabilityObserver
from orograph.work.problems import unpacked_problem
from orograph.work.worker import Say


def train_cells(bench: Bench, group: Sequence[Cell], starts: Sequence[State], alone: bool, say: Say) -> list[Trained]:
    """A single continuation chain takes the lean loop; everything else trains as a cohort."""
    objective, settings = bench.instruments.train, bench.settings
    thetas, buffers = map(list, zip(*map(bench.states.split, starts), strict=True))

    def on_epoch(epoch: int, value: float) -> None:
        say(f"λ = {group[0].strength:g}: epoch {epoch}, L_eff {value:.4f}")

    observed: Any = {}
    if every := settings.tracking.track_curvature:
        observed = {"observer": StabilityObserver(objective, settings.training), "every": every}
    trainer = bench.trainer
    if trainer is not None:
        return [
            train_own(
                own := objective.penalised(cell.strength, bench.anchor),
                theta,
                trainer(own),
                seed=cell.seed,
                buffers=each,
                on_epoch=on_epoch,
            )
            for cell, theta, each in zip(group, thetas, buffers, strict=True)
        ]
    if alone:
        objective = objective.penalised(group[0].strength, bench.anchor)
        observed["buffers"] = buffers[0] if bench.states.buffers else None
        return [train(objective, thetas[0], settings.training, order_seed=group[0].seed, on_epoch=on_epoch, **observed)]
    seeds = [cell.seed for cell in group]
    return train_cohort(
        objective,
        torch.stack(thetas),
        settings.training,
        strengths=torch.tensor([cell.strength for cell in group], dtype=torch.float64),
        anchors=bench.anchor,
        order_seeds=seeds[0] if len(set(seeds)) == 1 else seeds,
        on_epoch=on_epoch,
        buffers=buffers if bench.states.buffers else None,
        **observed,
    )


def polish_cell(bench: Bench, cell: Cell, state: State, say: Say) -> Polished:
    """Newton-CG to a critical point of L_eff, with the buffers as they are."""
    settings = bench.settings.training
    theta, buffers = bench.states.split(state)
    instruments = bench.measuring(buffers)
    return polish(
        instruments.train.penalised(cell.strength, bench.anchor),
        theta,
        hessian=instruments.hessian,
        tolerance=settings.polish_tolerance,
        max_products=settings.polish_products,
        on_product=lambda stage, count: say(f"{title(cell)}: polishing"),
    )


def follow_cell(bench: Bench, cell: Cell, before: float, state: State, say: Say) -> tuple[State, Advanced]:
    """From the neighbour's state at λ = `before` along its branch; where that cannot be followed, down from its last point.

    Buffers stay as they are.
    """
    settings = bench.settings.training
    theta, buffers = bench.states.split(state)
    instruments = bench.measuring(buffers)
    advanced = advance(
        instruments.train.penalised(cell.strength, bench.anchor),
        theta,
        before,
        hessian=instruments.hessian,
        tolerance=settings.polish_tolerance,
        max_products=settings.polish_products,
        on_product=lambda stage, count: say(f"{title(cell)}: following"),
    )
    return bench.states.join(advanced.polished.theta, buffers), advanced


def measure_cells(bench: Bench, cells: Sequence[Cell], states: Sequence[State], say: Say) -> list[Measured]:
    """Metrics, gradient and spectrum of each; the spectra of several are computed in step."""
    name = title(cells[0]) + (f" and {len(cells) - 1} more" if len(cells) > 1 else "")
    strengths = [cell.strength for cell in cells]

    def on_product(stage: str, count: int) -> None:
        say(f"{name}: product {count}")

    if not bench.states.buffers:
        return measure_points(bench.instruments, states, strengths, on_product)
    found = []
    for state, strength in zip(states, strengths, strict=True):
        theta, buffers = bench.states.split(state)
        found += measure_points(bench.measuring(buffers), [theta], [strength], on_product)
    return found


def title(cell: Cell) -> str:
    """A point in a line of progress."""
    return f"{cell.model_id}, λ = {cell.strength:g}"


STAGES: dict[str, Callable[..., Any]] = {
    "train": train_cells,
    "polish": polish_cell,
    "follow": follow_cell,
    "measure": measure_cells,
}


@dataclass(frozen=True)
class SweepContext:
    """What workers know of a sweep: its settings, where data lie, its settled anchor, its problem where that has no name,
    and what was put around θ."""

    stages: ClassVar[Mapping[str, Callable[..., Any]]] = STAGES

    settings: SweepSettings
    data_dir: str | None
    anchor: Theta | None
    problem: bytes | None = None
    around: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def threads(self) -> int:
        return self.settings.numerics.threads

    def bench(self) -> Bench:
        """Made anew."""
        settings, anchor = self.settings, self.settings.anchor
        if seed_of(anchor.anchor) is None:  # a file may lie elsewhere than where this works, and what it holds is here
            settings = settings.model_copy(update={"anchor": anchor.model_copy(update={"anchor": "origin"})})
        bench = Bench.prepare(
            settings, Execution(data_dir=self.data_dir), unpacked_problem(self.problem), known=dict(self.around)
        )
        bench.use_anchor(None if self.anchor is None else (self.anchor, {}))  # where points begin is the driver's to say
        return bench
