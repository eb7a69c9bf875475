"""What a user chooses, as frozen models: one concept each, checked here, no torch imported.

*Experiment* settings define a run and are compared when it is resumed. *Execution* settings (`Execution`) only say how this
process shows and places its work; they are not stored.
"""

import hashlib
import inspect
import math
import os
from typing import Annotated, Any, Literal, TypeVar

import tyro
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from tyro.constructors import PrimitiveConstructorSpec

from orograph.data.names import NAMES as DATASETS
from orograph.errors import ConfigurationError, unknown
from orograph.memory import DEFAULT_MEMORY, parse_bytes
from orograph.models.names import ACTIVATIONS, MODELS
from orograph.training.settings import TrainingSettings


def comma_list(kind: type) -> Any:
    """A flag that takes `0,1,2` as one word."""

    def parse(words: list[str]) -> tuple[Any, ...]:
        try:
            return tuple(kind(word.strip()) for word in words[0].split(",") if word.strip())
        except ValueError:
            raise ValueError(f"'{words[0]}' is not a comma-separated list of numbers") from None

    return PrimitiveConstructorSpec(
        nargs=1,
        metavar="X,X,…",
        instance_from_str=parse,
        is_instance=lambda value: isinstance(value, tuple) and all(isinstance(item, kind | int) for item in value),
        str_from_instance=lambda value: [",".join(str(item) for item in value)],
    )


Integers = Annotated[tuple[int, ...], comma_list(int)]
Numbers = Annotated[tuple[float, ...], comma_list(float)]
Words = Annotated[tuple[str, ...], comma_list(str)]


class Settings(BaseModel):
    # Validators are built when something is validated: `--help` needs none.
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


def group(kind: type[BaseModel]) -> Any:
    """A field of settings of their own, described by their docstring: tyro would read source files to find it."""
    return Field(default_factory=kind, description=inspect.cleandoc(kind.__doc__ or ""))


class DataSettings(Settings):
    dataset: str = Field("mnist-5k", description=f"data set: {', '.join(DATASETS)}")
    subset_size: int | Literal["all"] = Field("all", description="a stratified subset of so many training images")
    subset_seed: int = Field(0, description="seed of that subset")

    @field_validator("dataset")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in DATASETS:
            raise unknown("data set", name, DATASETS)
        return name

    @field_validator("subset_size")
    @classmethod
    def _positive(cls, size: int | str) -> int | str:
        if isinstance(size, int) and size < 1:
            raise ConfigurationError(f"--subset-size {size} must be at least 1, or 'all'")
        return size


class ModelSettings(Settings):
    model: str = Field("mlp", description=f"model: {', '.join(MODELS)}")
    widths: Integers = Field((128, 128), description="widths of the hidden layers")
    activation: str = Field("sigmoid", description=f"activation: {', '.join(ACTIVATIONS)}")

    @field_validator("model")
    @classmethod
    def _known_model(cls, name: str) -> str:
        if name not in MODELS:
            raise unknown("model", name, MODELS)
        return name

    @field_validator("activation")
    @classmethod
    def _known_activation(cls, name: str) -> str:
        if name not in ACTIVATIONS:
            raise unknown("activation", name, ACTIVATIONS)
        return name

    @field_validator("widths")
    @classmethod
    def _positive(cls, widths: tuple[int, ...]) -> tuple[int, ...]:
        if any(width < 1 for width in widths):
            raise ConfigurationError(f"--widths {widths} must all be at least 1")
        return widths


class LadderSettings(Settings):
    points: int = Field(11, description="number of strengths λ")
    min: float = Field(0.0, description="smallest λ")
    max: float = Field(0.02, description="largest λ")
    spacing: Literal["linear", "log"] = Field("linear", description="how the strengths are spaced")
    strengths: Numbers = Field((), description="an explicit list of λ instead")
    direction: Literal["up", "down", "both"] = Field("up", description="climb the ladder, descend it, or climb then descend")

    @model_validator(mode="after")
    def _ladder(self) -> "LadderSettings":
        if self.points < 1:
            raise ConfigurationError(f"--points {self.points} must be at least 1")
        for flag, value in [("--min", self.min), ("--max", self.max), *(("--strengths", s) for s in self.strengths)]:
            if not math.isfinite(value) or value < 0:
                raise ConfigurationError(f"{flag} {value}: a strength λ must be a number ≥ 0")
        if self.min > self.max:
            raise ConfigurationError(f"--min {self.min} is larger than --max {self.max}")
        if self.spacing == "log" and not self.strengths and self.min == 0:
            raise ConfigurationError("--spacing log needs --min above 0")
        ladder = self.ladder()
        if len(set(ladder)) != len(ladder):
            raise ConfigurationError("the ladder holds the same strength twice; widen --min … --max or lower --points")
        return self

    def ladder(self) -> list[float]:
        """The strengths in ascending order."""
        if self.strengths:
            return sorted(self.strengths)
        if self.points == 1:
            return [self.min]
        steps = [i / (self.points - 1) for i in range(self.points)]
        if self.spacing == "linear":
            # Ten significant digits: 0.0002 is meant, not 0.00020000000000000001.
            return [float(f"{self.min + (self.max - self.min) * t:.10g}") for t in steps]
        return [float(f"{self.min * (self.max / self.min) ** t:.10g}") for t in steps]


class AnchorSettings(Settings):
    anchor: str = Field("origin", description="θ_ref: origin, train:SEED, or a .pth or .safetensors state dict")
    start: Literal["previous", "fresh", "anchor"] = Field("previous", description="where training at a point begins")
    perturb: float = Field(0.0, description="standard deviation of seeded noise added to the anchor as a start")
    seeds: Integers = Field((0,), description="seeds of initialisation and mini-batch order: the model IDs")

    @model_validator(mode="after")
    def _possible(self) -> "AnchorSettings":
        if not self.seeds or len(set(self.seeds)) != len(self.seeds) or any(seed < 0 for seed in self.seeds):
            raise ConfigurationError(f"--seeds {','.join(map(str, self.seeds))} must be different numbers ≥ 0")
        if not math.isfinite(self.perturb) or self.perturb < 0:
            raise ConfigurationError(f"--perturb {self.perturb} must be a number ≥ 0")
        if self.anchor.startswith("train:") and not self.anchor[6:].isdigit():
            raise ConfigurationError(f"--anchor {self.anchor} must name a seed, like train:0")
        if self.start == "anchor" and self.anchor == "origin" and self.perturb == 0:
            raise ConfigurationError(
                "--start anchor with --anchor origin begins where all units are alike, which training cannot leave; "
                "add --perturb 0.01 or choose another start"
            )
        if self.perturb and self.start != "anchor":
            raise ConfigurationError(f"--perturb {self.perturb} acts only with --start anchor")
        return self


class SpectrumSettings(Settings):
    k: int = Field(30, description="eigenpairs at each point; 0 for none")
    which: Literal["LM", "LA", "SA", "BE"] = Field("LM", description="largest magnitude, largest, smallest, both ends")
    tolerance: float = Field(1e-3, description="largest residual ‖Hv − λv‖ / |λ|")
    hessian: Literal["loss", "objective"] = Field("loss", description="Hessian of L, or of L_eff")
    eigenvectors: Literal["both", "zarr", "none"] = Field("both", description="keep eigenvectors as CSV and Zarr, Zarr, or not")

    @model_validator(mode="after")
    def _possible(self) -> "SpectrumSettings":
        if self.k < 0:
            raise ConfigurationError(f"--k {self.k} must be at least 0")
        if not 0 < self.tolerance < 1:
            raise ConfigurationError(f"--tolerance {self.tolerance} must lie between 0 and 1")
        return self


class TrackingSettings(Settings):
    track_curvature: int = Field(0, description="λ_max every so many epochs, against the edge of stability; 0 for never")

    @field_validator("track_curvature")
    @classmethod
    def _not_negative(cls, every: int) -> int:
        if every < 0:
            raise ConfigurationError(f"--track-curvature {every} must be at least 0")
        return every


class NumericsSettings(Settings):
    """What decides the last bits: fixed when a run is created, reused when it is resumed."""

    threads: int = Field(0, description="threads of one process; 0 takes every core, and is recorded")
    memory: str = Field(DEFAULT_MEMORY, description="budget for activations and what a Hessian keeps of them")
    cohort: int = Field(
        0, description="models trained together where points are independent; 0: 16 on a CPU, on a GPU what --memory holds"
    )
    dtype: Literal["float32", "float64"] = Field("float32", description="arithmetic")
    device: str = Field("auto", description="auto, cpu, cuda or cuda:N")

    @model_validator(mode="after")
    def _possible(self) -> "NumericsSettings":
        if self.threads < 0:
            raise ConfigurationError(f"--threads {self.threads} must be at least 0")
        if self.cohort < 0:
            raise ConfigurationError(f"--cohort {self.cohort} must be at least 0")
        parse_bytes(self.memory)
        return self


class SweepNumerics(NumericsSettings):
    """What decides the last bits of a sweep: fixed when a run is created, reused when it is resumed."""

    together: int = Field(
        0, description="spectra of a cohort computed in step; 0: one after the other on a CPU, on a GPU what --memory holds"
    )

    @model_validator(mode="after")
    def _not_negative(self) -> "SweepNumerics":
        if self.together < 0:
            raise ConfigurationError(f"--together {self.together} must be at least 0")
        return self


Numerics = TypeVar("Numerics", bound=NumericsSettings)


class Execution(Settings):
    """How this process shows and places its work; not part of a run."""

    out: str = Field("auto", description="the run directory; auto is runs/<data set>-<digest of the settings>")
    data_dir: str = Field("auto", description="where IDX files lie; auto is $OROGRAPH_DATA, else downloads")
    dry_run: bool = Field(False, description="print the plan with time and disk, and stop")
    quiet: bool = Field(False, description="no progress, no table")
    json_output: Annotated[bool, tyro.conf.arg(name="json")] = Field(False, description="print the summary as JSON")


class ParallelExecution(Execution):
    """Where the work is done; not part of the run."""

    parallel: Literal["none", "processes", "dask", "ray"] = Field("none", description="where networks are trained and measured")
    jobs: int = Field(0, description="workers; 0 is one for every --threads cores")
    address: str = Field("", description="of a running Dask scheduler or Ray cluster; else a local one is started")

    @model_validator(mode="after")
    def _together(self) -> "ParallelExecution":
        if self.jobs < 0:
            raise ConfigurationError(f"--jobs {self.jobs} must be at least 0")
        if self.jobs and self.parallel == "none":
            raise ConfigurationError(f"--jobs {self.jobs} needs --parallel processes, dask or ray")
        if self.address and self.parallel not in ("dask", "ray"):
            raise ConfigurationError(f"--address {self.address} needs --parallel dask or ray")
        return self

    def shared(self, numerics: Numerics) -> Numerics:
        """The numerics of a new run: where threads are left open, several workers share this machine's cores."""
        if self.parallel == "none" or numerics.threads:
            return numerics
        threads = max(1, (os.cpu_count() or 1) // self.jobs) if self.jobs else 1
        return numerics.model_copy(update={"threads": threads})


class SweepSettings(Settings):
    """The experiment settings of `orograph sweep`."""

    data: DataSettings = group(DataSettings)
    model: ModelSettings = group(ModelSettings)
    ladder: LadderSettings = group(LadderSettings)
    anchor: AnchorSettings = group(AnchorSettings)
    training: TrainingSettings = group(TrainingSettings)
    spectrum: SpectrumSettings = group(SpectrumSettings)
    tracking: TrackingSettings = group(TrackingSettings)
    numerics: SweepNumerics = group(SweepNumerics)

    def _later(self) -> set[str]:
        """Settings that older runs do not know, where they change nothing: left out, so that those runs resume."""
        return {"tracking"} if self.tracking == TrackingSettings() else set()

    def configuration(self) -> dict[str, Any]:
        """What defines the run."""
        return self.model_dump(mode="json", exclude={"numerics", *self._later()})

    def digest(self) -> str:
        """Six letters that differ between different settings, for the name of a run."""
        return hashlib.sha256(self.model_dump_json(exclude=self._later()).encode()).hexdigest()[:6]


class SweepCommand(SweepSettings):
    """Settings of the run, and how this process does it."""

    execution: ParallelExecution = group(ParallelExecution)


class MeasureSettings(Settings):
    """What `orograph measure` takes."""

    checkpoint: tyro.conf.Positional[str] = Field("", description="a .pth or .safetensors state dict of the model")
    model: str = Field("mlp", description=f"a name ({', '.join(MODELS)}), or module:factory of your own")
    widths: Integers = Field((128, 128), description="widths of the hidden layers of mlp")
    activation: str = Field("sigmoid", description=f"activation of mlp: {', '.join(ACTIVATIONS)}")
    data: str = Field("mnist-5k", description=f"a name ({', '.join(DATASETS)}), or module:loader that gives batches")
    subset_size: int | Literal["all"] = Field("all", description="a stratified subset of so many images of a named set")
    loss: str = Field("cross_entropy", description="a function of torch.nn.functional, or module:function")
    k: int = Field(30, description="eigenpairs")
    which: Literal["LM", "LA", "SA", "BE"] = Field("LM", description="largest magnitude, largest, smallest, both ends")
    tolerance: float = Field(1e-3, description="largest residual ‖Hv − λv‖ / |λ|")
    probes: int = Field(4, description="random vectors of the density, of 80 products each")
    trace_probes: int = Field(16, description="random vectors of the trace, of 2 products each")
    parameters: str = Field("*", description="globs of the parameters that make up θ, as fc1.*,fc2.*")
    memory: str = Field(DEFAULT_MEMORY, description="budget for activations and what the Hessian keeps of them")
    dtype: Literal["float32", "float64"] = Field("float32", description="arithmetic")
    threads: int = Field(0, description="threads; 0 takes every core")
    seed: int = Field(0, description="seed of the random vectors")
    out: str = Field("auto", description="where to write STEM.json, .png and .pdf; auto is the checkpoint's path and -measured")
    data_dir: str = Field("auto", description="where IDX files lie; auto is $OROGRAPH_DATA, else downloads")
    quiet: bool = Field(False, description="no progress, no table")
    json_output: Annotated[bool, tyro.conf.arg(name="json")] = Field(False, description="print the numbers as JSON")


PRESETS: dict[str, dict[str, Any]] = {
    "anchor": {
        "data": {"dataset": "mnist"},
        "ladder": {"points": 501, "min": 0.0, "max": 0.1},
        "anchor": {"anchor": "required", "start": "previous"},
    },
    "weight-decay": {
        "data": {"dataset": "mnist"},
        "ladder": {"points": 451, "min": 0.0, "max": 0.09},
        "anchor": {"anchor": "origin", "start": "previous"},
    },
}
PRESETS["classes"] = PRESETS["weight-decay"]  # accuracies by class are recorded in every sweep


def explain(error: ValidationError) -> ConfigurationError:
    """A value of the wrong type (from a file) as one sentence."""
    first = error.errors()[0]
    name = ".".join(map(str, first["loc"]))
    if first["type"] == "extra_forbidden":
        return ConfigurationError(f"unknown setting '{name}' in the configuration.")
    return ConfigurationError(f"setting {name} = {first['input']!r}: {first['msg'][0].lower()}{first['msg'][1:]}.")
