"""What every bench begins with: this process made ready, the data loaded, the objectives on them."""

from collections.abc import Mapping
from typing import Any, Protocol, TypeVar

import torch
from torch import nn
from torch.nn import functional as F

from orograph.data.catalogue import load_data
from orograph.data.dataset import Dataset
from orograph.errors import ConfigurationError
from orograph.memory import format_bytes
from orograph.models.catalogue import build_model
from orograph.objective import Objective
from orograph.process import choose_device, free_memory, seed_everything
from orograph.settings.shared import DataSettings, NumericsSettings

STATE_VECTORS = 6  # as long as θ, of a training: θ, its gradient, two moments, the best state and a copy


class Prepared(Protocol):
    """Settings of an experiment on data."""

    @property
    def data(self) -> DataSettings: ...

    @property
    def numerics(self) -> NumericsSettings: ...

    def model_copy(self, *, update: Any) -> Any: ...


Experiment = TypeVar("Experiment", bound=Prepared)


def prepare(settings: Experiment, data_dir: str | None, *, seed: int) -> tuple[Experiment, torch.device, Dataset]:
    """Settles threads and device in the settings and in this process, seeds the global streams, and loads the data.

    Raises:
        OrographError: there is no such device, or the data cannot be had as asked.
    """
    numerics, chosen = settings.numerics, settings.data
    threads = numerics.threads or torch.get_num_threads()
    device = choose_device(numerics.device)
    torch.set_num_threads(threads)
    seed_everything(seed)
    data = load_data(chosen.dataset, data_dir=data_dir, subset_size=chosen.subset_size, subset_seed=chosen.subset_seed)
    return with_numerics(settings, threads=threads, device=device.type), device, data


def with_numerics(settings: Experiment, **settled: Any) -> Experiment:
    """The settings with some of their numerics replaced."""
    return settings.model_copy(update={"numerics": settings.numerics.model_copy(update=settled)})


def objectives(model: nn.Module, data: Dataset, numerics: NumericsSettings) -> tuple[Objective, Objective]:
    """The mean cross-entropy on the training and on the test data."""
    memory, dtype = numerics.memory, getattr(torch, numerics.dtype)
    train, test = (Objective(model, F.cross_entropy, part, memory=memory, dtype=dtype) for part in (data.train, data.test))
    return train, test


def require_memory(name: str, options: Mapping[str, Any], dtype: torch.dtype, device: torch.device) -> None:
    """Refuses a named model that is larger than memory, before it is made.

    Raises:
        ConfigurationError: an option is out of range, or its training alone takes more than there is.
    """
    try:
        with torch.device("meta"):  # shapes without values
            size = sum(each.numel() for each in build_model(name, **options).parameters())
    except (RuntimeError, TypeError, OverflowError):  # torch counts in 64 bits
        raise ConfigurationError(
            f"`model` {name} with {dict(options)} is larger than torch can count; make it smaller."
        ) from None
    needed = STATE_VECTORS * size * dtype.itemsize
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else free_memory()
    if free is not None and needed > free:
        raise ConfigurationError(
            f"`model` {name} with {size:,} parameters takes {format_bytes(needed)} in training, and {format_bytes(free)} "
            "of memory are free; give smaller widths."
        )
