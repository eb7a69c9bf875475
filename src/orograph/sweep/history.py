"""What was asked of a sweep, time after time: a run that has grown is made in the order in which it was asked for.

What was asked first is planned and made as if nothing had followed. What was asked later lies behind it, and each of its points
begins at the nearest point before it on its chain. So points that are there keep their slots, their bytes, and the way on which
they were reached.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from orograph.store.cells import Cell
from orograph.sweep.plan import cells, cohorts, directions
from orograph.sweep.settings import SweepSettings


def asked(settings: SweepSettings) -> dict[str, Any]:
    """What of a run's settings may grow, as its history records it."""
    return {
        "strengths": settings.ladder.ladder(),
        "direction": settings.ladder.direction,
        "seeds": list(settings.anchor.seeds),
        "k": settings.spectrum.k,
    }


def with_asked(history: Sequence[Mapping[str, Any]], begun: SweepSettings, now: SweepSettings) -> list[dict[str, Any]]:
    """A history that ends with what is asked now; as it is where that was asked last.

    Args:
        history: of the run; empty where it has not grown yet.
        begun: what the run says now.
        now: what it is to say.
    """
    known, wanted = [dict(each) for each in history] or [asked(begun)], asked(now)
    if known[-1] == known[-1] | wanted:
        return known if history else []
    return [*known, wanted]


def stages(settings: SweepSettings, history: Sequence[Mapping[str, Any]]) -> list[SweepSettings]:
    """The settings as they stood each time that something was asked; the last are those that hold."""
    return [_then(settings, each) for each in history] or [settings]


def _then(settings: SweepSettings, said: Mapping[str, Any]) -> SweepSettings:
    ladder = {"strengths": tuple(said["strengths"]), "direction": said["direction"]}
    return settings.model_copy(
        update={
            "ladder": settings.ladder.model_copy(update=ladder),
            "anchor": settings.anchor.model_copy(update={"seeds": tuple(said["seeds"])}),
        }
    )


def planned(asked_for: Sequence[SweepSettings]) -> list[Cell]:
    """All points, those that were asked for first before the others."""
    return list(dict.fromkeys(cell for each in asked_for for cell in cells(each)))


def grouped(asked_for: Sequence[SweepSettings]) -> list[list[list[Cell]]]:
    """Of each time the points that were new then, in the order of work, those that train together in one list."""
    known, found = set[Cell](), []
    for each in asked_for:
        found.append(cohorts(each, known))
        known.update(cells(each))
    return found


def origins(stage: SweepSettings, new: set[Cell], good: Callable[[Cell], bool]) -> dict[Cell, Cell]:
    """What stands before new points that come behind one that was there: the nearest before them on their chain with a network.

    Args:
        stage: what was asked for, with all that was there.
        new: the points of it that were not there.
        good: whether a point that was there has a network.

    Returns:
        By point; without those that follow another new one, or nothing.
    """
    found: dict[Cell, Cell] = {}
    ladder = stage.ladder.ladder()
    for seed in stage.anchor.seeds:
        last: Cell | None = None
        behind_new = False
        for direction in directions(stage):
            for strength in ladder if direction == "up" else ladder[::-1]:
                cell = Cell(seed, direction, strength)
                if cell not in new:
                    last, behind_new = cell if good(cell) else last, False
                elif not behind_new:
                    behind_new = True
                    if last is not None:
                        found[cell] = last
    return found
