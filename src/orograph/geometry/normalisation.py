"""Running statistics of BatchNorm at parameter vectors that were never trained: on paths and planes between minima.

Batch means and variances of a point between two networks are not between those of the networks, so they are estimated anew
from the training data wherever such a point is evaluated (Garipov et al., 2018).
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from orograph.arguments import checked
from orograph.boundary import explained
from orograph.calling import call, evaluation_mode, guarded
from orograph.errors import ConfigurationError
from orograph.geometry.evaluation import Thetas
from orograph.objective import Objective


def running(model: nn.Module) -> list[str]:
    """Names of the buffers that hold running statistics; empty where the model has none."""
    kinds = ("running_mean", "running_var")
    return [f"{name}.{kind}".lstrip(".") for name, module in model.named_modules() if _averages(module) for kind in kinds]


@contextlib.contextmanager
def batch_statistics(model: nn.Module, momentum: float | None = None) -> Iterator[None]:
    """Eval mode, but BatchNorm normalises by the batch and, with a momentum, updates its buffers."""
    layers = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    kept = [layer.momentum for layer in layers]
    with evaluation_mode(model):
        try:
            for layer in layers:
                layer.train()
                layer.momentum = layer.momentum if momentum is None else momentum
            yield
        finally:
            for layer, value in zip(layers, kept, strict=True):
                layer.momentum = value


@checked
def reestimated(objective: Objective, thetas: Thetas) -> dict[str, Tensor] | None:
    """Running statistics `(M, …)` of each model: mean and variance over all data; None where the model has no BatchNorm.

    Those of a training pass over all data at once, whatever the memory: where the data come in several chunks each layer takes a
    pass of its own, in which those before it have theirs already.

    Args:
        objective: on the training data.
        thetas: `(M, P)`, or a `ParameterSet`, which need not fit into memory.

    Returns:
        Buffers `(M, …)` by name, or None.

    Raises:
        ConfigurationError: a layer that gets a single value for each of its channels, of which there is no variance.
    """
    names = running(objective.model)
    if not names:
        return None
    found = []
    with explained(objective.model, "BatchNorm's statistics cannot be estimated anew"):
        for index in range(len(thetas)):
            found.append(_estimate(objective, thetas[index : index + 1][0], names))
    return {name: torch.stack([each[name] for each in found]) for name in names}


def _estimate(objective: Objective, theta: Float[Tensor, " P"], names: list[str]) -> dict[str, Tensor]:
    buffers = {name: objective.constants[name].clone() for name in objective.constants if _is_statistic(name, names)}
    tensors = {**objective.constants, **objective.layout.arguments(theta), **buffers}
    batches = objective.batches()
    inputs, _ = next(batches)
    with torch.no_grad():
        if next(batches, None) is None:
            with batch_statistics(objective.model, momentum=1.0):
                call(objective.model, tensors, guarded(inputs))
        else:
            _layer_by_layer(objective, tensors)
    return {name: buffers[name] for name in names}


class _Reached(Exception):
    """The layer whose inputs are wanted has them; what comes after need not be computed."""


def _layer_by_layer(objective: Objective, tensors: dict[str, Tensor]) -> None:
    """Writes the statistics of every layer, in the order in which they are called, into the buffers among `tensors`.

    A layer that is called several times has those of its first call.
    """
    layers = {module: name for name, module in objective.model.named_modules() if _averages(module)}
    done: dict[nn.Module, _Moments] = {}
    while True:
        moments: dict[nn.Module, _Moments] = {}

        def look(layer: nn.Module, given: tuple[Tensor, ...], moments: Any = moments, done: Any = done) -> None:
            if layer not in done:
                moments.setdefault(layer, _Moments()).add(given[0])
                raise _Reached

        handles = [layer.register_forward_pre_hook(look) for layer in layers]
        try:
            with evaluation_mode(objective.model):
                for inputs, _ in objective.batches():
                    with contextlib.suppress(_Reached):
                        call(objective.model, tensors, guarded(inputs))
        finally:
            for handle in handles:
                handle.remove()
        for layer, seen in (moments or done).items():
            name = layers[layer]
            # A training pass normalises by the biased variance and keeps the unbiased one.
            variance = seen.squares / (seen.count if moments else seen.degrees(name))
            tensors[f"{name}.running_mean".lstrip(".")].copy_(seen.mean)
            tensors[f"{name}.running_var".lstrip(".")].copy_(variance)
        if not moments:
            return
        done |= moments


class _Moments:
    """Mean and variance of each channel over several chunks, in float64 (Chan, Golub & LeVeque, 1983)."""

    def __init__(self) -> None:
        self.count, self.mean, self.squares = 0, torch.zeros(()), torch.zeros(())

    def add(self, values: Tensor) -> None:
        """Of `(n, channels, …)`."""
        flat = values.double().transpose(0, 1).flatten(1)
        mean = flat.mean(1)
        squares = (flat - mean[:, None]).square().sum(1)
        total = self.count + flat.shape[1]
        apart = mean - self.mean.to(mean)
        self.squares = self.squares.to(mean) + squares + apart.square() * (self.count * flat.shape[1] / total)
        self.mean = self.mean.to(mean) + apart * (flat.shape[1] / total)
        self.count = total

    def degrees(self, name: str) -> int:
        """How many deviations from the mean are independent."""
        if self.count < 2:
            raise ConfigurationError(f"'{name}' gets one value a channel, which has no variance; pass more than one sample.")
        return self.count - 1


def _averages(module: nn.Module) -> bool:
    return isinstance(module, _BatchNorm) and module.track_running_stats


def _is_statistic(name: str, names: list[str]) -> bool:
    """The running statistics and the counters beside them, which a training pass writes to."""
    return name in names or name.endswith("num_batches_tracked")
