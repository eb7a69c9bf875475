"""Jumps of a ladder: steps over which q changes far more steeply than beside them."""

from collections.abc import Sequence
from dataclasses import dataclass

from orograph.errors import ConfigurationError, RunError
from orograph.ladder.transitions import slopes_beside
from orograph.store.cells import Cell
from orograph.store.run import Run

_APART = 0.05  # least change of q, relative to the larger
_COLLAPSED = 1e-6  # q up to which a state is θ_ref itself, but for its training
_STEEPER = 3.0  # least slope of q, relative to the steeper one beside it


@dataclass(frozen=True)
class Jump:
    """One jump.

    Attributes:
        number: from 1, in the order of the ladder.
        before: cells up to the jump, from the one behind the jump before it or the start, in the order of the ladder.
        behind: the cell behind it.
        change: of q over it.
    """

    number: int
    before: tuple[Cell, ...]
    behind: Cell
    change: float

    @property
    def ends(self) -> tuple[float, float]:
        """λ on both sides, ascending."""
        low, high = sorted((self.before[-1].strength, self.behind.strength))
        return low, high


def ladder_jumps(run: Run, seed: int, direction: str) -> list[Jump]:
    """Those of one chain of a sweep.

    Raises:
        ConfigurationError: there is no such chain.
    """
    done = [cell for cell, record in run.records.items() if record.status == "done"]
    known = sorted((cell for cell in done if (cell.seed, cell.direction) == (seed, direction)), key=lambda cell: cell.strength)
    if not known:
        raise ConfigurationError(f"{run.path} has no good point of `seed` {seed} in `direction` {direction}.")
    q = {cell.strength: float(run.records[cell].scalars["anchor_distance"]) ** 2 for cell in known}
    walked = known if direction == "up" else known[::-1]
    found: list[Jump] = []
    first = 0
    for place in range(1, len(walked)):
        one, other = walked[place - 1], walked[place]
        change = q[other.strength] - q[one.strength]
        low, high = sorted((one.strength, other.strength))
        slope, beside = abs(change) / (high - low), max(map(abs, slopes_beside(q, low, high)))
        if abs(change) >= max(_APART * max(q[low], q[high]), _COLLAPSED) and slope >= _STEEPER * beside:
            found.append(Jump(len(found) + 1, tuple(walked[first:place]), other, change))
            first = place
    return found


def chosen_jump(run: Run, seed: int, direction: str, number: int, at: Sequence[float]) -> Jump:
    """The jump that is meant: by its number, nearest to the strengths given, or the largest.

    Raises:
        ConfigurationError: there is no such jump.
        RunError: there is none at all.
    """
    known = ladder_jumps(run, seed, direction)
    if not known:
        raise RunError(f"{run.path} has no jump of q in `direction` {direction} of `seed` {seed}; a finer ladder tells more.")
    if number > len(known):
        raise ConfigurationError(
            f"`jump` {number} is not there: {run.path} has {len(known)} in `direction` {direction} of `seed` {seed}."
        )
    if number:
        return known[number - 1]
    if at:
        middle = sum(at) / len(at)
        return min(known, key=lambda each: abs(sum(each.ends) / 2 - middle))
    return max(known, key=lambda each: abs(each.change))
