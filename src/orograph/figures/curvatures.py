"""Scalar curvature of the graph of the loss against λ, with the transitions of the ladder."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from orograph.figures.labels import label, said, score_of
from orograph.figures.marks import Band, mark_bands, signed_scale, strength_axis, thinned
from orograph.figures.motion import by_logarithm, moving_stretch
from orograph.figures.style import PALETTE, Picture, styled

_ROOM = 16  # letters of a name that fit beside a title


def curvature(line: xr.Dataset, bands: Sequence[Band] = (), title: str = "") -> Figure:
    """R with its standard error and R_top_k above, tr H with its own and the first metric below; all points share random vectors.

    Args:
        line: one seed and direction of what `open_run` gives for an analysed sweep, without missing points.
        bands: transitions and change points.
        title: the line above the figure.

    Returns:
        A matplotlib figure.
    """
    strengths = line.strength.values
    moving = moving_stretch(strengths, [by_logarithm(line.scalar_curvature.values), by_logarithm(line.trace.values)])
    few = thinned("o", strengths, moving)
    with styled():
        figure = Picture(figsize=(8, 6.5), layout="constrained")
        scalar, trace = figure.subplots(2, 1, sharex=True)
        value, error = line.scalar_curvature.values, line.scalar_curvature_error.values
        scalar.plot(strengths, value, **few, color=PALETTE[0], label="R ± standard error, common to all points")
        scalar.fill_between(strengths, value - error, value + error, color=PALETTE[0], alpha=0.25, lw=0)
        drawn = [value]
        if "scalar_curvature_top_k" in line:
            top = line.scalar_curvature_top_k.values
            k = line.sizes.get("eigen", 0)
            words = rf"$R_{{\mathrm{{top}}\ {k}}}$"
            scalar.plot(strengths, top, "--", **thinned("s", strengths, moving), ms=3, color=PALETTE[1], label=words)
            drawn.append(top)
        every = np.concatenate(drawn)
        signed_scale(scalar, np.nanmax(every), np.nanmin(every))
        scalar.set(title="Scalar curvature of the graph of L", ylabel=label("scalar_curvature"))
        value, error = line.trace.values, line.trace_error.values
        trace.plot(strengths, value, **few, color=PALETTE[2], label="tr H ± common error")
        trace.fill_between(strengths, value - error, value + error, color=PALETTE[2], alpha=0.25, lw=0)
        signed_scale(trace, np.nanmax(value), np.nanmin(value))
        more, others = _beside(trace, line)
        trace.set(title=f"Trace, and {others[0]}" if others else "Trace", ylabel=label("trace"))
        strength_axis(trace, strengths, moving)
        for axes in (scalar, trace):
            mark_bands(axes, bands)
        handles, labels = trace.get_legend_handles_labels()
        scalar.legend(loc="best")
        trace.legend(
            [handle for handle, text in zip(handles, labels, strict=True) if "change" not in text] + more,
            [text for text in labels if "change" not in text] + others,
            loc="lower right",
            bbox_to_anchor=(1.0, 1.0),
            ncols=2,
        )
        figure.suptitle(title, x=0.01, ha="left", fontsize=9.5, color="#555555")
        return figure


def _beside(trace: Axes, line: xr.Dataset) -> tuple[list[Any], list[str]]:
    """The first metric on an axis of its own, with its part of the legend; nothing where the run has none."""
    name = score_of(line)
    if not name:
        return [], []
    known = said(name, line)
    words = known.long_name if len(known.long_name) <= _ROOM else known.heading
    axes = trace.twinx()
    axes.plot(line.strength.values, line[name].values, ":", color="#000000", lw=1.4, label=words)
    axes.set(ylabel=label(name, of=line), **({"ylim": (-3, 103)} if known.units == "%" else {}))
    axes.grid(visible=False)
    return axes.get_legend_handles_labels()
