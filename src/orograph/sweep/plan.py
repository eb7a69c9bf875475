"""The order of a sweep: which points are trained together, and which before which."""

from collections.abc import Container

from orograph.store.cells import Cell
from orograph.sweep.settings import SweepSettings


def directions(settings: SweepSettings) -> list[str]:
    """`both` climbs the ladder, then descends it."""
    return ["up", "down"] if settings.ladder.direction == "both" else [settings.ladder.direction]


def cells(settings: SweepSettings) -> list[Cell]:
    """All points of a sweep: each seed's, each direction's, in the order of the ladder as it is walked."""
    ladder = settings.ladder.ladder()
    return [
        Cell(seed, direction, strength)
        for seed in settings.anchor.seeds
        for direction in directions(settings)
        for strength in (ladder if direction == "up" else ladder[::-1])
    ]


def cohorts(settings: SweepSettings, known: Container[Cell] = ()) -> list[list[Cell]]:
    """The points in the order of work, those that train together in one list.

    A continuation (`previous`) needs its neighbour first, so only its seeds train together. Points that start afresh are
    independent: those of one seed share the mini-batch stream and train in groups of `cohort`.

    Args:
        settings: of the sweep, its numerics settled.
        known: points that are left out.
    """
    if settings.anchor.start == "previous":
        ladder = settings.ladder.ladder()
        together = (
            [cell for seed in settings.anchor.seeds if (cell := Cell(seed, direction, strength)) not in known]
            for direction in directions(settings)
            for strength in (ladder if direction == "up" else ladder[::-1])
        )
        return [group for group in together if group]
    size = settings.numerics.cohort
    chains: dict[tuple[int, str], list[Cell]] = {}
    for cell in cells(settings):
        if cell not in known:
            chains.setdefault((cell.seed, cell.direction), []).append(cell)
    return [chain[i : i + size] for chain in chains.values() for i in range(0, len(chain), size)]
