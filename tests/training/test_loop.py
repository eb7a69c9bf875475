"""Training against loops written out here with the module, autograd and unfused torch optimisers.

The loops share nothing with the code under test but the order of the batches. In float64 whole trainings agree to rounding; in
float32 the losses are compared step by step.
"""

import copy
import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from trainable import problem

from orograph.errors import ConfigurationError
from orograph.objective import Objective
from orograph.training.gradient import BatchGradient
from orograph.training.loop import train
from orograph.training.order import permutation
from orograph.training.pieces import samples
from orograph.training.settings import TrainingSettings
from orograph.training.update import Update, rows


class PlainLoop:
    """A user's training loop: module, mean loss plus penalty, `torch.optim`, batch after batch."""

    def __init__(self, model: nn.Module, data: tuple[Tensor, Tensor], strength: float, anchor: Tensor | None, lr: float) -> None:
        self.model, self.data, self.strength = copy.deepcopy(model), data, strength
        self.anchor = torch.zeros_like(self.theta) if anchor is None else anchor
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=lr, foreach=False, fused=False)

    @property
    def theta(self) -> Tensor:
        return nn.utils.parameters_to_vector(self.model.parameters()).detach()

    def step(self, indices: Tensor) -> tuple[float, float]:
        """One step; the batch's loss without and with the penalty, before it."""
        self.optimizer.zero_grad()
        loss = F.cross_entropy(self.model(self.data[0][indices]), self.data[1][indices])
        offset = nn.utils.parameters_to_vector(self.model.parameters()) - self.anchor
        total = loss + self.strength * offset.square().sum()
        total.backward()
        self.optimizer.step()
        return loss.item(), total.item()

    def epoch(self, order_seed: int, epoch: int, size: int) -> tuple[float, float]:
        """One epoch; its running averages of both, weighted by the sizes of the batches."""
        sums = torch.zeros(2, dtype=torch.float64)
        for indices in permutation(order_seed, epoch, len(self.data[1])).split(size):
            sums += torch.tensor(self.step(indices), dtype=torch.float64) * len(indices)
        return tuple((sums / len(self.data[1])).tolist())

    def objective(self) -> float:
        with torch.no_grad():
            loss = F.cross_entropy(self.model(self.data[0]), self.data[1]).item()
        return loss + self.strength * (self.theta - self.anchor).square().sum().item()


@pytest.mark.parametrize("anchored", [False, True])
def test_losses_agree_with_a_plain_loops_step_by_step_in_float32(anchored: bool) -> None:
    model, data = problem(dtype=torch.float32, count=640)
    plain = Objective(model, F.cross_entropy, data)
    objective = plain.penalised(1e-3, torch.randn_like(plain.theta) if anchored else None)
    theta, gradient, losses = rows(1, objective.theta), rows(1, objective.theta), torch.zeros(1)
    theta.copy_(objective.theta[None])
    batch = BatchGradient(objective, theta, gradient, losses, samples(objective), length=64, shared=True, stacked=False)
    update = Update(TrainingSettings(), theta, gradient, [objective.strength], [objective.anchor])
    update.prepare([0.0015])
    loop = PlainLoop(model, data, 1e-3, objective.anchor, 0.0015)
    assert batch.traced
    for epoch in range(1, 6):
        for indices in permutation(0, epoch, 640).split(64):
            batch(indices)
            # a loss is a sum of 64 rounded terms of order 1, and both roundings of θ enter: a few units of 6e-8
            assert losses.item() == pytest.approx(loop.step(indices)[0], rel=1e-6)
            update()
    torch.testing.assert_close(theta[0], loop.theta, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("anchored", [False, True])
def test_the_published_procedure_is_the_literal_one(anchored: bool) -> None:
    model, data = problem()
    settings = TrainingSettings(
        published=True, lr=0.3, patience=3, epochs=40, batch_size=16
    )  # so large that the loss rises again
    plain = Objective(model, F.cross_entropy, data)
    objective = plain.penalised(1e-3, torch.randn_like(plain.theta) if anchored else None)
    trained = train(objective, objective.theta, settings, order_seed=4)

    loop = PlainLoop(model, data, 1e-3, objective.anchor, 0.3)
    best, waited, epoch = math.inf, 0, 0
    while epoch < 40 and waited < 3:
        epoch += 1
        loss, regularised = loop.epoch(4, epoch, 16)
        if loss < best:
            best, waited, best_epoch = loss, 0, epoch
            best_state = loop.model.state_dict()  # a reference, as published: it goes on moving with the model
        else:
            waited += 1
    loop.model.load_state_dict(best_state)

    assert (trained.epochs, trained.best_epoch, trained.stopped) == (epoch, best_epoch, "patience")
    assert trained.best_epoch < trained.epochs
    assert trained.steps == 5 * epoch
    assert trained.running_loss == pytest.approx(loss, rel=1e-7)
    assert trained.running_objective == pytest.approx(regularised, rel=1e-7)
    torch.testing.assert_close(trained.theta, loop.theta, rtol=1e-6, atol=1e-8)


@pytest.mark.slow
def test_the_default_procedure_restores_the_best_state_and_drops_the_rate_from_there() -> None:
    model, data = problem()
    settings = TrainingSettings(lr=0.3, patience=2, epochs=60, batch_size=16, drops=2)
    objective = Objective(model, F.cross_entropy, data, strength=1e-3)
    trained = train(objective, objective.theta, settings, order_seed=1)

    loop = PlainLoop(model, data, 1e-3, None, 0.3)
    best, best_epoch, waited, lr, drops, rates = loop.objective(), 0, 0, 0.3, 0, []
    kept = copy.deepcopy((loop.model.state_dict(), loop.optimizer.state_dict()))
    for epoch in range(1, 61):
        rates.append(lr)
        loop.epoch(1, epoch, 16)
        if loop.objective() < best:
            best, best_epoch, waited = loop.objective(), epoch, 0
            kept = copy.deepcopy((loop.model.state_dict(), loop.optimizer.state_dict()))
        else:
            waited += 1
        if waited == 2:
            if drops == 2:
                break
            drops, waited, lr = drops + 1, 0, lr / 10
            loop.model.load_state_dict(kept[0])
            loop.optimizer.load_state_dict(copy.deepcopy(kept[1]))
            loop.optimizer.param_groups[0]["lr"] = lr
    loop.model.load_state_dict(kept[0])

    assert len(set(rates)) == 3
    assert [record["lr"] for record in trained.history] == rates
    assert (trained.epochs, trained.best_epoch) == (epoch, best_epoch)
    assert trained.history[best_epoch - 1]["objective"] == pytest.approx(best, rel=1e-8)
    torch.testing.assert_close(trained.theta, loop.theta, rtol=1e-6, atol=1e-8)
    assert objective.value(trained.theta) == pytest.approx(best, rel=1e-8)


@pytest.mark.slow
def test_a_start_that_training_only_worsens_is_kept() -> None:
    model, data = problem()
    objective = Objective(model, F.cross_entropy, data, strength=0.01)
    good = train(objective, objective.theta, TrainingSettings(lr=0.01, epochs=30, batch_size=70), order_seed=0).theta
    trained = train(objective, good, TrainingSettings(optimizer="SGD", lr=1e3, drops=0, batch_size=7), order_seed=0)
    assert (trained.best_epoch, trained.epochs, trained.stopped) == (0, 5, "patience")
    assert torch.equal(trained.theta, good)


def test_a_failed_training_names_the_epoch_and_keeps_the_last_good_state() -> None:
    _, data = problem(dtype=torch.float32)
    squared = lambda output, target: output.square().sum(1)  # noqa: E731
    objective = Objective(nn.Linear(12, 4), squared, data)
    for published in (False, True):
        settings = TrainingSettings(optimizer="SGD", lr=10.0, published=published, patience=50, batch_size=1)
        trained = train(objective, objective.theta, settings, order_seed=0)
        assert trained.stopped == "failed"
        assert trained.failed_epoch == trained.epochs == len(trained.history) >= 1
        assert trained.theta.isfinite().all()
        assert math.isfinite(objective.loss(trained.theta))


def test_a_start_that_is_not_finite_fails_before_the_first_step() -> None:
    model, data = problem()
    objective = Objective(model, F.cross_entropy, data)
    trained = train(objective, objective.theta * math.nan, TrainingSettings(), order_seed=0)
    assert (trained.failed_epoch, trained.steps, trained.stopped, trained.history) == (0, 0, "failed", [])


def test_training_twice_gives_the_same_bits_and_leaves_module_and_arguments_alone() -> None:
    model, data = problem(dtype=torch.float32)
    model.train()
    objective = Objective(model, F.cross_entropy, data, strength=1e-4)
    before, start = copy.deepcopy(model.state_dict()), objective.theta.clone()
    results = [train(objective, objective.theta, TrainingSettings(epochs=3), order_seed=2) for _ in range(2)]
    assert torch.equal(results[0].theta, results[1].theta)
    assert results[0].history == results[1].history
    assert torch.equal(objective.theta, start)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert all(module.training for module in model.modules())


@pytest.mark.slow
def test_another_penalty_is_trained_as_an_objective_made_with_it() -> None:
    model, data = problem()
    objective = Objective(model, F.cross_entropy, data)
    settings = TrainingSettings(epochs=2, batch_size=16)
    train(objective, objective.theta, settings, order_seed=0)
    anchor = torch.randn_like(objective.theta)
    again = train(objective.penalised(0.5, anchor), objective.theta, settings, order_seed=0)
    fresh = Objective(model, F.cross_entropy, data, strength=0.5, anchor=anchor)
    assert torch.equal(again.theta, train(fresh, fresh.theta, settings, order_seed=0).theta)


def test_each_epoch_is_reported_once() -> None:
    model, data = problem()
    objective = Objective(model, F.cross_entropy, data)
    seen: list[tuple[int, float]] = []
    trained = train(
        objective, objective.theta, TrainingSettings(epochs=4), order_seed=0, on_epoch=lambda *facts: seen.append(facts)
    )
    assert seen == [(record["epoch"], record["objective"]) for record in trained.history]


def test_a_model_with_batch_norm_is_refused() -> None:
    _, data = problem()
    model = nn.Sequential(nn.Linear(12, 4), nn.BatchNorm1d(4)).double()
    objective = Objective(model, F.cross_entropy, data)
    with pytest.raises(ConfigurationError, match="BatchNorm1d"):
        train(objective, objective.theta, TrainingSettings(), order_seed=0)
