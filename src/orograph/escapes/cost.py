"""What chains will cost, before they are begun: a few real steps, timed and multiplied."""

import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from orograph.errors import shown
from orograph.escapes.bench import EscapeBench
from orograph.escapes.chains import first_passages
from orograph.remarks import answer
from orograph.store.encoding import json_text
from orograph.work.progress import duration

_TIMED = 64  # steps


def show_plan(bench: EscapeBench, out: Path, console: Console, *, as_json: bool) -> None:
    """Prints what is to be done, and the time that it takes at most."""
    settings = bench.settings
    chosen, strengths = settings.sgd, settings.well.at
    cohort = min(settings.numerics.cohort, chosen.chains)
    each = {size: _seconds(bench, size, cohort) / cohort for size in chosen.batch_sizes}
    chains = len(strengths) * len(chosen.learning_rates) * chosen.chains
    seconds = sum(chains * chosen.steps * found for found in each.values())
    if as_json:
        fields = {
            "run": str(out),
            "settings": settings.model_dump(mode="json"),
            "parameters": len(bench.before),
            "cells": len(settings.cells()),
            "seconds_per_step": each,
            "seconds": seconds,
        }
        answer(json_text(fields))
        return
    low, high = bench.jump.ends
    where = ", ".join(f"{strength:g}" for strength in strengths)
    lines = [
        Text.assemble(
            (shown(out), "bold"),
            f": jump {bench.jump.number} of {bench.source.path}, between λ = {low:g} and {high:g}; at λ = {where}",
        ),
        Text(
            f"{len(settings.cells())} cells of {chosen.chains} chains of {chosen.steps:,} steps at most, "
            f"{len(bench.before):,} parameters"
        ),
        Text(
            f"at most {duration(seconds)}, besides two critical points and a path at each strength; chains that cross end earlier"
        ),
    ]
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True)


def _seconds(bench: EscapeBench, batch_size: int, cohort: int) -> float:
    """Of a step of a cohort, traced already."""
    objective, theta = bench.at(0), bench.before
    given: dict[str, Any] = {
        "threshold": 1e30,
        "rising": True,
        "batch_size": batch_size,
        "lr": min(bench.settings.sgd.learning_rates),
    }
    seeds = [[member] for member in range(cohort)]
    first_passages(objective, theta, steps=1, seeds=seeds, **given)
    began = time.perf_counter()
    first_passages(objective, theta, steps=_TIMED, seeds=seeds, **given)
    return (time.perf_counter() - began) / _TIMED
