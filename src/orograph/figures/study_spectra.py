"""The spectra of a study's minima: the largest eigenvalues by rank, and how eigenvalues are distributed."""

from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from orograph.figures.labels import label
from orograph.figures.marks import plain_ticks
from orograph.figures.study_looks import Look, grouped, looks, mean_and_range, nothing, numbers
from orograph.figures.style import Picture, styled

_BINS = 14
_POINTS = 1024
_FILLED = 2  # more histograms than this would hide one another
_FAINTEST = 1e-8  # of the highest density: far below one eigenvalue of the whole


def spectra(results: Mapping[str, Any], title: str = "") -> Figure:
    """Eigenvalues by rank, a histogram of them, and the density of all where it was estimated.

    Args:
        results: of a study; `spectra` is what is drawn.
        title: the line above the figure.

    Returns:
        A matplotlib figure.
    """
    entries = [entry for entry in results.get("spectra", []) if entry.get("arrays", {}).get("eigenvalues")]
    groups, look = grouped(entries), looks(str(entry["configuration"]) for entry in entries)
    dense = any("density_values" in entry["arrays"] for entry in entries)
    with styled():
        figure = Picture(figsize=(10.5 if dense else 8, 3.7), layout="constrained")
        panels = figure.subplots(1, 3 if dense else 2)
        if entries:
            _by_rank(panels[0], groups, look)
            _histogram(panels[1], groups, look)
            if dense:
                _density(panels[2], groups, look)
        else:
            for axes in panels:
                nothing(axes)
        if len(look) > 1:
            handles = [each.handle() for each in look.values()]
            figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 4))
        figure.suptitle(title, x=0.01, ha="left", fontsize=9.5, color="#555555")
        return figure


def _by_rank(axes: Axes, groups: Mapping[str, list[Mapping[str, Any]]], look: Mapping[str, Look]) -> None:
    for name, group in groups.items():
        rows = _eigenvalues(group)
        each = look[name]
        mean_and_range(axes, np.arange(1, rows.shape[1] + 1), rows, colour=each.colour, line=each.line, marker=each.marker)
    everything = np.concatenate([_eigenvalues(group).ravel() for group in groups.values()])
    axes.set(title="Largest eigenvalues", xlabel="rank", ylabel=label("eigenvalue"))
    if np.nanmin(everything) > 0:
        axes.set_yscale("log")
        plain_ticks(axes.yaxis)
    axes.xaxis.set_major_locator(mpl.ticker.MaxNLocator(integer=True))


def _histogram(axes: Axes, groups: Mapping[str, list[Mapping[str, Any]]], look: Mapping[str, Look]) -> None:
    values = {name: _eigenvalues(group).ravel() for name, group in groups.items()}
    values = {name: each[np.isfinite(each)] for name, each in values.items()}
    everything = np.concatenate(list(values.values()))
    positive = everything.min() > 0 and everything.max() > everything.min()
    low, high = everything.min(), everything.max()
    span = high - low or abs(high) or 1.0
    edges = np.geomspace(low, high, _BINS + 1) if positive else np.linspace(low - 0.02 * span, high + 0.02 * span, _BINS + 1)
    for name, each in values.items():
        style = look[name]
        if len(values) <= _FILLED:
            axes.hist(each, edges.tolist(), histtype="stepfilled", color=style.colour, alpha=0.2)
        axes.hist(each, edges.tolist(), histtype="step", color=style.colour, ls=style.line, lw=1.4)
    minima = sum(len(group) for group in groups.values())
    axes.set(title="Histogram", xlabel=label("density_grid"), ylabel=f"number, over {minima} minima")
    if positive:
        axes.set_xscale("log")
        plain_ticks(axes.xaxis)
    axes.yaxis.set_major_locator(mpl.ticker.MaxNLocator(integer=True))


def _density(axes: Axes, groups: Mapping[str, list[Mapping[str, Any]]], look: Mapping[str, Look]) -> None:
    """The mean over the minima of a configuration, on a common grid."""
    highest = 0.0
    for name, group in groups.items():
        found = [entry["arrays"] for entry in group if "density_values" in entry["arrays"]]
        grids = [numbers(arrays["density_grid"]) for arrays in found]
        if not found:
            continue
        common = np.linspace(min(grid[0] for grid in grids), max(grid[-1] for grid in grids), _POINTS)
        rows = [
            np.interp(common, grid, numbers(arrays["density_values"]), left=0, right=0)
            for grid, arrays in zip(grids, found, strict=True)
        ]
        mean = np.mean(rows, axis=0)
        highest = max(highest, float(mean.max()))
        axes.plot(common, np.where(mean > 0, mean, np.nan), color=look[name].colour, ls=look[name].line, lw=1.1)
    axes.set(
        title="Density of all eigenvalues",
        xlabel=label("density_grid"),
        ylabel=label("density"),
        yscale="log",
        ylim=(_FAINTEST * highest, 3 * highest),
    )


def _eigenvalues(group: list[Mapping[str, Any]]) -> np.ndarray:
    """`(minima, k)`, padded with NaN."""
    rows = [numbers(entry["arrays"]["eigenvalues"]) for entry in group]
    longest = max(len(row) for row in rows)
    return np.stack([np.pad(row, (0, longest - len(row)), constant_values=np.nan) for row in rows])
