"""Points inserted around a transition of the order parameter, until the interval that holds it is narrow.

Where each new point lies, `transitions.zoom` says. It is trained and polished as the sweep's own are, from its neighbour on the
side from which the ladder was gone: on the same branch, unless the branch ends.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from orograph.ladder.changes import ChangePoint
from orograph.ladder.transitions import zoom
from orograph.store.cells import Cell
from orograph.store.run import Run
from orograph.sweep.bench import Bench
from orograph.sweep.command import run_groups
from orograph.sweep.stages import SweepContext
from orograph.work.pools import Here
from orograph.work.progress import WorkProgress


@dataclass(frozen=True)
class Refinement:
    """What was inserted around one transition.

    Attributes:
        inserted: points that lie around it beside the ladder's own.
        width: of the interval that holds it.
        reached: whether that is narrow enough.
        failed: whether a point could not be trained, which ended it.
    """

    inserted: int
    width: float
    reached: bool
    failed: bool


def ladder_interval(ladder: np.ndarray, change: ChangePoint) -> tuple[float, float]:
    """The step of the ladder in which a change lies."""
    place = int(np.clip(np.searchsorted(ladder, change.strength), 1, len(ladder) - 1))
    return float(ladder[place - 1]), float(ladder[place])


def refine(
    bench: Bench,
    run: Run,
    seed: int,
    direction: str,
    change: ChangePoint,
    ladder: np.ndarray,
    *,
    others: Sequence[ChangePoint] = (),
    width: float,
    most: int,
    progress: WorkProgress,
    on_point: Callable[[Cell], None],
) -> Refinement:
    """Inserts points around one transition of one chain; those inserted before are found again, so that a repeated call goes on.

    Args:
        bench: of the run, its anchor settled.
        run: opened for writing.
        seed, direction: which chain.
        change: the transition, as seen on the ladder.
        ladder: its strengths, ascending.
        others: the chain's other transitions, in whose steps points are not counted as this one's.
        width: how narrow the interval must become.
        most: points to insert at most.
        progress: told of each point.
        on_point: called with each point once it is committed.
    """
    interval = ladder_interval(ladder, change)
    strengths = [float(strength) for strength in ladder]
    reach = interval[1] - interval[0]
    elsewhere = [ladder_interval(ladder, other) for other in others]
    while True:
        known = order_parameters(run, seed, direction)
        inserted = sum(
            interval[0] - reach < x < interval[1] + reach and not any(low < x < high for low, high in elsewhere)
            for x in set(known) - set(strengths)
        )
        found = zoom(known, [x for x in strengths if x in known], change.kind, interval, width, sure=change.sure)
        wanted = found.wanted
        if wanted is None or inserted >= most:
            return Refinement(inserted, found.width, wanted is None, False)
        cell = Cell(seed, direction, wanted)
        before = max(x for x in known if x < wanted) if direction == "up" else min(x for x in known if x > wanted)
        origin = Cell(seed, direction, before)
        if cell in run.records:  # it failed before
            return Refinement(inserted, found.width, False, True)
        run.add([cell])
        progress.more(1, 0.0)
        run_groups(
            bench,
            run,
            [[cell]],
            Here(bench, SweepContext.stages, progress.say),
            progress,
            starts={cell: origin},
            before={cell: origin},
        )
        if run.records[cell].status == "failed":
            return Refinement(inserted, found.width, False, True)
        on_point(cell)


def order_parameters(run: Run, seed: int, direction: str) -> dict[float, float]:
    """q = ‖θ − θ_ref‖² of the points of one chain, by strength."""
    return {
        cell.strength: record.scalars["anchor_distance"] ** 2
        for cell, record in run.records.items()
        if (cell.seed, cell.direction, record.status) == (seed, direction, "done") and "anchor_distance" in record.scalars
    }
