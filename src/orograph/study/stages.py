"""The steps of a study, each a function of the bench and plain values, so that any process can do it.

None of them reads or writes the run: what a step needs of earlier ones is given to it (`Inputs`), and what it returns is
committed by the process that holds the run. A measurement that the network does not admit, such as one where its loss is not
finite, is returned as an error in words; a trouble that may pass, such as a lack of memory, is raised.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from orograph.errors import ConfigurationError, DataError, OrographError
from orograph.settings.shared import Execution
from orograph.store.findings import Result
from orograph.study.bench import StudyBench
from orograph.study.minimum import measure_minimum
from orograph.study.pairs import connect
from orograph.study.plan import Step
from orograph.study.settings import StudySettings
from orograph.study.slices import plane_of_minima, slice_minimum
from orograph.study.trainings import choose_rate, instability, train_seeds
from orograph.training.fitting import Fitted
from orograph.work.problems import unpacked_problem
from orograph.work.worker import Say

# What a network makes impossible, however often it is tried: values that are not finite, matrices that cannot be decomposed.
FAILURES = (ConfigurationError, DataError, ArithmeticError, np.linalg.LinAlgError, torch.linalg.LinAlgError)


class Diverged(OrographError):
    """A network that a step needs has no finite loss."""


@dataclass(frozen=True, eq=False)
class Inputs:
    """What a step takes from those before it.

    Attributes:
        rate: the learning rate that was chosen; None where the configuration has its own.
        states: of the networks of the step, with their buffers.
        arrays: of earlier findings: `eigenvectors` of the minimum of a slice, `bezier_bend` of the curve drawn into a plane.
    """

    rate: float | None = None
    states: tuple[Mapping[str, Tensor], ...] = ()
    arrays: Mapping[str, Tensor] = field(default_factory=dict)


def train_step(bench: StudyBench, step: Step, inputs: Inputs, say: Say) -> list[Fitted]:
    """The networks of the step, as one cohort."""
    return train_seeds(bench, step.configuration, step.seeds, inputs.rate, say)


def measure_step(bench: StudyBench, step: Step, inputs: Inputs, say: Say) -> Result:
    """Everything but training; `error` says why nothing was found.

    Raises:
        OrographError: no learning rate can be chosen, without which nothing can be trained.
        MemoryError, RuntimeError, OSError: a trouble that may have passed when it is tried again.
    """
    say(step.title)
    if step.kind == "rate":
        return choose_rate(bench, step.configuration, say)
    try:
        found = _MEASURED[step.kind](bench, step, inputs, say)
    except FAILURES as error:
        return failed(step, error)
    return Result(found.scalars | _seeds(step), found.arrays)


def failed(step: Step, why: BaseException | str) -> Result:
    """What is recorded of a step that found nothing."""
    words = (str(why).strip() or type(why).__name__).splitlines()[0].rstrip(".")
    return Result({"error": words} | _seeds(step))


def _seeds(step: Step) -> dict[str, Any]:
    """The networks of a finding whose name does not say them."""
    return {"seeds": list(step.seeds)} if step.kind in ("pair", "slice", "plane") else {}


def _instability(bench: StudyBench, step: Step, inputs: Inputs, say: Say) -> Result:
    epoch = int(step.key.name.rpartition("-")[2])
    return instability(bench, step.configuration, inputs.rate, epoch, say)


def _minimum(bench: StudyBench, step: Step, inputs: Inputs, say: Say) -> Result:
    found = bench.minimum(step.configuration, inputs.states[0])

    def on_product(part: str, count: int) -> None:
        say(f"{part}, product {count} · {step.title}")

    given = bench.problem.groups is not None  # of classes a study records no metrics
    return measure_minimum(
        found.train,
        found.test,
        found.theta,
        settings=bench.settings.metrics,
        measures=bench.settings.measuring.of_minima,
        metrics=bench.metrics if given else bench.besides,
        groups=bench.groups if given else None,
        seed=step.seeds[0],
        on_product=on_product,
    )


def _pair(bench: StudyBench, step: Step, inputs: Inputs, say: Say) -> Result:
    first, second = (bench.minimum(step.configuration, state) for state in inputs.states)

    def on_step(path: str, count: int) -> None:
        say(f"{path}, step {count} · {step.title}")

    settings, seed = bench.settings.connectivity, step.seeds[0]
    metrics = () if bench.classifies else bench.metrics
    return connect(
        first.train, first.test, first.theta, second.theta, settings=settings, metrics=metrics, seed=seed, on_step=on_step
    )


def _slice(bench: StudyBench, step: Step, inputs: Inputs, say: Say) -> Result:
    found, settings = bench.minimum(step.configuration, inputs.states[0]), bench.settings.surfaces
    vectors = inputs.arrays.get("eigenvectors")
    directions = None if vectors is None else vectors.to(found.theta)
    given: dict[str, Any] = {"settings": settings, "seed": step.seeds[0], "planes": bench.settings.planes}
    return slice_minimum(found.train, found.test, found.theta, eigenvectors=directions, **given)


def _plane(bench: StudyBench, step: Step, inputs: Inputs, say: Say) -> Result:
    minima = [bench.minimum(step.configuration, state) for state in inputs.states]
    thetas = torch.stack([each.theta for each in minima])
    bend = inputs.arrays.get("bezier_bend")
    path = None if bend is None else bend.to(thetas)
    given: dict[str, Any] = {"settings": bench.settings.surfaces, "seed": step.seeds[0], "planes": bench.settings.planes}
    return plane_of_minima(minima[0].train, minima[0].test, thetas, path=path, **given)


_MEASURED: dict[str, Callable[[StudyBench, Step, Inputs, Say], Result]] = {
    "instability": _instability,
    "minimum": _minimum,
    "pair": _pair,
    "slice": _slice,
    "plane": _plane,
}

STAGES: dict[str, Callable[..., Any]] = {"train": train_step, "measure": measure_step}


@dataclass(frozen=True)
class StudyContext:
    """What workers know of a study: its settings, where data lie, and its problems where they have no names."""

    stages: ClassVar[Mapping[str, Callable[..., Any]]] = STAGES

    settings: StudySettings
    data_dir: str | None
    problems: tuple[bytes | None, ...] = ()

    @property
    def threads(self) -> int:
        return self.settings.numerics.threads

    def bench(self) -> StudyBench:
        """Made anew."""
        problems = [found for each in self.problems if (found := unpacked_problem(each)) is not None]
        return StudyBench.prepare(self.settings, Execution(data_dir=self.data_dir), problems)
