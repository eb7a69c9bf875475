"""Branches of critical points: the bifurcation diagram, L_eff along it, the lowest curvatures, and the first metric."""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator
from scipy.interpolate import PchipInterpolator

from orograph.figures.labels import label
from orograph.figures.style import PALETTE, styled
from orograph.store.branch import DIVIDING

_LOOKS = (("-", PALETTE[0]), ("--", PALETTE[1]), ("-.", PALETTE[2]), (":", PALETTE[3]))  # by index, the last for all above
MARKS = {"fold": ("o", "fold"), "turn": ("s", "turn of q"), "branch": ("D", "branch point"), "end": ("X", "end")}
Row = Mapping[str, Any]
_UNKNOWN = ("-", "#555555")
_FINE = 12  # places drawn between two points, by monotone cubics in s


def bifurcations(tree: xr.DataTree, title: str = "") -> Figure:
    """Where critical points lie as λ changes, stable ones solid, others dashed and coloured by their index.

    Args:
        tree: what `open_run` gives for a run of `orograph follow`.
        title: the line above the figure.

    Returns:
        A matplotlib figure.
    """
    nodes: dict[str, xr.DataTree] = dict(tree.children)
    scored = all("test_accuracy" in node for node in nodes.values())

    def told(point: Row) -> float:  # of an event the loss alone is known
        if scored:
            return float(point["test_accuracy"])
        return float(point["objective"] - point["strength"] * point["order_parameter"])

    with styled():
        figure = Figure(figsize=(10, 7.4), layout="constrained")
        ((order, lowest), (energy, last)) = figure.subplots(2, 2)
        seen: set[int] = set()
        marked: set[str] = set()
        rows = {name: _rows(node.to_dataset(), "point") for name, node in nodes.items()}
        excess = less_chord([point for each in rows.values() for point in each])
        for name, node in nodes.items():
            events = _rows(node.children["events"].to_dataset(), "event") if "events" in node.children else []
            seen |= course(order, rows[name], events, lambda point: point["order_parameter"])
            course(energy, rows[name], events, excess)
            course(last, rows[name], [] if scored else events, told)
            for axes, value in ((order, lambda point: point["order_parameter"]), (energy, excess)):
                marked |= mark(axes, events, value)
            _lowest(lowest, node.to_dataset())
        order.set(
            title=r"Order parameter $q = \|\theta-\theta_{\mathrm{ref}}\|^2$",
            xlabel=label("strength"),
            ylabel=label("order_parameter"),
        )
        energy.set(title=r"$L_{\mathrm{eff}}$, less its chord", xlabel=label("strength"), ylabel=label("excess"))
        lowest.axhline(0, color="#555555", lw=0.8)
        lowest.set(
            title=r"Lowest eigenvalues of $H + 2\lambda I$", xlabel=label("arclength"), ylabel=label("eigenvalue_of_objective")
        )
        lowest.set_yscale("symlog", linthresh=_threshold(nodes))
        last.set(title="Test accuracy" if scored else "Training loss", xlabel=label("strength"))
        last.set_ylabel(label("test_accuracy" if scored else "train_loss"))
        for axes in (order, energy, last):
            axes.xaxis.set_major_locator(MaxNLocator(5))
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.6g}"))
        handles = [handle(index) for index in sorted(seen)]
        handles += [legend_of(kind) for kind in MARKS if kind in marked]
        figure.legend(handles=handles, loc="outside lower center", ncols=max(1, len(handles)))
        figure.suptitle(title, x=0.01, ha="left", fontsize=9.5, color="#555555")
        return figure


def handle(index: int) -> Line2D:
    """The entry of a legend for points of this index, −1 where it is not known."""
    style, colour = look(index)
    words = "index not known" if index < 0 else "minimum" if index == 0 else f"saddle of index {index}"
    return Line2D([], [], ls=style, color=colour, label=words + (" or more" if index == len(_LOOKS) - 1 else ""))


def legend_of(kind: str) -> Line2D:
    """The entry of a legend for events of this kind."""
    return Line2D([], [], ls="", label=MARKS[kind][1], **_looks(kind))


def _looks(kind: str) -> dict[str, Any]:
    """How an event is drawn: a turn of q, where nothing becomes stable or unstable, smaller and fainter than the others."""
    faint = kind == "turn"
    return {"marker": MARKS[kind][0], "color": "#888888" if faint else "#222222", "mfc": "white", "ms": 3.5 if faint else 6}


def look(index: int) -> tuple[str, str]:
    """The style and the colour of points of this index."""
    return _UNKNOWN if index < 0 else _LOOKS[min(index, len(_LOOKS) - 1)]


def course(axes: Axes, points: Sequence[Row], events: Sequence[Row], value: Callable[[Row], float]) -> set[int]:
    """A branch as lines of one look each, which meet in its events; the indices there are, as `look` takes them.

    Args:
        axes: to draw on, over λ.
        points: numbers of each point by name, in the order of the branch.
        events: likewise.
        value: what is drawn of each.
    """
    indices = [_index(point) for point in points]
    places = [(float(point["arclength"]), index) for point, index in zip(points, indices, strict=True)]
    for event in events:
        after = int(event["after"])
        if event["event_kind"] in DIVIDING and after + 1 < len(points):
            places.append((float(event["arclength"]), indices[after + 1]))
    places.sort()
    known = {float(each["arclength"]): (each["strength"], value(each)) for each in (*points, *events)}
    if len(known) < 2:
        return set(indices)
    arclengths = sorted(known)
    smooth = PchipInterpolator(arclengths, np.array([known[each] for each in arclengths], dtype=float))
    seen = set()
    for index, group in itertools.groupby(itertools.pairwise(places), key=lambda pair: pair[0][1]):
        style, colour = look(index)
        line = smooth(np.concatenate([np.linspace(first[0], second[0], _FINE) for first, second in group]))
        axes.plot(line[:, 0], line[:, 1], style, color=colour, lw=1.5)
        seen.add(index)
    return seen


def mark(axes: Axes, events: Sequence[Row], value: Callable[[Row], float]) -> set[str]:
    """The events of a branch as markers; which kinds there are."""
    for event in events:
        kind = str(event["event_kind"])
        axes.plot(event["strength"], value(event), ls="", zorder=3 if kind == "turn" else 3.1, **_looks(kind))
    return {str(event["event_kind"]) for event in events}


def less_chord(points: Sequence[Row]) -> Callable[[Row], float]:
    """L_eff less the line between its lowest values at both ends of the range of λ."""
    low, high = (choose(float(each["strength"]) for each in points) for choose in (min, max))
    first, last = (min(float(each["objective"]) for each in points if each["strength"] == end) for end in (low, high))
    slope = (last - first) / (high - low) if high > low else 0.0
    return lambda point: float(point["objective"]) - first - slope * (float(point["strength"]) - low)


def _index(point: Row) -> int:
    """That of a point, −1 where it is not known, one number for all that have the last look."""
    found = point.get("objective_negative_eigenvalues", math.nan)
    return -1 if math.isnan(found) else min(int(found), len(_LOOKS) - 1)


def _rows(ds: xr.Dataset, dim: str) -> list[Row]:
    """The numbers and texts of each point or event."""
    own = {str(name): each.values for name, each in ds.data_vars.items() if each.dims == (dim,)}
    return [{name: values[place] for name, values in own.items()} for place in range(ds.sizes[dim])]


def _lowest(axes: Axes, points: xr.Dataset) -> None:
    if "lowest_eigenvalues" not in points:
        return
    for number, colour in zip(range(points.sizes["lowest_mode"]), itertools.cycle(PALETTE)):
        axes.plot(points.arclength, points["lowest_eigenvalues"][:, number], color=colour, lw=1.2)


def _threshold(nodes: dict[str, xr.DataTree]) -> float:
    """Where the scale of the eigenvalues passes from linear to logarithmic: a tenth of their median size."""
    found = [
        np.abs(node.to_dataset()["lowest_eigenvalues"].values).ravel() for node in nodes.values() if "lowest_eigenvalues" in node
    ]
    sizes = np.concatenate(found) if found else np.ones(1)
    return float(max(np.median(sizes) / 10, 1e-12))
