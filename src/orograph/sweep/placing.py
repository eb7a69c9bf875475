"""Where the strengths of an adaptive ladder lie: at equal ways along the branch that a first pass over a log ladder follows.

The pass goes as the first seed's chain will go, to a tolerance ten times as large, and keeps nothing but numbers. It is made
before a run is begun, whose configuration then holds the strengths: data found by the program, and the same when found again.
"""

import math
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from orograph.ladder.spacing import branch_ways, equal_ways
from orograph.store.cells import Cell
from orograph.sweep.bench import Bench
from orograph.sweep.plan import directions
from orograph.sweep.settings import SweepSettings
from orograph.sweep.stages import follow_cell, polish_cell, train_cells
from orograph.sweep.states import State
from orograph.work.progress import WorkProgress

_LOOSER = 10.0  # the tolerance of the pass, relative to that of the points


def place(bench: Bench, progress: WorkProgress) -> SweepSettings:
    """The settings of a sweep with its strengths placed.

    Args:
        bench: its anchor may be unsettled.
        progress: told of each strength of the pass.
    """
    settings = bench.settings
    if settings.anchor.anchor != "origin":
        bench.use_anchor(bench.made_anchor)
    looser = settings.training.model_copy(update={"polish_tolerance": _LOOSER * settings.training.polish_tolerance})
    passing = replace(bench, settings=settings.model_copy(update={"training": looser}))
    direction = directions(settings)[0]
    ladder = settings.ladder.ladder()
    with progress:
        walked, ways = _walk(passing, ladder if direction == "up" else ladder[::-1], direction, progress)
    if len(walked) > 1:
        order = slice(None) if direction == "up" else slice(None, None, -1)
        ladder = equal_ways(walked[order], ways[order], len(ladder))
    return settings.model_copy(update={"ladder": settings.ladder.placed(ladder)})


def _walk(bench: Bench, ladder: list[float], direction: str, progress: WorkProgress) -> tuple[np.ndarray, np.ndarray]:
    """The strengths that were reached, in the order of the walk, and the ways between them."""
    seed = bench.settings.anchor.seeds[0]
    strengths, moved, angles, changes = (list[float]() for _ in range(4))
    kept: list[bool] = []
    here: State | None = None
    chord: Tensor | None = None
    classes = np.zeros(0)
    for strength in ladder:
        cell = Cell(seed, direction, strength)
        there, same = _reached(bench, cell, None if here is None else (strengths[-1], here), progress)
        if there is not None:
            theta, now = bench.states.theta(there), _classes(bench, there)
            if here is not None:
                step = (theta - bench.states.theta(here)).double()
                turned = 0.0 if chord is None or not same else _angle(chord, step)
                if angles:
                    angles[-1] += turned / 2
                angles.append(turned / 2)
                moved.append(step.norm().item())
                changes.append(float(np.abs(now - classes).max(initial=0.0)))
                kept.append(same)
                chord = step if same else None
            strengths.append(strength)
            here, classes = there, now
        progress.completed(f"λ = {strength:g}", "first pass")
    walked = np.array(strengths)
    return walked, branch_ways(walked, *map(np.array, (moved, angles, changes, kept))) if moved else np.zeros(0)


def _reached(bench: Bench, cell: Cell, origin: tuple[float, State] | None, progress: WorkProgress) -> tuple[State | None, bool]:
    """The state at a strength, None where its training failed, and whether it is on the branch of the one before."""
    if origin is not None:
        state, advanced = follow_cell(bench, cell, *origin, progress.say)
        return state, advanced.kept
    (trained,) = train_cells(bench, [cell], [bench.start(cell, None)], len(bench.settings.anchor.seeds) == 1, progress.say)
    if trained.failed_epoch is not None:
        return None, False
    polished = polish_cell(bench, cell, bench.states.join(trained.theta, trained.buffers), progress.say)
    return bench.states.join(polished.theta, trained.buffers), False


def _classes(bench: Bench, state: State) -> np.ndarray:
    """The accuracy of each class or group, as a share of 1; of the training samples where there are no test data."""
    theta, buffers = bench.states.split(state)
    instruments = bench.measuring(buffers)
    if not instruments.groups:
        return np.zeros(0)
    _, by_group = instruments.scores(instruments.test or instruments.train, theta, by_group=True)
    return np.nan_to_num(np.array(by_group.get("accuracy", []), dtype=float)) / 100


def _angle(one: Tensor, other: Tensor) -> float:
    size = one.norm() * other.norm()
    return math.acos(max(-1.0, min(1.0, (torch.dot(one, other) / size).item()))) if size > 0 else 0.0
