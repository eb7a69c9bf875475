"""Both ways along a ladder: where they differ, and the strengths that belong to the loop."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from orograph.figures.labels import label, said, score_of
from orograph.figures.marks import band, strength_axis, thinned
from orograph.figures.motion import Ends, by_logarithm, moving_stretch
from orograph.figures.style import PALETTE, Picture, styled


@dataclass(frozen=True)
class LoopMarks:
    """The strengths of one loop, NaN or infinite where there is none.

    Attributes:
        maxwell: equal L_eff. spinodal_up, spinodal_down: where a branch ends.
        escape_up: step over which the way up left its branch.
        escape_down: the same of the way down.
    """

    maxwell: float
    spinodal_up: float
    spinodal_down: float
    escape_up: tuple[float, float]
    escape_down: tuple[float, float]


def hysteresis(up: xr.Dataset, down: xr.Dataset, loops: Sequence[LoopMarks] = (), title: str = "") -> Figure:
    """Order parameter, difference of L_eff, λ_min of L_eff and the first metric of both ways, the loss where there is none.

    Args:
        up: one seed of what `open_run` gives for an analysed sweep, climbed, without missing points.
        down: the same, descended.
        loops: their strengths.
        title: the line above the figure.

    Returns:
        A matplotlib figure.
    """
    with styled():
        figure = Picture(figsize=(10, 7), layout="constrained")
        name = score_of(up) or "train_loss"
        series = [each for line in (up, down) for each in (by_logarithm(line.order_parameter.values), line[name].values)]
        same = np.array_equal(up.strength.values, down.strength.values)
        moving = moving_stretch(up.strength.values, series) if same else None
        ((order, difference), (lowest, score)) = figure.subplots(2, 2, sharex=True)
        _both(order, up, down, "order_parameter", moving)
        order.set(
            title=r"Order parameter $q = \|\theta-\theta_{\mathrm{ref}}\|^2$", ylabel=label("order_parameter"), yscale="log"
        )
        common = np.intersect1d(up.strength.values, down.strength.values)
        gap = up.objective.sel(strength=common).values - down.objective.sel(strength=common).values
        difference.plot(common, gap, ms=3, color=PALETTE[2], **thinned("o", common, moving))
        difference.axhline(0, color="#555555", lw=0.8)
        difference.set(title=r"$L_{\mathrm{eff}}$, up less down", ylabel="difference")
        if "objective_lambda_min" in up:
            _both(lowest, up, down, "objective_lambda_min", moving)
            lowest.axhline(0, color="#555555", lw=0.8)
        lowest.set(title=r"$\lambda_{\min}$ of $L_{\mathrm{eff}}$", ylabel=label("objective_lambda_min"))
        _both(score, up, down, name, moving)
        title_text = said(name, up).long_name
        score.set(title=title_text[:1].upper() + title_text[1:], ylabel=label(name, of=up))
        for axes in (lowest, score):
            strength_axis(axes, up.strength.values, moving)
        for axes in (order, difference, lowest, score):
            limits = axes.get_xlim()
            for loop in loops:
                _mark(axes, loop)
            axes.set_xlim(limits)
        handles, labels = order.get_legend_handles_labels()
        unique = dict(zip(labels, handles, strict=True))
        figure.legend(unique.values(), unique.keys(), loc="outside lower center", ncols=len(unique))
        figure.suptitle(title, x=0.01, ha="left", fontsize=9.5, color="#555555")
        return figure


def _both(axes: Axes, up: xr.Dataset, down: xr.Dataset, name: str, moving: Ends | None) -> None:
    for line, style, marker, colour, words in ((up, "-", "^", PALETTE[0], "way up"), (down, "--", "v", PALETTE[1], "way down")):
        few = thinned(marker, line.strength.values, moving)
        axes.plot(line.strength, line[name], style, ms=3.5, color=colour, label=words, **few)


def _mark(axes: Axes, loop: LoopMarks) -> None:
    for step, colour, words in ((loop.escape_up, PALETTE[0], "escape up"), (loop.escape_down, PALETTE[1], "escape down")):
        if all(map(math.isfinite, step)):
            band(axes, *step, color=colour, alpha=0.3, label=words)
    for place, style, colour, words in (
        (loop.maxwell, "-", "#000000", "Maxwell point"),
        (loop.spinodal_up, ":", PALETTE[0], "spinodal up"),
        (loop.spinodal_down, ":", PALETTE[1], "spinodal down"),
    ):
        if math.isfinite(place):
            axes.axvline(place, ls=style, color=colour, lw=1.3, label=words, zorder=1)
