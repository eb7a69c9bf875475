"""What a study works with: the data, and for each architecture the model and its objectives on both sets."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from orograph.errors import ConfigurationError
from orograph.geometry.evaluation import classifies
from orograph.geometry.scores import Value, require_numbers, scores
from orograph.metrics import ACCURACY, Metric
from orograph.objective import Objective
from orograph.parameters import layout_of
from orograph.problem import Groups, Problem
from orograph.settings.base import is_own
from orograph.settings.shared import Execution, ModelSettings
from orograph.store.cells import Cell
from orograph.store.wording import wording_of
from orograph.study.grid import Configuration, configurations
from orograph.study.settings import StudySettings
from orograph.training.cohort import fitting_cohort
from orograph.training.fitting import State, initial
from orograph.training.history import Scored
from orograph.training.settings import FitSettings
from orograph.training.stability import with_buffers
from orograph.work.bench import chosen_metrics, objectives, prepare
from orograph.work.problems import factory
from orograph.work.trial import require_memory

FEWEST_TO_HOLD_OUT = 12  # training samples from which some can be held out
TOP_SHARE = 0.6  # of a minimum's products, those whose Lanczos basis is in memory at once
ALONE = 2**21  # networks of more parameters train one by one: their matrix products fill the machine


def require_room(settings: StudySettings, problem: Problem, device: torch.device) -> None:
    """Refuses a named network of which memory does not hold the training or the measurements, before any is made.

    Raises:
        ConfigurationError: it is too large.
    """
    numerics, metrics = settings.numerics, settings.metrics
    for chosen in configurations(settings):
        if not is_own(chosen.model):
            shape = {"input_shape": problem.shape, "classes": problem.outputs, **chosen.options()}
            needs: dict[str, Any] = {"kept": metrics.top_k, "rows": TOP_SHARE * metrics.products, "memory": numerics.memory}
            require_memory(chosen.model, shape, dtype=getattr(torch, numerics.dtype), device=device, **needs)


@dataclass(frozen=True, eq=False)
class Minimum:
    """A trained network: θ `(P,)`, and the objectives with its own buffers; None without test data."""

    theta: Float[Tensor, " P"]
    train: Objective
    test: Objective | None


@dataclass
class StudyBench:
    """Data, models and objectives; settings with their numerics settled."""

    settings: StudySettings
    problem: Problem
    device: torch.device
    configurations: list[Configuration]
    models: Mapping[str, Any] = field(default_factory=dict)  # of networks in memory, by name
    _objectives: dict[tuple[Any, ...], tuple[Objective, Objective | None]] = field(default_factory=dict)
    _models: dict[tuple[Any, ...], torch.nn.Module] = field(default_factory=dict)

    @classmethod
    def prepare(
        cls,
        settings: StudySettings,
        execution: Execution,
        problems: Sequence[Problem] = (),
        room: Callable[[int], None] | None = None,
    ) -> "StudyBench":
        """Loads and checks all that the study needs; writes nothing.

        Args:
            settings: of the study.
            execution: where named data lie.
            problems: objects in memory, in place of what the settings name; they differ in their networks alone.
            room: refuses a number of parameters, of all configurations together, for which there is no room; asked before
                anything is tried on a network.

        Raises:
            OrographError: the data or a model cannot be had as asked.
        """
        first = ModelSettings(model=settings.architecture.model[0])
        given, seed = problems[0] if problems else None, settings.optimisation.seed
        others = settings.architecture.model[1:]
        settings, device, problem = prepare(settings, first, execution.data_dir, seed=seed, problem=given, others=others)
        if problem.trainer is not None:
            _require_one_training(settings)
        models = {each.names["model"]: each.model for each in problems}
        bench = cls(settings, problem, device, configurations(settings), models)
        require_room(settings, problem, device)
        if room is not None:
            room(sum(layout_of(bench._model(chosen), problem.parameters).size for chosen in bench.configurations))
        for chosen in bench.configurations:
            bench.check(chosen)
        return bench

    def check(self, chosen: Configuration) -> None:
        """Raises:
        ConfigurationError: a configuration cannot be trained or measured on these data.
        """
        objective, _ = self.objectives(chosen)
        size, top, count = objective.layout.size, self.settings.metrics.top_k, objective.count
        if top >= size:
            raise ConfigurationError(f"`top_k` {top} must be below the {size} parameters of {chosen.name}.")
        if any(map(is_own, (chosen.model, self.settings.data.dataset, *self.settings.problem.metrics))):
            require_numbers(objective, scores(objective, objective.theta, self.metrics)[0])
        if chosen.batch_norm and min(count, chosen.batch_size) < 2:
            raise ConfigurationError(
                f"BatchNorm needs two samples in a batch; give {chosen.name} a larger `batch_size` or `subset_size`."
            )
        if chosen.lr is None and objective.streamed:
            raise ConfigurationError(
                "`compare_optimizers` holds training samples out, and data larger than `memory` are held by nobody; give `lr` "
                "or more `memory`."
            )
        if chosen.lr is None and count < FEWEST_TO_HOLD_OUT:
            raise ConfigurationError(
                f"{count} training {self.sample}s are too few to hold some out; `compare_optimizers` needs {FEWEST_TO_HOLD_OUT}."
            )

    def objectives(self, chosen: Configuration) -> tuple[Objective, Objective | None]:
        """On the training and on the test data, None without these; made once for each architecture."""
        key = chosen.architecture
        if key not in self._objectives:
            self._objectives[key] = objectives(self._model(chosen), self.problem, self.settings.numerics)
        return self._objectives[key]

    def _model(self, chosen: Configuration) -> torch.nn.Module:
        """Of the first seed, made once for each architecture."""
        key = chosen.architecture
        if key not in self._models:
            self._models[key] = self._build(chosen, self.settings.optimisation.seed).to(self.device)
        return self._models[key]

    def _build(self, chosen: Configuration, seed: int) -> torch.nn.Module:
        made = self.models[chosen.model] if chosen.model in self.models else factory(chosen.model, chosen.options())
        return replace(self.problem, model=made, names={**self.problem.names, "model": chosen.model}).build(seed)

    def start(self, chosen: Configuration, seed: int, settings: FitSettings) -> State:
        """A network as its seed initialises it."""
        objective = self.objectives(chosen)[0]
        named = dict(self._build(chosen, seed).named_parameters())
        return initial(objective, objective.layout.flatten(named).to(objective.theta), settings)

    def together(self, chosen: Configuration) -> int:
        """How many networks of a configuration train as one cohort."""
        objective = self.objectives(chosen)[0]
        return 1 if objective.layout.size > ALONE else self.settings.numerics.cohort or fitting_cohort(objective)

    @cached_property
    def metrics(self) -> tuple[Metric, ...]:
        """Of the problem: its own, or those that outputs and targets admit."""
        return chosen_metrics(self.problem, self.objectives(self.configurations[0])[0])

    @cached_property
    def classifies(self) -> bool:
        """Whether outputs are scores of classes: whether there are accuracies, margins, disagreements, and ensembles."""
        return classifies(self.objectives(self.configurations[0])[0])

    @property
    def besides(self) -> tuple[Metric, ...]:
        """The metrics but the accuracy, which is counted with the loss."""
        return tuple(each for each in self.metrics if each is not ACCURACY)

    @property
    def scored(self) -> Scored | None:
        """Measures these; None where there are none."""
        besides = self.besides

        def of(objective: Objective, theta: Float[Tensor, " P"], buffers: Mapping[str, Tensor]) -> dict[str, Value]:
            return scores(with_buffers(objective, buffers) if buffers else objective, theta, besides)[0]

        return of if besides else None

    @cached_property
    def groups(self) -> Groups | None:
        """Of the samples: the classes, or those that were given; None where there are none."""
        return self.problem.grouped()

    @property
    def names(self) -> tuple[str, ...]:
        """Of the groups."""
        return self.groups.names if self.groups else ()

    @property
    def sample(self) -> str:
        """What the data are of: `image` or `sample`."""
        return wording_of(self.settings.configuration(), None).sample

    def cells(self) -> list[Cell]:
        """Every network of the study."""
        seeds = self.settings.optimisation.seeds
        return [Cell(seed, configuration=chosen.name) for chosen in self.configurations for seed in seeds]

    def minimum(self, chosen: Configuration, state: Mapping[str, Tensor]) -> Minimum:
        """A trained network from its parameters and buffers."""
        train, test = self.objectives(chosen)
        theta = train.layout.flatten(state).to(train.theta)
        buffers = {name: value.to(train.constants[name]) for name, value in state.items() if name in train.constants}
        if not buffers:
            return Minimum(theta, train, test)
        return Minimum(theta, with_buffers(train, buffers), None if test is None else with_buffers(test, buffers))


def _require_one_training(settings: StudySettings) -> None:
    """Raises:
    ConfigurationError: settings of the program's own training, beside a function that trains by itself.
    """
    chosen = settings.optimisation
    several = ("optimizer", "lr", "weight_decay", "scheduler", "batch_size")
    idle = [name for name in ("compare_optimizers", "track_curvature", "instability") if getattr(chosen, name)]
    idle += [name for name in several if len(getattr(chosen, name)) > 1]
    if idle:
        raise ConfigurationError(f"`{idle[0]}` is of the program's own training, and `train` trains every network; leave it out.")
