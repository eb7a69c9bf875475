"""Training of one's own: a function that trains a module in place with whatever it likes, and optimisers by their class.

The function gets a copy of the network, at its start; what it leaves in it is taken. Only θ and buffers may move: other
parameters are held fast by everything that is measured afterwards.
"""

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_unflatten

from orograph.arguments import checked
from orograph.calling import call
from orograph.errors import ConfigurationError, DataError, OrographError
from orograph.intake import Batch
from orograph.objective import Objective
from orograph.process import out_of_memory, seeded_stream
from orograph.sources import first_line
from orograph.training.descent import EpochRecord, OnEpoch, Trained
from orograph.training.gradient import tracks_statistics
from orograph.training.order import mini_batches, permutation
from orograph.training.pieces import Pieces
from orograph.training.settings import TrainingSettings
from orograph.training.stopping import Stopping

Penalty = Callable[[nn.Module], Tensor]  # λ‖θ − θ_ref‖² of a module, differentiable
Report = Callable[[int, float], None]  # an epoch, or whatever is counted, and what was minimised
Trainer = Callable[[nn.Module, Penalty, dict[str, Tensor], int, Report], None]


@checked
def train_own(
    objective: Objective,
    theta: Float[Tensor, " P"],
    trainer: Trainer,
    *,
    seed: int,
    buffers: Mapping[str, Tensor] | None = None,
    on_epoch: OnEpoch | None = None,
) -> Trained:
    """What a function of one's own makes of a network: `trainer(model, penalty, start, seed, report)`, in place.

    Args:
        objective: the loss and its data, λ and θ_ref.
        theta: `(P,)`, where training starts.
        trainer: minimises the loss plus `penalty(model)`, which is λ‖θ − θ_ref‖², in whatever way; `start` is a copy of the state
            dict, `seed` decides its random numbers (torch's global stream begins there, too), and `report(epoch, value)` tells
            how far it is.
        seed: of this network.
        buffers: of the module where it starts; its own when None.
        on_epoch: called with what is reported.

    Returns:
        θ and buffers at the end, and what was reported as history.

    Raises:
        ConfigurationError: a parameter that does not belong to θ was moved.
        DataError: the function failed.

    Examples:
        >>> import torch, orograph as og
        >>> objective = og.Objective(torch.nn.Linear(4, 2), torch.nn.CrossEntropyLoss(), [(torch.eye(4), torch.arange(4) % 2)])
        >>> def halve(model, penalty, start, seed, report):
        ...     model.load_state_dict({name: value / 2 for name, value in start.items()})
        >>> torch.equal(og.train_own(objective, objective.theta, halve, seed=0).theta, objective.theta / 2)
        True
    """
    model = copy.deepcopy(objective.model).to(objective.dtype)
    values = {**objective.layout.unflatten(theta), **(buffers or {})}
    with torch.no_grad():
        for name, each in (*model.named_parameters(), *model.named_buffers()):
            if name in values:
                each.copy_(values[name])
    own = objective.layout.names
    held = {name: each.detach().clone() for name, each in model.named_parameters() if name not in own}
    anchor = None if objective.anchor is None else objective.layout.unflatten(objective.anchor)
    history: list[EpochRecord] = []

    def penalty(module: nn.Module) -> Tensor:
        named = dict(module.named_parameters())
        offsets = (named[name] if anchor is None else named[name] - anchor[name] for name in own)
        return objective.strength * torch.stack([offset.square().sum() for offset in offsets]).sum()

    def report(epoch: int, value: float) -> None:
        history.append({"epoch": int(epoch), "loss": float(value), "objective": float(value)})
        if on_epoch is not None:
            on_epoch(int(epoch), float(value))

    start = {name: value.detach().clone() for name, value in model.state_dict().items()}
    with seeded_stream(seed):
        try:
            trainer(model, penalty, start, seed, report)
        except OrographError:
            raise
        except Exception as error:  # whatever a function of one's own raises
            raise DataError(f"`train` failed with {type(error).__name__}: {first_line(error)}.") from error
    named = {name: each.detach() for name, each in model.named_parameters()}
    moved = [name for name, before in held.items() if not torch.equal(named[name], before)]
    if moved:
        raise ConfigurationError(
            f"`train` moved '{moved[0]}', which does not belong to θ; add it to `parameters`, or set requires_grad_(False) on it."
        )
    found = objective.layout.flatten(named).to(theta)
    failed = not found.isfinite().all() or any(not math.isfinite(each["loss"]) for each in history[-1:])
    count = len(history)
    return Trained(
        theta=found,
        epochs=count,
        steps=None,
        best_epoch=count,
        failed_epoch=count if failed else None,
        stopped="failed" if failed else "own",
        history=history,
        buffers={name: each.detach().clone() for name, each in model.named_buffers()},
    )


def indexed(objective: Objective, length: int) -> Pieces | None:
    """The samples, where they can be indexed in one tensor each, so that mini-batches are drawn from them; else None."""
    if objective.whole:
        return None
    try:
        return Pieces(objective, length)
    except OrographError:
        return None


def batches_in_order(
    objective: Objective, pieces: Pieces | None, length: int, seed: int, epoch: int, *, several: bool
) -> Iterator[Batch]:
    """The mini-batches of an epoch: samples in a drawn order; where these cannot be indexed, the data's own batches in one.

    Batches that are read again and cannot be indexed come in the order in which they are read, for none is held.
    With `several` none is of a single sample, see `order.mini_batches`.
    """
    if pieces is None:
        order = objective.batches(length)
        if not objective.streamed:
            batches = list(order)
            order = (batches[index] for index in permutation(seed, epoch, len(batches)).tolist())
        yield from (batch for batch in order if not several or len(batch[1]) > 1)
        return
    spec = tree_flatten(next(iter(objective.batches(1)))[0])[1]
    at_hand = pieces.at_hand
    for piece, count in pieces:
        order_of = permutation(seed, epoch, count, piece).to(at_hand.targets.device)
        for chosen in mini_batches(order_of, length, several=several, piece=piece):
            yield tree_unflatten([leaf[chosen] for leaf in at_hand.leaves], spec), at_hand.targets[chosen]


def by_optimizer(objective: Objective, settings: TrainingSettings, make: Callable[..., Any]) -> Trainer:
    """A trainer that takes steps of an optimiser of one's own on mini-batches, and keeps the best state by L_eff.

    Args:
        objective: the loss and its data, λ and θ_ref.
        settings: learning rate, batches, epochs and patience; the learning rate never drops.
        make: `(parameters, lr=…)` to an optimiser as `torch.optim` has them.

    Returns:
        A function as `train_own` takes it.
    """

    def trainer(model: nn.Module, penalty: Penalty, start: dict[str, Tensor], seed: int, report: Report) -> None:
        named = dict(model.named_parameters())
        optimizer = _made([named[name] for name in objective.layout.names], settings, make)
        stopping, best = Stopping(settings.epochs, settings.patience, 0), start
        pieces = indexed(objective, settings.batch_size)
        several = any(map(tracks_statistics, model.modules()))

        def value() -> float:
            state = {name: each.detach() for name, each in (*model.named_parameters(), *model.named_buffers())}
            with torch.no_grad():
                theta = objective.layout.flatten(state).to(objective.theta)
                other = objective.penalised(objective.strength, objective.anchor)
                other.constants = {name: state.get(name, each) for name, each in objective.constants.items()}
                return other.value(theta)

        stopping.start(value())
        while stopping.stopped is None:
            model.train()
            epoch = stopping.epoch + 1
            for inputs, targets in batches_in_order(objective, pieces, settings.batch_size, seed, epoch, several=several):
                outputs = call(model, {**dict(model.named_parameters()), **dict(model.named_buffers())}, inputs)
                loss = objective.output_losses(outputs, targets).mean() + penalty(model)
                optimizer.zero_grad()
                loss.backward()
                _step(optimizer, settings)
            model.eval()
            now = value()
            stopping.observe(now)
            report(stopping.epoch, now)
            if stopping.best_epoch == stopping.epoch:
                best = {name: each.detach().clone() for name, each in model.state_dict().items()}
        model.load_state_dict(best)

    return trainer


def try_optimizer(objective: Objective, settings: TrainingSettings, make: Callable[..., Any]) -> None:
    """One step on a copy of the parameters, by gradients of zero: what is no optimiser is told before anything is written.

    Args:
        objective: whose parameters.
        settings: learning rate, and the name of the optimiser.
        make: as `by_optimizer` takes it.

    Raises:
        ConfigurationError: it cannot be made of parameters, or cannot step.
    """
    parameters = [nn.Parameter(each.detach().clone()) for each in objective.layout.unflatten(objective.theta).values()]
    with seeded_stream(0):
        optimizer = _made(parameters, settings, make)
        for each in parameters:
            each.grad = torch.zeros_like(each)
        _step(optimizer, settings)


def _made(parameters: list[nn.Parameter], settings: TrainingSettings, make: Callable[..., Any]) -> Any:
    try:
        optimizer = make(parameters, lr=settings.lr)
    except OrographError:
        raise
    except Exception as error:  # whatever a class of one's own raises
        raise ConfigurationError(
            f"`optimizer` {settings.optimizer} cannot be made of parameters and `lr`: {first_line(error)}."
        ) from error
    if not all(callable(getattr(optimizer, name, None)) for name in ("zero_grad", "step")):
        raise ConfigurationError(
            f"`optimizer` {settings.optimizer} makes {type(optimizer).__name__}, which has no zero_grad() and step(); name an "
            "optimiser as torch.optim has them."
        )
    return optimizer


def _step(optimizer: Any, settings: TrainingSettings) -> None:
    try:
        optimizer.step()
    except Exception as error:  # likewise
        if out_of_memory(error):
            raise
        raise ConfigurationError(
            f"`optimizer` {settings.optimizer} cannot step ({type(error).__name__}: {first_line(error)}); name an optimiser "
            "whose step() needs no closure and takes dense gradients."
        ) from error
