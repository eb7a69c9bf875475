"""What a study will cost, before it is begun: a few real steps, passes and products, timed and multiplied; memory and disk."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.text import Text

from orograph.curvature.hessian import HessianOperator
from orograph.errors import shown
from orograph.memory import format_bytes, parse_bytes
from orograph.remarks import answer
from orograph.store.encoding import json_text
from orograph.study.bench import StudyBench
from orograph.study.grid import CANDIDATES, Configuration
from orograph.study.plan import Step, steps
from orograph.training.fitting import fit
from orograph.training.history import evaluated
from orograph.work.progress import duration

STEPS = 20
TOP_SHARE = 0.6  # of a minimum's products, those whose Lanczos basis is in memory at once
VECTORS = 8  # of a network in training: θ, gradient, moments, evaluation and copies
_FINDING = 60_000  # bytes of a record with its small arrays


@dataclass(frozen=True)
class Speed:
    """Seconds of one pass over the training data: forward, with gradient, in mini-batch steps; of one Hessian product."""

    forward: float
    gradient: float
    steps: float
    product: float

    def seconds(self, step: Step) -> float:
        return step.cost.seconds(self.forward, self.gradient, self.steps, self.product)


def measure_speed(bench: StudyBench, chosen: Configuration) -> Speed:
    """Times about `STEPS` training steps, a pass over their images, and a product over all images."""
    whole, _ = bench.objectives(chosen)
    few = whole.subset(torch.arange(min(whole.count, STEPS * chosen.batch_size)))
    settings = chosen.fit(CANDIDATES[chosen.optimizer][-1] if chosen.lr is None else None).model_copy(update={"epochs": 1})
    start = bench.start(chosen, bench.settings.optimisation.seed, settings)

    def train() -> None:
        fit(few, [start], settings, order_seeds=0, gradients=False)

    hessian = HessianOperator.of(whole)
    vector = torch.randn_like(start.theta)
    hessian.at(start.theta) @ vector
    scale = whole.count / few.count
    return Speed(
        forward=scale * _timed(lambda: evaluated(few, start.theta, start.buffers)),
        gradient=scale * _timed(lambda: evaluated(few, start.theta, start.buffers, differentiate=True)),
        steps=scale * _timed(train),
        product=_timed(lambda: hessian @ vector, warm=False),
    )


def _timed(work: Callable[[], Any], *, warm: bool = True) -> float:
    """Seconds of one call, after one that prepares whatever is kept."""
    if warm:
        work()
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def memory_bytes(bench: StudyBench, chosen: Configuration) -> float:
    """The most that is in memory at once: the data, and a cohort in training or a minimum with its Lanczos basis."""
    objective, _ = bench.objectives(chosen)
    vector = objective.layout.size * objective.dtype.itemsize
    data = bench.problem.nbytes
    members = min(bench.together(chosen), bench.settings.optimisation.num_seeds)
    training = VECTORS * members * vector
    measuring = parse_bytes(bench.settings.numerics.memory) + TOP_SHARE * bench.settings.metrics.products * vector
    return data + max(training, measuring)


def disk_bytes(bench: StudyBench) -> float:
    """Weights, what is kept of eigenvectors and of trained curves, and records."""
    total, settings = 0.0, bench.settings
    for step in steps(bench):
        objective, _ = bench.objectives(step.configuration)
        vector = objective.layout.size * objective.dtype.itemsize
        total += _FINDING
        if step.kind == "training":
            total += vector
        elif step.kind == "minimum" and settings.metrics.keep_eigenvectors:
            total += settings.metrics.top_k * vector
        elif step.kind == "pair" and "bezier" in settings.connectivity.paths:
            total += vector
    return total


def show_plan(bench: StudyBench, out: Path, console: Console, *, as_json: bool = False) -> None:
    """What would be done, and what it would cost, to be read or as JSON."""
    settings, everything = bench.settings, steps(bench)
    train, test = bench.objectives(bench.configurations[0])
    lines = {
        "run": str(out),
        "data": f"{settings.data.dataset}, {train.count} training and {test.count if test else 'no'} test {bench.sample}s",
        "study": f"{len(bench.configurations)} configurations × {settings.optimisation.num_seeds} seeds, {len(everything)} steps",
        "products": f"at most {settings.metrics.products} Hessian products a minimum",
    }
    total, largest = 0.0, 0.0
    for chosen in bench.configurations:
        speed = measure_speed(bench, chosen)
        mine = [step for step in everything if step.configuration == chosen]
        by_kind: dict[str, float] = {}
        for step in mine:
            by_kind[step.kind] = by_kind.get(step.kind, 0.0) + speed.seconds(step)
        total += sum(by_kind.values())
        memory = memory_bytes(bench, chosen)
        largest = max(largest, memory)
        parameters = bench.objectives(chosen)[0].layout.size
        parts = ", ".join(f"{kind} {duration(seconds)}" for kind, seconds in by_kind.items())
        lines[chosen.name] = (
            f"{parameters:,} parameters; {speed.steps:.3g} s an epoch, {speed.product:.3g} s a product; "
            f"{format_bytes(memory)} of memory; {parts}"
        )
    lines |= {
        "time": f"about {duration(total)}, all steps one after the other",
        "memory": f"about {format_bytes(largest)} each process",
        "disk": f"about {format_bytes(disk_bytes(bench))}",
    }
    if as_json:
        answer(json_text({**lines, "steps": len(everything), "seconds": total, "bytes": disk_bytes(bench)}))
        return
    width = max(len(name) for name in lines)
    for name, text in lines.items():
        console.print(Text.assemble((f"{name:>{width}}", "bold"), f"  {shown(text)}"), highlight=False, soft_wrap=True)
