"""Mini-batch gradients against `loss.backward()` on the module itself: no functional call, no trace, no stack."""

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._pytree import tree_map
from trainable import Attention, Convolutional, Perceptron, problem

from orograph.errors import ConfigurationError, DataError, OrographError
from orograph.objective import Objective
from orograph.training.gradient import BatchGradient, refuse_stateful
from orograph.training.pieces import samples
from orograph.training.update import rows

CASES = [(Perceptron, 12), (Convolutional, 36), (Attention, 36)]


def by_backward(model: nn.Module, theta: Tensor, loss, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    network = copy.deepcopy(model).eval()
    trainable = [p for p in network.parameters() if p.requires_grad]
    nn.utils.vector_to_parameters(theta, trainable)
    value = loss(network(inputs), targets)
    value.backward()
    return torch.cat([p.grad.reshape(-1) for p in trainable]), value.detach()


def gradients(
    objective: Objective, thetas: Tensor, indices: Tensor, stacked: bool = True
) -> tuple[BatchGradient, Tensor, Tensor]:
    theta, gradient, losses = rows(len(thetas), thetas), rows(len(thetas), thetas), thetas.new_zeros(len(thetas))
    theta.copy_(thetas)
    batch = BatchGradient(
        objective,
        theta,
        gradient,
        losses,
        samples(objective),
        length=indices.shape[-1],
        shared=indices.ndim == 1,
        stacked=stacked,
    )
    for _ in range(2):  # the second call runs the kernels unchecked, over what the first left in the buffers
        gradient.fill_(float("nan"))
        batch(indices)
    return batch, gradient, losses


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "inputs"), CASES)
def test_the_gradient_of_one_model_is_the_modules_own(kind: type[nn.Module], inputs: int) -> None:
    model, data = problem(kind, inputs=inputs)
    objective = Objective(model, F.cross_entropy, data)
    indices = torch.randperm(70)[:17]
    batch, gradient, losses = gradients(objective, objective.theta[None], indices, stacked=False)
    expected, value = by_backward(model, objective.theta, F.cross_entropy, data[0][indices], data[1][indices])
    assert batch.traced
    torch.testing.assert_close(gradient[0], expected, rtol=1e-10, atol=1e-14)
    torch.testing.assert_close(losses[0], value, rtol=1e-13, atol=0)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "inputs"), CASES)
@pytest.mark.parametrize("shared", [True, False])
def test_every_model_of_a_stack_has_its_own_gradient(kind: type[nn.Module], inputs: int, shared: bool) -> None:
    model, data = problem(kind, inputs=inputs)
    objective = Objective(model, F.cross_entropy, data)
    thetas = objective.theta + 0.1 * torch.randn(3, objective.layout.size, dtype=torch.float64)
    indices = torch.randperm(70)[:9] if shared else torch.stack([torch.randperm(70)[:9] for _ in range(3)])
    batch, gradient, losses = gradients(objective, thetas, indices)
    assert batch.traced
    for number, theta in enumerate(thetas):
        own = indices if shared else indices[number]
        expected, value = by_backward(model, theta, F.cross_entropy, data[0][own], data[1][own])
        torch.testing.assert_close(gradient[number], expected, rtol=1e-10, atol=1e-14)
        torch.testing.assert_close(losses[number], value, rtol=1e-13, atol=0)


def test_a_loss_that_only_gives_a_mean_is_differentiated_too() -> None:
    model, data = problem()
    loss = lambda output, target: F.cross_entropy(output, target)  # noqa: E731
    objective = Objective(model, loss, [(data[0][:40], data[1][:40]), (data[0][40:], data[1][40:])])
    indices = torch.randperm(70)[:17]
    batch, gradient, _ = gradients(objective, objective.theta[None], indices, stacked=False)
    expected, _ = by_backward(model, objective.theta, F.cross_entropy, data[0][indices], data[1][indices])
    assert batch.traced
    torch.testing.assert_close(gradient[0], expected, rtol=1e-10, atol=1e-14)


class Branching(nn.Module):
    """Its control flow depends on the data, which no trace can hold."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(12, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) if x.sum() > 0 else -self.linear(x)


@pytest.mark.parametrize("stacked", [True, False])
def test_what_cannot_be_traced_runs_by_autograd(stacked: bool) -> None:
    model, data = problem(Branching)
    objective = Objective(model, F.cross_entropy, data)
    indices = torch.arange(5)
    batch, gradient, _ = gradients(objective, objective.theta[None], indices, stacked=stacked)
    expected, _ = by_backward(model, objective.theta, F.cross_entropy, data[0][indices], data[1][indices])
    assert not batch.traced
    torch.testing.assert_close(gradient[0], expected, rtol=1e-10, atol=1e-14)


MOOD = {"calls": 0, "step": 0}  # global: what a loss encloses is put back after each call


def test_a_trace_that_differs_from_autograd_is_not_used() -> None:
    model, data = problem()
    MOOD.update(calls=0, step=0)

    def moody(output: Tensor, target: Tensor) -> Tensor:
        MOOD["calls"] += MOOD["step"]  # baked into a trace, alive under autograd
        return F.cross_entropy(output, target, reduction="none") * (1 + MOOD["calls"])

    objective = Objective(model, moody, data)
    MOOD["step"] = 1  # from here on; before, it would be refused
    batch, _, _ = gradients(objective, objective.theta[None], torch.arange(5), stacked=False)
    assert not batch.traced


class First(nn.Module):
    """What an LSTM says of its only step."""

    def forward(self, given: tuple[Tensor, object]) -> Tensor:
        return given[0][:, 0]


class DropPath(nn.Module):
    """Leaves whole samples out in training, by torch's stream."""

    def forward(self, x: Tensor) -> Tensor:
        return x * (torch.rand(len(x), 1) > 0.5) if self.training else x


def classifier(*layers: nn.Module) -> Objective:
    samples = torch.randn(8, 12, generator=torch.Generator().manual_seed(0))
    return Objective(nn.Sequential(nn.Linear(12, 12), *layers), F.cross_entropy, [(samples, torch.arange(8) % 3)])


@pytest.mark.parametrize(
    ("layer", "says"),
    [
        (nn.BatchNorm1d(12), r"'1 \(BatchNorm1d\)' trains differently than it evaluates; give its `buffers`"),
        (nn.Dropout(0.5), r"'1 \(Dropout\)' drops units .* set its rate to 0, or .*`optimizer` torch.optim:Adam.*`train`"),
        (nn.TransformerEncoderLayer(12, 2), "drops units"),
        (
            nn.Sequential(nn.Unflatten(1, (1, 12)), nn.LSTM(12, 12, 2, dropout=0.1, batch_first=True), First()),
            "LSTM.* drops units",
        ),
        (DropPath(), r"'1 \(DropPath\)' is random in train mode; switch that off .*`train`"),
    ],
)
def test_modules_that_train_differently_than_they_evaluate_are_refused_with_a_way_out(layer: nn.Module, says: str) -> None:
    objective, before = classifier(layer), torch.get_rng_state()
    with pytest.raises(ConfigurationError, match=says):
        refuse_stateful(objective)
    assert torch.equal(torch.get_rng_state(), before)


def test_dropout_of_nothing_is_allowed() -> None:
    refuse_stateful(classifier(nn.Dropout(0.0), nn.LayerNorm(12)))
    refuse_stateful(classifier(nn.BatchNorm1d(12)), statistics=False)


class Sequences(nn.Module):
    def __init__(self, *, batch_first: bool) -> None:
        super().__init__()
        self.r, self.o = nn.GRU(3, 2, batch_first=batch_first), nn.Linear(2, 2)

    def forward(self, x: Tensor, kind: str = "") -> Tensor:
        h = self.r(x)[0]
        return self.o(h if self.r.batch_first else h[-1])


@pytest.mark.parametrize(
    ("model", "batches", "words"),
    [
        (
            True,
            [(torch.ones(4, n, 3), torch.zeros(4, n, dtype=torch.long)) for n in (5, 8)],
            "inputs of different shapes.*pad all",
        ),
        (False, [(torch.ones(5, 4, 3), torch.zeros(4, dtype=torch.long))], r"different lengths \(4 and 5\); training draws"),
        (False, [(torch.ones(4, 4, 3), torch.zeros(4, dtype=torch.long))], "mixes the samples.*training draws"),
        (True, [((torch.ones(4, 5, 3), "name"), torch.zeros(4, 5, dtype=torch.long))], r"inputs hold str \(name\).*partial"),
    ],
    ids=["ragged", "time first", "time first and square", "a name"],
)
def test_data_that_no_mini_batch_can_be_drawn_from_are_refused(model: bool, batches: list, words: str) -> None:
    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(outputs.flatten(0, -2), targets.flatten())

    torch.manual_seed(0)
    batches = [(tree_map(lambda x: x + torch.randn(x.shape) if isinstance(x, Tensor) else x, a), b) for a, b in batches]
    objective = Objective(Sequences(batch_first=model), loss, batches)
    with pytest.raises(OrographError, match=words):
        samples(objective)


def test_ragged_batches_have_no_tensor_of_all_outputs_or_targets() -> None:
    batches = [(torch.randn(4, n, 3), torch.zeros(4, n, dtype=torch.long)) for n in (5, 8)]
    objective = Objective(Sequences(batch_first=True), lambda out, t: F.cross_entropy(out.flatten(0, 1), t.flatten()), batches)
    with pytest.raises(DataError, match=r"outputs of different shapes, \(4, 5, 2\) and \(4, 8, 2\).*pad"):
        objective.all_outputs(objective.theta)
    with pytest.raises(DataError, match=r"targets of different shapes, \(4, 5\) and \(4, 8\).*pad"):
        _ = objective.targets
