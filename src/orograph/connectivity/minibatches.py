"""Endless shuffled mini-batches of an objective's data, and the gradient of L_eff on one."""

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils._pytree import tree_structure, tree_unflatten

from orograph.calling import call
from orograph.errors import ConfigurationError
from orograph.geometry.normalisation import batch_statistics, running
from orograph.intake import Batch
from orograph.objective import Objective
from orograph.samples import part_of
from orograph.training.pieces import Pieces


def minibatches(objective: Objective, size: int | None, generator: torch.Generator) -> Iterator[Batch]:
    """Batches without end; every sample once an epoch, a short last batch is left out. `size=None` is all data at once.

    Batches that cannot be joined and cut come as they are, in shuffled order. Of data that are read again none is held:
    mini-batches are drawn within one piece after another, and what cannot be cut comes in the order in which it is read.

    Raises:
        ConfigurationError: all data at once, of data that are read again.
    """
    if objective.streamed:
        yield from _read_again(objective, size, generator)
    batches = list(objective.batches(objective.count))
    if not objective.per_sample or len(batches) > 1:
        while True:
            for index in torch.randperm(len(batches), generator=generator).tolist():
                yield batches[index]
    inputs, targets = batches[0]
    size = min(size or objective.count, objective.count)
    while size == objective.count:
        yield inputs, targets
    while True:
        order = torch.randperm(objective.count, generator=generator).to(objective.device)
        for some in order[: objective.count // size * size].split(size):
            yield part_of(inputs, some), targets[some]


def _read_again(objective: Objective, size: int | None, generator: torch.Generator) -> Iterator[Batch]:
    if size is None:
        raise ConfigurationError("data that are read again at each pass are never one batch; give `batch_size` or more `memory`.")
    pieces = None if objective.whole else Pieces(objective, size)
    while pieces is None:
        yield from objective.batches()
    spec, at_hand = tree_structure(next(objective.batches(1))[0]), pieces.at_hand
    while True:
        for _, count in pieces:
            order = torch.randperm(count, generator=generator).to(objective.device)
            for some in order.split(size):
                if len(some) == min(size, objective.count):
                    yield tree_unflatten([leaf[some] for leaf in at_hand.leaves], spec), at_hand.targets[some]


def value(objective: Objective, theta: Float[Tensor, " P"], batch: Batch) -> float:
    """L_eff on one batch; BatchNorm normalises by the batch, since running statistics mean nothing here."""
    with torch.no_grad():
        return _loss(objective, theta, batch).item() + objective.penalty(theta)


def value_and_gradient(objective: Objective, theta: Float[Tensor, " P"], batch: Batch) -> tuple[float, Float[Tensor, " P"]]:
    """`value` and its gradient."""
    point = theta.detach().requires_grad_()
    loss = _loss(objective, point, batch)
    (gradient,) = torch.autograd.grad(loss, point)
    if objective.strength:
        gradient += 2 * objective.strength * objective.offset(theta)
    return loss.item() + objective.penalty(theta), gradient


def _loss(objective: Objective, theta: Float[Tensor, " P"], batch: Batch) -> Float[Tensor, ""]:
    inputs, targets = batch
    counters = {name: objective.constants[name].clone() for name in _written(objective)}
    tensors = {**objective.constants, **objective.layout.arguments(theta), **counters}
    with batch_statistics(objective.model):
        return objective.output_losses(call(objective.model, tensors, inputs), targets).mean()


def _written(objective: Objective) -> list[str]:
    """Buffers that BatchNorm overwrites when it normalises by the batch."""
    statistics = running(objective.model)
    return [name for name in objective.constants if name in statistics or name.endswith("num_batches_tracked")]
