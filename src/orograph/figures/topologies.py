"""The topology of a surface: its merge tree, and the barcode of what appears and vanishes as the level rises."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from orograph.figures.labels import label
from orograph.figures.style import PALETTE, Picture, styled
from orograph.store.wording import Wording
from orograph.topology.diagrams import Diagram
from orograph.topology.merging import MergeTree, left_to_right

_MOST = 40  # minima or bars that a figure shows
_KINDS = ("components", "loops", "voids")


def merge_tree(tree: MergeTree, title: str = "", *, quantity: str = "train_loss", wording: Wording | None = None) -> Figure:
    """Minima as the lower ends of lines, which end at the saddle where a deeper one is met; an arrow meets none.

    Where a surface has more than 40 minima, those that last longest are drawn. Heights are on a logarithmic axis where they are
    positive and span more than a decade.

    Args:
        tree: what `orograph.merge_tree` gives.
        title: the line above the figure.
        quantity: what the heights are.
        wording: how the run is spoken of.

    Returns:
        A matplotlib figure.
    """
    shown = np.sort(np.argsort(-tree.persistence, kind="stable")[:_MOST])  # with a minimum the one in which it ends, too
    met = np.isfinite(tree.saddle_heights)
    top = np.where(met, tree.saddle_heights, _beyond([*tree.heights, *tree.saddle_heights[met]]))
    places = dict(zip(left_to_right(tree, shown.tolist()), range(len(shown)), strict=True))
    with styled():
        figure = Picture(figsize=(6.5, 4.4), layout="constrained")
        axes = figure.subplots()
        for minimum in shown.tolist():
            x, parent, ends = places[minimum], int(tree.parents[minimum]), [tree.heights[minimum], top[minimum]]
            axes.plot([x, x], ends, color=PALETTE[0], lw=1.6 if parent >= 0 else 2.4, solid_capstyle="butt")
            if parent >= 0:
                axes.plot([x, places[parent]], [top[minimum]] * 2, color=PALETTE[0], lw=1.2)
                axes.plot(places[parent], top[minimum], "s", color=PALETTE[1], ms=4.5, zorder=3)
            else:
                axes.plot(x, top[minimum], "^", color=PALETTE[0], ms=7)
            inner = "white" if tree.at_border[minimum] else PALETTE[0]
            axes.plot(x, tree.heights[minimum], "o", color=PALETTE[0], mfc=inner, ms=6, mew=1.4, zorder=3)
        _scale(axes, "y", [*tree.heights[shown], *top[shown]])
        axes.set(xticks=[], ylabel=label(quantity, of=wording), xlim=(-0.6, len(shown) - 0.4))
        axes.set_title("Merge tree" + _of(len(shown), len(tree.heights), "minima"))
        axes.spines["bottom"].set_visible(False)
        axes.grid(visible=False, axis="x")
        handles = [Line2D([], [], ls="", marker="o", color=PALETTE[0], ms=6, label="minimum")]
        if tree.at_border[shown].any():
            border = Line2D(
                [], [], ls="", marker="o", color=PALETTE[0], mfc="white", ms=6, mew=1.4, label="at the border of the grid"
            )
            handles.append(border)
        if (tree.parents[shown] >= 0).any():
            handles.append(Line2D([], [], ls="", marker="s", color=PALETTE[1], ms=4.5, label="saddle"))
        figure.legend(handles=handles, loc="outside lower center", ncols=3)
        figure.suptitle(title, x=0.01, ha="left", fontsize=9.5, color="#555555")
        return figure


def barcode(diagram: Diagram, title: str = "", *, quantity: str = "train_loss", wording: Wording | None = None) -> Figure:
    """Bars from the level at which a component, a loop or a void appears to the one at which it vanishes, by dimension.

    Of each dimension the 40 that last longest are drawn; an arrow goes on without end. Levels are on a logarithmic axis where
    they are positive and span more than a decade.

    Args:
        diagram: what `orograph.persistence` gives.
        title: the line above the figure.
        quantity: what the levels are.
        wording: how the run is spoken of.

    Returns:
        A matplotlib figure.
    """
    finite = np.concatenate([diagram.births, diagram.deaths[np.isfinite(diagram.deaths)]])
    ends, drawn = _beyond(finite.tolist()), 0
    width = min(3.0, 180 / sum(min(_MOST, int(count)) for count in np.bincount(diagram.dimensions)))
    with styled():
        figure = Picture(figsize=(6.5, 4.4), layout="constrained")
        axes = figure.subplots()
        for dimension in np.unique(diagram.dimensions).tolist():
            of = np.flatnonzero(diagram.dimensions == dimension)[:_MOST]  # what lasts longest comes first
            of = of[np.argsort(diagram.births[of], kind="stable")]
            rows, open_end = drawn + np.arange(len(of)), np.isinf(diagram.deaths[of])
            deaths = np.where(open_end, ends, diagram.deaths[of])
            kind = _KINDS[dimension] if dimension < len(_KINDS) else f"dimension {dimension}"
            name = kind + _of(len(of), int((diagram.dimensions == dimension).sum()))
            axes.hlines(rows, diagram.births[of], deaths, color=PALETTE[dimension % len(PALETTE)], lw=width, label=name)
            axes.plot(deaths[open_end], rows[open_end], ">", color=PALETTE[dimension % len(PALETTE)], ms=7)
            drawn += len(of) + 1
        _scale(axes, "x", [*finite, ends])
        axes.set(yticks=[], xlabel=label(quantity, of=wording), ylim=(drawn - 0.4, -1.6))
        axes.set_title("Barcode")
        axes.spines["left"].set_visible(False)
        axes.grid(visible=False, axis="y")
        figure.legend(loc="outside lower center", ncols=3)
        figure.suptitle(title, x=0.01, ha="left", fontsize=9.5, color="#555555")
        return figure


def _beyond(heights: Sequence[float]) -> float:
    """The end of what does not end: above all heights."""
    low, high = min(heights), max(heights)
    return high + (0.08 * (high - low) or 0.5)


def _scale(axes: Axes, which: str, heights: Sequence[float]) -> None:
    """Logarithmic where heights are positive and span more than a decade."""
    low, high = min(heights), max(heights)
    if low > 0 and high > 10 * low:
        getattr(axes, f"set_{which}scale")("log")


def _of(drawn: int, there: int, what: str = "") -> str:
    """How many are drawn of how many, where that is not all."""
    return "" if drawn == there else f", {drawn} of {there} {what}".rstrip()
