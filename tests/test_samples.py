"""Batches are joined and cut only where a sample's loss does not depend on those beside it; the budget never changes a number."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from orograph.curvature.fisher import EmpiricalFisherOperator
from orograph.curvature.hessian import HessianOperator
from orograph.errors import ConfigurationError
from orograph.objective import Objective

Batches = list[tuple[Any, Tensor]]


class Recurrent(nn.Module):
    """Time first: causal, so that the first half of a batch does not know of the second."""

    def __init__(self, kind: Any) -> None:
        super().__init__()
        self.r, self.o = kind(2, 3), nn.Linear(3, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.o(self.r(x)[0]).transpose(1, 2)


class Centred(nn.Module):
    """Subtracts the batch's mean."""

    def forward(self, x: Tensor) -> Tensor:
        return x - x.mean(0)


class Graph(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(2, 3)

    def forward(self, x: Tensor, adjacency: Tensor) -> Tensor:
        return adjacency @ self.inner(x)


class Straight(torch.autograd.Function):
    """Values of each sample, gradients of the batch."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> Any:
        return slope - slope.mean(0)


class Secretly(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return Straight.apply(x)


class Pooled(nn.Module):
    """Of sequences of any length."""

    def __init__(self) -> None:
        super().__init__()
        self.e, self.o = nn.Embedding(7, 3), nn.Linear(3, 3)

    def forward(self, ids: Tensor) -> Tensor:
        return self.o(self.e(ids).mean(1).tanh())


def contrast(z: Tensor, y: Tensor, reduction: str = "mean") -> Tensor:
    near = F.normalize(z, dim=1)
    return F.cross_entropy(near @ near.T, (y + 1) % len(z), reduction=reduction)


def several(*sizes: int, classes: int = 3) -> Batches:
    return [(torch.randn(n, 2), torch.randint(classes, (n,))) for n in sizes]


def sequences() -> Batches:
    return [(torch.randn(5, 3, 2), torch.randint(4, (5, 3))) for _ in range(3)]


def layers(*middle: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Linear(2, 4), *middle, nn.Tanh(), nn.Linear(4, 3))


# name: module, loss, data, and what is named as the reason to keep batches whole
MIXING: dict[str, tuple[Callable[[], nn.Module], Any, Callable[[], Batches], str]] = {
    "LSTM, time first": (lambda: Recurrent(nn.LSTM), nn.CrossEntropyLoss(), sequences, r"'r \(LSTM\)' mixes"),
    "GRU, time first": (lambda: Recurrent(nn.GRU), F.cross_entropy, sequences, r"'r \(GRU\)' mixes"),
    "BatchNorm without statistics": (
        lambda: layers(nn.BatchNorm1d(4, track_running_stats=False)),
        F.cross_entropy,
        lambda: several(6, 5),
        r"'1 \(BatchNorm1d\)' mixes.*track_running_stats",
    ),
    "a batch's mean": (lambda: layers(Centred()), F.cross_entropy, lambda: several(6, 5), r"'1 \(Centred\)' mixes"),
    "gradients of the batch": (lambda: layers(Secretly()), F.cross_entropy, lambda: several(6, 5), "mixes"),
    "a graph": (
        Graph,
        F.cross_entropy,
        lambda: [((torch.randn(9, 2), torch.rand(9, 9).round()), torch.randint(3, (9,)))],
        r"'model \(Graph\), which cannot be evaluated on a part",
    ),
    "a contrastive loss": (layers, contrast, lambda: several(6, 6), "contrast reads a batch as a whole"),
    "one that gives values": (
        layers,
        lambda z, y: contrast(z, y, "none"),
        lambda: several(6, 6),
        "reads a batch as a whole",
    ),
    "a pooled loss": (
        layers,
        lambda z, y: F.cross_entropy(z, y) + z.var(0).sum(),
        lambda: several(6, 5),
        "gives only a mean",
    ),
}


def truth(model: nn.Module, loss: Any, batches: Batches) -> Tensor:
    """The user's own, batch by batch as they came, weighted by size."""
    total: Any = 0
    for x, y in batches:
        total = total + len(y) * loss(model(*x) if isinstance(x, tuple) else model(x), y).mean()
    return total / sum(len(y) for _, y in batches)


@pytest.mark.parametrize("name", MIXING)
def test_what_mixes_samples_is_evaluated_on_batches_as_they_came(name: str) -> None:
    torch.manual_seed(0)
    make, loss, data, reason = MIXING[name]
    model, batches = make().double().eval(), data()
    batches = [
        (tuple(each.double() for each in x) if isinstance(x, tuple) else x.double(), y) for x, y in batches
    ]  # the truth has the same dtype
    expected = truth(model, loss, batches)
    gradient = torch.cat([g.reshape(-1) for g in torch.autograd.grad(expected, list(model.parameters()))])
    for memory in ("4GiB", "2kB"):
        objective = Objective(model, loss, batches, memory=memory)
        assert objective.loss(objective.theta) == pytest.approx(expected.item(), rel=1e-12)
        torch.testing.assert_close(objective.gradient(objective.theta), gradient, rtol=1e-10, atol=1e-12)
    assert not objective.per_sample
    with pytest.raises(ConfigurationError, match=reason):
        EmpiricalFisherOperator.of(objective)
    with pytest.raises(ConfigurationError, match=reason):
        objective.subset(torch.tensor([0]))


@pytest.mark.slow
def test_batches_that_fit_no_common_tensor_are_cut_within_themselves() -> None:
    torch.manual_seed(0)
    model = Pooled().double()
    batches = [(torch.randint(7, (4, n)), torch.randint(3, (4,))) for n in (5, 8, 6, 8)]
    expected = truth(model, F.cross_entropy, batches)
    objective = Objective(model, nn.CrossEntropyLoss(), batches, memory="1kB")
    assert objective.per_sample
    assert max(len(y) for _, y in objective.batches()) < 4
    assert objective.loss(objective.theta) == pytest.approx(expected.item(), rel=1e-12)
    samples = torch.tensor([9, 1, 2, 15])
    part = objective.subset(samples)
    alone = torch.stack(
        [F.cross_entropy(model(batches[i // 4][0][i % 4][None]), batches[i // 4][1][i % 4][None]) for i in samples.tolist()]
    )
    found = torch.cat([part.losses(part.theta, *batch) for batch in part.batches()])
    torch.testing.assert_close(found, alone, rtol=1e-12, atol=0)
    vector = torch.randn(objective.theta.numel(), dtype=torch.float64)
    matrix = torch.autograd.functional.hessian(
        lambda theta: truth(Functional(model, objective, theta), F.cross_entropy, batches), objective.theta
    )
    torch.testing.assert_close(HessianOperator.of(objective) @ vector, matrix @ vector, rtol=1e-9, atol=1e-12)


class Functional(nn.Module):
    def __init__(self, model: nn.Module, objective: Objective, theta: Tensor) -> None:
        super().__init__()
        self.model, self.tensors = model, objective.layout.unflatten(theta)

    def forward(self, *inputs: Any) -> Tensor:
        return torch.func.functional_call(self.model, self.tensors, inputs)


@pytest.mark.slow
@settings(max_examples=20)
@given(st.sampled_from([*MIXING, "ragged", "plain"]), st.integers(200, 20000), st.integers(0, 1000))
def test_the_budget_never_changes_a_number(name: str, memory: int, seed: int) -> None:
    torch.manual_seed(seed)
    if name == "ragged":
        make, loss, data = Pooled, nn.CrossEntropyLoss(), lambda: [(torch.randint(7, (4, n)), classes(4)) for n in (5, 8)]
    elif name == "plain":
        make, loss, data = layers, nn.CrossEntropyLoss(), lambda: several(7, 6, 2)
    else:
        make, loss, data, _ = MIXING[name]
    model, batches = make().double(), data()
    large, small = (Objective(model, loss, batches, memory=each) for each in ("4GiB", memory))
    assert small.loss(small.theta) == pytest.approx(large.loss(large.theta), rel=1e-12)
    torch.testing.assert_close(small.gradient(small.theta), large.gradient(large.theta), rtol=1e-10, atol=1e-13)


def classes(n: int) -> Tensor:
    return torch.randint(3, (n,))


class Experts(nn.Module):
    """Two experts, each with so many places in a batch; who comes later is dropped."""

    def __init__(self, places: int) -> None:
        super().__init__()
        self.places, self.gate, self.experts = places, nn.Linear(4, 2), nn.ModuleList(nn.Linear(4, 3) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        share, chosen = self.gate(x).softmax(1).max(1)
        found = x.new_zeros(len(x), 3)
        for number, expert in enumerate(self.experts):
            asks = chosen == number
            found = found + (asks & (asks.cumsum(0) <= self.places)).to(x)[:, None] * share[:, None] * expert(x)
        return found


@pytest.mark.parametrize("places", [8, 15, 40])
@pytest.mark.parametrize("sizes", [(20, 20), (40,)])
def test_experts_of_a_fixed_capacity_see_the_batches_as_they_came(places: int, sizes: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    model = Experts(places).double()
    data = [(torch.randn(n, 4, dtype=torch.float64), torch.arange(n) % 3) for n in sizes]
    objective = Objective(model, nn.CrossEntropyLoss(), data)
    truth = sum(len(y) * F.cross_entropy(model(x), y).item() for x, y in data) / sum(sizes)
    assert objective.loss(objective.theta) == pytest.approx(truth, rel=1e-12)
    assert objective.mixed == (places < 40)  # no expert is ever asked by more than 40


def test_many_samples_are_tried_together_within_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orograph.meaning._LEAST", 0)
    seen: list[int] = []

    class Looks(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            seen.append(len(x))
            return super().forward(x)

    data = [(torch.randn(400, 4), torch.arange(400) % 3)]
    for memory, most in (("4GiB", 400), ("3kB", 50)):
        seen.clear()
        assert Objective(Looks(4, 3), nn.CrossEntropyLoss(), data, memory=memory).per_sample
        assert most // 2 <= max(seen) <= most


class _Groups(nn.Module):
    """Neighbours in groups are normalised together: ghost batch normalisation."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.inner, self.outer, self.size = nn.Linear(3, 4), nn.Linear(4, 2), size

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = [(part - part.mean(0)) / (1 + part.norm()) for part in self.inner(inputs).split(self.size)]
        return self.outer(torch.cat(hidden))


@pytest.mark.parametrize("size", [2, 3, 4, 5, 7])
@pytest.mark.parametrize("memory", ["4GiB", "1kB"])
def test_what_mixes_neighbours_in_groups_stays_whole_whatever_the_budget(size: int, memory: str) -> None:
    torch.manual_seed(0)
    model = _Groups(size).double()
    batches = [(torch.randn(10, 3, dtype=torch.float64), torch.randint(2, (10,))) for _ in range(3)]
    objective = Objective(model, nn.CrossEntropyLoss(), batches, memory=memory)
    plain = sum(F.cross_entropy(model(inputs), targets) for inputs, targets in batches) / 3
    assert objective.loss(objective.theta) == pytest.approx(plain.item(), rel=1e-12)


class _Paired(nn.Module):
    """Two views of one image stand side by side."""

    def forward(self, x: Tensor) -> Tensor:
        views = x.view(-1, 2, x.shape[1])
        return (views + views.flip(1)).reshape(x.shape)


class _Ghost(_Groups):
    def forward(self, inputs: Tensor) -> Tensor:
        return torch.cat([part - part.mean(0) for part in inputs.split(2)])


@pytest.mark.parametrize("middle", [_Paired(), _Ghost(2)])
def test_the_module_that_mixes_neighbours_in_groups_is_named(middle: nn.Module) -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.Sequential(nn.Tanh(), middle), nn.Linear(4, 2))
    objective = Objective(model, nn.CrossEntropyLoss(), [(torch.randn(8, 3), torch.arange(8) % 2)])
    assert f"'1.1 ({type(middle).__name__})" in objective.whole


@pytest.mark.parametrize("size", [2, 3, 4])
def test_a_loss_that_contrasts_neighbours_in_groups_reads_whole_batches(size: int) -> None:
    torch.manual_seed(0)

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        return torch.cat([(part - part.mean(0)).square().sum(1) for part in (outputs - targets).split(size)])

    model = nn.Linear(3, 2).double()
    batches = [(torch.randn(10, 3, dtype=torch.float64), torch.randn(10, 2, dtype=torch.float64)) for _ in range(3)]
    objective = Objective(model, loss, batches)
    plain = sum(loss(model(inputs), targets).mean() for inputs, targets in batches) / 3
    assert objective.loss(objective.theta) == pytest.approx(plain.item(), rel=1e-12)
