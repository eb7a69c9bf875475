"""The atlas: all branches in one diagram, with ladders, jumps, Maxwell points and descents on it."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from orograph.figures.courses import MARKS, course, handle, legend_of, less_chord, mark
from orograph.figures.labels import label
from orograph.figures.style import PALETTE, styled

_LADDER, _MAXWELL, _DESCENT = "#888888", PALETTE[4], PALETTE[5]


def atlas(results: Mapping[str, Any], title: str = "") -> Figure:
    """Order parameter and L_eff of every branch that an atlas knows.

    Args:
        results: what `atlas.json` holds.
        title: the line above the figure.

    Returns:
        A matplotlib figure.
    """
    branches = [branch for run in results["branches"] for branch in run["branches"]]
    with styled():
        figure = Figure(figsize=(11, 5.4), layout="constrained")
        order, energy = figure.subplots(1, 2)
        chord = less_chord([point for branch in branches for point in branch["points"]])
        seen: set[int] = set()
        for branch in branches:
            seen |= course(order, branch["points"], branch["events"], lambda point: point["order_parameter"])
            course(energy, branch["points"], branch["events"], chord)
            mark(order, branch["events"], lambda event: event["order_parameter"])
            mark(energy, branch["events"], chord)
        for chain in _chains(results["ladders"]):
            for axes, values in ((order, [each["order_parameter"] for each in chain]), (energy, [chord(each) for each in chain])):
                axes.plot([each["strength"] for each in chain], values, ".", color=_LADDER, ms=5, zorder=2.5)
        certified = [each for each in results["maxwell"] if each["certified"]]
        for axes in (order, energy):
            for each in certified:
                axes.axvline(each["strength"], color=_MAXWELL, lw=1, ls=(0, (4, 2)), zorder=0)
            axes.xaxis.set_major_locator(MaxNLocator(5))
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.6g}"))
            axes.set_xlabel(label("strength"))
        for each in results["edges"]:
            if each["kind"] == "descent":
                _arrow(energy, each, results["barriers"], chord)
        order.set(title=r"Order parameter $q = \|\theta-\theta_{\mathrm{ref}}\|^2$", ylabel=label("order_parameter"))
        energy.set(title=r"$L_{\mathrm{eff}}$, less its chord", ylabel=label("excess"))
        kinds = {event["event_kind"] for branch in branches for event in branch["events"]}
        handles = [handle(index) for index in sorted(seen)]
        handles += [legend_of(kind) for kind in MARKS if kind in kinds]
        if results["ladders"]:
            handles.append(Line2D([], [], ls="", marker=".", color=_LADDER, label="trained points"))
        if certified:
            handles.append(Line2D([], [], ls=(0, (4, 2)), color=_MAXWELL, lw=1, label="equal depth (Maxwell)"))
        if any(each["kind"] == "descent" for each in results["edges"]):
            handles.append(Line2D([], [], ls="-", color=_DESCENT, lw=1.4, label="descent from a saddle"))
        figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 6))
        figure.suptitle(title, x=0.01, ha="left", fontsize=9.5, color="#555555")
        return figure


def _chains(points: Sequence[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    found: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for each in points:
        found.setdefault((each["run"], each["chain"]), []).append(each)
    return list(found.values())


def _arrow(axes: Axes, edge: Mapping[str, Any], barriers: Sequence[Mapping[str, Any]], chord: Any) -> None:
    """From a saddle down to where the descent ended."""
    saddle = next((each for each in barriers if (each["saddle"], each["strength"]) == (edge["from"], edge["strength"])), None)
    if saddle is None:
        return
    top = chord(saddle)
    arrow = {"arrowstyle": "->", "color": _DESCENT, "lw": 1.4}
    axes.annotate("", (edge["strength"], top - edge["height"]), (edge["strength"], top), arrowprops=arrow)
