"""What a sweep will cost, before it is begun: a few real steps and products, timed and multiplied."""

import time
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.text import Text

from orograph.curvature.hessian import HessianOperator
from orograph.errors import shown
from orograph.memory import format_bytes
from orograph.objective import Objective
from orograph.remarks import answer
from orograph.store.encoding import json_text
from orograph.sweep.bench import Bench
from orograph.sweep.plan import cells, cohorts
from orograph.sweep.settings import SweepSettings
from orograph.training.loop import train
from orograph.work.progress import duration

STEPS = 40
PRODUCTS = 2


@dataclass(frozen=True)
class Cost:
    """Seconds of one epoch and of one Hessian product, and what they add up to."""

    epoch: float
    product: float
    points: int
    epochs: int
    products: int

    @property
    def seconds(self) -> float:
        """At most: every point uses all its epochs."""
        return self.points * (self.epochs * self.epoch + self.products * self.product)


def expected_products(settings: SweepSettings) -> int:
    """Products of one spectrum: Lanczos needs about 95 for 30 pairs of an MNIST network, and 13 check them."""
    return 3 * settings.spectrum.k + 20 if settings.spectrum.k else 0


def time_cost(settings: SweepSettings, objective: Objective, hessian: HessianOperator, points: int) -> Cost:
    """Times `STEPS` training steps and `PRODUCTS` products on the real data."""
    batch = settings.training.batch_size
    inputs, targets = next(iter(objective.batches(min(objective.count, STEPS * batch))))
    few = Objective(objective.model, objective.output_losses, [(inputs, targets)], dtype=objective.dtype)
    one = settings.training.model_copy(update={"epochs": 1, "published": True})
    train(few, few.theta, one, order_seed=0)  # traces, warms up
    began = time.perf_counter()
    train(few, few.theta, one, order_seed=0)
    epoch = (time.perf_counter() - began) * objective.count / few.count
    vector = torch.randn_like(objective.theta)
    hessian.at(objective.theta) @ vector
    began = time.perf_counter()
    for _ in range(PRODUCTS):
        hessian @ vector
    product = (time.perf_counter() - began) / PRODUCTS
    return Cost(epoch, product, points, settings.training.epochs, expected_products(settings))


def show_plan(bench: Bench, out: Path, console: Console, *, as_json: bool = False) -> None:
    """What would be done, and what it would cost, to be read or as JSON."""
    settings, objective = bench.settings, bench.instruments.train
    points = len(cells(settings))
    cost = time_cost(settings, objective, bench.instruments.hessian, points)
    ladder = settings.ladder.ladder()
    disk = bench.disk()
    tested = 0 if bench.instruments.test is None else bench.instruments.test.count
    samples = "samples" if bench.problem.images is None else "images"
    lines = {
        "run": str(out),
        "data": f"{settings.data.dataset}, {objective.count} training and {tested} test {samples}",
        "model": f"{settings.model.model}, {objective.layout.size:,} parameters",
        "ladder": f"{len(ladder)} strengths from {ladder[0]:g} to {ladder[-1]:g}, {settings.ladder.direction}; "
        f"{len(settings.anchor.seeds)} seeds; {points} points in {len(cohorts(settings))} cohorts",
        "start": f"{settings.anchor.start}, anchor {settings.anchor.anchor}",
        "Hessian": bench.instruments.hessian.plan,
        "time": f"at most {duration(cost.seconds)}: {cost.epoch:.2f} s an epoch and model (at most {cost.epochs} a point), "
        f"{cost.product:.3f} s a product (about {cost.products} a point), without polishing",
        "disk": f"{format_bytes(disk.total)}: {format_bytes(disk.per_point)} a point",
    }
    if as_json:
        answer(json_text({**lines, "points": points, "seconds": cost.seconds, "bytes": disk.total}))
        return
    for name, text in lines.items():
        console.print(Text.assemble((f"{name:>8}", "bold"), f"  {shown(text)}"), highlight=False)
