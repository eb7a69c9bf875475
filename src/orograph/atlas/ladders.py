"""Points of sweeps beside branches: which stretch each lies on, and where the ladder jumps from one to another."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from orograph.atlas.minima import Minimum
from orograph.store.cells import Cell
from orograph.store.run import Run
from orograph.store.stretches import Stretch

ALIKE = 5e-3  # of q and of L: how far a trained point may be from the critical point that it is taken for
TIE = 0.02  # of that: stretches that a point fits as well as this are copies of one by a symmetry
LEAST = 1e-3  # of q and of L: below it they count as that much


@dataclass(frozen=True)
class LadderPoint:
    """A recorded point of a sweep.

    Attributes:
        run: name of the sweep.
        chain: its seed and its way.
        strength: λ.
        order_parameter: q.
        train_loss: L.
        objective: L_eff.
        stretch: name of the one on which it lies, or of the minimum of a descent; empty where it is on none that is known.
    """

    run: str
    chain: str
    strength: float
    order_parameter: float
    train_loss: float
    objective: float
    stretch: str


@dataclass(frozen=True)
class Jump:
    """Two neighbouring points of a ladder on two stretches, or one of them on none that is known.

    Attributes:
        run: name of the sweep.
        chain: its seed and its way.
        leaves: name of the stretch before, or of the minimum of a descent.
        arrives: that behind it; empty for none that is known.
        before: λ of the first.
        behind: λ of the second.
    """

    run: str
    chain: str
    leaves: str
    arrives: str
    before: float
    behind: float


def ladder_points(run: Run, known: Sequence[Stretch], minima: Sequence[Minimum]) -> list[LadderPoint]:
    """Every good point of a sweep, chain by chain in the order in which the ladder was gone; a stretch comes before a minimum."""
    found = []
    for cell, record in run.records.items():
        if record.status != "done":
            continue
        scalars = record.scalars
        name = "final_train_loss" if "final_train_loss" in scalars else "train_loss"
        loss, q = float(scalars[name]), float(scalars["anchor_distance"]) ** 2
        energy = loss + cell.strength * q
        place = stretch_of(cell.strength, q, loss, known) or stretch_of(cell.strength, q, loss, minima)
        found.append(LadderPoint(run.path.resolve().name, _chain(cell), cell.strength, q, loss, energy, place))
    places = {(_chain(cell), cell.strength): number for number, cell in enumerate(run.plan.cells)}
    return sorted(found, key=lambda each: (each.chain, places[each.chain, each.strength]))


def jumps(points: Sequence[LadderPoint], known: Sequence[Stretch]) -> list[Jump]:
    """Where neighbours of a chain lie on different stretches, unless one goes on where the other ends."""
    by_name = {each.name: each for each in known}
    found = []
    for one, other in itertools.pairwise(points):
        if (one.run, one.chain) == (other.run, other.chain) and one.stretch != other.stretch and one.stretch:
            followed = [by_name.get(each.stretch) for each in (one, other)]
            if followed[0] is None and not other.stretch:  # a minimum is known at certain λ alone: it may go on
                continue
            if followed[0] is not None and followed[1] is not None and _goes_on(followed[0], followed[1]):
                continue
            if followed[0] is not None and _far(followed[0], other) <= min(1.0, _far(followed[1], other) + TIE):
                continue  # the branch that it came from has this point as well as its mirror image has
            found.append(Jump(one.run, one.chain, one.stretch, other.stretch, one.strength, other.strength))
    return found


def _goes_on(one: Stretch, other: Stretch) -> bool:
    """Whether two stretches meet in a point: as both ways from one start do."""
    ends = [(each["strength"], each["order_parameter"]) for each in (one.corners[0], one.corners[-1])]
    others = [(each["strength"], each["order_parameter"]) for each in (other.corners[0], other.corners[-1])]
    return any(end == there for end in ends for there in others)


def _chain(cell: Cell) -> str:
    return f"{cell.seed}-{cell.direction}"


def stretch_of(strength: float, q: float, loss: float, known: Sequence[Stretch] | Sequence[Minimum]) -> str:
    """The stretch, or the minimum, whose q and L at this λ are nearest, if both are alike; of copies the first."""
    best, nearest = "", 1.0
    for stretch in known:
        if (far := _apart(stretch, strength, q, loss)) < nearest - (TIE if best else 0.0):
            best, nearest = stretch.name, far
    return best


def _far(stretch: Stretch | None, point: LadderPoint) -> float:
    return math.inf if stretch is None else _apart(stretch, point.strength, point.order_parameter, point.train_loss)


def _apart(stretch: Stretch | Minimum, strength: float, q: float, loss: float) -> float:
    """The larger of the differences in q and in L, in units of what counts as alike; infinite where it does not reach."""
    if not stretch.covers(strength):
        return math.inf
    loss_there, q_there = stretch.at(strength)
    by_q = abs(q_there - q) / (ALIKE * max(q_there, q, LEAST))
    return max(by_q, abs(loss_there - loss) / (ALIKE * (loss + LEAST)))
