"""Branches of critical points: the bifurcation diagram, how deep they lie, the lowest curvatures, and the first metric.

L_eff of all branches at one λ differs by far less than it changes along λ. So it is drawn as the height above the deepest known
critical point at the same λ: 0 for the global minimum as far as it is known, and where branches cross 0 they are equally deep.
Between points L_eff is a cubic in λ with its exact slopes dL_eff/dλ = q.
"""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, MaxNLocator, ScalarFormatter
from scipy.interpolate import CubicHermiteSpline, PchipInterpolator

from orograph.figures.labels import label, said
from orograph.figures.style import PALETTE, Picture, styled
from orograph.store.branch import DIVIDING
from orograph.store.stretches import course_told, divided
from orograph.store.wording import Wording

_LOOKS = (("-", PALETTE[0]), ("--", PALETTE[1]), ("-.", PALETTE[2]), (":", PALETTE[3]))  # by index, the last for all above
MARKS = {"fold": ("o", "fold"), "turn": ("s", "turn of q"), "branch": ("D", "branch point"), "end": ("X", "end")}
_ORDER = ("lowest", "second", "third", "fourth")
_SHADES = ("#222222", "#777777", "#a5a5a5", "#c8c8c8")  # no colour of an index
Row = Mapping[str, Any]
_UNKNOWN = ("-", "#555555")
_FINE = 12  # places drawn between two points, by monotone cubics in s
_SEEN = 0.02  # of a panel's width or height: what is smaller is not in the legend
_DECADES = 3  # of heights drawn logarithmically; below, linearly
Deepest = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


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
        figure = Picture(figsize=(11, 7.4), layout="constrained")
        ((order, lowest), (energy, last)) = figure.subplots(2, 2)
        words = next(iter(nodes.values())).to_dataset()
        rows = {name: _rows(node.to_dataset(), "point") for name, node in nodes.items()}
        events = {
            name: _rows(node.children["events"].to_dataset(), "event") if "events" in node.children else []
            for name, node in nodes.items()
        }
        deepest = deepest_of([(rows[name], events[name]) for name in nodes])
        for name, node in nodes.items():
            course(order, rows[name], events[name], lambda point: point["order_parameter"])
            course(energy, rows[name], events[name], above=deepest)
            course(last, rows[name], [] if scored else events[name], told, straight=scored)
            for axes, value in ((order, lambda point: point["order_parameter"]), (energy, height_above(deepest))):
                mark(axes, events[name], value)
            _lowest(lowest, node.to_dataset(), events[name], named=name == next(iter(nodes)))
        order.set(title=r"Order parameter $q = \|\theta-\theta_{\mathrm{ref}}\|^2$", ylabel=label("order_parameter"))
        heights(energy, of=words)
        lowest.axhline(0, color="#555555", lw=0.8)
        lowest.set(
            title=r"Lowest eigenvalues of $H + 2\lambda I$", xlabel="arclength s along the branch", ylabel=label("eigenvalue")
        )
        lowest.set_yscale("symlog", linthresh=_threshold(nodes))
        lowest.yaxis.set_major_locator(FixedLocator(_decades(_threshold(nodes))))
        if lowest.lines:
            lowest.legend(loc="best")
        last.set(title="Test accuracy" if scored else "Training loss")
        last.set_ylabel(label("test_accuracy" if scored else "train_loss", of=words))
        for axes in (order, energy, last):
            strengths(axes)
        handles = legend_handles((order, energy, last))
        figure.legend(handles=handles, loc="outside lower center", ncols=max(1, len(handles)))
        figure.suptitle(title, x=0.01, ha="left", fontsize=9.5, color="#555555")
        return figure


def strengths(axes: Axes) -> None:
    """λ on the axis, with few ticks of as many digits each."""
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(ScalarFormatter(useOffset=False))
    axes.set_xlabel(label("strength"))


def heights(axes: Axes, *, of: xr.Dataset | Wording | None = None) -> None:
    """An axis of heights above the deepest known: linear near 0, logarithmic above, and never below."""
    axes.set_title(r"Height of $L_{\mathrm{eff}}$ above the deepest known")
    unit = said("objective", of).units
    axes.set_ylabel("height" if unit == "1" else f"height ({unit})")
    drawn = [line.get_ydata() for line in axes.lines if line.get_gid()]
    top = max((float(np.nanmax(each)) for each in drawn), default=0.0)
    if top > 0:
        threshold = 10.0 ** (math.floor(math.log10(top)) - _DECADES)
        axes.set_yscale("symlog", linthresh=threshold, linscale=0.6)
        axes.set_ylim(-0.25 * threshold, 2 * top)


def legend_handles(panels: Sequence[Axes]) -> list[Line2D]:
    """An entry for each index and each event that can be seen in a panel."""
    indices, kinds = set(), set()
    for axes in panels:
        box = axes.viewLim
        for line in axes.lines:
            name, _, of = str(line.get_gid() or "").partition(" ")
            if name == "event":
                kinds.add(of)
            elif name == "index":
                along, up = (np.asarray(each, dtype=float) for each in line.get_data())
                if (
                    max(np.ptp(along) / box.width, np.nanmax(up, initial=-np.inf) / box.height - np.nanmin(up) / box.height)
                    > _SEEN
                ):
                    indices.add(int(of))
    return [handle(index) for index in sorted(indices)] + [legend_of(kind) for kind in MARKS if kind in kinds]


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


def course(
    axes: Axes,
    points: Sequence[Row],
    events: Sequence[Row],
    value: Callable[[Row], float] | None = None,
    *,
    above: Deepest | None = None,
    straight: bool = False,
) -> None:
    """A branch as lines of one look each, which meet in its events.

    Args:
        axes: to draw on, over λ.
        points: numbers of each point by name, in the order of the branch.
        events: likewise.
        value: what is drawn of each; None for L_eff.
        above: what L_eff is drawn above, interrupted where that jumps.
        straight: whether between points the value goes straight, as of what is counted; else by monotone cubics in s.
    """
    indices = [_index(point) for point in points]
    places = [(float(point["arclength"]), index) for point, index in zip(points, indices, strict=True)]
    for event in events:
        after = int(event["after"])
        if event["event_kind"] in DIVIDING and after + 1 < len(points):
            places.append((float(event["arclength"]), indices[after + 1]))
    places.sort()
    knots = _knots(points, events)
    if len(knots) < 2:
        return
    for index, group in itertools.groupby(itertools.pairwise(places), key=lambda pair: pair[0][1]):
        style, colour = look(index)
        at = np.concatenate([np.linspace(first[0], second[0], _FINE) for first, second in group])
        strength, deep = _energies(knots, at)
        if value is None:
            shown = deep if above is None else _unbroken(deep, above, strength)
        else:
            arclengths, values = [each["arclength"] for each in knots], [float(value(each)) for each in knots]
            shown = np.interp(at, arclengths, values) if straight else PchipInterpolator(arclengths, values)(at)
        axes.plot(strength, shown, style, color=colour, lw=1.8, gid=f"index {index}")


def mark(axes: Axes, events: Sequence[Row], value: Callable[[Row], float]) -> None:
    """The events of a branch as markers."""
    divides = [float(each["strength"]) for each in events if each["event_kind"] in DIVIDING]
    for event in events:
        kind, at = str(event["event_kind"]), float(event["strength"])
        if kind == "turn" and any(abs(each - at) < 0.01 * abs(at) for each in divides):
            continue  # q turns just beside every fold
        looks = {"zorder": 3 if kind == "turn" else 3.1, "gid": f"event {kind}", **_looks(kind)}
        axes.plot(at, value(event), ls="", **looks)


def height_above(deepest: Deepest) -> Callable[[Row], float]:
    """L_eff of a point or an event above the deepest known at its λ."""
    return lambda row: float(row["objective"]) - float(deepest(np.array([float(row["strength"])]))[0][0])


def deepest_of(branches: Sequence[tuple[Sequence[Row], Sequence[Row]]]) -> Deepest:
    """The least L_eff of all branches (points and events of each) over λ, and where it jumps because one begins or ends."""
    told = [course_told(str(number), points, events) for number, (points, events) in enumerate(branches)]
    stretches = [each for course in told for each in divided(Path(course.name), course)]
    known = [(each.low, each.high, each.energy) for each in stretches if each.energy is not None]
    ranges = np.array([ends for *ends, _ in known])

    def deepest(strength: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        found, stretch = np.full(len(strength), np.inf), np.zeros(len(strength), dtype=int)
        for number, (low, high, energy) in enumerate(known):
            values = np.where((strength >= low) & (strength <= high), energy(strength), np.inf)
            stretch[values < found] = number
            found = np.minimum(found, values)
        if not known:
            return found, np.zeros(len(strength), dtype=bool)
        lows, highs = ranges[stretch].T
        # It goes on where what was deepest still is there and what is deepest was there before, or where both meet in an event.
        starts = (lows[1:] <= strength[:-1]) & (strength[:-1] <= highs[1:])
        goes_on = (lows[:-1] <= strength[1:]) & (strength[1:] <= highs[:-1])
        meet = (lows[1:] == highs[:-1]) | (highs[1:] == lows[:-1])
        return found, np.concatenate([[False], ~(starts & goes_on | meet)])

    return deepest


def _unbroken(deep: np.ndarray, above: Deepest, strength: np.ndarray) -> np.ndarray:
    """Heights, missing where what they are above begins anew, or is not known (between two events of one step)."""
    reference, jumps = above(strength)
    return np.where(jumps | ~np.isfinite(reference), np.nan, deep - reference)


def _knots(points: Sequence[Row], events: Sequence[Row]) -> list[Row]:
    """Points and events in the order of s, each place once."""
    return [row for _, row in sorted({float(each["arclength"]): each for each in (*points, *events)}.items())]


def _hermite(first: Row, second: Row) -> CubicHermiteSpline:
    ends = (first, second)
    where, value, slope = ([float(each[name]) for each in ends] for name in ("strength", "objective", "order_parameter"))
    return CubicHermiteSpline(where, value, slope)


def _energies(knots: Sequence[Row], at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """λ and L_eff at places along s."""
    arclengths = np.array([float(each["arclength"]) for each in knots])
    strength = PchipInterpolator(arclengths, [float(each["strength"]) for each in knots])(at)
    deep = np.empty(len(at))
    piece = np.clip(np.searchsorted(arclengths, at, side="right") - 1, 0, len(knots) - 2)
    for number in np.unique(piece):
        inside, ends = piece == number, sorted(knots[number : number + 2], key=lambda each: float(each["strength"]))
        if float(ends[0]["strength"]) == float(ends[1]["strength"]):
            deep[inside] = np.interp(at[inside], arclengths[number : number + 2], [float(each["objective"]) for each in ends])
        else:
            deep[inside] = _hermite(*ends)(strength[inside])
    return strength, deep


def _index(point: Row) -> int:
    """That of a point, −1 where it is not known, one number for all that have the last look."""
    found = point.get("objective_negative_eigenvalues", math.nan)
    return -1 if math.isnan(found) else min(int(found), len(_LOOKS) - 1)


def _rows(ds: xr.Dataset, dim: str) -> list[Row]:
    """The numbers and texts of each point or event."""
    own = {str(name): each.values for name, each in ds.data_vars.items() if each.dims == (dim,)}
    return [{name: values[place] for name, values in own.items()} for place in range(ds.sizes[dim])]


def _lowest(axes: Axes, points: xr.Dataset, events: Sequence[Row], *, named: bool) -> None:
    """The lowest eigenvalues along s, the events on the line of zero."""
    if "lowest_eigenvalues" not in points:
        return
    for number in range(points.sizes["lowest_mode"]):
        name, colour = _ORDER[number] if number < len(_ORDER) else None, _SHADES[min(number, len(_SHADES) - 1)]
        values = points["lowest_eigenvalues"][:, number]
        axes.plot(points.arclength, values, color=colour, lw=1.4, label=name if named else None)
    for event in events:
        if event["event_kind"] in DIVIDING:
            axes.plot(event["arclength"], 0.0, ls="", zorder=3.1, **_looks(str(event["event_kind"])))


def _decades(threshold: float) -> list[float]:
    """0 and the powers of ten that stand clear of it on such a scale."""
    first = math.ceil(math.log10(3 * threshold))
    powers = [10.0**power for power in range(first, first + 12)]
    return [*(-each for each in reversed(powers)), 0.0, *powers]


def _threshold(nodes: dict[str, xr.DataTree]) -> float:
    """Where the scale of the eigenvalues passes from linear to logarithmic: a tenth of their median size."""
    found = [
        np.abs(node.to_dataset()["lowest_eigenvalues"].values).ravel() for node in nodes.values() if "lowest_eigenvalues" in node
    ]
    sizes = np.concatenate(found) if found else np.ones(1)
    return float(max(np.median(sizes) / 10, 1e-12))
