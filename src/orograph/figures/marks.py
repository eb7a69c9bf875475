"""Transitions and their intervals as bands behind a curve, and colours for classes."""

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes

from orograph.figures.style import PALETTE

Band = tuple[float, float, str]  # from, to, and what it is: bands of one kind share a colour and a legend entry

_COLOURS = {"order parameter": PALETTE[3], "accuracy": PALETTE[4], "curvature": PALETTE[5]}


def mark_bands(axes: Axes, bands: Sequence[Band]) -> None:
    """Bands behind the curves; a narrow one is widened to be seen."""
    low, high = axes.get_xlim()
    least = 0.003 * (high - low)
    seen = set()
    for start, stop, name in bands:
        middle, half = (start + stop) / 2, max(stop - start, least) / 2
        colour = _COLOURS.get(name, "#999999")
        label = None if name in seen else f"change of {name}"
        axes.axvspan(middle - half, middle + half, color=colour, alpha=0.35, lw=0, label=label, zorder=0)
        seen.add(name)
    axes.set_xlim(low, high)


def class_colours(count: int) -> list[str]:
    """As many colours as there are classes (Petroff, 2021: made to be told apart with any colour vision), repeated beyond ten."""
    known = mpl.color_sequences["petroff10"]
    return [mpl.colors.to_hex(known[index % len(known)]) for index in range(count)]


def strength_axis(axes: Axes, *, logarithmic: bool = False) -> None:
    """The label, and a readable number of ticks."""
    axes.set_xlabel("strength λ")
    if logarithmic:
        axes.set_xscale("log")
        axes.xaxis.set_minor_formatter(mpl.ticker.NullFormatter())
    else:
        axes.xaxis.set_major_locator(mpl.ticker.MaxNLocator(6))


def logarithmic_scale(axes: Axes) -> None:
    """A logarithmic axis, unless nothing that is drawn is positive."""
    if any((np.asarray(line.get_ydata(), dtype=float) > 0).any() for line in axes.lines):
        axes.set_yscale("log")


def signed_scale(axes: Axes, largest: float, smallest: float) -> None:
    """A logarithmic axis that goes through zero where there are values of both signs."""
    if smallest > 0:
        axes.set_yscale("log")
        return
    axes.set_yscale("symlog", linthresh=max(largest, -smallest) * 1e-3)
    axes.axhline(0, color="#555555", lw=0.8, zorder=2)
