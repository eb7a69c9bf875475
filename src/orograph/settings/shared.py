"""Settings that several commands share: data, model, numerics, and how this process does the work."""

import math
import os
from collections.abc import Iterable
from typing import Annotated, Any, Literal, TypeVar

import tyro
from pydantic import Field, SerializerFunctionWrapHandler, field_validator, model_serializer, model_validator

from orograph.data.names import DATASETS, TEACHER
from orograph.errors import ConfigurationError, unknown
from orograph.memory import DEFAULT_MEMORY, parse_bytes
from orograph.models.names import ACTIVATIONS, MODELS
from orograph.settings.base import LARGEST, MOST_PARALLEL, MOST_SEED, SMALLEST, Settings, is_own, require_range
from orograph.settings.words import Auto, Count, Integers, Numbers

MOST_WIDTH = 10_000_000
MOST_LAYERS = 100  # tracing a network nests its layers
MOST_MODES = 1_000  # of a linear teacher
THREE_MODES = (1.5, 0.9, 0.5)  # singular values of one, where none are given


class DataSettings(Settings):
    dataset: Annotated[str, tyro.conf.arg(aliases=["--data"])] = Field(
        "mnist-5k", description=f"data set: {', '.join(DATASETS)}, or module:loader that gives training and test data"
    )
    subset_size: Count = Field(None, description="a stratified subset of so many training images")
    subset_seed: int = Field(0, description="seed of that subset")
    singular_values: Numbers = Field(
        (),
        description=f"of linear-teacher: of its correlation of inputs and outputs; {','.join(map(str, THREE_MODES))} if left out",
    )

    @field_validator("dataset")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in DATASETS and not is_own(name):
            raise unknown("data set", name, DATASETS)
        return name

    @field_validator("subset_seed")
    @classmethod
    def _seed(cls, seed: int) -> int:
        require_range("subset_seed", seed, 0, MOST_SEED)
        return seed

    @field_validator("subset_size")
    @classmethod
    def _positive(cls, size: int | None) -> int | None:
        if size is not None and size < 1:
            raise ConfigurationError(f"`subset_size` {size} must be at least 1, or 'all'")
        return size

    @model_validator(mode="after")
    def _whole(self) -> "DataSettings":
        if self.subset_size is not None and is_own(self.dataset):
            raise ConfigurationError(
                f"`subset_size` {self.subset_size} is of a named set; let {self.dataset} give as many samples as are meant"
            )
        return self

    @model_validator(mode="after")
    def _taught(self) -> "DataSettings":
        given = ",".join(map(str, self.singular_values))
        if self.singular_values and self.dataset != TEACHER:
            raise ConfigurationError(f"`singular_values` {given} are of `dataset` {TEACHER}; {self.dataset} has none")
        if not all(0 <= each < math.inf for each in self.singular_values) or len(self.singular_values) > MOST_MODES:
            raise ConfigurationError(
                f"`singular_values` {given} must be {MOST_MODES} numbers at most, each at least 0 and finite"
            )
        if self.dataset == TEACHER and not self.singular_values:
            object.__setattr__(self, "singular_values", THREE_MODES)
        return self

    @model_serializer(mode="wrap")
    def _stated(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without what is of a teacher where there is none: runs that know nothing of it keep their bytes, and go on."""
        found: dict[str, Any] = handler(self)
        if not self.singular_values:
            found.pop("singular_values", None)
        return found


class ModelSettings(Settings):
    model: str = Field("mlp", description=f"model: {', '.join(MODELS)}, or module:factory of your own")
    widths: Integers = Field(
        (128, 128),
        description="widths of the hidden layers; one for MLP1 to MLP3 and CNN, which else have their own, none for ResNet",
    )
    activation: str = Field("sigmoid", description=f"activation: {', '.join(ACTIVATIONS)}")

    @field_validator("model")
    @classmethod
    def _known_model(cls, name: str) -> str:
        if name not in MODELS and not is_own(name):
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
        if any(not 1 <= width <= MOST_WIDTH for width in widths) or len(widths) > MOST_LAYERS:
            given = ",".join(map(str, widths))
            raise ConfigurationError(
                f"`widths` {given} must be at most {MOST_LAYERS} numbers, each at least 1 and at most {MOST_WIDTH}"
            )
        return widths

    @model_validator(mode="after")
    def _fitting(self) -> "ModelSettings":
        if "widths" in MODELS.get(self.model, ()):
            if not self.widths:
                raise ConfigurationError(f"`widths` of {self.model} must name at least one hidden layer, like 128,128")
            return self
        widths = () if self.widths == type(self).model_fields["widths"].default else self.widths
        most = 1 if "hidden_size" in MODELS.get(self.model, ()) else 0
        if len(widths) > most:
            few = "one number" if most else "left out"
            raise ConfigurationError(f"`widths` {','.join(map(str, widths))} of `model` {self.model} must be {few}")
        object.__setattr__(self, "widths", widths)
        return self

    def require_taken(self) -> None:
        """Refuses, for a new run, what the network does not take.

        Raises:
            ConfigurationError: naming it.
        """
        usual = self.activation == type(self).model_fields["activation"].default
        require_taken("activation", "" if usual else self.activation, [self.model])

    def options(self) -> dict[str, Any]:
        """What the named model is built with.

        Returns:
            Keyword arguments of its class.
        """
        if is_own(self.model):
            return {}
        takes = MODELS[self.model]
        own: dict[str, Any] = {"activation": self.activation} if "activation" in takes else {}
        if "widths" in takes:
            own["widths"] = self.widths
        elif self.widths:
            own["hidden_size"] = self.widths[0]
        return own


def require_taken(option: str, given: str, models: Iterable[str]) -> None:
    """Refuses an option that a network is built without, which a new run would record all the same; older runs stay as they are.

    Args:
        option: of the networks.
        given: as it was written, another value than that which holds where nothing is said; empty for none.
        models: by name.

    Raises:
        ConfigurationError: one of them does not take it.
    """
    for model in models:
        if given and option not in MODELS.get(model, ()):
            raise ConfigurationError(f"`{option}` {given} of `model` {model} must be left out: it is built without")


class NumericsSettings(Settings):
    """What decides the last bits: fixed when a run is created, reused when it is resumed."""

    threads: int = Field(0, description="threads of one process; 0 takes every core, and is recorded")
    memory: str = Field(DEFAULT_MEMORY, description="budget for activations and what a Hessian keeps of them")
    cohort: int = Field(
        0, description="models trained together where points are independent; 0: 16 on a CPU, on a GPU what --memory holds"
    )
    dtype: Literal["float32", "float64"] = Field("float32", description="arithmetic")
    chunks: Annotated[Literal["tiled", "traced", "summed"], tyro.conf.Suppress] = Field(
        "summed",  # what runs did that do not say; new ones say `tiled`
        description="what decides how many samples a product takes at once",
    )
    device: Auto = Field(None, description="auto, cpu, cuda or cuda:N")

    @model_validator(mode="after")
    def _possible(self) -> "NumericsSettings":
        require_range("threads", self.threads, 0, MOST_PARALLEL)
        if self.cohort < 0:
            raise ConfigurationError(f"`cohort` {self.cohort} must be at least 0")
        parse_bytes(self.memory)
        return self

    def require_finite(self, **values: float | tuple[float, ...]) -> None:
        """Refuses numbers that are finite as they are written and would not be in the arithmetic chosen, in which they are used.

        Args:
            values: numbers that multiply parameters or gradients, by the name that an error shows. Bounds, tolerances and other
                numbers that are only compared are held in float64 and have no place here.

        Raises:
            ConfigurationError: naming the first such number.
        """
        least, most = SMALLEST[self.dtype], LARGEST[self.dtype]
        for name, given in values.items():
            for value in given if isinstance(given, tuple) else (given,):
                wider = SMALLEST["float64"] <= abs(value) <= LARGEST["float64"]
                way_out = ", or `dtype` float64" if wider else ""
                if abs(value) > most:
                    raise ConfigurationError(
                        f"`{name}` {value} is beyond what {self.dtype}, in which it is used, can be multiplied with; "
                        f"give {most:g} at most{way_out}"
                    )
                if 0 < abs(value) < least:
                    raise ConfigurationError(
                        f"`{name}` {value} is below what {self.dtype} holds, in which it is used; "
                        f"give {least:g} at least{way_out}"
                    )


Numerics = TypeVar("Numerics", bound=NumericsSettings)


class Execution(Settings):
    """How this process shows and places its work; not part of a run."""

    out: Auto = Field(None, description="the run directory; auto is runs/<data set>-<digest of the settings>")
    data_dir: Auto = Field(None, description="where IDX files lie; auto is $OROGRAPH_DATA, else downloads")
    dry_run: bool = Field(False, description="print the plan with time and disk, and stop")
    quiet: bool = Field(False, description="no progress, no table")
    json_output: Annotated[bool, tyro.conf.arg(name="json")] = Field(False, description="print the summary as JSON")

    def shared(self, numerics: Numerics) -> Numerics:
        """The numerics of a new run: chunks as they are made now.

        Args:
            numerics: as they were asked for.

        Returns:
            The same, with what decides the chunks.
        """
        return numerics.model_copy(update={"chunks": "tiled"})


class ParallelExecution(Execution):
    """Where the work is done; not part of the run."""

    parallel: Literal["none", "processes", "dask", "ray"] = Field("none", description="where networks are trained and measured")
    jobs: int = Field(0, description="workers; 0 is one for every --threads cores")
    address: str = Field("", description="of a running Dask scheduler or Ray cluster; else a local one is started")

    @model_validator(mode="after")
    def _together(self) -> "ParallelExecution":
        require_range("jobs", self.jobs, 0, MOST_PARALLEL)
        if self.jobs and self.parallel == "none":
            raise ConfigurationError(f"`jobs` {self.jobs} needs `parallel` processes, dask or ray")
        if self.address and self.parallel not in ("dask", "ray"):
            raise ConfigurationError(f"`address` {self.address} needs `parallel` dask or ray")
        return self

    def shared(self, numerics: Numerics) -> Numerics:
        """The numerics of a new run; where threads are left open, several workers share this machine's cores.

        Args:
            numerics: as they were asked for.

        Returns:
            The same, with the threads of one worker.
        """
        numerics = super().shared(numerics)
        if self.parallel == "none" or numerics.threads:
            return numerics
        threads = max(1, (os.cpu_count() or 1) // self.jobs) if self.jobs else 1
        return numerics.model_copy(update={"threads": threads})
