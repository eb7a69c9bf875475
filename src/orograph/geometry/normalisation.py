"""Running statistics of BatchNorm at parameter vectors that were never trained: on paths and planes between minima.

Batch means and variances of a point between two networks are not between those of the networks, so they are estimated anew
from the training data wherever such a point is evaluated (Garipov et al., 2018).
"""

import contextlib
from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from orograph.geometry.evaluation import Thetas
from orograph.objective import Objective, call, evaluation_mode


def running(model: nn.Module) -> list[str]:
    """Names of the buffers that hold running statistics; empty where the model has none."""
    kinds = ("running_mean", "running_var")
    return [
        f"{name}.{kind}".lstrip(".")
        for name, module in model.named_modules()
        if isinstance(module, _BatchNorm) and module.track_running_stats
        for kind in kinds
    ]


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


def reestimated(objective: Objective, thetas: Thetas) -> dict[str, Tensor] | None:
    """Running statistics `(M, …)` of each model, averaged over all data; None where the model has no BatchNorm.

    The mean over chunks of the chunks' means and variances, weighted by their lengths.

    Args:
        objective: on the training data.
        thetas: `(M, P)`, or a `ParameterSet`, which need not fit into memory.

    Returns:
        Buffers `(M, …)` by name, or None.
    """
    names = running(objective.model)
    if not names:
        return None
    found = [_estimate(objective, thetas[i : i + 1][0], names) for i in range(len(thetas))]
    return {name: torch.stack([each[name] for each in found]) for name in names}


def _estimate(objective: Objective, theta: Float[Tensor, " P"], names: list[str]) -> dict[str, Tensor]:
    buffers = {name: objective.constants[name].clone() for name in objective.constants if _is_statistic(name, names)}
    tensors = {**objective.constants, **objective.layout.unflatten(theta), **buffers}
    seen = 0
    for inputs, targets in objective.batches():
        seen += len(targets)
        with torch.no_grad(), batch_statistics(objective.model, momentum=len(targets) / seen):
            call(objective.model, tensors, inputs)
    return {name: buffers[name] for name in names}


def _is_statistic(name: str, names: list[str]) -> bool:
    """The running statistics and the counters beside them, which a training pass writes to."""
    return name in names or name.endswith("num_batches_tracked")
