"""A point taken out of a run, to be made again: its record first, since what no record names is not there."""

from collections.abc import Iterable
from pathlib import Path

from orograph.store import artifacts, records
from orograph.store.arrays import FOLDER
from orograph.store.cells import Cell, Plan
from orograph.store.copies import remove


def remove_point(path: Path, plan: Plan, cell: Cell) -> None:
    """Deletes all that belongs to a point, whole or damaged.

    Args:
        path: of the run.
        plan: its own.
        cell: of the point.

    Raises:
        RunError: the system refuses.
    """
    stem, slot = plan.name(cell), plan.cells.index(cell)
    named = (artifacts.weights_name, artifacts.gradients_name, artifacts.eigenvalues_name, artifacts.eigenvectors_name)
    files = [f"{artifacts.FOLDER}/{name(stem)}" for name in named]
    arrays = path / FOLDER / cell.configuration
    chunks = [*arrays.glob(f"*/c.{slot}"), *arrays.glob(f"*/c.{slot}.*")]
    remove_all(path, [f"{records.FOLDER}/{stem}.json", *files, *(chunk.relative_to(path).as_posix() for chunk in chunks)])


def remove_all(path: Path, names: Iterable[str]) -> None:
    """Deletes files of a run, named relative to it."""
    for name in names:
        remove(path / name)
