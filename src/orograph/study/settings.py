"""What a user chooses for a study, as frozen models: one concept each, checked here, no torch imported.

Lists multiply: every combination of model, width, optimiser, … is a configuration (`grid`), trained from every seed.
"""

import hashlib
import math
from collections.abc import Iterable
from typing import Annotated, Any, Literal

import tyro
from pydantic import Field, field_validator, model_validator

from orograph.connectivity.names import PATHS, WAYS
from orograph.errors import ConfigurationError, unknown
from orograph.measures.settings import MEASURES, MeasuresSettings, chosen
from orograph.models.names import ACTIVATIONS, MODELS
from orograph.settings.base import MOST_SEED, Settings, group, is_own, require_range
from orograph.settings.problem import ProblemSettings
from orograph.settings.shared import DataSettings, NumericsSettings, ParallelExecution, require_taken
from orograph.settings.words import Automatic, Integers, Numbers, Words
from orograph.training.settings import OPTIMIZERS, SCHEDULERS

STUDY_MODELS = tuple(name for name in MODELS if name != "mlp")  # studies vary one width, and MLP1 to MLP3 are those of mlp
COMPARED = ("SGD", "Adam", "AdamW")
MOST_SEEDS = 1_000  # of a configuration: every two of their minima are a pair
MOST_STEPS = 1_000_000  # of a study
TOPOLOGY = "topology"  # the measure of a surface
PLANES = 19  # random ones that it is held against: so many that a p-value can be 0.05
MOST_PLANES = 1_000
MOST_POSITIONS = 10_000  # along a curve or an axis


def _known(kind: str, names: Iterable[str], known: tuple[str, ...]) -> tuple[str, ...]:
    """The names as they are spelt here, whatever case they came in."""
    exact = {each.lower(): each for each in known}
    given = tuple(names)
    for name in given:
        if name.lower() not in exact:
            raise unknown(kind, name, known)
    return tuple(exact[name.lower()] for name in given)


def _distinct(name: str, values: tuple[Any, ...], *, empty: bool = False) -> tuple[Any, ...]:
    if not values and not empty:
        raise ConfigurationError(f"`{name}` needs at least one value")
    if len(set(values)) != len(values):
        raise ConfigurationError(f"`{name}` {','.join(map(str, values))} names a value twice")
    return values


class StudyDataSettings(DataSettings):
    dataset: Annotated[str, tyro.conf.arg(aliases=["--data"])] = Field(
        "mnist", description=DataSettings.model_fields["dataset"].description
    )


class ArchitectureSettings(Settings):
    """The networks of a study; lists multiply."""

    model: Words = Field(("MLP2",), description=f"models: {', '.join(STUDY_MODELS)}, or module:factory of your own")
    hidden_size: Integers = Field((), description="widths of the hidden layers; left out, the model's own (MLP 128, CNN 84)")
    depth: Integers = Field((), description="layers of a ResNet: 8, 14 or 20; hidden layers of deep-linear")
    width_factor: Integers = Field((), description="factor of the channels of a ResNet")
    activation: Words = Field(("relu",), description=f"activations: {', '.join(ACTIVATIONS)}")
    batch_norm: bool = Field(False, description="normalise before each activation (a ResNet always does)")

    @model_validator(mode="after")
    def _possible(self) -> "ArchitectureSettings":
        own = [name for name in _distinct("model", self.model) if is_own(name)]
        rest = [name for name in self.model if name not in own]
        named = dict(zip(rest, _known("model", rest, STUDY_MODELS), strict=True))
        models = tuple(named.get(name, name) for name in self.model)
        activations = _known("activation", _distinct("activation", self.activation), ACTIVATIONS)
        object.__setattr__(self, "model", models)
        object.__setattr__(self, "activation", activations)
        for option in ("hidden_size", "depth", "width_factor"):
            values = _distinct(option, getattr(self, option), empty=True)
            if any(value < 1 for value in values):
                raise ConfigurationError(f"`{option}` {','.join(map(str, values))} must all be at least 1")
            if values and not any(option in MODELS.get(model, ()) for model in models):
                raise ConfigurationError(f"`{option}` does not belong to {', '.join(models)}; leave it out")
        return self

    def require_taken(self) -> None:
        """Refuses, for a new run, what a network does not take.

        Raises:
            ConfigurationError: naming it.
        """
        usual = self.activation == type(self).model_fields["activation"].default
        require_taken("activation", "" if usual else ",".join(self.activation), self.model)
        require_taken("batch_norm", str(self.batch_norm) if self.batch_norm else "", filter(is_own, self.model))


class OptimisationSettings(Settings):
    """How every network is trained; lists multiply."""

    optimizer: Words = Field(("AdamW",), description=f"optimisers: {', '.join(OPTIMIZERS)}")
    lr: Numbers = Field((), description="learning rates; left out, the optimiser's own (SGD 1e-3, others 5e-4)")
    weight_decay: Numbers = Field((), description="weight decays; left out, the optimiser's own (AdamW 5e-4, others 0)")
    momentum: float = Field(0.85, description="momentum of SGD, below 1")
    scheduler: Words = Field(("cosine",), description=f"courses of the learning rate, step by step: {', '.join(SCHEDULERS)}")
    min_lr: float = Field(1e-5, description="learning rate at the end of a course")
    epochs: int = Field(50, description="epochs of every training; the last state is kept")
    batch_size: Integers = Field((128,), description="samples of a mini-batch")
    num_seeds: int = Field(3, description="networks of each configuration, each with its own initialisation and order")
    seed: int = Field(0, description="the first of these seeds; the others follow")
    compare_optimizers: bool = Field(
        False,
        description="SGD, Adam and AdamW under one budget, each learning rate chosen on images held out from training",
    )
    track_curvature: int = Field(0, description="λ_max every so many epochs, against the edge of stability; 0 for never")
    instability: Integers = Field((), description="epochs from which two orders of the data are followed, for their barrier")

    @model_validator(mode="after")
    def _possible(self) -> "OptimisationSettings":
        object.__setattr__(self, "optimizer", _known("optimizer", _distinct("optimizer", self.optimizer), OPTIMIZERS))
        object.__setattr__(self, "scheduler", _known("scheduler", _distinct("scheduler", self.scheduler), SCHEDULERS))
        for name in ("lr", "weight_decay", "batch_size", "instability"):
            _distinct(name, getattr(self, name), empty=name != "batch_size")
        least: dict[str, tuple[Any, float, bool]] = {  # values, bound, whether the bound itself is allowed
            "lr": (self.lr, 0, False),
            "weight_decay": (self.weight_decay, 0, True),
            "momentum": (self.momentum, 0, True),
            "min_lr": (self.min_lr, 0, True),
            "epochs": (self.epochs, 1, True),
            "batch_size": (self.batch_size, 1, True),
            "num_seeds": (self.num_seeds, 1, True),
            "seed": (self.seed, 0, True),
            "track_curvature": (self.track_curvature, 0, True),
            "instability": (self.instability, 0, True),
        }
        for name, (values, bound, itself) in least.items():
            for value in values if isinstance(values, tuple) else (values,):
                if not math.isfinite(value) or value < bound or (value == bound and not itself):
                    raise ConfigurationError(f"`{name}` {value} must be {'at least' if itself else 'above'} {bound} and finite")
        require_range("num_seeds", self.num_seeds, 1, MOST_SEEDS)
        require_range("seed", self.seed, 0, MOST_SEED - self.num_seeds)
        if self.momentum >= 1:
            raise ConfigurationError(f"`momentum` {self.momentum} must be below 1: the steps would grow without bound")
        late = [epoch for epoch in self.instability if epoch >= self.epochs]
        if late:
            raise ConfigurationError(
                f"`instability` {late[0]} must be below `epochs` {self.epochs}: nothing would be left to train"
            )
        if self.scheduler != ("none",) and any(rate < self.min_lr for rate in self.lr):
            raise ConfigurationError(f"`min_lr` {self.min_lr} is above `lr` {min(self.lr)}; lower it")
        return self

    @property
    def optimizers(self) -> tuple[str, ...]:
        """What is run."""
        return COMPARED if self.compare_optimizers else self.optimizer

    @property
    def seeds(self) -> tuple[int, ...]:
        return tuple(range(self.seed, self.seed + self.num_seeds))


class MetricsSettings(Settings):
    """What is measured at each minimum, and how carefully."""

    comprehensive: bool = Field(False, description="full sample counts over all data")
    fast: bool = Field(False, description="fewer samples, on a subset of the data that the results state")
    top_k: int = Field(10, description="eigenpairs of largest eigenvalue at each minimum")
    products: int = Field(150, description="Hessian-vector products that a minimum may cost at most")
    spectrum_plot: bool = Field(False, description="the density of all eigenvalues, and its picture")
    keep_eigenvectors: bool = Field(False, description="keep the eigenvectors of every minimum")

    @model_validator(mode="after")
    def _possible(self) -> "MetricsSettings":
        if self.comprehensive and self.fast:
            raise ConfigurationError("`comprehensive` and `fast` contradict each other; give one")
        if self.top_k < 1:
            raise ConfigurationError(f"`top_k` {self.top_k} must be at least 1")
        if self.products < 40:
            raise ConfigurationError(f"`products` {self.products} is too few for a spectrum and a trace; give at least 40")
        return self


class ConnectivitySettings(Settings):
    """How every two minima of a configuration are connected."""

    paths: Words = Field(
        PATHS,
        description=f"curves between minima: {', '.join(PATHS)}; anchored, of many Hessian products; none for no connectivity",
    )
    curve_points: int = Field(21, description="positions at which a curve is evaluated")
    path_epochs: int = Field(10, description="epochs for which a curve is trained")

    @field_validator("paths")
    @classmethod
    def _known_paths(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if names == ("none",):
            return ()
        return _distinct("paths", _known("path", names, WAYS), empty=True)

    @model_validator(mode="after")
    def _possible(self) -> "ConnectivitySettings":
        require_range("curve_points", self.curve_points, 3, MOST_POSITIONS)
        if self.path_epochs < 1:
            raise ConfigurationError(f"`path_epochs` {self.path_epochs} must be at least 1")
        return self


class SurfaceSettings(Settings):
    """Slices of the landscape around a minimum, and the plane through three minima."""

    slice_2d: Annotated[bool, tyro.conf.arg(name="2d-slice")] = Field(False, description="the loss on a plane around a minimum")
    slice_points: int = Field(25, description="positions along each axis of a surface")
    slice_radius: float = Field(0.1, description="half width of a surface, relative to ‖θ‖")
    slice_directions: Literal["random", "filter", "eigenvector"] = Field(
        "filter", description="axes: random orthonormal, filter-normalised, or the two largest eigenvectors"
    )

    @model_validator(mode="after")
    def _possible(self) -> "SurfaceSettings":
        require_range("slice_points", self.slice_points, 3, MOST_POSITIONS)
        if not math.isfinite(self.slice_radius) or self.slice_radius <= 0:
            raise ConfigurationError(f"`slice_radius` {self.slice_radius} must be above 0 and finite")
        return self


class StudyMeasuresSettings(MeasuresSettings):
    """What is measured of minima and of surfaces beside what always is."""

    measures: Words = Field(
        (), description=f"also these measures of each minimum: {', '.join(MEASURES)}; of surfaces: {TOPOLOGY}; or all"
    )
    null_planes: Automatic = Field(
        None,
        description=f"with {TOPOLOGY}: random planes, of as many points, that the SMAD of each surface is held against; "
        f"auto is {PLANES}, none with --fast",
    )

    @field_validator("measures")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        return chosen(names, (*MEASURES, TOPOLOGY))

    @model_validator(mode="after")
    def _held(self) -> "StudyMeasuresSettings":
        if self.null_planes is not None:
            require_range("null_planes", self.null_planes, 0, MOST_PLANES)
            if not self.topology:
                why = "are of the topology of surfaces; add topology to `measures`, or leave them out"
                raise ConfigurationError(f"`null_planes` {self.null_planes} {why}")
        return self

    @property
    def of_minima(self) -> tuple[str, ...]:
        """Those of a point."""
        return tuple(name for name in self.measures if name != TOPOLOGY)

    @property
    def topology(self) -> bool:
        """Whether surfaces are measured, too."""
        return TOPOLOGY in self.measures


_LATER: dict[str, type[Settings]] = {"problem": ProblemSettings, "measuring": StudyMeasuresSettings}


class StudySettings(Settings):
    """The experiment settings of `orograph study`."""

    data: StudyDataSettings = group(StudyDataSettings)
    architecture: ArchitectureSettings = group(ArchitectureSettings)
    optimisation: OptimisationSettings = group(OptimisationSettings)
    metrics: MetricsSettings = group(MetricsSettings)
    measuring: StudyMeasuresSettings = group(StudyMeasuresSettings)
    connectivity: ConnectivitySettings = group(ConnectivitySettings)
    surfaces: SurfaceSettings = group(SurfaceSettings)
    problem: ProblemSettings = group(ProblemSettings)
    numerics: NumericsSettings = group(NumericsSettings)

    @model_validator(mode="after")
    def _pairs(self) -> "StudySettings":
        if self.optimisation.num_seeds < 2 and self.connectivity.paths:
            raise ConfigurationError(
                f"`num_seeds` {self.optimisation.num_seeds} leaves no two minima to connect; give 2 or more, or `paths` none"
            )
        return self

    @model_validator(mode="after")
    def _surfaces(self) -> "StudySettings":
        every = len(self.measuring.of_minima) == len(MEASURES)  # `all` are those that there is something to measure of
        if self.measuring.topology and not every and not self.surfaces.slice_2d:
            raise ConfigurationError("`measures` topology is of surfaces, and none is computed; add `slice_2d`, or leave it out")
        return self

    @model_validator(mode="after")
    def _feasible(self) -> "StudySettings":
        shape, training = self.architecture, self.optimisation
        lists = (*(getattr(shape, name) for name in ("model", "hidden_size", "depth", "width_factor", "activation")),)
        lists += (training.optimizers, training.scheduler, training.lr, training.weight_decay, training.batch_size)
        seeds = training.num_seeds
        pairs = seeds * (seeds - 1) // 2 if self.connectivity.paths else 0
        count = math.prod(len(values) or 1 for values in lists) * (2 * seeds + pairs)
        if count > MOST_STEPS:
            raise ConfigurationError(f"{count} steps are more than a study holds, {MOST_STEPS}; give fewer `num_seeds` or values")
        self.numerics.require_finite(lr=training.lr, weight_decay=training.weight_decay)
        return self

    @property
    def planes(self) -> int | None:
        """Random planes that each surface is held against; None where nothing of its topology is measured."""
        given = self.measuring.null_planes
        if not self.measuring.topology or not self.surfaces.slice_2d:
            return None
        return (0 if self.metrics.fast else PLANES) if given is None else given

    def _later(self) -> set[str]:
        """Settings that older runs do not know, where they change nothing: left out, so that those runs resume."""
        return {name for name, kind in _LATER.items() if getattr(self, name) == kind()}

    def configuration(self) -> dict[str, Any]:
        """What defines the run."""
        return self.model_dump(mode="json", exclude={"numerics", *self._later()})

    def digest(self) -> str:
        """Six letters that differ between different settings, for the name of a run."""
        return hashlib.sha256(self.model_dump_json(exclude=self._later()).encode()).hexdigest()[:6]


class StudyExecution(ParallelExecution):
    """How this process shows and places a study; not part of the run."""

    plot: bool = Field(False, description="draw the figures")
    save_results: bool = Field(True, description="write landscape_analysis_results.json")


class StudyCommand(StudySettings):
    """Settings of the run, and how this process does it."""

    execution: StudyExecution = group(StudyExecution)
