"""What an analysis prints: its cost beforehand, and afterwards what it found, one table a subject."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from rich.text import Text

from orograph.analysis.comparisons import Comparison, LoopAreas
from orograph.analysis.loops import MeasuredLoop
from orograph.analysis.saddles import LAW
from orograph.analysis.survey import Survey
from orograph.analysis.visit import Part
from orograph.errors import shown
from orograph.ladder.changes import LEVEL, ChangePoint
from orograph.ladder.hysteresis import Loop, Spinodal
from orograph.memory import format_bytes
from orograph.remarks import answer
from orograph.store.cells import Cell
from orograph.store.encoding import json_text
from orograph.store.run import Run
from orograph.sweep.bench import Bench
from orograph.work.progress import duration
from orograph.work.timing import seconds_of

_PRODUCTS = 2  # timed for the estimate
_TOLD = 0.01  # of the envelope's defect, what rounding of F may make of it


def print_cost(bench: Bench, run: Run, work: Sequence[tuple[Part, Cell]], console: Console, *, as_json: bool = False) -> None:
    """What there is to do, by part, and roughly how long it takes here, to be read or as JSON."""
    objective = bench.instruments.train
    operator = bench.instruments.hessian.at(objective.theta)
    vector = torch.randn_like(objective.theta)
    product = seconds_of(lambda: operator @ vector, times=_PRODUCTS)
    done = sum(record.status == "done" for record in run.records.values())
    counts = Counter(part.name for part, _ in work)
    total, size = sum(part.work for part, _ in work) * product, _disk(bench, work)
    if as_json:
        answer(json_text({"run": str(run.path), "points": done, "parts": counts, "seconds": total, "bytes": size}))
        return
    told = f": {done} points, {objective.layout.size:,} parameters, {objective.count:,} samples"
    console.print(Text.assemble((shown(run.path), "bold"), told))
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("part")
    for column in ("to do at", "products a point", "time"):
        table.add_column(column, justify="right")
    parts = {part.name: part for part, _ in work}
    for name, part in parts.items():
        seconds = counts[name] * part.work * product
        table.add_row(name, f"{counts[name]} points", f"about {part.products:.0f}", duration(seconds))
    console.print(table)
    console.print(
        f"about {duration(total)} at {product:.3g} s a product, {format_bytes(size)} on the disk; inserted points and trained "
        "paths come on top",
        highlight=False,
    )


def _disk(bench: Bench, work: Sequence[tuple[Part, Cell]]) -> float:
    """Bytes of the results: the shares of all samples outweigh the rest."""
    pairs, count = bench.settings.spectrum.k, bench.instruments.train.count
    every = sum(part.name == "classes" and part.settings["samples"] == "all" for part, _ in work)
    return every * 4.0 * pairs * count + len(work) * 8000.0


def print_summary(
    run: Run,
    found: Sequence[Survey],
    measured: Sequence[MeasuredLoop],
    areas: Sequence[LoopAreas],
    missing: Mapping[str, str],
    console: Console,
) -> None:
    """Everything that was found, shortest first."""
    console.print(_points(found))
    for each in found:
        _transitions(each, console, "points" if run.score is None or run.score.unit == "%" else run.score.label)
    for loop in measured:
        console.print(f"[bold]loop of seed {loop.seed}[/]", highlight=False)
        console.print(_loop(loop))
    for area in areas:
        console.print(_areas(area), highlight=False)
    for name, command in missing.items():
        console.print(f"to hold loops against the {name}:", highlight=False)
        console.print(f"  {command}", highlight=False, soft_wrap=True, markup=False)
        console.print(f"  and then --{name} with its directory", highlight=False)


def _points(found: Sequence[Survey]) -> Table:
    """One row a chain: certificates, the envelope identity, branches, classes."""
    legend = (
        "envelope: largest relative defect of dF/dλ = ‖θ−θ_ref‖² over the steps between critical points, where rounding allows "
        "a hundredth; outside: how many of these leave the bounds that a branch of minima keeps"
    )
    table = Table(box=None, pad_edge=False, header_style="bold", caption=legend, caption_justify="left")
    table.add_column("chain")
    table.add_column("certificates", overflow="fold")
    for column in ("envelope", "outside", "branches", "meetings", "share defect"):
        table.add_column(column, justify="right")
    for each in found:
        chain = each.chain
        verdicts = Counter(str(row["certificate"]) for row in chain.rows if "certificate" in row)
        told = [step for step in each.envelopes if step.critical and step.rounding < _TOLD and math.isfinite(step.defect)]
        outside = sum(step.outside > 0 for step in told)
        shares = chain.series("share_defect_largest")
        table.add_row(
            chain.name,
            Text(shown(", ".join(f"{count} {name}" for name, count in verdicts.most_common()) or "none")),
            f"{max(step.defect for step in told):.1e}" if told else "",
            f"{outside} of {len(told)}",
            "" if each.branches is None else str(each.branches.count),
            str(len(each.meetings)),
            f"{np.nanmax(shares):.0e}" if np.isfinite(shares).any() else "",
        )
    return table


def _transitions(each: Survey, console: Console, unit: str) -> None:
    chain, form = each.chain, ".1f" if unit == "points" else ".3g"
    if not each.transitions:
        console.print(f"[bold]{chain.name}[/]: no transition of the order parameter on this ladder", highlight=False)
    else:
        table = Table(title=f"{chain.name}: the order parameter", title_justify="left", box=None, pad_edge=False)
        for column in ("λ", "kind", "p", "order", "width", "Δq over it", "slopes beside it", "loses most"):
            table.add_column(column, justify="left" if column in ("kind", "order", "loses most") else "right")
        for transition in each.transitions:
            change, judgement = transition.change, transition.judgement
            order = judgement.order if judgement.order != "unresolved" else "not judged (--refine, --atlas)"
            worst = max(transition.classes.items(), key=lambda item: item[1][0], default=None)
            table.add_row(
                _between(judgement.low, judgement.high),
                change.kind,
                _evidence(change),
                order,
                f"{judgement.width:.2g}",
                f"{judgement.change:.3g}",
                f"{judgement.slopes[0]:.3g} | {judgement.slopes[1]:.3g}",
                Text(shown(f"{worst[0]} ({worst[1][0]:{form}} {unit})" if worst and worst[1][0] > 0 else "")),
            )
        console.print(table)
    if each.changes.reason:
        console.print(f"{chain.name}: other change points were not looked for: {each.changes.reason}", highlight=False)
        return
    lines = [f"{name} {_places(changes)}" for name, changes in each.changes.found.items() if changes]
    searched = f"{len(each.changes.found)} series, at {LEVEL:g} over all of them"
    console.print(f"change points of {searched}: {'; '.join(lines) or 'none'}", highlight=False, markup=False)
    together = [row for row in each.coincidences if row.together]
    for row in together:
        console.print(
            f"  {row.first} and {row.second}: {row.together} of {row.counts[0]} together, p {row.p_value:.3g} by shifts, "
            f"{row.adjusted:.3g} after Holm",
            highlight=False,
            markup=False,
        )


def _evidence(change: ChangePoint) -> str:
    """What shows a change: a test, after Holm's rule, or an identity, which is none."""
    if math.isfinite(change.p_value):
        value = change.adjusted if math.isfinite(change.adjusted) else change.p_value
        return f"{value:.3g}" if change.evidence == "search" else f"{value:.3g}, of χ"
    return "by F" if change.evidence == "energy" else "by χ"


def _places(changes: Sequence[ChangePoint]) -> str:
    return ", ".join(f"{change.strength:.4g} ({change.kind}, {change.low:.4g} to {change.high:.4g})" for change in changes)


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
