"""What identifies a point in a run, and the names of its files.

A strength is written with five decimals, as published; a ladder whose names would then collide uses the fewest further
decimals that keep them distinct, for all its files. Points added later never rename a file: they take as many decimals more
as they need.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

from orograph.errors import ConfigurationError
from orograph.store.names import is_name, is_written_strength

PUBLISHED_DECIMALS = 5
_MOST_DECIMALS = 60  # more would make file names too long
DIRECTIONS = ("up", "down")
_SEEDS = 2**32  # as many as NumPy's stream knows


@dataclass(frozen=True)
class Cell:
    """What identifies one point.

    Attributes:
        seed: the model ID.
        direction: in which the ladder is gone, `up` or `down`.
        strength: λ.
        configuration: its name in a study; empty in a sweep.

    Raises:
        ConfigurationError: a seed that is no whole number from 0 to 2³² − 1, a strength that is negative or not finite, another
            direction than `up` and `down`, or a configuration that cannot be a folder's name.
    """

    seed: int
    direction: str = "up"
    strength: float = 0.0
    configuration: str = ""

    def __post_init__(self) -> None:
        if not _is(self.seed, Integral) or not 0 <= self.seed < _SEEDS:
            raise ConfigurationError(f"seed {self.seed} must be a whole number from 0 to {_SEEDS - 1}.")
        if not _is(self.strength, Real) or not 0 <= self.strength < math.inf:
            raise ConfigurationError(f"strength {self.strength} must be a finite number, 0 or more.")
        if self.direction not in DIRECTIONS:
            raise ConfigurationError(f"direction '{self.direction}' is neither 'up' nor 'down'.")
        if self.configuration != "" and not is_name(self.configuration):
            raise ConfigurationError(f"configuration '{self.configuration}' may hold letters, digits and any of . _ + - only.")
        object.__setattr__(self, "strength", float(self.strength) + 0.0)  # −0.0 becomes 0.0

    @property
    def model_id(self) -> str:
        """The `{ID}` of file names."""
        return f"{self.seed}-down" if self.direction == "down" else str(self.seed)


def _is(value: object, kind: type) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)


def strength_decimals(ladder: Iterable[float], taken: Iterable[str] = (), least: int = PUBLISHED_DECIMALS) -> int:
    """The fewest decimals, `least` or more, that give different strengths different names.

    Args:
        ladder: strengths; equal ones count once.
        taken: names that these must differ from too.
        least: decimals to begin with.

    Raises:
        ConfigurationError: two strengths are too near each other to be named apart.
    """
    strengths, names = {strength + 0.0 for strength in ladder}, set(taken)
    for decimals in range(least, _MOST_DECIMALS + 1):
        texts = {f"{strength:.{decimals}f}" for strength in strengths}
        if len(texts) == len(strengths) and not texts & names:
            return decimals
    raise ConfigurationError(f"some strengths differ only after {_MOST_DECIMALS} decimals; space them further apart.")


@dataclass(frozen=True)
class Plan:
    """The cells of a run in the order of their slots, and how each strength is written.

    Slots depend on the plan alone, so that an interrupted run and an uninterrupted one put everything into the same place.
    """

    cells: tuple[Cell, ...]
    texts: Mapping[float, str]

    def extended(self, cells: Iterable[Cell]) -> "Plan":
        """This plan with further cells behind its own, those it has already left out; no name and no slot changes."""
        known = set(self.cells)
        added = tuple(cell for cell in dict.fromkeys(cells) if cell not in known)
        fresh = {cell.strength for cell in added} - set(self.texts)
        least = max((len(text.partition(".")[2]) for text in self.texts.values()), default=PUBLISHED_DECIMALS)
        decimals = strength_decimals(fresh, self.texts.values(), least)
        texts = {strength: f"{strength:.{decimals}f}" for strength in fresh}
        return Plan(self.cells + added, {**self.texts, **texts})

    def name(self, cell: Cell) -> str:
        """The `{ID}-{L2}` of a cell's files, in a study behind the folder of its configuration."""
        name = f"{cell.model_id}-{self.texts[cell.strength]}"
        return f"{cell.configuration}/{name}" if cell.configuration else name

    def to_plain(self) -> list[list[Any]]:
        """For JSON: one `[seed, direction, strength, written strength]` a slot, in a study with its configuration."""
        return [
            [cell.seed, cell.direction, cell.strength, self.texts[cell.strength], *filter(None, [cell.configuration])]
            for cell in self.cells
        ]

    @classmethod
    def from_plain(cls, rows: Any) -> "Plan":
        """What `to_plain` gave.

        Raises:
            ValueError, TypeError, ConfigurationError: it is not that: a row of another form, a strength that is written
                otherwise, a point twice.
        """
        cells, texts = [], dict[float, str]()
        for seed, direction, strength, text, *configuration in rows:
            cell = Cell(seed, direction, strength, *configuration)
            if not is_written_strength(text, cell.strength) or texts.setdefault(cell.strength, text) != text:
                raise ValueError(f"strength {strength} written as {text}")
            cells.append(cell)
        if len(set(cells)) != len(cells) or len(set(texts.values())) != len(texts):
            raise ValueError("a point twice")
        return cls(tuple(cells), texts)


EMPTY_PLAN = Plan((), {})
