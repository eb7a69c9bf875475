"""What the figures of a study share: a colour, line and marker for each configuration, and numbers out of records."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from orograph.figures.style import PALETTE

_LINES = ("-", "--", "-.", ":")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")


@dataclass(frozen=True)
class Look:
    """How a configuration is drawn: told apart by line and marker as well as by colour."""

    name: str
    colour: str
    line: str
    marker: str

    def handle(self, *, line: bool = True) -> Line2D:
        """Its entry in a legend."""
        style = self.line if line else ""
        return Line2D([], [], color=self.colour, ls=style, marker=self.marker, ms=4, label=self.name)


def looks(names: Iterable[str]) -> dict[str, Look]:
    """One look for each name, in order; neighbours differ in colour, line and marker."""
    distinct = list(dict.fromkeys(names))
    cycle = zip(itertools.cycle(PALETTE), itertools.cycle(_LINES), itertools.cycle(_MARKERS), strict=False)
    return {name: Look(name, *style) for name, style in zip(distinct, cycle, strict=False)}


def numbers(values: Sequence[Any] | np.ndarray | None) -> np.ndarray:
    """Floats, NaN for what is missing."""
    return np.array([np.nan if value is None else value for value in ([] if values is None else values)], dtype=float)


def grouped(entries: Iterable[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """Entries by their configuration, in order of appearance."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for entry in entries:
        found.setdefault(str(entry["configuration"]), []).append(entry)
    return found


def stacked(entries: Iterable[Mapping[str, Any]], position: str, value: str) -> tuple[np.ndarray, np.ndarray]:
    """Curves of several seeds or pairs on the positions of the longest: `(T,)` and `(entries, T)`, NaN where one is shorter."""
    curves = [(numbers(entry.get(position)), numbers(entry.get(value))) for entry in entries]
    curves = [(x, y) for x, y in curves if len(x) and len(x) == len(y)]
    if not curves:
        return np.empty(0), np.empty((0, 0))
    longest = max((x for x, _ in curves), key=len)
    rows = np.full((len(curves), len(longest)), np.nan)
    for row, (_, y) in zip(rows, curves, strict=True):
        row[: len(y)] = y
    return longest, rows


def mean_and_range(
    axes: Axes, x: np.ndarray, rows: np.ndarray, *, colour: str, line: str = "-", marker: str = "", **options: Any
) -> None:
    """The mean over rows as a line, and from the smallest to the largest as a band."""
    seen = np.isfinite(rows).any(axis=0) if rows.size else np.zeros(0, dtype=bool)
    if not seen.any():
        return
    x, rows = x[seen], rows[:, seen]
    axes.plot(x, np.nanmean(rows, axis=0), line, marker=marker, color=colour, **options)
    if len(rows) > 1:
        axes.fill_between(x, np.nanmin(rows, axis=0), np.nanmax(rows, axis=0), color=colour, alpha=0.18, lw=0)


def nothing(axes: Axes, text: str = "none recorded") -> None:
    """Says that there is nothing to draw."""
    axes.set(xticks=[], yticks=[])
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color="#777777")
