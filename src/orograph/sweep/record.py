"""What a sweep commits of a point, and how it is read back."""

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch

from orograph.errors import RunError
from orograph.parameters import state_dict
from orograph.store.cells import Cell
from orograph.store.resume import require_same_loss
from orograph.store.run import Run
from orograph.store.spectra import commit_spectrum
from orograph.sweep.bench import Bench
from orograph.sweep.point import Measured
from orograph.sweep.schedule import PointWork
from orograph.sweep.settings import SweepSettings
from orograph.sweep.states import State
from orograph.training.advancing import Advanced
from orograph.training.polishing import Polished


def row(run: Run, cell: Cell) -> dict[str, Any]:
    """A committed point as one flat mapping."""
    record = run.records[cell]
    return {"ID": cell.model_id, "L2_strength": cell.strength, "status": record.status, **record.scalars}


def committed_state(bench: Bench, run: Run, cell: Cell) -> State | None:
    """That of a committed point, None of a failed one."""
    if run.records[cell].status == "failed":
        return None
    theta = torch.from_numpy(np.array(run.array(cell, "theta"))).to(bench.instruments.train.theta)
    return bench.states.join(theta, run.weights(cell) if bench.states.buffers else {})


def require_recorded_loss(bench: Bench, run: Run) -> None:
    """Refuses a problem whose loss at a committed point is not the one that is recorded.

    One pass over the training data, streamed or not, at the finished point of the smallest strength, where the penalty hides
    least.

    Raises:
        RunError: it is another.
    """
    done = {cell: record.scalars for cell, record in run.records.items() if record.status == "done"}
    known = {cell: each.get("final_train_loss", each.get("train_loss")) for cell, each in done.items()}  # published: of the epoch
    losses = {cell: loss for cell, loss in known.items() if isinstance(loss, float) and math.isfinite(loss)}
    if not losses:
        return
    cell = min(losses, key=lambda each: each.strength)
    state = committed_state(bench, run, cell)
    assert state is not None
    theta, buffers = bench.states.split(state)
    was, now = losses[cell], bench.measuring(buffers).train.loss(theta)
    require_same_loss(f"at strength {cell.strength:g} of ID {cell.model_id}", was, now, theta.dtype)


def require_same(run: Run, sweep: SweepSettings, bench: Bench) -> None:
    """A problem that was given in memory, held against the one that the run was made of.

    Raises:
        RunError: its parameters or its data are others.
    """
    shapes = dict(zip(bench.layout.names, map(tuple, bench.layout.shapes), strict=True))
    known = {name: tuple(shape) for name, shape in run.tensors.items()}
    if shapes != known:
        name = next(each for each in [*known, *shapes] if known.get(each) != shapes.get(each))
        was, now = known.get(name, "not there"), shapes.get(name, "not there")
        raise RunError(f"the problem has another network than {run.path}: its parameter {name} is {now}, and was {was}.")
    made_on, given = sweep.problem.checksum, bench.problem.checksum
    if made_on and made_on != given:
        raise RunError(f"the problem has other data than {run.path} was made on: SHA-256 {given[:12]}…, not {made_on[:12]}….")


Write = Callable[[Callable[[], Any]], None]  # has something written, now or soon


def commit_point(bench: Bench, run: Run, point: PointWork, neighbour: State | None, write: Write) -> None:
    """Commits one finished point, `neighbour` the last good state before it."""
    trained, measured, state = point.trained, point.measured, point.state
    scalars: dict[str, Any] = {}
    if trained is not None:
        scalars |= {
            "failed_epoch": trained.failed_epoch,
            "epochs": trained.epochs,
            "total_steps": trained.steps,
            "best_epoch": trained.best_epoch,
            "stopped": trained.stopped,
            "history": trained.history,
        }
    else:
        scalars |= {"epochs": 0, "total_steps": 0}
    if measured is None or state is None:
        write(partial(run.commit, point.cell, status="failed", scalars=scalars, timings=point.timings))
        return
    if point.polished is not None:
        scalars |= polish_scalars(point.polished)
    if point.advanced is not None:
        scalars |= branch_scalars(point.advanced)
    theta = bench.states.theta
    moved = None if neighbour is None else (theta(state) - theta(neighbour)).double().norm().item()
    scalars |= {"moved": moved, "frozen": moved == 0.0}
    scalars |= measured.scalars
    if (
        bench.settings.training.published and trained is not None
    ):  # the published files hold running averages over the moving model
        scalars |= {"final_train_loss": scalars["train_loss"], "final_objective": scalars["objective"]}
        scalars |= {"train_loss": trained.running_loss, "objective": trained.running_objective}
    commit_measured(bench, run, point.cell, state, measured, scalars, point.timings, write)


def commit_measured(
    bench: Bench,
    run: Run,
    cell: Cell,
    state: State,
    measured: Measured,
    scalars: Mapping[str, Any],
    timings: Mapping[str, Any],
    write: Write,
) -> None:
    """Commits a point with what was measured where it stands.

    Args:
        bench, run, cell: where.
        state: of the network.
        measured: there.
        scalars: all that is recorded but the spectrum.
        timings: seconds of what was done.
        write: has it written.
    """
    objective, chosen = bench.instruments.train, bench.settings.spectrum
    own, buffers = bench.states.split(state)
    write(
        partial(
            commit_spectrum,
            run,
            cell,
            measured.spectrum,
            hessian=chosen.hessian,
            keep=chosen.eigenvectors,
            scalars=scalars,
            arrays={"theta": own},
            weights=state_dict(bench.model, objective.layout, own, buffers),
            gradient=objective.layout.unflatten(measured.gradient),
            timings=timings,
        )
    )


def branch_scalars(advanced: Advanced) -> dict[str, Any]:
    """What a record says of the way from the neighbour."""
    return {
        "branch_kept": advanced.kept,
        "branch_strength": advanced.strength,
        "branch_parts": advanced.parts,
        "branch_predicted": advanced.predicted,
        "branch_corrected": advanced.corrected,
        "branch_angle": advanced.angle,
        "branch_curvature": advanced.curvature,
    }


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
