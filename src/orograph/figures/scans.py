"""A scan of learning coefficients: how much of the number is the step's and the temperature's."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from orograph.degeneracy.coefficient import RHAT
from orograph.figures.marks import plain_ticks
from orograph.figures.style import PALETTE, styled

_MARKERS = "osD^vPX"


def coefficient_scan(rows: Sequence[Mapping[str, float]], title: str = "") -> Figure:
    """λ̂ and what it has beyond its quadratic against the step, a line a temperature: a plateau is where neighbours agree.

    Hollow markers are of chains that have not mixed (R̂ of 1.05 and more); dashed is the quadratic's number with what the step
    adds to it; a cell whose chains diverged is a cross at the foot.

    Args:
        rows: what `orograph.degeneracy.scan_learning_coefficient` gives.
        title: the line above the figure.

    Returns:
        A matplotlib figure.
    """
    with styled():
        figure = Figure(figsize=(9, 3.9), layout="constrained")
        left, right = figure.subplots(1, 2)
        handles = []
        for place, nbeta in enumerate(dict.fromkeys(row["nbeta"] for row in rows)):
            mine = sorted((row for row in rows if row["nbeta"] == nbeta), key=lambda row: row["step"])
            step, value, error, quadratic, bias, rhat = (
                np.array([row[name] for row in mine], dtype=float)
                for name in ("step", "coefficient", "error", "quadratic", "step_bias", "rhat")
            )
            colour, marker = PALETTE[place % len(PALETTE)], _MARKERS[place % len(_MARKERS)]
            x = step * nbeta
            mixed = rhat < RHAT
            for axes, heights in ((left, value), (right, value - quadratic)):
                axes.errorbar(x, heights, 1.96 * error, color=colour, capsize=2.5, lw=1.4)
                for of, fill in ((mixed, colour), (~mixed, "white")):
                    axes.plot(x[of], heights[of], marker, color=colour, mfc=fill, ms=5.5, zorder=3)
                if (lost := np.isnan(value)).any():
                    axes.plot(x[lost], np.full(lost.sum(), 0.03), "x", color=colour, ms=7, transform=axes.get_xaxis_transform())
            left.plot(x, quadratic + np.nan_to_num(bias), ls=(0, (4, 2)), color=colour, lw=1)
            handles.append(Line2D([], [], color=colour, marker=marker, label=f"nβ = {nbeta:.4g}"))
        right.axhline(0, color="#555555", lw=0.8, zorder=2)
        for axes in (left, right):
            axes.set(xscale="log", xlabel="step ε in units of 1/nβ")
            plain_ticks(axes.xaxis)
        left.set(title="Local learning coefficient", ylabel="λ̂ ± 95 %")
        right.set(title="Beyond its quadratic", ylabel="λ̂ less that of the quadratic ± 95 %")
        handles.append(Line2D([], [], color="#555555", ls=(0, (4, 2)), lw=1, label="quadratic, at this step"))
        if any(not row["rhat"] < RHAT for row in rows):
            handles.append(Line2D([], [], color="#555555", ls="", marker="o", mfc="white", label="not mixed"))
        if any(np.isnan(row["coefficient"]) for row in rows):
            handles.append(Line2D([], [], color="#555555", ls="", marker="x", label="diverged"))
        figure.legend(handles=handles, loc="outside lower center", ncols=3)
        figure.suptitle(title, x=0.01, ha="left", fontsize=9.5, color="#555555")
        return figure
