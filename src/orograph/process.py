"""What belongs to the process as a whole: its device, its threads, its random streams, its garbage. Imports nothing heavy."""

import contextlib
import ctypes
import functools
import gc
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from orograph.errors import ConfigurationError

if TYPE_CHECKING:
    import torch


_MMAP_THRESHOLD = -3  # the number of that parameter in malloc.h


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
    if device.type not in ("cpu", "cuda"):
        raise ConfigurationError(
            f"`device` {name} cannot be computed on here, where float64 and exact sums are needed; use cpu or cuda."
        )
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigurationError(f"`device` {name} needs a CUDA device, and PyTorch finds none; use cpu.")
    if (device.index or 0) >= max(1, torch.cuda.device_count()):
        raise ConfigurationError(
            f"`device` {name} is none of the {max(1, torch.cuda.device_count())} there are; leave out its number."
        )
    return device


def free_memory() -> int | None:
    """Bytes that this process can still have: of the machine's, or of its control group's where that has less; None where the
    system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    known = [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    with contextlib.suppress(OSError, ValueError):  # no such group, or `max`
        group = Path("/sys/fs/cgroup")
        held = int((group / "memory.current").read_text(encoding="ascii"))
        known.append(max(0, int((group / "memory.max").read_text(encoding="ascii")) - held))
    return min(known, default=None)


@functools.cache
def keep_little() -> None:
    """Large blocks of memory go back to the system when they are freed, for as long as this process lasts.

    The C library of Linux has them do so until the first is freed; then it keeps for later whatever is smaller, up to 32 MiB
    (`man 3 mallopt`, M_MMAP_THRESHOLD). A threshold that is set, here to what it is at first, is not moved. Elsewhere nothing
    happens.
    """
    if sys.platform == "linux":
        with contextlib.suppress(AttributeError, OSError):  # a C library without it
            ctypes.CDLL(None).mallopt(_MMAP_THRESHOLD, 2**17)


def out_of_memory(error: BaseException) -> bool:
    """Whether torch could not allocate: it says so with a RuntimeError."""
    told = str(error)
    return isinstance(error, RuntimeError) and ("out of memory" in told or "can't allocate memory" in told)


def seed_everything(seed: int) -> None:
    """The global streams too, for modules that draw from them."""
    import numpy as np
    import torch

    torch.manual_seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - the legacy global stream is the one meant
    random.seed(seed)


@contextmanager
def seeded_stream(seed: int) -> Iterator[None]:
    """torch's global stream begins at a seed, and is what it was afterwards."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


@contextmanager
def kept_state() -> Iterator[None]:
    """Global random streams and the number of threads are afterwards what they were: an experiment settles its own."""
    import numpy as np
    import torch

    legacy, own, threads = np.random.get_state(), random.getstate(), torch.get_num_threads()  # noqa: NPY002 - as above
    try:
        with torch.random.fork_rng():
            yield
    finally:
        np.random.set_state(legacy)  # noqa: NPY002 - as above
        random.setstate(own)
        torch.set_num_threads(threads)
