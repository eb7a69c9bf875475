"""Training of networks for studies: a fixed number of epochs, a learning rate that follows a course, the last state kept.

Networks of one architecture train as one stack (`gradient.BatchGradients`), each from its own start with its own order of the
data and its own learning rate; those with BatchNorm one after the other in train mode (`statistics`). A network whose loss
ceases to be finite is left where it is, and the others go on.

A training can be cut anywhere between two epochs: its state holds all that its further course depends on, and rates and orders
are functions of step and epoch.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from orograph.arguments import checked
from orograph.brief import brief
from orograph.errors import ConfigurationError
from orograph.objective import Objective
from orograph.training.gradient import BatchGradient, BatchGradients, refuse_stateful, tracks_statistics
from orograph.training.history import EpochRecord, Scored, epoch_record
from orograph.training.moment import Moment, Observer
from orograph.training.order import mini_batches, permutation
from orograph.training.pieces import Pieces
from orograph.training.rates import rate
from orograph.training.settings import FitSettings
from orograph.training.statistics import Buffers, StatisticsGradient, fresh_buffers
from orograph.training.update import Update, initial_state, rows

OnEpoch = Callable[[int, float], None]  # the epoch and its training loss, the mean over the networks


@brief
@dataclass(frozen=True, eq=False)
class State:
    """A network in training.

    Attributes:
        tensors: θ `(P,)`, the optimiser's moments and its count of steps.
        buffers: of the module, by name.
    """

    tensors: list[Tensor]
    buffers: Buffers

    @property
    def theta(self) -> Float[Tensor, " P"]:
        return self.tensors[0]


@brief
@dataclass(frozen=True, eq=False)
class Fitted:
    """What a training ended with.

    Attributes:
        state: the last one.
        history: one record an epoch, see `history.epoch_record`.
        observed: what the observer returned, with the epoch.
        failed_epoch: the epoch whose loss was not finite, with which the training ended; None if all were.
    """

    state: State
    history: list[EpochRecord]
    observed: list[EpochRecord]
    failed_epoch: int | None


@dataclass
class _Member:
    """One network: its stream, its learning rate, and what is known of it so far."""

    order_seed: int
    settings: FitSettings
    buffers: Buffers
    history: list[EpochRecord] = field(default_factory=list)
    observed: list[EpochRecord] = field(default_factory=list)
    failed_epoch: int | None = None


@checked
def initial(objective: Objective, theta: Float[Tensor, " P"], settings: FitSettings) -> State:
    """The state before the first step, with the buffers of the objective.

    Args:
        objective: gives the buffers.
        theta: `(P,)`, where training starts.
        settings: whose optimiser's moments are zeroed.

    Returns:
        The state that `fit` starts from.

    Examples:
        >>> import torch, orograph as og
        >>> objective = og.Objective(torch.nn.Linear(4, 2), torch.nn.CrossEntropyLoss(), [(torch.eye(4), torch.arange(4) % 2)])
        >>> og.initial(objective, objective.theta, og.FitSettings()).tensors[0].shape
        torch.Size([10])
    """
    return State(initial_state(settings, theta), fresh_buffers(objective))


@checked
def fit(
    objective: Objective,
    starts: Sequence[State],
    settings: FitSettings,
    *,
    order_seeds: int | Sequence[int],
    test: Objective | None = None,
    rates: Sequence[float] | None = None,
    first_epoch: int = 1,
    last_epoch: int | None = None,
    gradients: bool = True,
    scored: Scored | None = None,
    observer: Observer | None = None,
    every: int = 1,
    on_epoch: OnEpoch | None = None,
) -> list[Fitted]:
    """Minimises L from each of several starts.

    Args:
        objective: the loss and its training data; a penalty plays no part.
        starts: the state of each network after `first_epoch − 1` epochs.
        settings: optimiser, schedule, batches and epochs, over which the schedule extends.
        order_seeds: one seed for a stream of mini-batches that all share, or one a network.
        test: the same model on the test data.
        rates: a learning rate for each network in place of that of the settings.
        first_epoch: where to take the training up, counted from 1.
        last_epoch: where to leave it; its end when None.
        gradients: whether ‖∇L‖ is recorded at each epoch's end.
        scored: `(objective, theta, buffers) → ` metrics by name, which each epoch's record holds of both sets, too.
        observer: called for each network at the end of epochs, and of the last one.
        every: the observer is called after every so many epochs.
        on_epoch: called with the number of each epoch and its mean training loss.

    Returns:
        One for each network, in order: its last state and one record an epoch.

    Raises:
        ConfigurationError: the model has dropout, or the numbers of networks, seeds and rates differ.

    Examples:
        >>> import torch, orograph as og
        >>> objective = og.Objective(torch.nn.Linear(4, 2), torch.nn.CrossEntropyLoss(), [(torch.eye(4), torch.arange(4) % 2)])
        >>> settings = og.FitSettings(optimizer="SGD", lr=0.1, epochs=3)
        >>> [found] = og.fit(objective, [og.initial(objective, objective.theta, settings)], settings, order_seeds=0)
        >>> assert found.history[-1]["train_loss"] < found.history[0]["train_loss"]
    """
    refuse_stateful(objective, statistics=False)
    shared = isinstance(order_seeds, int)
    seeds = [order_seeds] * len(starts) if isinstance(order_seeds, int) else list(order_seeds)
    chosen = [settings.lr] * len(starts) if rates is None else list(rates)
    if not len(starts) == len(seeds) == len(chosen) or not starts:
        raise ConfigurationError(f"{len(starts)} networks were given {len(seeds)} seeds and {len(chosen)} rates; give one each.")
    members = [
        _Member(seed, settings.model_copy(update={"lr": lr}), {name: value.clone() for name, value in start.buffers.items()})
        for seed, lr, start in zip(seeds, chosen, starts, strict=True)
    ]
    stack = _Stack(objective, settings, members, starts, shared=shared or len(starts) == 1)
    last = settings.epochs if last_epoch is None else last_epoch
    for epoch in range(first_epoch, last + 1):
        running = [row for row, member in enumerate(members) if member.failed_epoch is None]
        if not running:
            break
        stack.epoch(epoch, running)
        for row in running:
            member, moment = members[row], stack.moment(row, epoch)
            record = epoch_record(
                objective,
                test,
                moment.theta,
                moment.buffers,
                member.history,
                epoch=epoch,
                lr=moment.lr,
                gradients=gradients,
                scored=scored,
            )
            member.history.append(record)
            if not math.isfinite(record["train_loss"]) or not moment.theta.isfinite().all():
                member.failed_epoch = epoch
                continue
            if observer is not None and (epoch % every == 0 or epoch == last):
                member.observed.append({"epoch": float(epoch), **observer(moment)})
        if on_epoch is not None:
            on_epoch(epoch, sum(members[row].history[-1]["train_loss"] for row in running) / len(running))
    return [Fitted(stack.state(row), member.history, member.observed, member.failed_epoch) for row, member in enumerate(members)]


class _Stack:
    """The networks' parameters and the optimiser, stacked."""

    def __init__(
        self, objective: Objective, settings: FitSettings, members: list[_Member], starts: Sequence[State], *, shared: bool
    ) -> None:
        self._objective, self._members, self._shared = objective, members, shared
        self._length = min(settings.batch_size, objective.count)
        self._total = settings.epochs * -(-objective.count // self._length)
        like = starts[0].theta
        self._theta, self._gradient = rows(len(starts), like), rows(len(starts), like)
        self._losses = torch.zeros(len(starts), dtype=like.dtype, device=like.device)
        self._update = Update(settings, self._theta, self._gradient, [0.0] * len(starts), [None] * len(starts))
        for row, start in enumerate(starts):
            self._update.restore(row, start.tensors)
        self._pieces = Pieces(objective, self._length)
        data = self._pieces.at_hand
        self._differentiate: StatisticsGradient | BatchGradients
        self._statistics: StatisticsGradient | None = None
        if any(tracks_statistics(module) for module in objective.model.modules()):
            buffers = [member.buffers for member in members]
            self._statistics = StatisticsGradient(objective, self._theta, self._gradient, self._losses, buffers, data)
            self._differentiate = self._statistics
        else:
            into = self._theta, self._gradient, self._losses
            stacked = len(starts) > 1
            self._differentiate = BatchGradients(partial(BatchGradient, objective, *into, data, shared=shared, stacked=stacked))

    def epoch(self, epoch: int, running: Sequence[int]) -> None:
        """One pass over the data."""
        step = (epoch - 1) * -(-self._objective.count // self._length)
        for piece, count in self._pieces:
            order = self._order(epoch, count, piece)
            for indices in mini_batches(order, self._length, several=self._statistics is not None, piece=piece):
                self._update.prepare(
                    [rate(each.settings, step, self._total) if row in running else None for row, each in enumerate(self._members)]
                )
                self._differentiate(indices)
                self._update()
                step += 1

    def _order(self, epoch: int, count: int, piece: int | None) -> Tensor:
        device = self._theta.device
        if self._shared:
            return permutation(self._members[0].order_seed, epoch, count, piece).to(device)
        return torch.stack([permutation(member.order_seed, epoch, count, piece) for member in self._members]).to(device)

    def moment(self, row: int, epoch: int) -> Moment:
        """A network as it is now."""
        member = self._members[row]
        steps = epoch * -(-self._objective.count // self._length)
        moments = [moment[row] for moment in self._update.moments]
        lr = rate(member.settings, steps - 1, self._total)
        return Moment(epoch, self._theta[row], moments, member.buffers, steps, lr)

    def state(self, row: int) -> State:
        """A copy of a network's state."""
        buffers = {name: value.clone() for name, value in self._members[row].buffers.items()}
        return State(self._update.state(row), buffers)
