"""What a named network takes, told before it is made; and how slow it is, by one step, before all of it is tried.

A dry run times steps and products of a bench, on which everything was checked. With a network so large, or data so many, that
this alone takes long, one training step on one batch stands for all: it is multiplied, and the plan says so.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from orograph.errors import ConfigurationError
from orograph.memory import format_bytes, parse_bytes
from orograph.models.catalogue import build_model
from orograph.problem import Problem
from orograph.process import free_memory

STATE_VECTORS = 6  # as long as θ, of a training: θ, its gradient, two moments, the best state and a copy; likewise of a product
PRODUCT = 1.8  # epochs: a Hessian product takes 5.4 forward passes over all data, an epoch 3 (dense layers)
_STEPS, _EPOCHS = 140, 2.5  # a dry run in full: its timed steps with all tests of a bench, its passes over all data at once
_PATIENCE = 8.0  # seconds
_LONG = 1.0  # seconds of a step in which what happens only once in it is small


@dataclass(frozen=True)
class Trial:
    """One training step on one batch.

    Attributes:
        parameters: P.
        count: training samples.
        batch: samples of the step.
        seconds: of the step.
    """

    parameters: int
    count: int
    batch: int
    seconds: float

    @property
    def epoch(self) -> float:
        """Seconds, at the pace of the one step."""
        return self.seconds * self.count / self.batch

    @property
    def told(self) -> str:
        """What was timed, in words."""
        return f"one step on {self.batch} of {self.count} samples, multiplied (nothing else was tried)"

    @property
    def slow(self) -> bool:
        """Whether a dry run in full would take longer than people wait for a plan."""
        return _STEPS * self.seconds + _EPOCHS * self.epoch > _PATIENCE


def try_step(problem: Problem, batch: int, *, seed: int, dtype: torch.dtype, device: torch.device) -> Trial:
    """One training step of a named network on its first samples; a short one is the second, without what happens only once."""
    model = problem.build(seed).to(device, dtype)
    first, labels = next(iter(problem.train))
    inputs, targets = first[:batch].to(device, dtype), labels[:batch].to(device)
    optimizer = torch.optim.Adam(model.parameters(), fused=True)  # as many passes over the vectors as any

    def step() -> float:
        began = time.perf_counter()
        optimizer.zero_grad()
        problem.loss(model(inputs), targets).mean().backward()
        optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - began

    seconds = step()
    if seconds < _LONG:
        seconds = step()
    size = sum(each.numel() for each in model.parameters())
    return Trial(size, count(problem.train), len(inputs), seconds)


def count(batches: Any) -> int:
    """Samples of named data, or of none."""
    return sum(len(targets) for _, targets in batches or ())


def require_memory(
    name: str,
    options: Mapping[str, Any],
    *,
    dtype: torch.dtype,
    device: torch.device,
    kept: int = 0,
    rows: float = 0.0,
    memory: str | int = 0,
) -> None:
    """Refuses a named model that is larger than memory, before it is made.

    Args:
        name: of the model.
        options: that it is made with.
        dtype: of what is computed.
        device: where it is computed.
        kept: eigenvectors that a measurement keeps.
        rows: vectors of its largest basis, which lies in a file where it takes more than `memory`.
        memory: the budget of a measurement.

    Raises:
        ConfigurationError: an option is out of range, or training or measuring takes more than there is.
    """
    try:
        with torch.device("meta"):  # shapes without values
            size = sum(each.numel() for each in build_model(name, **options).parameters())
    except (RuntimeError, TypeError, OverflowError):  # torch counts in 64 bits
        raise ConfigurationError(
            f"`model` {name} with {dict(options)} is larger than torch can count; make it smaller."
        ) from None
    vector = size * dtype.itemsize
    basis = min(rows * vector, parse_bytes(memory)) if rows else 0.0
    needed = (STATE_VECTORS + kept) * vector + basis
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else free_memory()
    if free is not None and needed > free:
        pairs = f" with {kept} eigenvectors and a basis of {format_bytes(basis)}" if kept else ""
        fewer = " or fewer eigenpairs" if kept else ""
        raise ConfigurationError(
            f"`model` {name} with {size:,} parameters needs {format_bytes(needed)}: {STATE_VECTORS} vectors so long{pairs}; "
            f"{format_bytes(free)} of memory are free; give smaller widths{fewer}."
        )
