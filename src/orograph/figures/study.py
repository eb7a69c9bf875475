"""The figures of a study, and metrics against the settings that it varies.

Each function takes the mapping of `landscape_analysis_results.json` (`surface`: the arrays of one slice) and gives a figure.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from orograph.figures.labels import label
from orograph.figures.study_connectivity import connectivity as connectivity
from orograph.figures.study_connectivity import instability as instability
from orograph.figures.study_correlations import correlations as correlations
from orograph.figures.study_looks import looks, nothing, numbers
from orograph.figures.study_spectra import spectra as spectra
from orograph.figures.study_surface import surface as surface
from orograph.figures.study_training import training_curves as training_curves
from orograph.figures.style import Picture, styled
from orograph.store.wording import wording_of_results

SHOWN = ("lambda_max", "trace", "loss_increase", "linear_barrier")


def by_setting(results: Mapping[str, Any], title: str = "", *, metrics: Sequence[str] | None = None) -> Figure:
    """Metrics against each setting that the study varies, a panel for each two: a dot a minimum, lines through the means of
    configurations that share all other settings.

    Args:
        results: of a study; `metrics`, `varied` and the barriers in `curves` are what is drawn. Where nothing varies, minima are
            drawn side by side.
        title: the line above the figure.
        metrics: what is drawn; the problem's first metric and those of `SHOWN` when None.

    Returns:
        A matplotlib figure.
    """
    rows, wording = _with_barriers(results), wording_of_results(results)
    first = [] if wording.score is None else [wording.score.shown({name for row in rows for name in row})]
    present = [name for name in (metrics or (*first, *SHOWN)) if np.isfinite(numbers([row.get(name) for row in rows])).any()]
    varied = list(results.get("varied", [])) or ["seed"]
    panels = [(metric, setting) for metric in present for setting in varied]
    columns = len(varied) if len(varied) > 1 else min(3, max(len(panels), 1))
    with styled():
        lines = max(1, -(-len(panels) // columns))
        figure = Picture(figsize=(3.7 * columns + 0.6, 2.4 * lines + 0.9), layout="constrained")
        grid = list(figure.subplots(lines, columns, squeeze=False).flat)
        if not panels:
            nothing(grid[0])
        for axes, (metric, setting) in zip(grid, panels, strict=False):
            _against(axes, rows, setting, metric, [name for name in varied if name != setting], named=metric == present[0])
            axes.set(xlabel=label(setting), title=label(metric, of=wording))
        for axes in grid[max(len(panels), 1) :]:
            axes.set_axis_off()
        figure.suptitle(title, x=0.01, ha="left", fontsize=9.5, color="#555555")
        return figure


def _with_barriers(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows of minima, and one row more for each pair with its barrier."""
    rows = [dict(row) for row in results.get("metrics", [])]
    settings = {str(row["configuration"]): row for row in rows}
    names = list(results.get("varied", []))
    for entry in results.get("curves", []):
        like = settings.get(str(entry["configuration"]), {})
        pair = {name: like.get(name) for name in names} | {"configuration": entry["configuration"]}
        rows.append(pair | {"linear_barrier": entry.get("linear_barrier"), "seed": entry.get("name")})
    return rows


def _against(
    axes: Axes, rows: Sequence[Mapping[str, Any]], setting: str, metric: str, others: Sequence[str], *, named: bool
) -> None:
    rows = [row for row in rows if np.isfinite(numbers([row.get(metric)])[0])]
    values: list[Any] = list(dict.fromkeys(row.get(setting) for row in rows))
    scaled = len(values) > 1 and all(
        isinstance(value, int | float) and not isinstance(value, bool) and value > 0 for value in values
    )
    places = {value: float(value if scaled else place) for place, value in enumerate(values)}
    series: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        series.setdefault(", ".join(str(row.get(name)) for name in others), []).append(row)
    for name, look in looks(series).items():
        group = series[name]
        x = np.array([places[row.get(setting)] for row in group])
        y = numbers([row.get(metric) for row in group])
        axes.plot(x, y, ls="", marker=look.marker, color=look.colour, ms=3.5, alpha=0.7)
        ends = np.unique(x)
        if len(ends) > 1:
            means = [y[x == end].mean() for end in ends]
            axes.plot(ends, means, look.line, color=look.colour, label=name or None)
        elif name:
            axes.plot([], [], ls="", marker=look.marker, color=look.colour, label=name)
    if scaled:
        axes.set_xscale("log")
        axes.set_xticks(sorted(places.values()), [f"{value:g}" for value in sorted(places.values())])
        axes.minorticks_off()
        axes.margins(x=0.12)
    else:
        axes.set_xticks(list(places.values()), [str(value) for value in places])
        axes.set_xlim(-0.5, len(places) - 0.5)
    shown = numbers([row.get(metric) for row in rows])
    if len(shown) and shown.min() > 0 and shown.max() > 30 * shown.min():
        axes.set_yscale("log")
    else:
        axes.yaxis.set_major_locator(mpl.ticker.MaxNLocator(5))
    if len(series) > 1 and named:
        axes.legend(title=", ".join(label(name) for name in others), title_fontsize=8)
