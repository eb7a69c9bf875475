"""What a study consists of, step by step, and what each step costs in passes over the training data."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from orograph.connectivity.anchored import TRIALS
from orograph.connectivity.connecting import CYCLES, PRODUCTS
from orograph.geometry.epsilon_sharpness import STEPS
from orograph.store.cells import Cell
from orograph.store.findings import FindingKey
from orograph.store.run import Run
from orograph.study.bench import StudyBench
from orograph.study.grid import Configuration, candidates
from orograph.study.minimum import LEVELS, level
from orograph.study.trainings import rate_key
from orograph.training.gradient import tracks_statistics

# In forward passes: the arithmetic of dense layers.
BACKWARD = 3.0  # loss and gradient
PRODUCT = 5.4  # a Hessian product, what is independent of the vector kept
PREPARATION = 1e11  # operations in the time that tracing and writing take
_STARTS = 8  # of both ascents together; each takes a step, and one of each ascent goes on
_PIVOTS = 7  # of a band, on average
_AROUND = 2.0  # gradients at a pivot: with all that is done to its vectors besides, in training steps
BOTH_SETS = 1.2  # training and test data together
ANCHORED = TRIALS * PRODUCTS  # products of an anchored path, at most: how many, its jumps decide, which no dry run sees


@dataclass(frozen=True)
class Passes:
    """Passes over the training data: `forward` ones, with `gradient`, epochs of mini-batch `steps`, Hessian `products`, and those
    of `points` of a plane."""

    forward: float = 0.0
    gradient: float = 0.0
    steps: float = 0.0
    products: float = 0.0
    points: float = 0.0

    @property
    def work(self) -> float:
        """In forward passes."""
        return self.forward + self.points + BACKWARD * (self.gradient + self.steps) + PRODUCT * self.products

    def seconds(self, forward: float, gradient: float, steps: float, product: float, point: float) -> float:
        """The time, from the seconds of each kind of pass."""
        passes = self.forward * forward + self.gradient * gradient + self.steps * steps + self.products * product
        return passes + self.points * point


@dataclass(frozen=True)
class Step:
    """One thing to do and to commit.

    Attributes:
        kind: `training`, or the kind of a finding.
        key: of the finding; for a training, of the same form.
        seeds: of the networks concerned.
        forward: operations of one forward pass over the training data.
    """

    kind: str
    configuration: Configuration
    key: FindingKey
    seeds: tuple[int, ...]
    cost: Passes
    forward: float

    @property
    def title(self) -> str:
        return f"{self.configuration.name}, {self.kind} {self.key.name}"

    @property
    def work(self) -> float:
        """Operations, with those that could have been done while it is prepared."""
        return self.cost.work * self.forward + PREPARATION

    def done(self, run: Run) -> bool:
        """Whether it is committed."""
        if self.kind == "training":
            return Cell(self.seeds[0], configuration=self.configuration.name) in run.records
        return self.key in run.findings


def steps(bench: StudyBench) -> list[Step]:
    """All steps, in the order in which they are done: one configuration after the other."""
    return [step for chosen in bench.configurations for step in _steps(bench, chosen)]


def _steps(bench: StudyBench, chosen: Configuration) -> list[Step]:
    settings = bench.settings
    training, seeds = settings.optimisation, settings.optimisation.seeds
    first = (training.seed,)
    objective, _ = bench.objectives(chosen)
    forward = 2.0 * objective.layout.size * objective.count

    def step(kind: str, name: str, members: Sequence[int], cost: Passes) -> Step:
        return Step(kind, chosen, FindingKey(kind, chosen.name, name), tuple(members), cost, forward)

    found = []
    if chosen.lr is None:
        count = len(candidates(chosen.optimizer, training.lr))
        cost = Passes(steps=count * chosen.epochs, forward=count * chosen.epochs)
        found.append(Step("rate", chosen, rate_key(chosen), first, cost, forward))
    found += [step("training", str(seed), (seed,), _training(bench, chosen)) for seed in seeds]
    for epoch in training.instability:
        cost = Passes(steps=2 * (chosen.epochs - epoch), forward=2 * chosen.epochs)
        found.append(step("instability", f"{training.seed}-from-{epoch}", first, cost))
    found += [step("minimum", str(seed), (seed,), _minimum(bench)) for seed in seeds]
    if settings.connectivity.paths:
        for pair in itertools.combinations(seeds, 2):
            found.append(step("pair", f"{pair[0]}-{pair[1]}", pair, _pair(bench)))
    if settings.surfaces.slice_2d:
        found.append(step("slice", str(training.seed), first, _surface(bench)))
        if len(seeds) > 2:
            again = any(tracks_statistics(module) for module in objective.model.modules())
            found.append(step("plane", "-".join(map(str, seeds[:3])), seeds[:3], _surface(bench, again=again)))
    return found


def _training(bench: StudyBench, chosen: Configuration) -> Passes:
    every = bench.settings.optimisation.track_curvature
    products = (28 if chosen.optimizer == "SGD" else 50) * (chosen.epochs / every) if every else 0
    return Passes(forward=0.2 * chosen.epochs, gradient=chosen.epochs, steps=chosen.epochs, products=products)


def _minimum(bench: StudyBench) -> Passes:
    settings = bench.settings.metrics
    effort, count = LEVELS[level(settings)], bench.objectives(bench.configurations[0])[0].count
    share = 1.0 if effort.images is None else min(1.0, effort.images / count)
    ascent = _STARTS + 2 * (effort.ascent - 1)
    forward = 2 * (2 * effort.pairs + 1) + 6 * effort.around + 2 * settings.top_k + effort.rows + len(STEPS) * ascent
    return Passes(forward=share * forward, gradient=share * ascent, products=share * settings.products)


def _pair(bench: StudyBench) -> Passes:
    chosen = bench.settings.connectivity
    gradients = {"bezier": 1.0, "chain": 1.0, "band": 0.5 * _PIVOTS * _AROUND}
    trained = sum(gradients.get(name, 0.0) for name in chosen.paths) * chosen.path_epochs
    between = 2 * _PIVOTS * (CYCLES - 1) if "band" in chosen.paths else 0  # losses that say where a pivot is missing
    products = ANCHORED if "anchored" in chosen.paths else 0
    return Passes(forward=BOTH_SETS * chosen.curve_points * (len(chosen.paths) + 1) + between, steps=trained, products=products)


def _surface(bench: StudyBench, *, again: bool = False) -> Passes:
    """Of both sets, and of the random planes, which are of the training data; with statistics estimated `again` at each point."""
    planes = bench.settings.planes or 0
    passes = BOTH_SETS + planes + (2 + planes if again else 0)
    return Passes(points=passes * bench.settings.surfaces.slice_points**2)
