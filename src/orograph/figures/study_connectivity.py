"""What lies between the minima of a study: losses and accuracy along every path, barriers, and where orders of data part."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from orograph.figures.labels import label, title_of
from orograph.figures.study_looks import grouped, looks, mean_and_range, nothing, numbers, stacked
from orograph.figures.style import Picture, styled
from orograph.store.connection_quantities import WAYS
from orograph.store.wording import wording_of_results

_LOOKS = looks(WAYS.values())
_QUANTITIES = ("train_loss", "test_loss", "test_accuracy")


def connectivity(results: Mapping[str, Any], title: str = "") -> Figure:
    """Along every path train loss, test loss and test accuracy, of these what there is (mean over pairs, a band from least to
    most), and its barriers.

    Args:
        results: of a study; `curves` is what is drawn, a row a configuration.
        title: the line above the figure.

    Returns:
        A matplotlib figure.
    """
    groups = grouped(entry for entry in results.get("curves", []) if entry.get("paths"))
    wording = wording_of_results(results)
    paths = [path for group in groups.values() for entry in group for path in entry["paths"].values()]
    drawn = [name for name in _QUANTITIES if not paths or any(name in path for path in paths)]
    with styled():
        figure = Picture(figsize=(max(3 * len(drawn) + 3, 8), 2.6 * max(len(groups), 1) + 0.9), layout="constrained")
        grid = figure.subplots(max(len(groups), 1), len(drawn) + 1, squeeze=False)
        for axes in grid.flat if not groups else []:
            nothing(axes)
        seen = [name for name in WAYS if any(name in entry["paths"] for group in groups.values() for entry in group)]
        for row, (configuration, group) in zip(grid, groups.items(), strict=False):
            for axes, quantity in zip(row, drawn, strict=False):
                for name in seen:
                    _along(axes, group, name, quantity)
            _barriers(row[-1], group, seen)
            several = "s" if len(group) > 1 else ""
            row[0].set_ylabel(f"{configuration}\n{len(group)} pair{several}" if len(groups) > 1 else "mean loss")
        for axes, name in zip(grid[0], drawn, strict=False):
            axes.set_title(title_of(name, of=wording))
        # The names of the paths leave little room to the right of them, and some above.
        grid[0, -1].set_title(title_of("barriers.train_loss", of=wording), loc="right")
        for axes in grid[-1][:-1]:
            axes.set_xlabel(label("positions"))
        handles = [_LOOKS[WAYS[name]].handle() for name in seen]
        if handles:
            figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
        figure.suptitle(title, x=0.01, ha="left", fontsize=9.5, color="#555555")
        return figure


def instability(results: Mapping[str, Any], title: str = "") -> Figure:
    """The barrier between two networks that part at an epoch and then see the data in two orders (Frankle et al., 2020).

    Args:
        results: of a study; `instability` is what is drawn.
        title: the line above the figure.

    Returns:
        A matplotlib figure.
    """
    entries = [entry for entry in results.get("instability", []) if entry.get("paths", {}).get("linear")]
    look, wording = looks(str(entry["configuration"]) for entry in entries), wording_of_results(results)
    barriers = [entry["paths"]["linear"]["barriers"] for entry in entries]
    drawn = [name for name in ("train_loss", "test_error") if not barriers or any(name in each for each in barriers)]
    with styled():
        figure = Picture(figsize=(max(4.5 * len(drawn), 6), 3.5), layout="constrained")
        panels = figure.subplots(1, len(drawn), squeeze=False).flat
        for axes, quantity in zip(panels, drawn, strict=True):
            for configuration, group in grouped(entries).items():
                by_epoch: dict[int, list[float]] = {}
                for entry in group:
                    by_epoch.setdefault(int(entry["epoch"]), []).append(entry["paths"]["linear"]["barriers"][quantity])
                epochs = sorted(by_epoch)
                most = max(len(values) for values in by_epoch.values())
                rows = np.full((most, len(epochs)), np.nan)
                for column, epoch in enumerate(epochs):
                    rows[: len(by_epoch[epoch]), column] = numbers(by_epoch[epoch])
                each = look[configuration]
                mean_and_range(axes, np.array(epochs), rows, colour=each.colour, line=each.line, marker=each.marker)
            title_text = title_of(f"barriers.{quantity}", of=wording)
            axes.set(title=title_text, xlabel="epoch at which the orders part", ylabel="barrier of the straight line")
            axes.axhline(0, color="#555555", lw=0.8)
            if not entries:
                nothing(axes)
        if len(look) > 1:
            figure.legend(handles=[each.handle() for each in look.values()], loc="outside lower center", ncols=min(len(look), 4))
        figure.suptitle(title, x=0.01, ha="left", fontsize=9.5, color="#555555")
        return figure


def _along(axes: Axes, group: list[Mapping[str, Any]], name: str, quantity: str) -> None:
    paths = [entry["paths"][name] for entry in group if name in entry["paths"]]
    positions, rows = stacked(paths, "positions", quantity)
    each = _LOOKS[WAYS[name]]
    sparse = max(1, len(positions) // 7)
    mean_and_range(axes, positions, rows, colour=each.colour, line=each.line, marker=each.marker, markevery=sparse)


def _barriers(axes: Axes, group: list[Mapping[str, Any]], seen: list[str]) -> None:
    """A bar a path, the mean over pairs, and a dot for each pair; why a path is missing stands in its place."""
    for place, name in enumerate(seen):
        values = numbers([entry["paths"][name]["barriers"]["train_loss"] for entry in group if name in entry["paths"]])
        each = _LOOKS[WAYS[name]]
        if not len(values):
            axes.text(0, place, " no such path here", va="center", fontsize=8, color="#777777")
            continue
        axes.barh(place, values.mean(), color=each.colour, alpha=0.35, edgecolor=each.colour, height=0.6)
        axes.plot(values, np.full(len(values), place), ls="", marker=each.marker, color=each.colour, ms=3.5)
        # To the right of the farthest dot, whatever the limits will be.
        axes.annotate(f"{values.mean():.3g}", (max(values.max(), 0), place), (5, 0), textcoords="offset points", va="center")
    axes.set_yticks(range(len(seen)), [WAYS[name] for name in seen], fontsize=8.5)
    axes.set_ylim(len(seen) - 0.4, -0.6)
    axes.margins(x=0.2)
    axes.grid(axis="y", visible=False)
