"""How the networks of a study were trained: losses, accuracies, gradients, norms, gaps and the edge of stability, by epoch."""

from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from orograph.figures.labels import label, said
from orograph.figures.marks import plain_ticks
from orograph.figures.study_looks import Look, grouped, looks, mean_and_range, nothing, stacked
from orograph.figures.style import Picture, styled
from orograph.store.wording import Score, Wording, wording_of_results

_GAP = "Generalisation gap"
_LOSS = ("Loss", (("train_loss", "-"), ("test_loss", "--")), "log")
_PANELS = (
    (_GAP, (("gap", "-"),), "linear"),
    ("Gradient norm", (("gradient_norm", "-"),), "log"),
    ("Decay of the gradient", (("gradient_decay", "-"),), "linear"),
    ("Parameter norm", (("parameter_norm", "-"),), "linear"),
)
_TRACKED = (
    ("Largest eigenvalue", (("lambda_max", "-"),)),
    ("Edge of stability", (("stability", "-"),)),
    ("Preconditioned", (("preconditioned_stability", "-"),)),
)


def training_curves(results: Mapping[str, Any], title: str = "") -> Figure:
    """Six quantities by epoch, one line a configuration (mean over seeds, a band from least to most); fewer without test data or
    metrics, and a row more where curvature was tracked.

    Args:
        results: of a study; `histories` is what is drawn.
        title: the line above the figure.

    Returns:
        A matplotlib figure.
    """
    entries = results.get("histories", [])
    groups, look = grouped(entries), looks(str(entry["configuration"]) for entry in entries)
    tracked = any(entry.get("curvature") for entry in entries)
    wording, tested = wording_of_results(results), not entries or any("test_loss" in entry for entry in entries)
    drawn = [panel for panel in (_LOSS, *_scores(wording.score), *_PANELS) if tested or panel[0] != _GAP]
    with styled():
        rows = 3 if tracked else 2
        figure = Picture(figsize=(10, 2.7 * rows + 0.5), layout="constrained")
        grid = figure.subplots(rows, 3, squeeze=False)
        for axes in grid[:2].flat[len(drawn) :]:
            axes.set_axis_off()
        for axes, (name, quantities, scale) in zip(grid[:2].flat, drawn, strict=False):
            axes.set(title=name, ylabel=_ylabel(quantities, wording), yscale=scale)
            _panel(axes, groups, look, quantities)
        if tracked:
            followed = {name: [each["curvature"] for each in group if each.get("curvature")] for name, group in groups.items()}
            for axes, (name, quantities) in zip(grid[2], _TRACKED, strict=True):
                axes.set(title=name, ylabel=_ylabel(quantities, wording), yscale="log")
                _panel(axes, followed, look, quantities, marked=True)
                for edge in _edges(name, followed):
                    axes.axhline(edge, color="#555555", lw=0.9, ls=(0, (1, 1)))
        for axes in grid[-1]:
            axes.set_xlabel(label("epoch"))
        handles = [each.handle(line=False) for each in look.values()] if len(look) > 1 else []
        sets = (("train", "-"), ("test", "--")) if tested else (("train", "-"),)
        handles += [Line2D([], [], color="#555555", ls=line, label=name) for name, line in sets]
        figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 5))
        figure.suptitle(title, x=0.01, ha="left", fontsize=9.5, color="#555555")
        return figure


def _scores(score: Score | None) -> list[tuple[str, tuple[tuple[str, str], ...], str]]:
    """The panel of the problem's first metric."""
    if score is None:
        return []
    title = score.label[:1].upper() + score.label[1:]
    return [(title, ((f"train_{score.name}", "-"), (f"test_{score.name}", "--")), "linear")]


def _ylabel(quantities: tuple[tuple[str, str], ...], wording: Wording) -> str:
    """Of one quantity its name; of the same on both sets its unit."""
    (name, _), *others = quantities
    if not others:
        return label(name, of=wording)
    units = said(name, wording).units
    return "" if units == "1" else units


def _edges(panel: str, followed: Mapping[str, list[Mapping[str, Any]]]) -> set[float]:
    """Where training becomes unstable: 1, and 1 + β for gradient descent with momentum."""
    if panel == "Preconditioned":
        return {1.0}
    if panel != "Edge of stability":
        return set()
    return {edge for group in followed.values() for each in group for edge in each.get("edge", [1.0])}


def _panel(
    axes: Axes,
    groups: Mapping[str, list[Mapping[str, Any]]],
    look: Mapping[str, Look],
    quantities: tuple[tuple[str, str], ...],
    *,
    marked: bool = False,
) -> None:
    drawn = []
    for name, group in groups.items():
        for drawn_name, line in quantities:
            epochs, rows = stacked(group, "epoch", drawn_name)
            if axes.get_yscale() == "log":
                rows = np.where(rows > 0, rows, np.nan)
            sparse = max(1, len(epochs) // 8)
            each = look[name]
            marker = each.marker if marked or len(look) > 1 else ""
            mean_and_range(axes, epochs, rows, colour=each.colour, line=line, marker=marker, markevery=sparse)
            drawn.append(rows)
    if not any(np.isfinite(rows).any() for rows in drawn):
        axes.set_yscale("linear")
        nothing(axes)
        return
    axes.xaxis.set_major_locator(mpl.ticker.MaxNLocator(6, integer=True))
    low, high = axes.get_ylim()
    if axes.get_yscale() == "log" and high < 100 * low:
        plain_ticks(axes.yaxis)
