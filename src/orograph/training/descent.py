"""The epochs of one model or of a stack of models: mini-batch steps, stopping, the best state, the learning rate's drops.

By default stopping watches L_eff over the whole training set at each epoch's end. The best state, the start included, is copied
together with the optimiser's moments; when patience runs out, training goes on from it with a tenth of the learning rate.
Keeping the moments
makes that the continuation of the best trajectory: a fresh Adam's first steps have the full learning rate in every coordinate,
whatever the gradient, and would throw a nearly converged state away again.

The published procedure watches the running average of the unpenalised loss over an epoch, during which the model moves; it
never drops the learning rate and keeps the last state (its "best" state was a reference to the moving weights).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from orograph.brief import brief
from orograph.objective import Objective
from orograph.training.gradient import BatchGradient, BatchGradients, refuse_stateful
from orograph.training.moment import Moment, Observer
from orograph.training.order import mini_batches, permutation
from orograph.training.pieces import Pieces
from orograph.training.replay import Replay, recorder
from orograph.training.settings import TrainingSettings
from orograph.training.stability import with_buffers
from orograph.training.statistics import Buffers, StatisticsGradient
from orograph.training.stopping import Outcome, Stopping
from orograph.training.update import Update, initial_state, rows

EpochRecord = dict[str, float]
OnEpoch = Callable[[int, float], None]  # the epoch and its objective, the mean over the models that trained

EVALUATION = 2048  # samples of an evaluation chunk: its activations stay in the cache
_COMPACT = 0.75  # the stack is rebuilt when at most this share of it still trains, because each stack size is traced anew


@brief
@dataclass(frozen=True)
class Trained:
    """What a training ended with.

    Attributes:
        theta: `(P,)`, the state kept: the best of all epoch ends and the start; in the published procedure the last.
        epochs: taken.
        steps: mini-batch steps taken; None where nobody counted.
        best_epoch: the epoch whose value was the smallest, 0 for the start.
        failed_epoch: the epoch whose value was not finite (`theta` is then the best state before it); None if all were.
        stopped: `"patience"`, `"epochs"` or `"failed"`; `"own"` of a training of one's own.
        history: one record an epoch: `epoch`, `lr`, `loss`, `objective`; the last two over the whole training set at
            the epoch's end, or running averages in the published procedure; and what an observer found.
        running_loss: average of L over the last epoch's mini-batches, weighted by their sizes,
            while the model moved; only in the published procedure.
        running_objective: the same of L_eff.
        buffers: of the module in that state, where training changes them (BatchNorm); empty otherwise.
    """

    theta: Float[Tensor, " P"]
    epochs: int
    steps: int | None
    best_epoch: int
    failed_epoch: int | None
    stopped: str
    history: list[EpochRecord]
    running_loss: float | None = None
    running_objective: float | None = None
    buffers: Buffers = field(default_factory=dict)


@dataclass
class _Member:
    """One model of a stack: its problem, and how far it is."""

    index: int
    strength: float
    anchor: Tensor | None
    order_seed: int
    lr: float
    stopping: Stopping
    state: list[Tensor]
    best: list[Tensor]
    buffers: Buffers
    best_buffers: Buffers
    history: list[EpochRecord] = field(default_factory=list)

    @property
    def running(self) -> bool:
        return self.stopping.stopped is None

    def penalty(self, theta: Tensor) -> float:
        """λ‖θ − θ_ref‖², in float64."""
        offset = theta if self.anchor is None else theta - self.anchor
        return self.strength * offset.double().square().sum().item()


def descend(
    objective: Objective,
    thetas: Float[Tensor, "M P"],
    settings: TrainingSettings,
    *,
    strengths: Sequence[float],
    anchors: Sequence[Float[Tensor, " P"] | None],
    order_seeds: int | Sequence[int],
    stacked: bool,
    on_epoch: OnEpoch | None,
    observer: Observer | None = None,
    every: int = 1,
    buffers: Sequence[Buffers] | None = None,
) -> list[Trained]:
    """Trains M models together; the common part of `loop.train` and `cohort.train_cohort`, which say what the arguments mean.

    An observer is called for each model at the end of every so many epochs; what it returns joins the epoch's record. With
    buffers, one set a model, models train one after the other in train mode; stopping looks at them in eval mode.

    Raises:
        ConfigurationError: the model has dropout; or BatchNorm, and no buffers were given.
    """
    refuse_stateful(objective, statistics=buffers is None)
    shared = isinstance(order_seeds, int)
    seeds = [order_seeds] * len(thetas) if isinstance(order_seeds, int) else list(order_seeds)
    members = []
    for index, theta in enumerate(thetas):
        stopping = Stopping(settings.epochs, settings.patience, 0 if settings.published else settings.drops)
        start, own = initial_state(settings, theta), _copied(buffers[index] if buffers else {})
        given = (index, float(strengths[index]), anchors[index], seeds[index], settings.lr, stopping, start, start)
        member = _Member(*given, own, _copied(own))
        if not settings.published:
            stopping.start(_evaluated(objective, own).loss(theta, chunk=EVALUATION) + member.penalty(theta))
        members.append(member)
    waiting = [member for member in members if member.running]
    seen = None if observer is None else (observer, every)
    stack = _Stack(objective, settings, waiting, shared=shared, stacked=stacked, observer=seen) if waiting else None
    while stack is not None and (running := [member for member in stack.members if member.running]):
        if len(running) <= _COMPACT * len(stack.members):
            stack = stack.only(running)
        stack.epoch(on_epoch)
    return [_trained(member, settings, objective.count) for member in members]


def _copied(buffers: Buffers) -> Buffers:
    return {name: value.clone() for name, value in buffers.items()}


def _evaluated(objective: Objective, buffers: Buffers) -> Objective:
    return with_buffers(objective, buffers) if buffers else objective


def _trained(member: _Member, settings: TrainingSettings, count: int) -> Trained:
    stopping = member.stopping
    failed = stopping.stopped == "failed"
    final = settings.published and not failed
    last = member.history[-1] if member.history else {}
    return Trained(
        theta=(member.state if final else member.best)[0],
        epochs=stopping.epoch,
        steps=stopping.epoch * -(-count // settings.batch_size),
        best_epoch=stopping.best_epoch,
        failed_epoch=stopping.epoch if failed else None,
        stopped=str(stopping.stopped),
        history=member.history,
        running_loss=last.get("loss") if settings.published else None,
        running_objective=last.get("objective") if settings.published else None,
        buffers=member.buffers if final else member.best_buffers,
    )


class _Stack:
    """Models in training, stacked: one mini-batch step moves them all."""

    def __init__(
        self,
        objective: Objective,
        settings: TrainingSettings,
        members: list[_Member],
        *,
        shared: bool,
        stacked: bool,
        observer: tuple[Observer, int] | None,
    ) -> None:
        self.members, self._observer = members, observer
        self._objective, self._settings, self._shared, self._stacked = objective, settings, shared, stacked
        like = members[0].best[0]
        self._theta, self._gradient = rows(len(members), like), rows(len(members), like)
        self._losses = torch.zeros(len(members), dtype=like.dtype, device=like.device)
        into = self._theta, self._gradient, self._losses
        self._pieces = Pieces(objective, settings.batch_size)
        data = self._pieces.at_hand
        self._gradients: Callable[[Tensor], None] = (
            StatisticsGradient(objective, *into, [member.buffers for member in members], data)
            if members[0].buffers
            else BatchGradients(partial(BatchGradient, objective, *into, data, shared=shared, stacked=stacked))
        )
        self._update = Update(settings, self._theta, self._gradient, [m.strength for m in members], [m.anchor for m in members])
        for row, member in enumerate(members):
            self._update.restore(row, member.state)
        self._running_loss = torch.zeros(len(members), dtype=torch.float64, device=like.device)
        self._running_square = torch.zeros_like(self._running_loss)
        self._step = Replay(self._take, recorder(like.device))
        self._rates: list[float | None] = []
        self._prepare()

    def only(self, members: list[_Member]) -> "_Stack":
        """A smaller stack of some of these models, in the same states."""
        for row, member in enumerate(self.members):
            member.state = self._update.state(row)
        return _Stack(
            self._objective,
            self._settings,
            members,
            shared=self._shared,
            stacked=self._stacked,
            observer=self._observer,
        )

    def epoch(self, on_epoch: OnEpoch | None) -> None:
        """One pass over the data and what follows from it."""
        self._running_loss.zero_()
        self._running_square.zero_()
        for piece, count in self._pieces:
            if piece is not None:
                self._step.forget()  # other samples lie elsewhere
            order, several = self._order(count, piece), bool(self.members[0].buffers)
            for indices in mini_batches(order, self._settings.batch_size, several=several, piece=piece):
                self._step(indices)
        trained = [(row, member) for row, member in enumerate(self.members) if member.running]
        for row, member in trained:
            self._close_epoch(row, member)
        if on_epoch is not None:
            records = [member.history[-1] for _, member in trained]
            on_epoch(int(records[0]["epoch"]), sum(record["objective"] for record in records) / len(records))
        self._prepare()

    def _order(self, count: int, piece: int | None) -> Tensor:
        """The sample indices of a piece in the coming epoch, `(n,)` if shared, else `(M, n)`."""
        device = self._theta.device
        epoch = 1 + max(member.stopping.epoch for member in self.members)
        if self._shared:
            return permutation(self.members[0].order_seed, epoch, count, piece).to(device)
        return torch.stack([permutation(member.order_seed, epoch, count, piece) for member in self.members]).to(device)

    def _take(self, indices: Tensor) -> None:
        """One step on the samples of these indices."""
        self._gradients(indices)
        length = indices.shape[-1]
        if self._settings.published:
            self._running_loss.add_(self._losses, alpha=length)
            for row, member in enumerate(self.members):
                if member.strength:
                    offset = self._theta[row] if member.anchor is None else self._theta[row] - member.anchor
                    self._running_square[row].add_(torch.dot(offset, offset), alpha=length)
        self._update()

    def _close_epoch(self, row: int, member: _Member) -> None:
        theta = self._theta[row]
        if self._settings.published:
            loss = self._running_loss[row].item() / self._objective.count
            objective = loss + member.strength * self._running_square[row].item() / self._objective.count
            loss = loss if theta.isfinite().all() else math.nan  # the last step may have left the finite numbers
        else:
            loss = _evaluated(self._objective, member.buffers).loss(theta, chunk=EVALUATION)
            objective = loss + member.penalty(theta)
        verdict = member.stopping.observe(loss if self._settings.published else objective)
        record: EpochRecord = {"epoch": member.stopping.epoch, "lr": member.lr, "loss": loss, "objective": objective}
        member.history.append(record)
        if self._observer is not None and math.isfinite(objective):
            self._observe(row, member, record, *self._observer)
        if verdict is Outcome.IMPROVED:
            member.best, member.best_buffers = self._update.state(row), _copied(member.buffers)
        elif verdict is Outcome.DROP:
            self._update.restore(row, member.best)
            for name, value in member.best_buffers.items():
                member.buffers[name].copy_(value)
            member.lr /= 10
        if not member.running:
            member.state = self._update.state(row)

    def _observe(self, row: int, member: _Member, record: EpochRecord, observer: Observer, every: int) -> None:
        epoch = member.stopping.epoch
        if epoch % every:
            return
        moments, steps = [moment[row] for moment in self._update.moments], int(self._update.steps[row])
        record |= observer(Moment(epoch, self._theta[row], moments, member.buffers, steps, member.lr, member.strength))

    def _prepare(self) -> None:
        rates = [member.lr if member.running else None for member in self.members]
        if rates != self._rates:
            self._rates = rates
            self._update.prepare(rates)
            self._step.forget()
