"""Training on data that are read again: steps by hand over the pieces, and the same course as over data that are held."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import orograph as og
from orograph.connectivity.minibatches import minibatches
from orograph.errors import DataError
from orograph.objective import Objective
from orograph.training import FitSettings, TrainingSettings, fit, initial, train
from orograph.training.order import mini_batches, permutation
from orograph.training.own import batches_in_order, indexed
from orograph.training.pieces import Pieces

COUNT, WIDTH, LENGTH = 210, 40, 8
X = torch.randn(COUNT, WIDTH, generator=torch.Generator().manual_seed(0))
Y = (X[:, 0] > 0).long()
MEMORY = X.nbytes * 2 // 3


class Read:
    """Batches of seven, made anew at each pass; the most that were in anybody's hands at a time are counted by the test."""

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return zip(X.clone().split(7), Y.clone().split(7), strict=True)


def objective(strength: float = 0.01, *, held: bool = False) -> Objective:
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(WIDTH, 4), nn.Tanh(), nn.Linear(4, 2))
    found = Objective(model, F.cross_entropy, [(X, Y)] if held else Read(), memory=10**9 if held else MEMORY)
    assert found.streamed is not held
    return found.penalised(strength)


def test_an_epoch_sees_every_sample_once_in_as_many_steps_as_of_data_that_are_held() -> None:
    pieces = Pieces(objective(), LENGTH)
    seen, counts, steps = [], [], 0
    for piece, count in pieces:
        counts.append(count)
        order = permutation(3, 1, count, piece)
        for some in mini_batches(order, LENGTH, several=False, piece=piece):
            seen.append(pieces.at_hand.sources[0][some])
            steps += 1
    assert len(counts) > 3  # an eighth of the budget each
    assert max(counts) * X[0].nbytes <= MEMORY / 8
    assert steps == -(-COUNT // LENGTH)
    rows = torch.cat(seen)
    assert not torch.equal(rows, X)
    assert torch.equal(rows[rows[:, 0].argsort()], X[X[:, 0].argsort()])


def by_hand(given: Objective, lr: float, epochs: int, strength: float) -> Tensor:
    """SGD over the pieces, as the module's docstring says."""
    pieces, theta = Pieces(given, LENGTH), given.theta.clone()
    for epoch in range(1, epochs + 1):
        for piece, count in pieces:
            for some in permutation(3, epoch, count, piece).split(LENGTH):
                point = theta.clone().requires_grad_()
                loss = F.cross_entropy(given.outputs(point, pieces.at_hand.leaves[0][some]), pieces.at_hand.targets[some])
                (slope,) = torch.autograd.grad(loss, point)
                theta -= lr * (slope + 2 * strength * theta)
    return theta


@pytest.mark.slow
def test_both_trainings_take_the_steps_that_are_taken_by_hand() -> None:
    settings = TrainingSettings(optimizer="SGD", lr=0.1, batch_size=LENGTH, epochs=2, patience=9)
    given = objective()
    found = train(given, given.theta, settings, order_seed=3)
    torch.testing.assert_close(found.theta, by_hand(given, 0.1, 2, 0.01), rtol=1e-5, atol=1e-6)  # float32 in another order
    course = FitSettings(optimizer="SGD", lr=0.1, batch_size=LENGTH, epochs=2)
    [fitted] = fit(given, [initial(given, given.theta, course)], course, order_seeds=[3])
    torch.testing.assert_close(fitted.state.theta, by_hand(given, 0.1, 2, 0.0), rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_a_sweep_of_data_that_are_read_again_ends_at_the_minimum_over_all_of_them(
    tmp_path: Path,
) -> None:
    """A convex loss, polished: there is one minimum, which L-BFGS finds too."""

    wide = torch.cat([X, torch.randn(COUNT, 1260, generator=torch.Generator().manual_seed(1))], 1)
    read = [(inputs, targets) for inputs, targets in zip(wide.split(7), Y.split(7), strict=True)]
    assert wide.nbytes > 10**6  # the least budget

    chosen = {"k": 2, "epochs": 2, "batch_size": 30, "polish": True, "quiet": True, "memory": 10**6}
    problem = og.Problem(nn.Linear(wide.shape[1], 2), F.cross_entropy, train=read)
    og.sweep(problem, strengths=[0.5], out=tmp_path / "run", **chosen)
    state = torch.load(tmp_path / "run" / "test_data" / "model_weights-0-0.50000.pth", weights_only=True)

    right = nn.Linear(wide.shape[1], 2).double()
    optimizer = torch.optim.LBFGS(right.parameters(), max_iter=200, line_search_fn="strong_wolfe")

    def value() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(right(wide.double()), Y) + 0.5 * sum(each.square().sum() for each in right.parameters())
        loss.backward()
        return loss

    optimizer.step(value)
    # polished to a gradient of 1e-5 · max(1, 2λ‖θ‖), and the least curvature is 2λ = 1
    for name, each in right.named_parameters():
        torch.testing.assert_close(state[name].double(), each.detach(), rtol=0, atol=1e-4)


def test_mini_batches_of_ones_own_optimizer_and_of_curves_are_drawn_from_pieces() -> None:
    given = objective()
    found = list(batches_in_order(given, indexed(given, LENGTH), LENGTH, 3, 1, several=True))
    assert torch.equal(torch.cat([targets for _, targets in found]).sort().values, Y.sort().values)
    stream = minibatches(given, LENGTH, torch.Generator().manual_seed(0))
    taken = [next(stream) for _ in range(60)]  # more than two epochs
    assert {len(targets) for _, targets in taken} == {LENGTH}


class Ragged:
    """Sequences of two lengths, padded batch by batch."""

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for number, (inputs, targets) in enumerate(Read()):
            yield inputs[:, : WIDTH - number % 2, None], targets


def test_batches_of_unequal_padding_come_as_they_are_read() -> None:
    class Mean(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.last = nn.Linear(1, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(x.tanh().mean(1))

    given = Objective(Mean(), F.cross_entropy, Ragged(), memory=MEMORY)
    assert given.streamed
    with pytest.raises(DataError, match="different shapes"):
        Pieces(given, LENGTH)
    assert indexed(given, LENGTH) is None
    found = list(batches_in_order(given, None, 7, 0, 1, several=False))
    assert torch.equal(torch.cat([targets for _, targets in found]), Y)
