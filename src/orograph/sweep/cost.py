"""What a sweep will cost, before it is begun: a few real steps and products, timed and multiplied."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.text import Text

from orograph.errors import shown
from orograph.measures.cost import seconds
from orograph.memory import format_bytes
from orograph.objective import Objective
from orograph.problem import Problem
from orograph.process import choose_device
from orograph.remarks import answer
from orograph.settings.base import is_own
from orograph.settings.shared import ParallelExecution
from orograph.store.atomic import told_space
from orograph.store.encoding import json_text
from orograph.store.resume import recorded_settings
from orograph.store.run import Run
from orograph.store.size import DiskEstimate
from orograph.sweep.bench import Bench, disk_of, require_room
from orograph.sweep.critical_cost import NO_WAYS, Ways, time_ways, ways
from orograph.sweep.plan import cells, cohorts
from orograph.sweep.point import Instruments
from orograph.sweep.settings import SweepSettings
from orograph.training.loop import train
from orograph.work.problems import named_problem
from orograph.work.progress import duration
from orograph.work.timing import seconds_of
from orograph.work.trial import PRODUCT, count, try_step

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
    measures: float = 0.0  # seconds of a point
    ways: Ways = NO_WAYS
    reaching: float = 0.0  # seconds of all polishing and following

    @property
    def seconds(self) -> float:
        """About; every point that is trained uses all its epochs."""
        training = self.ways.trained * self.epochs * self.epoch
        return training + self.reaching + self.points * (self.products * self.product + self.measures)

    @property
    def bounded(self) -> bool:
        """Whether training's end is every point's: how long a critical point takes to reach is an estimate, no bound."""
        return not self.ways.critical

    def told_ways(self, settings: SweepSettings) -> str:
        """Of polishing and following, in words; empty where points are where training ends."""
        if not self.ways.critical:
            return ""
        name, more = ("following and polishing", ", more where branches end") if settings.follows else ("polishing", "")
        return (
            f", about {self.reaching / self.ways.critical:.3g} s a point of {name}, at {self.ways.critical} of {self.points} "
            f"(about {self.ways.each} products{more})"
        )


def expected_products(settings: SweepSettings) -> int:
    """Products of one spectrum: Lanczos needs about 95 for 30 pairs of an MNIST network, and 13 check them."""
    return 3 * settings.spectrum.k + 20 if settings.spectrum.k else 0


def time_cost(settings: SweepSettings, instruments: Instruments, points: int) -> Cost:
    """Times `STEPS` training steps and `PRODUCTS` products on the real data."""
    objective, hessian = instruments.train, instruments.hessian
    batch = settings.training.batch_size
    inputs, targets = next(iter(objective.batches(min(objective.count, STEPS * batch))))
    few = Objective(objective.model, objective.output_losses, [(inputs, targets)], dtype=objective.dtype)
    one = settings.training.model_copy(update={"epochs": 1, "published": True})
    epoch = seconds_of(lambda: train(few, few.theta, one, order_seed=0)) * objective.count / few.count
    vector = torch.randn_like(objective.theta)
    hessian.at(objective.theta) @ vector
    product = seconds_of(lambda: hessian @ vector, times=PRODUCTS, warm=False)
    known = settings.spectrum.k > 0 and settings.spectrum.hessian == "loss" and settings.spectrum.which != "SA"
    typical = objective.penalised(_typical(settings))
    given: dict[str, Any] = {"known": known, "on": instruments.test, "groups": instruments.groups}
    measures = seconds(settings.measuring.measures, typical, hessian, **given)
    found = ways(settings, points)
    reaching = time_ways(found, typical, hessian, product)
    return Cost(epoch, product, points, settings.training.epochs, expected_products(settings), measures, found, reaching)


def _typical(settings: SweepSettings) -> float:
    """The strength at which solves take as many products as on average over the ladder; 0 where points are no minima."""
    positive = [strength for strength in settings.ladder.ladder() if strength > 0]
    if not positive or not (settings.follows or settings.training.polish):
        return 0.0
    return (sum(strength**-0.5 for strength in positive) / len(positive)) ** -2


def show_plan(bench: Bench, out: Path, console: Console, missing: int | None = None, *, as_json: bool = False) -> None:
    """What would be done, and what it would cost, to be read or as JSON; of a run that is there, of so many points to be made."""
    settings, objective = bench.settings, bench.instruments.train
    points = len(cells(settings)) if missing is None else missing
    cost, disk = time_cost(settings, bench.instruments, points), replace(bench.disk(), points=points)
    tested = 0 if bench.instruments.test is None else bench.instruments.test.count
    lines = {
        **_head(bench.problem, settings, out, objective.count, tested, objective.layout.size),
        **({} if missing is None else {"to do": f"{missing} points"}),
        "Hessian": bench.instruments.hessian.plan,
        "time": f"{'at most' if cost.bounded else 'about'} {duration(cost.seconds)}: {cost.epoch:.2f} s an epoch and model "
        f"(at most {cost.epochs}, for {cost.ways.trained} of {points} points), "
        f"{cost.product:.3f} s a product (about {cost.products} a point)"
        + (f", {cost.measures:.2f} s the measures of a point" if settings.measuring.measures else "")
        + cost.told_ways(settings),
    }
    _show(lines, cost, disk, out, console, as_json=as_json)


def show_pairs_plan(bench: Bench, old: Run, points: int, console: Console, *, as_json: bool = False) -> None:
    """What more pairs at so many points of a run would cost, to be read or as JSON; they need room beside those there are."""
    settings = bench.settings
    cost = replace(time_cost(settings, bench.instruments, points), epochs=0, ways=NO_WAYS, reaching=0.0)
    chosen, before = settings.spectrum, recorded_settings(old, SweepSettings).spectrum.k
    lines = {
        "run": str(old.path),
        "to do": f"{chosen.k} pairs in place of {before} at {points} points, nothing is trained",
        "Hessian": bench.instruments.hessian.plan,
        "time": f"about {duration(cost.seconds)}: {cost.product:.3f} s a product (about {cost.products} a point)"
        + (f", {cost.measures:.2f} s the measures of a point" if settings.measuring.measures else ""),
    }
    _show(lines, cost, replace(bench.disk(), points=points), old.path, console, as_json=as_json)


def rough_plan(settings: SweepSettings, execution: ParallelExecution, out: Path, console: Console) -> bool:
    """Whether a network is so slow that a plan is made of one training step of it; it is shown then.

    Raises:
        OrographError: the data cannot be had, or the network is larger than memory.
    """
    if any(map(is_own, (settings.data.dataset, settings.model.model, settings.problem.loss, settings.problem.train))):
        return False
    device, dtype, points = choose_device(settings.numerics.device), getattr(torch, settings.numerics.dtype), len(cells(settings))
    problem = named_problem(settings.data, settings.model, settings.problem, execution.data_dir)
    require_room(settings, problem, device)
    trial = try_step(problem, settings.training.batch_size, seed=settings.anchor.seeds[0], dtype=dtype, device=device)
    if not trial.slow:
        return False
    product, found = PRODUCT * trial.epoch, ways(settings)
    reaching = found.products * product
    cost = Cost(
        trial.epoch, product, points, settings.training.epochs, expected_products(settings), ways=found, reaching=reaching
    )
    disk = disk_of(settings, trial.parameters)
    lines = {
        **_head(problem, settings, out, trial.count, count(problem.test), trial.parameters),
        "time": f"{'at most' if cost.bounded else 'about'} {duration(cost.seconds)}: {cost.epoch:.3g} s an epoch and model "
        f"(at most {cost.epochs}, for {cost.ways.trained} of {points} points) by {trial.told}, about "
        f"{cost.product:.3g} s a product (about {cost.products} a point){cost.told_ways(settings)}"
        + (", without measures" if settings.measuring.measures else ""),
    }
    _show(lines, cost, disk, out, console, as_json=execution.json_output)
    return True


def _head(problem: Problem, settings: SweepSettings, out: Path, trained: int, tested: int, parameters: int) -> dict[str, str]:
    ladder = settings.ladder.ladder()
    samples = "samples" if problem.images is None else "images"
    return {
        "run": str(out),
        "data": f"{settings.data.dataset}, {trained} training and {tested} test {samples}",
        "model": f"{settings.model.model}, {parameters:,} parameters",
        "ladder": f"{len(ladder)} strengths from {ladder[0]:g} to {ladder[-1]:g}, {settings.ladder.direction}; "
        f"{len(settings.anchor.seeds)} seeds; {len(cells(settings))} points in {len(cohorts(settings))} cohorts",
        "start": f"{settings.anchor.start}, anchor {settings.anchor.anchor}"
        + (", points follow branches and are trained only where these begin or are lost" if settings.follows else ""),
    }


def _show(lines: Mapping[str, str], cost: Cost, disk: DiskEstimate, out: Path, console: Console, *, as_json: bool) -> None:
    told = told_space(out, disk.total)
    lines = {**lines, "disk": f"{format_bytes(disk.total)}{told}: {format_bytes(disk.per_point)} a point"}
    if as_json:
        answer(json_text({**lines, "points": cost.points, "seconds": cost.seconds, "bytes": disk.total}))
        return
    for name, text in lines.items():
        console.print(Text.assemble((f"{name:>8}", "bold"), f"  {shown(text)}"), highlight=False)
