"""What an analysis costs, told before it begins: what there is to do, by part, and roughly how long it takes here."""

from collections import Counter
from collections.abc import Sequence

import torch
from rich.console import Console
from rich.table import Table
from rich.text import Text

from orograph.analysis.visit import Part
from orograph.errors import shown
from orograph.memory import format_bytes
from orograph.remarks import answer
from orograph.store.cells import Cell
from orograph.store.encoding import json_text
from orograph.store.run import Run
from orograph.sweep.bench import Bench
from orograph.work.progress import duration
from orograph.work.timing import seconds_of
from orograph.work.wide import show_table

_PRODUCTS = 2  # timed for the estimate


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
    show_table(table, console)
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
