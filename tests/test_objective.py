"""The objective against plain PyTorch: one whole-batch loss, its autograd gradient, and closed forms of the penalty."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from orograph.errors import ConfigurationError, DataError
from orograph.objective import Objective


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Dropout(0.5), nn.Linear(7, 3)).double()


def uneven_batches() -> list[tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(1)
    sizes = (8, 8, 3)
    return [(torch.randn(n, 5, generator=generator).double(), torch.randint(0, 3, (n,), generator=generator)) for n in sizes]


def whole() -> tuple[torch.Tensor, torch.Tensor]:
    inputs, targets = zip(*uneven_batches(), strict=True)
    return torch.cat(inputs), torch.cat(targets)


def mean_only(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(output, target)


@pytest.mark.parametrize("loss", [F.cross_entropy, nn.CrossEntropyLoss(), mean_only])
def test_batches_of_unequal_size_are_weighted_by_size(model: nn.Module, loss) -> None:
    objective = Objective(model, loss, uneven_batches())
    inputs, targets = whole()
    model.eval()
    expected = F.cross_entropy(model(inputs), targets)
    gradient = torch.cat([g.reshape(-1) for g in torch.autograd.grad(expected, list(model.parameters()))])
    assert objective.loss(objective.theta) == pytest.approx(expected.item(), rel=1e-14)
    torch.testing.assert_close(objective.gradient(objective.theta), gradient, rtol=1e-12, atol=1e-14)


def test_the_penalty_adds_its_gradient_without_a_factor_one_half(model: nn.Module) -> None:
    anchor = torch.randn(Objective(model, F.cross_entropy, [whole()]).layout.size).double()
    objective = Objective(model, F.cross_entropy, [whole()], strength=0.3, anchor=anchor)
    offset = objective.theta - anchor
    assert objective.penalty(objective.theta) == pytest.approx(0.3 * offset.square().sum().item(), rel=1e-14)
    torch.testing.assert_close(objective.value_gradient(objective.theta) - objective.gradient(objective.theta), 0.6 * offset)


def test_a_small_memory_budget_changes_the_chunks_but_not_the_loss(model: nn.Module) -> None:
    large = Objective(model, F.cross_entropy, [whole()])
    small = Objective(model, F.cross_entropy, [whole()], memory=2000)
    assert small.chunk < large.chunk == large.count
    assert small.loss(small.theta) == pytest.approx(large.loss(large.theta), rel=1e-14)


def test_the_module_keeps_its_mode_and_its_parameters(model: nn.Module) -> None:
    model.train()
    before = [p.clone() for p in model.parameters()]
    Objective(model, F.cross_entropy, [whole()]).loss(Objective(model, F.cross_entropy, [whole()]).theta + 1)
    assert all(module.training for module in model.modules())
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (iter([(1, 2)]), "only once"),
        ([], "no samples"),
        ([torch.zeros(3)], "not a pair"),
        ([(torch.zeros(3, 5), torch.zeros(2))], "different lengths"),
    ],
)
def test_unusable_data_are_refused(model: nn.Module, data, words: str) -> None:
    with pytest.raises(DataError, match=words):
        Objective(model, F.cross_entropy, data)


def test_another_penalty_shares_everything_but_the_penalty() -> None:
    model, anchor = nn.Linear(5, 3).double(), torch.ones(18, dtype=torch.float64)
    plain = Objective(model, F.cross_entropy, [whole()])
    other = plain.penalised(0.3, anchor)
    fresh = Objective(model, F.cross_entropy, [whole()], strength=0.3, anchor=anchor)
    assert other.value(other.theta) == fresh.value(fresh.theta)
    assert torch.equal(other.value_gradient(other.theta), fresh.value_gradient(fresh.theta))
    assert (plain.strength, plain.anchor, plain.penalty(plain.theta)) == (0.0, None, 0.0)
    assert other._batches is plain._batches
    assert other.traces is plain.traces
    assert other.penalised(0.1).anchor is None


@pytest.mark.parametrize(
    ("strength", "anchor", "words"),
    [
        (math.nan, None, "`strength` nan"),
        (math.inf, None, "`strength` inf"),
        (-0.1, None, "`strength` -0.1 must be a finite number, 0 or more"),
        (0.1, torch.ones(17), r"`anchor` of shape \(17,\) must have that of θ, \(18,\)"),
        (0.1, torch.full((18,), math.nan), "`anchor` holds NaN"),
        (0.1, torch.full((18,), 1e39, dtype=torch.float64), "in the dtype of θ"),
    ],
)
def test_a_penalty_that_cannot_be_is_refused(strength: float, anchor, words: str) -> None:
    inputs, targets = whole()
    problem = nn.Linear(5, 3), F.cross_entropy, [(inputs.float(), targets)]
    with pytest.raises(ConfigurationError, match=words):
        Objective(*problem).penalised(strength, anchor)
    with pytest.raises(ConfigurationError, match=words):
        Objective(*problem, strength=strength, anchor=anchor)


def test_an_anchor_is_taken_in_the_dtype_of_theta() -> None:
    plain = Objective(nn.Linear(5, 3).double(), F.cross_entropy, [whole()])
    given = torch.full((18,), 0.1)
    assert plain.penalised(0.3, given).anchor.dtype == torch.float64
    assert plain.penalised(0.3, given).value(plain.theta) == plain.penalised(0.3, given.double()).value(plain.theta)


@pytest.mark.parametrize("name", ["strength", "anchor"])
def test_a_penalty_is_never_changed_in_place(name: str) -> None:
    objective = Objective(nn.Linear(5, 3).double(), F.cross_entropy, [whole()])
    with pytest.raises(AttributeError):
        setattr(objective, name, 0.5)


def test_what_was_traced_of_one_loss_is_not_taken_for_another() -> None:
    objective = Objective(nn.Linear(5, 3).double(), F.cross_entropy, [whole()])
    objective.traces["key"] = "value"
    for other in (objective.to(torch.float32), objective.subset(torch.arange(2))):
        assert not other.traces
