"""What a study will cost, before it is begun: a few real steps, passes and products, timed and multiplied; memory and disk."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from rich.console import Console
from rich.text import Text

from orograph.connectivity.directions import random_orthonormal
from orograph.connectivity.surfaces import surface
from orograph.curvature.hessian import HessianOperator
from orograph.errors import shown
from orograph.measures.cost import seconds
from orograph.memory import format_bytes, parse_bytes
from orograph.process import choose_device
from orograph.remarks import answer
from orograph.settings.base import is_own
from orograph.settings.shared import ModelSettings
from orograph.store.atomic import told_space
from orograph.store.encoding import json_text
from orograph.study.bench import TOP_SHARE, StudyBench, require_room
from orograph.study.grid import CANDIDATES, Configuration, configurations
from orograph.study.minimum import LEVELS, drawn, level
from orograph.study.plan import ANCHORED, BOTH_SETS, Step, steps
from orograph.study.settings import StudyExecution, StudySettings
from orograph.training.fitting import fit
from orograph.training.history import evaluated
from orograph.work.problems import factory, named_problem
from orograph.work.progress import duration
from orograph.work.timing import seconds_of
from orograph.work.trial import PRODUCT, try_step

STEPS = 20
SIDE = 5  # points along each axis of the plane that is timed
VECTORS = 8  # of a network in training: θ, gradient, moments, evaluation and copies
_FINDING = 60_000  # bytes of a record with its small arrays


@dataclass(frozen=True)
class Speed:
    """Seconds of one pass over the training data: forward, with gradient, in mini-batch steps; of one Hessian product; and of a
    pass as one point of a plane, whose first layers are shared with all others."""

    forward: float
    gradient: float
    steps: float
    product: float
    point: float

    def seconds(self, step: Step) -> float:
        return step.cost.seconds(self.forward, self.gradient, self.steps, self.product, self.point)


def measure_speed(bench: StudyBench, chosen: Configuration) -> Speed:
    """Times about `STEPS` training steps, a pass over their images, a product over all images, and a small plane where there will
    be surfaces."""
    whole, _ = bench.objectives(chosen)
    few = whole.subset(torch.arange(min(whole.count, STEPS * chosen.batch_size)))
    settings = chosen.fit(CANDIDATES[chosen.optimizer][-1] if chosen.lr is None else None).model_copy(update={"epochs": 1})
    start = bench.start(chosen, bench.settings.optimisation.seed, settings)

    def train() -> None:
        fit(few, [start], settings, order_seeds=0, gradients=False)

    hessian = HessianOperator.of(whole)

    def plane() -> None:
        surface(whole, start.theta, random_orthonormal(start.theta), points=SIDE)

    vector = torch.randn_like(start.theta)
    hessian.at(start.theta) @ vector
    scale = whole.count / few.count
    return Speed(
        forward=scale * seconds_of(lambda: evaluated(few, start.theta, start.buffers)),
        gradient=scale * seconds_of(lambda: evaluated(few, start.theta, start.buffers, differentiate=True)),
        steps=scale * seconds_of(train),
        product=seconds_of(lambda: hessian @ vector, warm=False),
        point=seconds_of(plane) / SIDE**2 if bench.settings.surfaces.slice_2d else 0.0,
    )


def measures_seconds(bench: StudyBench, chosen: Configuration, names: Sequence[str]) -> float:
    """Of the measures of one minimum, on the samples that its level takes."""
    settings = bench.settings
    train, test = bench.objectives(chosen)
    places = drawn(train, LEVELS[level(settings.metrics)].images, settings.optimisation.seed)
    some = train if places is None else train.subset(places)
    groups = bench.groups if bench.problem.groups is not None else None
    return seconds(names, some, HessianOperator.of(some), known=True, on=test, groups=groups)


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
    parameters = sum(bench.objectives(chosen)[0].layout.size for chosen in bench.configurations)
    return vector_bytes(bench.settings, parameters) + _FINDING * len(steps(bench))


def vector_bytes(settings: StudySettings, parameters: int) -> float:
    """All of that but the records, of so many parameters in all configurations together."""
    seeds = settings.optimisation.num_seeds
    kept = settings.metrics.top_k if settings.metrics.keep_eigenvectors else 0
    curves = math.comb(seeds, 2) if "bezier" in settings.connectivity.paths else 0
    dtype: torch.dtype = getattr(torch, settings.numerics.dtype)
    return float(dtype.itemsize * parameters * (seeds * (1 + kept) + curves))


def show_plan(bench: StudyBench, out: Path, console: Console, *, as_json: bool = False) -> None:
    """What would be done, and what it would cost, to be read or as JSON."""
    settings, everything = bench.settings, steps(bench)
    train, test = bench.objectives(bench.configurations[0])
    beside = ", and those of its measures" if settings.measuring.of_minima else ""
    lines = {
        "run": str(out),
        "data": f"{settings.data.dataset}, {train.count} training and {test.count if test else 'no'} test {bench.sample}s",
        "study": f"{len(bench.configurations)} configurations × {settings.optimisation.num_seeds} seeds, {len(everything)} steps",
        "products": f"at most {settings.metrics.products} Hessian products a minimum{beside}",
    }
    total, largest, beside_surfaces, anchored = 0.0, 0.0, 0.0, 0.0
    for chosen in bench.configurations:
        speed = measure_speed(bench, chosen)
        mine = [step for step in everything if step.configuration == chosen]
        by_kind: dict[str, float] = {}
        for step in mine:
            by_kind[step.kind] = by_kind.get(step.kind, 0.0) + speed.seconds(step)
        if names := settings.measuring.of_minima:
            by_kind["measures"] = settings.optimisation.num_seeds * measures_seconds(bench, chosen, names)
        if settings.planes:
            share = settings.planes / (settings.planes + BOTH_SETS)
            beside_surfaces += share * (by_kind.get("slice", 0.0) + by_kind.get("plane", 0.0))
        if "anchored" in settings.connectivity.paths:
            anchored += sum(step.kind == "pair" for step in mine) * ANCHORED * speed.product
        total += sum(by_kind.values())
        memory = memory_bytes(bench, chosen)
        largest = max(largest, memory)
        parameters = bench.objectives(chosen)[0].layout.size
        parts = ", ".join(f"{kind} {duration(seconds)}" for kind, seconds in by_kind.items())
        lines[chosen.name] = (
            f"{parameters:,} parameters; {speed.steps:.3g} s an epoch, {speed.product:.3g} s a product; "
            f"{format_bytes(memory)} of memory; {parts}"
        )
    if settings.planes:
        each = f"{settings.planes} random planes that each surface is held against"
        lines["surfaces"] = f"about {duration(beside_surfaces)} of the time is for {each}; `null_planes` 0 leaves them out"
    about = f"about {duration(total)}"
    if anchored:
        most = f"at most {ANCHORED:,} Hessian products each, {duration(anchored)} in all, of which a fifth to a half were seen"
        lines["anchored paths"] = most
        about = f"at most {duration(total)}, about {duration(total - anchored)} of it without anchored paths"
    lines |= {
        "time": f"{about}, all steps one after the other",
        "memory": f"about {format_bytes(largest)} each process",
        "disk": f"about {format_bytes(disk_bytes(bench))}{told_space(out, disk_bytes(bench))}",
    }
    if as_json:
        answer(json_text({**lines, "steps": len(everything), "seconds": total, "bytes": disk_bytes(bench)}))
    else:
        _print(lines, console)


def rough_plan(settings: StudySettings, execution: StudyExecution, out: Path, console: Console) -> bool:
    """Whether networks are so slow that a plan is made of one training step of each; it is shown then.

    Raises:
        OrographError: the data cannot be had, or a network is larger than memory.
    """
    chosen = configurations(settings)
    named = [settings.data.dataset, settings.problem.loss, *(each.model for each in chosen)]
    if any(map(is_own, named)):
        return False
    device, dtype = choose_device(settings.numerics.device), getattr(torch, settings.numerics.dtype)
    lines: dict[str, str] = {"run": str(out)}
    total, slow = 0.0, False
    products, seeds = settings.metrics.products, settings.optimisation.num_seeds
    problem = named_problem(settings.data, ModelSettings(model=chosen[0].model), settings.problem, execution.data_dir)
    require_room(settings, problem, device)
    for each in chosen:
        mine = replace(problem, model=factory(each.model, each.options()))
        trial = try_step(mine, each.batch_size, seed=settings.optimisation.seed, dtype=dtype, device=device)
        training, measuring = each.epochs * trial.epoch, products * PRODUCT * trial.epoch
        lines[each.name] = (
            f"{trial.parameters:,} parameters; {trial.epoch:.3g} s an epoch by {trial.told}; {seeds} × (training "
            f"{duration(training)}, minimum {duration(measuring)})"
        )
        total, slow = total + seeds * (training + measuring), slow or trial.slow
    if not slow:
        return False
    measures = ", the measures" if settings.measuring.of_minima else ""
    lines["time"] = f"about {duration(total)}{measures} and the pairs of networks, all steps one after the other"
    if execution.json_output:
        answer(json_text({**lines, "seconds": total}))
    else:
        _print(lines, console)
    return True


def _print(lines: Mapping[str, str], console: Console) -> None:
    width = max(len(name) for name in lines)
    for name, text in lines.items():
        console.print(Text.assemble((f"{name:>{width}}", "bold"), f"  {shown(text)}"), highlight=False, soft_wrap=True)
