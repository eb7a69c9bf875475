"""What figures share: transitions as bands behind a curve, colours for classes, axes and their ticks."""

import math
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from orograph.figures.motion import Ends
from orograph.figures.style import PALETTE
from orograph.store.lookup import quantity

Band = tuple[float, float, str]  # from, to, and what it is: bands of one kind share a colour and a legend entry

_COLOURS = {"order parameter": PALETTE[3], "curvature": PALETTE[5]}
_OF_A_METRIC = PALETTE[4]
FEW = 60  # points, each of which has a marker
_SHOWN = 20  # markers of more
_ENOUGH = 0.25  # of an axis, for what happens


def mark_bands(axes: Axes, bands: Sequence[Band]) -> None:
    """Bands behind the curves."""
    seen = set()
    for start, stop, name in bands:
        label = None if name in seen else f"change of {name}"
        band(axes, start, stop, color=_COLOURS.get(name, _OF_A_METRIC), alpha=0.35, label=label)
        seen.add(name)


def band(axes: Axes, start: float, stop: float, **looks: Any) -> None:
    """A stretch of the horizontal axis; a narrow one is widened to be seen."""
    low, high = axes.get_xlim()
    across = axes.get_xaxis().get_transform()  # of the scale, linear or logarithmic
    first, last, left, right = across.transform([start, stop, low, high])
    middle, half = (first + last) / 2, max(last - first, 0.003 * (right - left)) / 2
    axes.axvspan(*across.inverted().transform([middle - half, middle + half]), lw=0, zorder=0, **looks)
    axes.set_xlim(low, high)


def mark_stretch(axes: Axes, start: float, stop: float) -> None:
    """Where most of what is drawn happens, which is drawn again on its own."""
    band(axes, start, stop, color="#888888", alpha=0.2)


def thinned(marker: str, strengths: np.ndarray, moving: Ends | None = None, *, of: np.ndarray | None = None) -> dict[str, Any]:
    """A marker at every point of a short ladder; of a long one some, at equal distances along the axis of λ.

    Args:
        marker: of matplotlib.
        strengths: λ of the points.
        moving: where most happens, which decides on that axis.
        of: λ of all points, where these are some of them.
    """
    if len(strengths) <= FEW:
        return {"marker": marker}
    along = np.asarray(strengths, dtype=float)
    every = along if of is None else np.asarray(of, dtype=float)
    if is_logarithmic(every) or (moving is not None and stretched(every, moving)):
        least = every[every > 0].min()
        along, every = (np.log(np.maximum(each, least)) for each in (along, every))
    wanted = np.linspace(every.min(), every.max(), _SHOWN)
    apart = np.abs(along[:, None] - wanted)
    near = apart.min(axis=0) <= (wanted[1] - wanted[0]) / 2
    return {"marker": marker, "markevery": sorted(set(apart.argmin(axis=0)[near].tolist()))}


def class_colours(count: int) -> list[str]:
    """As many colours as there are classes (Petroff, 2021: made to be told apart with any colour vision), repeated beyond ten."""
    known = mpl.color_sequences["petroff10"]
    return [mpl.colors.to_hex(known[index % len(known)]) for index in range(count)]


def is_logarithmic(strengths: Sequence[float] | np.ndarray) -> bool:
    """Whether most of a ladder would be crowded into the left of a linear axis."""
    known = np.asarray(strengths, dtype=float)
    return bool(known.size and known.min() > 0 and np.median(known) < 0.25 * known.max())


def stretched(strengths: Sequence[float] | np.ndarray, moving: Ends) -> bool:
    """Whether an axis that is logarithmic from the ladder's first step on gives a stretch enough of its width."""
    positive = np.asarray(strengths, dtype=float)[np.asarray(strengths) > 0]
    least, most = float(positive.min()), float(positive.max())
    low, high = (max(each, least) for each in moving)
    return math.log(high / low) + (moving[0] < least) >= _ENOUGH * (math.log(most / least) + (moving[0] < least))


def strength_axis(axes: Axes, strengths: Sequence[float] | np.ndarray = (), moving: Ends | None = None) -> None:
    """The label, a readable number of ticks, and a logarithmic axis where the ladder is one, or where most happens near its
    beginning.

    Args:
        axes: whose horizontal axis it is.
        strengths: λ of the ladder.
        moving: where most happens, as `moving_stretch` gives it.
    """
    axes.set_xlabel(quantity("strength").long_name)
    if is_logarithmic(strengths):
        axes.set_xscale("log")
        axes.xaxis.set_minor_formatter(NullFormatter())
    elif moving is not None and stretched(strengths, moving):
        known = np.asarray(strengths, dtype=float)
        axes.set_xscale("symlog", linthresh=float(known[known > 0].min()), linscale=0.4)
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlim(known.min(), known.max())
    else:
        axes.xaxis.set_major_locator(mpl.ticker.MaxNLocator(6))


def logarithmic_scale(axes: Axes) -> None:
    """A logarithmic axis, unless nothing that is drawn is positive."""
    if any((np.asarray(line.get_ydata(), dtype=float) > 0).any() for line in axes.lines):
        axes.set_yscale("log")


def signed_scale(axes: Axes, largest: float, smallest: float) -> None:
    """A logarithmic axis that goes through zero where there are values of both signs; a linear one within a factor of ten."""
    if 0 < smallest <= largest <= 10 * smallest:
        return
    if smallest > 0:
        axes.set_yscale("log")
        if largest <= 100 * smallest:
            plain_ticks(axes.yaxis)
        return
    if outermost := max(largest, -smallest):  # else all are zero
        axes.set_yscale("symlog", linthresh=outermost * 1e-3)
    axes.axhline(0, color="#555555", lw=0.8, zorder=2)


def plain_ticks(axis: Axis) -> None:
    """Ticks of a logarithmic axis as 0.2, 5, 30 rather than as powers, and no more of them than can be read."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=7))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())
