"""A chain: the committed points of one seed and direction in ascending order of λ, with all that is known of each."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from orograph.errors import RunError
from orograph.store.analysis import Analysis
from orograph.store.cells import Cell
from orograph.store.records import at_state
from orograph.store.run import Run
from orograph.store.spectra import has_vectors
from orograph.store.wording import Wording

PARTS = ("classes", "localisation", "curvature", "certificate", "response", "density", "chain", "barrier")


@dataclass(eq=False)
class Chain:
    """Points of one seed and direction.

    Attributes:
        seed, direction: which.
        cells: committed and not failed, ascending in λ whatever the direction.
        rows: all scalars of each, of the point and of its analyses.
        ladder: the strengths that the run was planned with; others were inserted later.
    """

    seed: int
    direction: str
    cells: tuple[Cell, ...]
    rows: tuple[dict[str, Any], ...]
    ladder: frozenset[float]

    @property
    def name(self) -> str:
        return f"seed {self.seed}, {self.direction}"

    @cached_property
    def strengths(self) -> Float[ndarray, " T"]:
        return np.array([cell.strength for cell in self.cells])

    @cached_property
    def planned(self) -> ndarray:
        """Which points belong to the ladder."""
        return np.array([cell.strength in self.ladder for cell in self.cells], dtype=bool)

    def series(self, name: str) -> Float[ndarray, " T"]:
        """A scalar along the chain, NaN where it is not known."""
        return np.array([float(row.get(name, np.nan)) for row in self.rows])

    def lists(self, name: str) -> Float[ndarray, "T n"]:
        """A short list along the chain; of no entries where it is not known."""
        found = [row.get(name) for row in self.rows]
        lengths = sorted({len(value) for value in found if isinstance(value, list)})
        if len(lengths) > 1:
            raise RunError(
                f"the points of {self.name} hold '{name}' with {lengths[0]} and with {lengths[-1]} entries; delete the record of "
                "the wrong one, and the same sweep makes it again."
            )
        length = lengths[0] if lengths else 0
        return np.array([value if isinstance(value, list) else [np.nan] * length for value in found], dtype=float)

    def by_class(self, wording: Wording) -> Float[ndarray, "T n"]:
        """The first metric of each class or group of the test data along the chain; of no entries where there is none."""
        return self.lists(f"{wording.grouping}_{wording.score.name}" if wording.score else "")

    @property
    def order_parameter(self) -> Float[ndarray, " T"]:
        """q = ‖θ − θ_ref‖²."""
        return self.series("anchor_distance") ** 2


def chains(run: Run, analysis: Analysis, ladder: Sequence[float]) -> list[Chain]:
    """All chains of a run that have a point."""
    found: dict[tuple[int, str], list[Cell]] = {}
    for cell, record in run.records.items():
        if record.status == "done":
            found.setdefault((cell.seed, cell.direction), []).append(cell)
    result = []
    for (seed, direction), cells in found.items():
        ascending = tuple(sorted(cells, key=lambda cell: cell.strength))
        rows = tuple(point_row(run, analysis, cell) for cell in ascending)
        result.append(Chain(seed, direction, ascending, rows, frozenset(ladder)))
    return result


def point_row(run: Run, analysis: Analysis, cell: Cell) -> dict[str, Any]:
    """All scalars of a point and of its analyses, the losses those of its state."""
    row = at_state(run.records[cell].scalars)
    for part in PARTS:
        row |= analysis.scalars(part, cell)
    return row


def with_vectors(run: Run, chain: Chain) -> bool:
    """Whether every point of a chain has its eigenvectors."""
    return all(has_vectors(run, cell) for cell in chain.cells)
