"""Which classes a network knows on the way between two minima: the accuracy of each class along every curve."""

from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from orograph.figures.labels import label, title_of
from orograph.figures.study_looks import looks, nothing, numbers
from orograph.figures.style import Picture, styled
from orograph.store.connection import BY_CLASS
from orograph.store.connection_quantities import WAYS
from orograph.store.wording import wording_of_results

_MANY = 12  # classes: of more, those that change on the way are drawn in colour, the others grey
_COLUMNS = 3


def class_courses(results: Mapping[str, Any], title: str = "") -> Figure:
    """A panel for each curve with the accuracy of every class along it; a class below a half is lost.

    Args:
        results: of a connection; `paths` is what is drawn, `classes` their names.
        title: the line above the figure.

    Returns:
        A matplotlib figure.
    """
    paths, classes = results["paths"], list(results["classes"])
    quantity = next((name for name in BY_CLASS if any(name in path for path in paths.values())), BY_CLASS[0])
    drawn = [name for name in WAYS if quantity in paths.get(name, {})]
    changed = {each["class"] for name in drawn for part in ("lost", "found") for each in paths[name][part]}
    told = [name for name in classes if len(classes) <= _MANY or name in changed]
    look = looks(told)
    rows = max(1, -(-len(drawn) // _COLUMNS))
    with styled():
        figure = Picture(figsize=(4.2 * min(max(len(drawn), 2), _COLUMNS), 2.9 * rows + 0.9), layout="constrained")
        panels = list(figure.subplots(rows, min(max(len(drawn), 1), _COLUMNS), squeeze=False, sharey=True).flat)
        for axes, name in zip(panels, drawn, strict=False):
            _courses(axes, paths[name], quantity, classes, look)
            axes.set(title=WAYS[name][:1].upper() + WAYS[name][1:], xlabel=label("positions"))
        for axes in panels[len(drawn) :]:
            axes.remove()
        if not drawn:
            axes = figure.add_subplot()
            nothing(axes, "no classes")
        panels[0].set_ylabel(title_of(quantity, of=wording_of_results(results)))
        if look:
            figure.legend(handles=[each.handle() for each in look.values()], loc="outside lower center", ncols=min(len(look), 10))
        figure.suptitle(title, x=0.01, ha="left", fontsize=9.5, color="#555555")
        return figure


def _courses(axes: Axes, path: Mapping[str, Any], quantity: str, classes: list[str], look: Mapping[str, Any]) -> None:
    axes.axhline(50, color="#555555", lw=0.8)
    for number, name in enumerate(classes):
        values, each = numbers([row[number] for row in path[quantity]]), look.get(name)
        if each is None:
            axes.plot(path["positions"], values, color="#bbbbbb", lw=0.7, zorder=1)
        else:
            sparse = max(1, len(values) // 7)
            axes.plot(path["positions"], values, each.line, color=each.colour, marker=each.marker, markevery=sparse)
    axes.set_ylim(-4, 104)
