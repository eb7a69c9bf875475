"""What belongs to the process as a whole: its device, its threads, its random streams, its garbage. Imports nothing heavy."""

import functools
import gc
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from orograph.errors import ConfigurationError

if TYPE_CHECKING:
    import torch


@contextmanager
def no_garbage() -> Iterator[None]:
    """For imports and drawing, which make many small objects that stay: to look for garbage would take a fifth of the time."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@functools.cache
def keep_imports() -> None:
    """What a process has imported stays: no later search looks at it again. Only the first call in a process counts."""
    gc.freeze()


def choose_device(name: str | None) -> "torch.device":
    """The device meant by `cpu`, `cuda` or `cuda:N`; the first CUDA device where there is one if nothing is.

    Raises:
        ConfigurationError: there is no such device.
    """
    import torch

    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ConfigurationError(f"`device` '{name}' is no device; use auto, cpu or cuda.") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigurationError(f"`device` {name} needs a CUDA device, and PyTorch finds none; use cpu.")
    return device


def seed_everything(seed: int) -> None:
    """The global streams too, for modules that draw from them."""
    import numpy as np
    import torch

    torch.manual_seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - the legacy global stream is the one meant
    random.seed(seed)
