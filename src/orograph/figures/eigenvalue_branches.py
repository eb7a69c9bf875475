"""Eigenvalues along a ladder, each curve one direction that was followed, and where directions meet."""

from collections.abc import Sequence

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from orograph.figures.labels import label
from orograph.figures.marks import Band, mark_bands, signed_scale, strength_axis
from orograph.figures.motion import by_logarithm, moving_stretch
from orograph.figures.style import PALETTE, Picture, styled

_MANY = 60  # meetings; marks of more are small
_SHORT = 3  # points; a shorter branch is drawn in grey

Met = tuple[str, float, float]  # crossing or avoided, λ, eigenvalue


def branches(line: xr.Dataset, meetings: Sequence[Met] = (), bands: Sequence[Band] = (), title: str = "") -> Figure:
    """Eigenvalues against λ by branch.

    Args:
        line: one seed and direction of what `open_run` gives for an analysed sweep, without missing points.
        meetings: crossings and avoided crossings.
        bands: transitions.
        title: the line above the figure.

    Returns:
        A matplotlib figure.
    """
    strengths, values = line.strength.values, line.eigenvalue.values
    numbers = np.nan_to_num(line.branch.values, nan=-1).astype(int)
    with styled():
        figure = Picture(figsize=(8, 5.5), layout="constrained")
        axes = figure.subplots()
        few = "o" if len(strengths) <= 60 else ""
        shown = 0
        for number in range(numbers.max(initial=-1) + 1):
            rows, columns = np.nonzero(numbers == number)
            long = len(rows) >= _SHORT
            colour = PALETTE[shown % len(PALETTE)] if long else "#bbbbbb"
            shown += long
            axes.plot(strengths[rows], values[rows, columns], marker=few, ms=2.5, lw=1.2 if long else 0.8, color=colour, zorder=3)
        lost = numbers < 0
        rows, columns = np.nonzero(lost & np.isfinite(values))
        axes.plot(strengths[rows], values[rows, columns], ".", color="#cccccc", ms=3, zorder=2)
        signed_scale(axes, np.nanmax(values), np.nanmin(values))
        handles = [Line2D([], [], color=PALETTE[0], label="one direction")]
        for kind, marker, colour, words in (
            ("crossing", "x", "#000000", "crossing"),
            ("avoided", "o", "#000000", "avoided crossing"),
        ):
            places = [(strength, value) for what, strength, value in meetings if what == kind]
            if places:
                x, y = zip(*places, strict=True)
                size, width = (8, 1.2) if len(meetings) <= _MANY else (4, 0.6)
                axes.plot(x, y, marker, mfc="none", mec=colour, ms=size, mew=width, ls="", zorder=6)
                handles.append(Line2D([], [], marker=marker, mfc="none", mec=colour, ls="", ms=7, label=words))
        if (rows.size) > 0:
            handles.append(Line2D([], [], marker=".", ls="", color="#cccccc", label="at the noise level"))
        axes.set(ylabel=label("eigenvalue"), title="Directions followed along λ")
        strength_axis(axes, strengths, moving_stretch(strengths, [by_logarithm(each) for each in values.T]))
        mark_bands(axes, bands)
        bands_shown, _ = axes.get_legend_handles_labels()
        axes.legend(handles=[*handles, *bands_shown], loc="best")
        figure.suptitle(title, x=0.01, ha="left", fontsize=9.5, color="#555555")
        return figure
