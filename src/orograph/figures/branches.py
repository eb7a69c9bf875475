"""Branches of critical points: the bifurcation diagram, L_eff along it, the lowest curvatures, and the first metric."""

import itertools

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator
from scipy.interpolate import PchipInterpolator

from orograph.figures.labels import label
from orograph.figures.style import PALETTE, styled

_LOOKS = (("-", PALETTE[0]), ("--", PALETTE[1]), ("-.", PALETTE[2]), (":", PALETTE[3]))  # by index, the last for all above
MARKS = {"fold": ("o", "fold"), "turn": ("s", "turn of q"), "branch": ("D", "branch point"), "end": ("X", "end")}
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
    score = "test_accuracy" if all("test_accuracy" in node for node in nodes.values()) else "train_loss"
    with styled():
        figure = Figure(figsize=(10, 7.4), layout="constrained")
        ((order, lowest), (energy, last)) = figure.subplots(2, 2)
        seen: set[int] = set()
        marked: set[str] = set()
        for node in nodes.values():
            events = node.children["events"].to_dataset() if "events" in node.children else None
            points = node.to_dataset()
            seen |= _course(order, points, events, "order_parameter")
            _course(energy, points, events, "excess")
            _course(last, points, events, score)
            marked |= _events(order, events, "order_parameter")
            _lowest(lowest, points)
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
        last.set(title="Test accuracy" if score == "test_accuracy" else "Training loss", xlabel=label("strength"))
        last.set_ylabel(label(score))
        for axes in (order, energy, last):
            axes.xaxis.set_major_locator(MaxNLocator(5))
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.6g}"))
        handles = [handle(index) for index in sorted(seen)]
        handles += [
            Line2D([], [], ls="", marker=MARKS[kind][0], color="#222222", mfc="white", ms=6, label=MARKS[kind][1])
            for kind in MARKS
            if kind in marked
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=max(1, len(handles)))
        figure.suptitle(title, x=0.01, ha="left", fontsize=9.5, color="#555555")
        return figure


def handle(index: int) -> Line2D:
    """The entry of a legend for points of this index, −1 where it is not known."""
    style, colour = look(index)
    words = "index not known" if index < 0 else "minimum" if index == 0 else f"saddle of index {index}"
    return Line2D([], [], ls=style, color=colour, label=words + (" or more" if index == len(_LOOKS) - 1 else ""))


def look(index: int) -> tuple[str, str]:
    """The style and the colour of points of this index."""
    return _UNKNOWN if index < 0 else _LOOKS[min(index, len(_LOOKS) - 1)]


def _indices(points: xr.Dataset) -> list[int]:
    """By point, −1 where it is not known, those of the last look together."""
    name = "objective_negative_eigenvalues"
    values = points[name].values if name in points else np.full(points.sizes["point"], np.nan)
    return [-1 if np.isnan(value) else min(int(value), len(_LOOKS) - 1) for value in values]


def _course(axes: Axes, points: xr.Dataset, events: xr.Dataset | None, name: str) -> set[int]:
    """A branch as lines of one look each, which meet in its events; which looks there are."""
    indices = _indices(points)
    arclengths, strengths = points.arclength.values, points.strength.values
    values = _values(points, points, name)
    places = list(zip(arclengths.tolist(), indices, strict=True))
    if events is not None:
        for kind, at, after in zip(*(events[each].values for each in ("event_kind", "arclength", "after")), strict=True):
            if kind in ("fold", "branch") and int(after) + 1 < len(indices):
                places.append((float(at), indices[int(after) + 1]))
    places.sort()
    seen = set()
    smooth = [PchipInterpolator(arclengths, each) for each in (strengths, values)] if len(strengths) > 1 else []
    for index, group in itertools.groupby(itertools.pairwise(places), key=lambda pair: pair[0][1]):
        pairs = list(group)
        style, colour = look(index)
        fine = np.concatenate([np.linspace(first[0], second[0], _FINE) for first, second in pairs])
        axes.plot(smooth[0](fine), smooth[1](fine), style, color=colour, lw=1.5)
        seen.add(index)
    return seen or {indices[0]}


def _values(of: xr.Dataset, points: xr.Dataset, name: str) -> np.ndarray:
    """Values of a quantity; `excess` is L_eff less its chord between the smallest and the largest λ of the branch."""
    if name != "excess":
        return np.asarray(of[name].values, dtype=float)
    strengths, energies = points.strength.values, points.objective.values
    first, last = int(np.argmin(strengths)), int(np.argmax(strengths))
    rise = (energies[last] - energies[first]) / max(strengths[last] - strengths[first], 1e-300)
    return np.asarray(of.objective.values - energies[first] - rise * (of.strength.values - strengths[first]), dtype=float)


def _events(axes: Axes, events: xr.Dataset | None, name: str) -> set[str]:
    if events is None:
        return set()
    kinds = [str(kind) for kind in events["event_kind"].values]
    for kind, strength, value in zip(kinds, events.strength.values, events[name].values, strict=True):
        axes.plot(strength, value, MARKS[kind][0], color="#222222", mfc="white", ms=6, zorder=3)
    return set(kinds)


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
