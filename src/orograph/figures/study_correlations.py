"""How the geometry of a study's minima goes with generalisation: a matrix of coefficients, and scatter plots with intervals."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from orograph.figures.labels import label
from orograph.figures.study_looks import grouped, looks, nothing, numbers
from orograph.figures.style import Picture, styled
from orograph.store.wording import Wording, wording_of_results

PUBLISHED = (("flatness_measure", "test_accuracy"), ("lambda_max", "test_accuracy"), ("trace", "test_loss"))
_SCATTERS = 6
_LEVEL = 0.05
_SIGNED = mpl.colors.LinearSegmentedColormap.from_list("signed", ["#b2530f", "#f3f3f3", "#2b6ca8"])


def correlations(results: Mapping[str, Any], title: str = "", *, kind: str = "spearman") -> Figure:
    """Coefficients of every metric with every target, and the published pairs and the strongest others as scatter plots.

    Args:
        results: of a study; `correlations` and `metrics` are what is drawn.
        title: the line above the figure.
        kind: the coefficient of the matrix: `pearson`, `spearman` or `kendall`.

    Returns:
        A matplotlib figure.
    """
    found = results.get("correlations") or {}
    table = {(each["metric"], each["target"]): each for each in found.get("table", [])}
    metrics, targets = found.get("metrics", []), found.get("targets", [])
    rows, wording = results.get("metrics", []), wording_of_results(results)
    with styled():
        height = max(6.4, 0.25 * len(metrics) + 2.0)
        figure = Picture(figsize=(12.5, height), layout="constrained")
        halves: Any = figure.subfigures(1, 2, width_ratios=(1, 1.5))
        left, right = halves
        _matrix(left.subplots(), table, metrics, targets, kind, wording)
        chosen = _strongest(table)
        grid = right.subplots(3, 2).flat
        for axes, pair in zip(grid, [*chosen, *[None] * (_SCATTERS - len(chosen))], strict=True):
            if pair is None:
                axes.set_axis_off()
            else:
                _scatter(axes, rows, table[pair], wording)
        names = list(dict.fromkeys(str(row["configuration"]) for row in rows))
        if len(names) > 1 and chosen:
            handles = [each.handle(line=False) for each in looks(names).values()]
            right.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 3))
        text = " · ".join(part for part in (title, found.get("note", "")) if part)
        figure.suptitle(text, x=0.01, ha="left", fontsize=9.5, color="#555555")
        return figure


def _matrix(
    axes: Axes,
    table: Mapping[tuple[str, str], Mapping[str, Any]],
    metrics: Sequence[str],
    targets: Sequence[str],
    kind: str,
    wording: Wording,
) -> None:
    """Values as colours and as numbers, whose signs a greyscale print keeps; bold where the adjusted p-value is small."""
    if not table:
        axes.set_axis_off()
        nothing(axes, "no correlations: fewer than two minima, or none measured")
        return
    values = np.array([numbers([table[metric, target][kind]["value"] for target in targets]) for metric in metrics])
    axes.imshow(values, cmap=_SIGNED, vmin=-1, vmax=1, aspect="auto")
    for i, metric in enumerate(metrics):
        for j, target in enumerate(targets):
            each = table[metric, target][kind]
            if not np.isfinite(values[i, j]):
                axes.text(j, i, "–", ha="center", va="center", color="#777777")
                continue
            adjusted = numbers([each.get("adjusted")])[0]
            weight = "bold" if adjusted < _LEVEL else "normal"
            text = f"{values[i, j]:+.2f}".replace("-", "−") + ("*" if adjusted < _LEVEL else "")
            colour = "white" if abs(values[i, j]) > 0.75 else "#222222"
            axes.text(j, i, text, ha="center", va="center", fontsize=8, weight=weight, color=colour)
    axes.set_xticks(
        range(len(targets)), [label(target, unit=False, of=wording) for target in targets], fontsize=8, rotation=20, ha="right"
    )
    axes.set_yticks(range(len(metrics)), [label(metric, unit=False, of=wording) for metric in metrics], fontsize=8)
    tested = np.isfinite(numbers([each[kind].get("adjusted") for each in table.values()])).any()
    starred = f"* p < {_LEVEL:g} after Holm" if tested else "too few minima for p-values"
    axes.set_title(f"{kind.capitalize()}'s coefficient\n{starred}", fontsize=9)
    axes.grid(visible=False)
    for side in axes.spines.values():
        side.set_visible(False)


def _strongest(table: Mapping[tuple[str, str], Mapping[str, Any]]) -> list[tuple[str, str]]:
    """The published pairs, then those of largest |Spearman| with the test accuracy or loss, one a metric."""
    chosen = [pair for pair in PUBLISHED if pair in table]
    used = {metric for metric, _ in chosen} | {"loss_increase"}  # which is the flatness measure but for its sign

    def strength(pair: tuple[str, str]) -> float:
        value = numbers([table[pair]["spearman"]["value"]])[0]
        return abs(value) if np.isfinite(value) else -1.0

    for pair in sorted((pair for pair in table if pair[1] != "gap"), key=strength, reverse=True):
        if len(chosen) < _SCATTERS and pair[0] not in used and strength(pair) >= 0:
            chosen.append(pair)
            used.add(pair[0])
    return chosen


def _scatter(axes: Axes, rows: Sequence[Mapping[str, Any]], found: Mapping[str, Any], wording: Wording) -> None:
    metric, target = found["metric"], found["target"]
    look = looks(str(row["configuration"]) for row in rows)
    for name, group in grouped(rows).items():
        x, y = (numbers([row.get(quantity) for row in group]) for quantity in (metric, target))
        error = numbers([row.get(_error_of(metric)) for row in group])
        each = look[name]
        axes.errorbar(
            x,
            y,
            xerr=error if np.isfinite(error).any() else None,
            fmt=each.marker,
            color=each.colour,
            ms=4.5,
            elinewidth=0.8,
            capsize=1.5,
            mec="white",
            mew=0.4,
        )
    values = numbers([row.get(metric) for row in rows])
    values = values[np.isfinite(values)]
    if len(values) and values.min() > 0 and values.max() > 30 * values.min():
        axes.set_xscale("log")
    else:
        axes.xaxis.set_major_locator(mpl.ticker.MaxNLocator(5))
    axes.set_xlabel(label(metric, of=wording), fontsize=8.5)
    axes.set_ylabel(label(target, of=wording), fontsize=8.5)
    axes.set_title(f"r = {_interval(found['pearson'])},  ρ = {_interval(found['spearman'])}", fontsize=8.5, weight="normal")
    axes.tick_params(labelsize=8)


def _error_of(metric: str) -> str:
    return "loss_increase_error" if metric == "flatness_measure" else f"{metric}_error"


def _interval(coefficient: Mapping[str, Any]) -> str:
    """`+0.91 [0.52, 0.98]`; without the interval where there is none."""
    value, low, high = numbers([coefficient.get(name) for name in ("value", "low", "high")])
    if not np.isfinite(value):
        return "–"
    text = f"{value:+.2f}"
    if np.isfinite(low):
        text += f" [{low:.2f}, {high:.2f}]"
    return text.replace("-", "−")
