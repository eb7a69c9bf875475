"""The atlas: all branches in one diagram, with ladders, jumps, Maxwell points and descents on it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from orograph.figures.courses import course, deepest_of, height_above, heights, legend_handles, mark, strengths
from orograph.figures.labels import label
from orograph.figures.style import PALETTE, Picture, styled
from orograph.store.branch import DIVIDING
from orograph.store.stretches import Stretch, stretches_told
from orograph.store.wording import Wording

_LADDER, _MAXWELL, _DESCENT = "#888888", PALETTE[4], PALETTE[5]


def atlas(results: Mapping[str, Any], title: str = "", *, wording: Wording | None = None) -> Figure:
    """Order parameter and height of L_eff of every branch that an atlas knows.

    Args:
        results: what `atlas.json` holds.
        title: the line above the figure.
        wording: how its runs are spoken of.

    Returns:
        A matplotlib figure.
    """
    branches = [branch for run in results["branches"] for branch in run["branches"]]
    with styled():
        figure = Picture(figsize=(11, 5.4), layout="constrained")
        order, energy = figure.subplots(1, 2)
        deepest = deepest_of([(branch["points"], branch["events"]) for branch in branches])
        height = height_above(deepest)
        for branch in branches:
            shown = [event for event in branch["events"] if event["event_kind"] in DIVIDING]
            course(order, branch["points"], branch["events"], lambda point: point["order_parameter"])
            course(energy, branch["points"], branch["events"], above=deepest)
            mark(order, shown, lambda event: event["order_parameter"])
            mark(energy, shown, height)
        for chain in _chains(results["ladders"]):
            for axes, values in (
                (order, [each["order_parameter"] for each in chain]),
                (energy, [height(each) for each in chain]),
            ):
                axes.plot([each["strength"] for each in chain], values, ".", color=_LADDER, ms=5, zorder=2.5)
        certified = [each["strength"] for each in results["maxwell"] if each["certified"]]
        descents = [each for each in results["edges"] if each["kind"] == "descent"]
        for each in descents:
            _arrow(energy, each, results["barriers"], height)
        heights(energy, of=wording)
        _lost(order, results["lost_classes"], stretches_told(results))
        for axes in (order, energy):
            for each in certified:
                axes.axvline(each, color=_MAXWELL, lw=1.2, ls=(0, (4, 2)), zorder=0)
            _crop(axes, branches, certified)
            strengths(axes)
        order.set(title=r"Order parameter $q = \|\theta-\theta_{\mathrm{ref}}\|^2$", ylabel=label("order_parameter"))
        handles = legend_handles((order, energy))
        if results["ladders"]:
            handles.append(Line2D([], [], ls="", marker=".", color=_LADDER, label="trained points"))
        if certified:
            handles.append(Line2D([], [], ls=(0, (4, 2)), color=_MAXWELL, lw=1.2, label="equal depth (Maxwell)"))
        if descents:
            handles.append(Line2D([], [], ls="-", color=_DESCENT, lw=1.4, label="descent from a saddle"))
        if results["lost_classes"]:
            handles.append(Line2D([], [], ls="", marker="v", color="#222222", ms=5, label="class no longer told"))
        figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 4 if len(handles) > 6 else 6))
        figure.suptitle(title, x=0.01, ha="left", fontsize=9.5, color="#555555")
        return figure


def _crop(axes: Axes, branches: Sequence[Mapping[str, Any]], certified: Sequence[float]) -> None:
    """Shows the strengths where something happens, and a sixth more; beyond, branches only go on as they are."""
    happens = [event["strength"] for each in branches for event in each["events"] if event["event_kind"] in DIVIDING]
    happens += certified
    if len(happens) < 2:
        return
    known = [point["strength"] for each in branches for point in each["points"]]
    margin = (max(happens) - min(happens)) / 6
    low, high = max(min(known), min(happens) - margin), min(max(known), max(happens) + margin)
    axes.set_xlim(low - margin / 4, high + margin / 4)
    if axes.get_yscale() == "linear":
        lines = [(np.asarray(line.get_xdata()), np.asarray(line.get_ydata())) for line in axes.lines if line.get_gid()]
        inside = np.concatenate([up[(low <= along) & (along <= high) & np.isfinite(up)] for along, up in lines])
        axes.set_ylim(inside.min() - 0.05 * np.ptp(inside), inside.max() + 0.05 * np.ptp(inside))


def _lost(axes: Axes, lost: Sequence[Mapping[str, Any]], known: Sequence[Stretch]) -> None:
    """Where a minimum no longer tells a class, its name above the branch; names that would meet stand on top of each other."""
    placed: list[tuple[float, int]] = []
    span = max((each.high for each in known), default=1.0) - min((each.low for each in known), default=0.0)
    by_name = {each.name: each for each in known}
    for each in sorted(lost, key=lambda one: one["strength"]):
        near = [row for at, row in placed if abs(each["strength"] - at) < 0.03 * span]
        row = next(number for number in range(len(near) + 1) if number not in near)
        placed.append((each["strength"], row))
        _, order = by_name[each["stretch"]].at(each["strength"])
        axes.plot(each["strength"], order, "v", color="#222222", ms=5, zorder=3.2)
        where: dict[str, Any] = {"xytext": (0, 7 + 10 * row), "textcoords": "offset points", "ha": "center", "fontsize": 8}
        axes.annotate(str(each["class"]), (each["strength"], order), **where)


def _chains(points: Sequence[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    found: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for each in points:
        found.setdefault((each["run"], each["chain"]), []).append(each)
    return list(found.values())


def _arrow(axes: Axes, edge: Mapping[str, Any], barriers: Sequence[Mapping[str, Any]], height: Callable[..., float]) -> None:
    """From a saddle down to where the descent ended."""
    saddle = next((each for each in barriers if (each["saddle"], each["strength"]) == (edge["from"], edge["strength"])), None)
    if saddle is None:
        return
    top = height(saddle)
    arrow = {"arrowstyle": "->", "color": _DESCENT, "lw": 1.4}
    axes.annotate("", (edge["strength"], top - edge["height"]), (edge["strength"], top), arrowprops=arrow)
