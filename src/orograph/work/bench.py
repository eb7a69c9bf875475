"""What every bench begins with: this process made ready, the problem at hand, the objectives on its data."""

from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

import torch
import torch._dynamo  # with the other imports, which no garbage is looked for in; else the first trace does
from torch import Tensor, nn

from orograph.errors import ConfigurationError, OrographError
from orograph.losses import comes_with_torch
from orograph.metrics import TOKENS, Metric, fitting, of_tokens
from orograph.objective import Objective
from orograph.problem import Problem
from orograph.process import choose_device, seed_everything
from orograph.reduction import called
from orograph.settings.problem import ProblemSettings
from orograph.settings.shared import DataSettings, ModelSettings, NumericsSettings
from orograph.sources import takes
from orograph.work.problems import named_problem, recorded, require_unchanged


class Prepared(Protocol):
    """Settings of an experiment on data."""

    @property
    def data(self) -> DataSettings: ...

    @property
    def problem(self) -> ProblemSettings: ...

    @property
    def numerics(self) -> NumericsSettings: ...

    def model_copy(self, *, update: Any) -> Any: ...

    def configuration(self) -> dict[str, Any]: ...


Experiment = TypeVar("Experiment", bound=Prepared)


def prepare(
    settings: Experiment,
    model: ModelSettings,
    data_dir: str | None,
    *,
    seed: int,
    problem: Problem | None = None,
    others: Sequence[str] = (),
) -> tuple[Experiment, torch.device, Problem]:
    """Settles threads and device in the settings and in this process, seeds the global streams, and loads the problem.

    Args:
        settings: of the experiment.
        model: of its network, or of one of them.
        data_dir: where the files of named data lie.
        seed: of the global streams.
        problem: an object in memory, in place of what the settings name.
        others: names of further networks, whose sources are recorded, too.

    Raises:
        OrographError: there is no such device, the problem cannot be had as asked, or is not what a run was begun with.
    """
    numerics = settings.numerics
    threads = numerics.threads or torch.get_num_threads()
    device = choose_device(numerics.device)
    torch.set_num_threads(threads)
    seed_everything(seed)
    found = named_problem(settings.data, model, settings.problem, data_dir) if problem is None else problem
    if found.trainer is not None and (isinstance(found.trainer, type) or not takes(found.trainer, 5)):
        raise ConfigurationError(
            f"`train` {found.names.get('train', '')} is no function of (model, penalty, start, seed, report), written in Python; "
            "name one that is."
        )
    now = recorded(settings.problem, found, others)
    begun = settings.problem if problem is None else settings.problem.model_copy(update={"checksum": ""})  # told by others
    require_unchanged(begun, now)
    sources = settings.problem.sources or now.sources  # a run keeps those that it was begun with
    known = settings.model_copy(update={"problem": now.model_copy(update={"sources": sources})})
    return with_numerics(known, threads=threads, device=device.type), device, found


def with_numerics(settings: Experiment, **settled: Any) -> Experiment:
    """The settings with some of their numerics replaced."""
    return settings.model_copy(update={"numerics": settings.numerics.model_copy(update=settled)})


def objectives(model: nn.Module, problem: Problem, numerics: NumericsSettings) -> tuple[Objective, Objective | None]:
    """The loss on the training and on the test data, None without these.

    Raises:
        OrographError: model, loss and data do not go together.
    """
    given: dict[str, Any] = {"memory": numerics.memory, "dtype": getattr(torch, numerics.dtype), "parameters": problem.parameters}
    train = Objective(model, problem.loss, problem.train, **given)
    train.chunks = numerics.chunks
    if problem.test is None:
        return train, None
    try:
        test = Objective(model, problem.loss, problem.test, **given)
    except OrographError as error:
        raise type(error)(f"of the test data: {error}") from error
    test.chunks = numerics.chunks
    return train, test


def chosen_metrics(problem: Problem, objective: Objective) -> tuple[Metric, ...]:
    """The metrics of a problem: its own, or those that outputs and targets of a few samples admit; of tokens those that the loss
    is of, which may be of the next place.
    """
    if problem.metrics is not None:
        return tuple(each for each in problem.metrics if isinstance(each, Metric))
    inputs, targets = next(objective.batches(2))
    with torch.no_grad():
        outputs = objective.outputs(objective.theta, inputs)
        scores = objective.readout.scores(outputs)
    loss = problem.loss
    found = fitting(scores, targets, getattr(loss, "__name__", type(loss).__name__))
    if tuple(each.name for each in found) != TOKENS or comes_with_torch(loss):
        return found
    assert scores is not None

    def of(drawn: Tensor) -> float:
        read, others = objective.readout.read(outputs)
        assert len(read) == 1
        return called(objective.reduction.loss, objective.readout.unread(outputs, [drawn], others), targets).mean().item()

    with torch.no_grad():
        return of_tokens(of, scores, targets, objective.ignored)
