"""What branches that were followed say of transitions: a table of their folds, and a picture of all of them.

PYTHONPATH=docs .venv/bin/python docs/followed.py two-layers-followed runs/last runs/two runs/three \
    --ladder runs/two-layers-adam --page docs/transitions.md

The table goes between `<!-- NAME -->` and `<!-- end -->`, the picture to `images/NAME.png` beside the page.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from scipy.interpolate import KroghInterpolator
from scipy.optimize import brentq

import orograph as og
from orograph.continuation.envelope import work_along
from orograph.figures.courses import course, handle, legend_of, mark
from orograph.figures.style import PALETTE, styled
from sections import insert, number, table

Row = Mapping[str, Any]
Branch = tuple[str, list[Row], list[Row]]  # its name, its points, its events
_GREY = "#888888"
_DRAWN = ("fold", "branch")
_ENOUGH = 4  # points that a fold is predicted from
_AHEAD = 0.975  # of the fold's λ: nothing beyond is used for its prediction


def main(arguments: Sequence[str] | None = None) -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("name", help="of the section and of the picture")
    options.add_argument("runs", nargs="+", type=Path, help="branches, each followed on from a minimum")
    options.add_argument("--ladder", type=Path, help="a sweep up to collapse, whose points are drawn, too")
    options.add_argument("--lowest", action="store_true", help="the lowest eigenvalues beside q, in place of L_eff")
    options.add_argument("--page", type=Path, default=Path("docs/transitions.md"), help="the page to write into")
    chosen = options.parse_args(arguments)
    branches = [branch for run in chosen.runs for branch in read(run)]
    rows = [event_row(*branch, event) for branch in branches for event in branch[2] if event["event_kind"] in _DRAWN]
    columns = (
        "branch",
        "event",
        "λ",
        "q",
        "L_eff",
        "next eigenvalue",
        "index behind",
        "predicted",
        "from λ ≤",
        "error",
        "∫ q dλ",
    )
    file = chosen.page.parent / "images" / f"{chosen.name}.png"
    file.parent.mkdir(parents=True, exist_ok=True)
    picture(branches, ladder(chosen.ladder) if chosen.ladder else [], lowest=chosen.lowest).savefig(file, dpi=160)
    insert(chosen.page, chosen.name, f"{table(columns, rows)}\n\n![{chosen.name}](images/{file.name})\n", title="Transitions")
    return 0


def read(run: Path) -> Iterator[Branch]:
    """Name, points and events of the branches of a run."""
    for name, node in og.open_run(run).children.items():
        events = rows_of(node.children["events"].to_dataset(), "event") if "events" in node.children else []
        yield f"{run.name}, {name}", rows_of(node.to_dataset(), "point"), events


def rows_of(ds: xr.Dataset, dim: str) -> list[Row]:
    own = {str(name): each.values for name, each in ds.data_vars.items() if each.dims[:1] == (dim,) and name != "theta"}
    return [{name: values[place] for name, values in own.items()} for place in range(ds.sizes[dim])]


def ladder(run: Path) -> list[Row]:
    """λ, q and L_eff of the points of a sweep."""
    line = og.open_run(run).isel(seed=0, direction=0)
    names = {"strength": line.strength, "order_parameter": line.anchor_distance**2, "objective": line.objective}
    return [{name: float(values[place]) for name, values in names.items()} for place in range(line.sizes["strength"])]


def event_row(name: str, points: list[Row], events: list[Row], event: Row) -> tuple[str, ...]:
    """What a fold or a branch point is, and what was known of it before it was reached."""
    before = [point for point in points[: int(event["after"]) + 1] if point["strength"] <= _AHEAD * event["strength"]]
    fold = event["event_kind"] == "fold"
    found = None if len(before) < _ENOUGH else predicted(before[-_ENOUGH:]) if fold else straight(before[-2:])
    behind = points[int(event["after"]) + 1]
    near = np.sort(np.abs(behind.get("lowest_eigenvalues", [np.nan])))
    return (
        name,
        "fold" if fold else "branch point",
        f"{event['strength']:.7f}",
        f"{event['order_parameter']:.5g}",
        f"{event['objective']:.7g}",
        number(float(near[0] if fold else near[1])),
        f"{behind['objective_negative_eigenvalues']:.0f}",
        number(found, "{:.6f}"),
        f"{before[-1]['strength']:.6f}" if found else "–",
        f"{found / event['strength'] - 1:+.1e}" if found else "–",
        f"{envelope_defect(points, event):.1e}",
    )


def straight(points: Sequence[Row]) -> float:
    """Where the lowest eigenvalue, which is linear in λ at a branch point, vanishes on the line through two points."""
    (one, first), (other, second) = ((point["strength"], point["lowest_eigenvalues"][0]) for point in points)
    return float(one - first * (other - one) / (second - first))


def predicted(points: Sequence[Row]) -> float | None:
    """The largest λ of the branch, from points before it.

    L is smooth in q through a fold, and dL/dq = −λ on a branch: the polynomial that has L and −λ at each point is of twice their
    number, and the fold is where its second derivative vanishes.
    """
    q = np.array([point["order_parameter"] for point in points])
    known = [value for point in points for value in (point["train_loss"], -point["strength"])]
    loss = KroghInterpolator(np.repeat(q, 2), known)
    ahead = np.linspace(q[-1], 0, 2001)
    bent = loss.derivative(ahead, 2) < 0
    if not bent.any() or bent[0]:
        return None
    place = int(np.argmax(bent))
    return -float(loss.derivative(brentq(lambda q: float(loss.derivative(q, 2)), ahead[place - 1], ahead[place]), 1))


def envelope_defect(points: Sequence[Row], event: Row) -> float:
    """Largest |ΔL_eff − ∫ q dλ| on the way from ten points before an event, as far as there are, to two behind it.

    L_eff does not enter the integral.
    """
    after = int(event["after"]) + 1
    before = points[max(after - 10, 0) : after]
    way = [*before, event, *points[after : after + 6]]  # further than is asked for: a spline is least sharp at its ends
    names = ("arclength", "strength", "order_parameter", "objective")
    s, strength, q, objective = (np.array([each[name] for each in way]) for name in names)
    return float(np.abs(objective - objective[0] - work_along(s, strength, q))[: len(before) + 3].max())


def picture(branches: Sequence[Branch], trained: Sequence[Row], *, lowest: bool) -> Figure:
    """q of all branches against λ; beside it L_eff less that of the last trained point, which has collapsed, or eigenvalues."""
    zero = trained[-1]["objective"] if trained else 0.0
    with styled():
        figure = Figure(figsize=(11.5, 5.4), layout="constrained")
        order, energy = figure.subplots(1, 2)
        seen: set[int] = set()
        for axes, value in ((order, _order), (energy, lambda row: row["objective"] - zero))[: 1 if lowest else 2]:
            for _, points, events in branches:
                kept = [event for event in events if event["event_kind"] in _DRAWN]
                seen |= course(axes, points, events, value)
                mark(axes, kept, value)
                for event in kept:
                    _name(axes, event, value)
            limits = axes.get_ylim()
            axes.plot(
                [each["strength"] for each in trained], [value(each) for each in trained], ".", color=_GREY, ms=5, zorder=1.5
            )
            axes.margins(x=0.09)
            axes.set_xlabel("λ")
        if lowest:
            for _, points, _ in branches:
                for found, colour in zip(
                    zip(*(point["lowest_eigenvalues"] for point in points), strict=True), PALETTE, strict=False
                ):
                    energy.plot([point["strength"] for point in points], found, ".-", color=colour)
        elif trained:
            energy.set_ylim(limits)
        energy.axhline(0, color="#555555", lw=0.8, zorder=0)
        order.set(title=r"Order parameter $q = \|\theta\|^2$", ylabel="q")
        if lowest:
            energy.set(title=r"Lowest eigenvalues of $H + 2\lambda I$", ylabel="eigenvalue", xlabel="λ")
        else:
            energy.set(title=r"$L_{\mathrm{eff}}$ above the collapsed network", ylabel="nat")
        kinds = {event["event_kind"] for _, _, events in branches for event in events}
        handles = [handle(index) for index in sorted(seen)]
        handles += [legend_of(kind) for kind in _DRAWN if kind in kinds]
        if trained:
            handles.append(Line2D([], [], ls="", marker=".", color=_GREY, label="where training ends"))
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
        return figure


def _order(row: Row) -> float:
    return float(row["order_parameter"])


def _name(axes: Axes, event: Row, value: Any) -> None:
    text = f"{event['strength']:.4f}"
    axes.annotate(text, (event["strength"], value(event)), (7, 9), textcoords="offset points", fontsize=9, color=PALETTE[0])


if __name__ == "__main__":
    sys.exit(main())
