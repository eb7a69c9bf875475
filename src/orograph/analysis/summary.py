"""What an analysis prints at its end: what was found in a few sentences, then short tables; all lists are the report's.

However long the ladder and however many its chains, it fits a screen of 80 columns and some 46 lines.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from orograph.analysis.comparisons import Comparison, LoopAreas
from orograph.analysis.loops import MeasuredLoop
from orograph.analysis.saddles import LAW
from orograph.analysis.survey import Survey, Transition
from orograph.errors import shown
from orograph.ladder.changes import LEVEL, ChangePoint
from orograph.ladder.hysteresis import Loop, Spinodal
from orograph.ladder.thermodynamics import Envelope
from orograph.store.run import Run
from orograph.work.wide import show_table

_TOLD = 0.01  # of the envelope's defect, what rounding of F may make of it
_ROWS = 4  # of a table
_PAIRS = 2  # of series whose changes coincide
_UNRESOLVED = "unresolved"


def print_summary(
    run: Run,
    found: Sequence[Survey],
    measured: Sequence[MeasuredLoop],
    areas: Sequence[LoopAreas],
    missing: Mapping[str, str],
    console: Console,
) -> None:
    """What was found first, then the largest of each kind."""
    unit = "points" if run.score is None or run.score.unit == "%" else run.score.label
    for sentence in headlines(found, measured):
        console.print(f"• {sentence}", highlight=False, markup=False)
    _few(_points(found), len(found), "chains", console)
    transitions = [(each, one) for each in found for one in each.transitions]
    if transitions:
        _few(_transitions(transitions, unit), len(transitions), "transitions", console)
    if any(changes for each in found for changes in each.changes.found.values()):
        _changes(found, console)
    if len(measured) == 1:
        show_table(_loop(measured[0]), console)
    elif measured:
        _few(_loops(measured), len(measured), "loops", console)
    for area in areas[:_ROWS]:
        if area.rate is not None or area.null is not None:
            console.print(_areas(area), highlight=False)
    if missing:
        names = " and ".join(f"--{name}" for name in missing)
        console.print(f"loops can be held against other runs ({names}): see the report", highlight=False)
    console.print(Text.assemble("all of it in one page: ", (f"orograph report {shown(run.path)}", "bold")), soft_wrap=True)


def headlines(found: Sequence[Survey], measured: Sequence[MeasuredLoop]) -> list[str]:
    """What was found, in a sentence each."""
    told = []
    transitions = [one for each in found for one in each.transitions]
    if transitions:
        orders = Counter(str(one.judgement.order) for one in transitions)
        words = {"first": "of first order", "second": "of second order", "none": "steep stretches", _UNRESOLVED: "not judged"}
        parts = ", ".join(f"{orders[order]} {text}" for order, text in words.items() if orders[order])
        told.append(f"{_count(len(transitions), 'change')} of the order parameter: {parts}{_way_out(orders)}")
    else:
        told.append("no transition of the order parameter on this ladder")
    verdicts = Counter(str(row["certificate"]) for each in found for row in each.chain.rows if "certificate" in row)
    if verdicts:
        points = sum(len(each.chain.rows) for each in found)
        kinds = ", ".join(f"{count} {name}" for name, count in verdicts.most_common())
        told.append(f"of {_count(points, 'point')}: {shown(kinds)}")
    steps = [step for each in found for step in _told(each)]
    if outside := sum(step.outside > 0 for step in steps):
        told.append(f"{outside} of {_count(len(steps), 'step')} lie on no one branch of minima: another was entered")
    if measured:
        loop = max(measured, key=lambda each: abs(each.loop.area)).loop
        largest = " of them the largest" if len(measured) > 1 else ""
        place = f"from λ = {loop.low:.6g} to {loop.high:.6g}"
        told.append(f"{_count(len(measured), 'loop')} of hysteresis,{largest} {place}")
    series = [name for each in found for name, changes in each.changes.found.items() if changes]
    searched = [name for each in found for name in each.changes.found] if not all(each.changes.reason for each in found) else []
    if searched:
        told.append(f"change points in {len(series)} of {len(searched)} series, at {LEVEL:g} over all of a chain")
    for reason in dict.fromkeys(each.changes.reason for each in found if each.changes.reason):
        told.append(f"other change points were not looked for: {reason}")
    return told


def _way_out(orders: Mapping[str, int]) -> str:
    return " (--refine, --atlas)" if orders.get(_UNRESOLVED) else ""


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _few(table: Table, there: int, what: str, console: Console) -> None:
    """A table, and how many rows it leaves out."""
    show_table(table, console)
    if there > _ROWS:
        console.print(f"… and {there - _ROWS} more {what}", style="dim", highlight=False)


def _told(each: Survey) -> list[Envelope]:
    """Steps between critical points whose defect rounding does not explain."""
    return [step for step in each.envelopes if step.critical and step.rounding < _TOLD and math.isfinite(step.defect)]


def _points(found: Sequence[Survey]) -> Table:
    """One row a chain: certificates, the envelope identity, branches, classes."""
    legend = "envelope: largest defect of dF/dλ = q; shares: that of the classes' sum"
    table = Table(box=None, pad_edge=False, header_style="bold", caption=legend)
    table.add_column("chain")
    table.add_column("certificates")
    for column in ("envelope", "branches", "meetings", "shares"):
        table.add_column(column, justify="right")
    for each in found[:_ROWS]:
        chain, told = each.chain, _told(each)
        verdicts = Counter(str(row["certificate"]) for row in chain.rows if "certificate" in row)
        shares = chain.series("share_defect_largest")
        table.add_row(
            chain.name,
            Text(shown(", ".join(f"{count} {name}" for name, count in verdicts.most_common()) or "none")),
            f"{max(step.defect for step in told):.1e}" if told else "",
            "" if each.branches is None else str(each.branches.count),
            str(len(each.meetings)),
            f"{np.nanmax(shares):.0e}" if np.isfinite(shares).any() else "",
        )
    return table


def _transitions(found: Sequence[tuple[Survey, Transition]], unit: str) -> Table:
    """The largest, in the order in which they come."""
    largest = sorted(found, key=lambda pair: -abs(pair[1].judgement.change))[:_ROWS]
    several, form = len({each.chain.name for each, _ in found}) > 1, ".1f" if unit == "points" else ".3g"
    table = Table(title="The order parameter", box=None, pad_edge=False, header_style="bold")
    if several:
        table.add_column("chain")
    for column in ("λ", "order", "Δq", "p", "loses most"):
        table.add_column(column, justify="right" if column in ("Δq", "p") else "left")
    for each, one in sorted(largest, key=found.index):
        change, judgement = one.change, one.judgement
        worst = max(one.classes.items(), key=lambda item: item[1][0], default=None)
        order = judgement.order if judgement.order != _UNRESOLVED else f"{change.kind}, not judged"
        cells: list[str | Text] = [
            _between(judgement.low, judgement.high),
            order,
            f"{judgement.change:.3g}",
            _evidence(change),
            Text(shown(f"{worst[0]} ({worst[1][0]:{form}} {unit})" if worst and worst[1][0] > 0 else "")),
        ]
        table.add_row(*([each.chain.name] if several else []), *cells)
    return table


def _changes(found: Sequence[Survey], console: Console) -> None:
    """The series that change most often with their surest change, and pairs of series that change together."""
    table = Table(title="Change points", box=None, pad_edge=False, header_style="bold")
    table.add_column("series")
    table.add_column("how many", justify="right")
    table.add_column("the surest")
    series: dict[str, list[ChangePoint]] = {}
    for each in found:
        for name, changes in each.changes.found.items():
            if changes:
                series.setdefault(name, []).extend(changes)
    for name, every in sorted(series.items(), key=lambda item: -len(item[1]))[:_ROWS]:
        surest = min(every, key=lambda change: change.adjusted if math.isfinite(change.adjusted) else 0.0)
        place = f"{surest.kind} at {surest.strength:.4g}, {surest.low:.4g} to {surest.high:.4g}"
        table.add_row(Text(shown(name)), str(len(every)), place)
    _few(table, len(series), "series", console)
    together = [row for each in found for row in each.coincidences if row.together]
    for row in sorted(together, key=lambda each: each.adjusted)[:_PAIRS]:
        text = f"{row.first} and {row.second}: {row.together} of {row.counts[0]} together, p {row.adjusted:.3g} after Holm"
        console.print(text, highlight=False, markup=False)
    if len(together) > _PAIRS:
        console.print(f"… and {len(together) - _PAIRS} more pairs of series", style="dim", highlight=False)


def _loops(measured: Sequence[MeasuredLoop]) -> Table:
    """A row a loop, those with the largest areas."""
    table = Table(title="Loops", box=None, pad_edge=False, header_style="bold")
    for column in ("seed", "branches differ", "Maxwell", "width", "area ∮ q dλ", "barrier"):
        table.add_column(column, justify="left" if column == "branches differ" else "right")
    largest = sorted(measured, key=lambda each: -abs(each.loop.area))[:_ROWS]
    for each in sorted(largest, key=lambda one: (one.seed, one.loop.low)):
        loop = each.loop
        table.add_row(
            str(each.seed),
            _between(loop.low, loop.high),
            f"{loop.maxwell:.6g}" if math.isfinite(loop.maxwell) else "none",
            f"{loop.width:.3g}" if math.isfinite(loop.width) else "",
            f"{loop.area:.4g}",
            f"{each.barrier['barrier_best']:.4g}" if each.barrier else "",
        )
    return table


def _evidence(change: ChangePoint) -> str:
    """What shows a change: a test, after Holm's rule, or an identity, which is none."""
    if math.isfinite(change.p_value):
        value = change.adjusted if math.isfinite(change.adjusted) else change.p_value
        return f"{value:.3g}" if change.evidence == "search" else f"{value:.3g}, of χ"
    return "by F" if change.evidence == "energy" else "by χ"


def _between(low: float, high: float) -> str:
    return f"{low:.6g} to {high:.6g}"


def _loop(measured: MeasuredLoop) -> Table:
    loop: Loop = measured.loop
    table = Table(box=None, show_header=False, pad_edge=False)
    lower = {"up": "the way up is lower throughout", "down": "the way down is lower throughout"}.get(loop.lower, "")
    rows = [
        ("branches differ", _between(loop.low, loop.high)),
        ("Maxwell point", f"{loop.maxwell:.6g}" if math.isfinite(loop.maxwell) else f"none: {lower}"),
        ("escape of the way up", _step(loop.escape_up)),
        ("escape of the way down", _step(loop.escape_down)),
        ("spinodal of the way up", _spinodal(loop.spinodal_up)),
        ("spinodal of the way down", _spinodal(loop.spinodal_down)),
        ("width between escapes", f"{loop.width:.3g}" if math.isfinite(loop.width) else "beyond the ladder"),
        ("width between spinodals", f"{loop.spinodal_width:.3g}" if math.isfinite(loop.spinodal_width) else "not known"),
        ("area ∮ q dλ", f"{loop.area:.4g}"),
    ]
    barrier = measured.barrier
    if barrier:
        found = (
            f"{barrier['barrier_best']:.4g} at λ = {measured.barrier_at:g} on the lowest path found; "
            f"{barrier['barrier_linear']:.4g} on the line"
        )
        if barrier.get(LAW) == "saddle":
            found = (
                f"{barrier['barrier_saddle_up']:.4g} above the way up and {barrier['barrier_saddle_down']:.4g} above the way "
                f"down, at the saddle {barrier['barrier_saddle']} of the atlas; paths rise by {found}"
            )
        rows.append(("barrier of L_eff", found))
    for name, text in rows:
        table.add_row(Text(name, "bold"), Text(shown(text)))
    return table


def _step(step: tuple[float, float]) -> str:
    low, high = step
    if math.isinf(high):
        return f"not before the ladder's end, {low:.6g}"
    return f"not before the ladder's end, {high:.6g}" if math.isinf(low) else _between(low, high)


def _spinodal(found: Spinodal) -> str:
    last = f"λ_min {found.objective_lambda_min:.3g} at its last point {found.last:.6g} ({found.certificate or 'no certificate'})"
    if not math.isfinite(found.estimate):
        return f"not in reach: {last}"
    if found.law == "followed":
        return f"{found.estimate:.9g}, of the atlas, to which the branch was followed; {last}"
    law = {"fold": "square root", "linear": "straight line"}[found.law]
    return f"{found.estimate:.6g}, extrapolated by a {law}, between {found.low:.6g} and {found.high:.6g}; {last}"


def _areas(area: LoopAreas) -> str:
    def against(name: str, other: Comparison | None) -> str:
        return "" if other is None else f", {name} {other.other:.4g} ({other.ratio:.2f} of it)"

    return f"seed {area.seed}: loop area {area.area:.4g}{against('slower', area.rate)}{against('two ways up', area.null)}"
