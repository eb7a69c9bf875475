"""Escapes from a metastable state: how many chains are left, and how the mean time goes with the barrier by the temperature."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from orograph.figures.style import PALETTE, Picture, styled

_MARKERS = "osD^vP*"
_DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (5, 2, 1, 2)), (0, (8, 2)))


def escapes(results: Mapping[str, Any], title: str = "") -> Figure:
    """Survival of every cell with its band and its exponential law, and log τ against ΔL_eff/T with both laws.

    Args:
        results: what `escape.json` holds.
        title: the line above the figure.

    Returns:
        A matplotlib figure.
    """
    strengths = [well["strength"] for well in results["wells"]]
    with styled():
        figure = Picture(figsize=(11, 4.8), layout="constrained")
        left, right = figure.subplots(1, 2)
        for cell in results["cells"]:
            if "survival" in cell:
                _survival(left, cell, strengths.index(cell["strength"]), results["cells"])
        left.set(
            title="Share of chains that are left", xlabel="steps × learning rate", ylabel="share", ylim=(0, 1.03), xlim=(0, None)
        )
        for number, well in enumerate(results["wells"]):
            cells = [cell for cell in results["cells"] if cell["strength"] == well["strength"] and cell.get("rate")]
            _times(right, well, cells, number)
            if results["laws"] is not None:
                _lines(right, results["laws"], well, cells, PALETTE[number % len(PALETTE)])
        right.set(
            title="Mean time until an escape",
            xlabel=r"$\Delta L_{\mathrm{eff}}\,/\,T$,  $T = \eta/B$",
            ylabel=r"$\tau$",
            yscale="log",
        )
        handles: list[Any] = [
            Line2D([], [], ls="", marker=_MARKERS[i % 7], color=PALETTE[i % 7], label=f"λ = {strength:g}")
            for i, strength in enumerate(strengths)
        ]
        handles.append(Line2D([], [], ls=":", color="#555555", lw=1, label="exponential"))
        handles.append(Patch(color="#cccccc", label="95 %"))
        if results["laws"] is not None:
            handles.append(Line2D([], [], color="#222222", label="Arrhenius"))
            handles.append(Line2D([], [], color="#222222", ls="--", label="power law"))
        figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 8))
        figure.suptitle(title or _verdict(results), x=0.01, ha="left", fontsize=9.5, color="#555555")
        return figure


def _survival(axes: Axes, cell: Mapping[str, Any], number: int, cells: Any) -> None:
    """Kaplan and Meier's steps, Greenwood's band, and the exponential law of the rate."""
    curve = {
        name: np.array([np.nan if each is None else each for each in values], dtype=float)
        for name, values in cell["survival"].items()
    }
    times, share = np.concatenate([[0.0], curve["times"]]), np.concatenate([[1.0], curve["share"]])
    place = [each["temperature"] for each in cells if each["strength"] == cell["strength"]].index(cell["temperature"])
    color, dash = PALETTE[number % len(PALETTE)], _DASHES[place % len(_DASHES)]
    axes.step(times, share, where="post", color=color, ls=dash, lw=1.4)
    axes.fill_between(curve["times"], curve["low"], curve["high"], step="post", color=color, alpha=0.1, lw=0)
    grid = np.linspace(0, times[-1], 100)
    axes.plot(grid, np.exp(-cell["rate"] * grid), color=color, ls=":", lw=1)


def _times(axes: Axes, well: Mapping[str, Any], cells: Any, number: int) -> None:
    """The mean time of each cell, with its interval."""
    for cell in cells:
        tau = 1 / cell["rate"]
        margins = [[tau - 1 / cell["rate_high"]], [1 / cell["rate_low"] - tau]]
        place = well["height"] / cell["temperature"]
        axes.errorbar([place], [tau], margins, fmt=_MARKERS[number % 7], color=PALETTE[number % 7], ms=5, lw=1, capsize=2)


def _lines(axes: Axes, laws: Mapping[str, Any], well: Mapping[str, Any], cells: Any, color: str) -> None:
    """Both laws over the temperatures of a strength."""
    if not cells or not well["height"] > 0:
        return
    known = [1 / cell["temperature"] for cell in cells]
    inverse = np.linspace(min(known), max(known), 50)
    ratio = math.log((well["objective"] + well["height"]) / well["objective"])
    one, other = laws["arrhenius"]["coefficients"], laws["power"]["coefficients"]
    axes.plot(well["height"] * inverse, np.exp(one["a"] + one["b"] * well["height"] * inverse), color=color, lw=1.2)
    power = other["a"] + other["b"] * inverse * ratio
    axes.plot(well["height"] * inverse, np.exp(power), color=color, lw=1.2, ls="--")


def _verdict(results: Mapping[str, Any]) -> str:
    laws = results["laws"]
    return "no law was fitted" if laws is None else f"Arrhenius against power law: {laws['verdict']}"
