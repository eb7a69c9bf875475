"""Endless shuffled mini-batches of an objective's data, and the gradient of L_eff on one."""

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils._pytree import tree_map

from orograph.geometry.normalisation import batch_statistics, running
from orograph.objective import Batch, Objective, call


def minibatches(objective: Objective, size: int | None, generator: torch.Generator) -> Iterator[Batch]:
    """Batches without end; every sample once an epoch, a short last batch is left out. `size=None` is all data at once.

    A loss that only gives a mean keeps its own batches, in shuffled order.
    """
    batches = list(objective.batches(objective.count))
    if not objective.per_sample:
        while True:
            for index in torch.randperm(len(batches), generator=generator).tolist():
                yield batches[index]
    inputs, targets = batches[0]
    size = min(size or objective.count, objective.count)
    while size == objective.count:
        yield inputs, targets
    while True:
        order = torch.randperm(objective.count, generator=generator).to(objective.device)
        for chosen in order[: objective.count // size * size].split(size):
            yield tree_map(lambda leaf, chosen=chosen: leaf[chosen], inputs), targets[chosen]


def value_and_gradient(objective: Objective, theta: Float[Tensor, " P"], batch: Batch) -> tuple[float, Float[Tensor, " P"]]:
    """L_eff on one batch and its gradient; BatchNorm normalises by the batch, since running statistics mean nothing here."""
    inputs, targets = batch
    point = theta.detach().requires_grad_()
    counters = {name: objective.constants[name].clone() for name in _written(objective)}
    tensors = {**objective.constants, **objective.layout.unflatten(point), **counters}
    with batch_statistics(objective.model):
        loss = objective.output_losses(call(objective.model, tensors, inputs), targets).mean()
    (gradient,) = torch.autograd.grad(loss, point)
    value = loss.item() + (objective.penalty(theta) if objective.strength else 0.0)
    return value, gradient + 2 * objective.strength * objective.offset(theta) if objective.strength else gradient


def _written(objective: Objective) -> list[str]:
    """Buffers that BatchNorm overwrites when it normalises by the batch."""
    statistics = running(objective.model)
    return [name for name in objective.constants if name in statistics or name.endswith("num_batches_tracked")]
