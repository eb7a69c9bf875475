"""What following will cost, before it is begun: a few real products, timed and multiplied."""

from pathlib import Path

import torch
from rich.console import Console
from rich.text import Text

from orograph.branches.bench import FollowBench
from orograph.errors import shown
from orograph.memory import format_bytes
from orograph.remarks import answer
from orograph.store.atomic import told_space
from orograph.store.encoding import json_text
from orograph.work.progress import duration
from orograph.work.timing import seconds_of

_TIMED = 3  # products
FEW, MANY = 100, 1_400  # products of a point: a linear network, an ill-conditioned one


def show_plan(bench: FollowBench, out: Path, per_point: int, console: Console, *, as_json: bool) -> None:
    """Prints what is to be done, and what it takes."""
    settings = bench.settings
    begin, chosen = settings.begin, settings.branch
    operator = bench.instruments.hessian.at(bench.start)
    vector = torch.randn_like(bench.start)
    seconds = seconds_of(lambda: operator @ vector, times=_TIMED)
    points = chosen.points * (2 if chosen.direction == "both" else 1)
    if as_json:
        fields = {
            "run": str(out),
            "settings": settings.model_dump(mode="json"),
            "parameters": len(bench.start),
            "seconds_per_product": seconds,
            "seconds": [points * each * seconds for each in (FEW, MANY)],
            "bytes": points * per_point,
        }
        answer(json_text(fields))
        return
    low, high = (duration(points * each * seconds) for each in (FEW, MANY))
    lines = [
        Text.assemble((shown(out), "bold"), f": from λ = {begin.strength:g} {chosen.direction}, {len(bench.start):,} parameters"),
        Text(f"{points} points at most, {format_bytes(points * per_point)} on the disk{told_space(out, points * per_point)}"),
        Text(f"one product {1000 * seconds:.3g} ms; a point takes {FEW} to {MANY:,} of them: {low} to {high} in all"),
    ]
    if chosen.switch:
        lines.append(Text(f"besides the branches that leave branch points, {chosen.switch} times over"))
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True)
