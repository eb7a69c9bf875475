"""Whatever a module does besides computing: the numbers are those of a fresh copy, and nothing of the user's has changed."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

import orograph as og
from orograph.calling import evaluation_mode
from orograph.errors import ConfigurationError
from untouched import untouched


class Does(nn.Module):
    """Something with its input, and something besides."""

    def __init__(self, what: str) -> None:
        super().__init__()
        self.what, self.calls, self.seen, self.by_shape, self.last = what, 0, [], {}, None
        self.plain = torch.zeros(4, dtype=torch.float64)
        self.register_buffer("mean", torch.zeros(4, dtype=torch.float64))
        self.register_buffer("count", torch.zeros((), dtype=torch.long))

    def forward(self, x: Tensor) -> Tensor:
        return BESIDES[self.what](self, x)


def subtracts(self: Does, x: Tensor) -> Tensor:
    x -= 0.5
    return x


def averages(self: Does, x: Tensor) -> Tensor:
    self.count += 1
    self.mean.mul_(0.9).add_(x.detach().mean(0), alpha=0.1)
    return x + self.count


def averages_out_of_sight(self: Does, x: Tensor) -> Tensor:
    self.mean.data.copy_(self.mean.data + 1)
    return x + self.mean


def replaces_a_buffer(self: Does, x: Tensor) -> Tensor:
    self.mean = self.mean + 1
    return x * self.mean


def registers_a_buffer(self: Does, x: Tensor) -> Tensor:
    if "late" not in self._buffers:
        self.register_buffer("late", torch.full((4,), 2.0, dtype=torch.float64))
    return x * self.late


def counts(self: Does, x: Tensor) -> Tensor:
    self.calls, self.last = self.calls + 1, x * self.calls
    return x * (1 + self.calls)


def remembers_in_a_list(self: Does, x: Tensor) -> Tensor:
    self.seen.append(x.shape)
    return x * len(self.seen)


def remembers_in_a_dict(self: Does, x: Tensor) -> Tensor:
    return self.by_shape.setdefault("first", x.detach()) + x


def carries_a_state(self: Does, x: Tensor) -> Tensor:
    self.last = x.tanh() if self.last is None else self.last + x
    return x + self.last


def writes_into_an_attribute(self: Does, x: Tensor) -> Tensor:
    self.plain.add_(1)
    return x * self.plain


BESIDES: dict[str, Callable[[Does, Tensor], Tensor]] = {
    "subtracts in place": subtracts,
    "clamps in place": lambda self, x: x.clamp_(-1, 1),
    "rectifies in place": lambda self, x: F.relu_(x),
    "averages": averages,
    "averages through .data": averages_out_of_sight,
    "replaces a buffer": replaces_a_buffer,
    "registers a buffer": registers_a_buffer,
    "counts": counts,
    "remembers in a list": remembers_in_a_list,
    "remembers in a dict": remembers_in_a_dict,
    "carries a state": carries_a_state,
    "writes into an attribute": writes_into_an_attribute,
    "branches": lambda self, x: x if x.sum() > -1e9 else -x,
    "computes a checkpoint": lambda self, x: checkpoint(torch.tanh, x, use_reentrant=False),
}


def make(*whats: str, seed: int = 0) -> tuple[nn.Module, list[tuple[Tensor, Tensor]]]:
    generator = torch.Generator().manual_seed(seed)
    model = nn.Sequential(*[Does(what) for what in whats], nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2)).double().train()
    for parameter in model.parameters():
        parameter.data.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return model, [(torch.randn(5, 4, generator=generator, dtype=torch.float64), torch.tensor([0, 1, 1, 0, 1]))]


def fresh_hessian(model: nn.Module, data: list[tuple[Tensor, Tensor]]) -> tuple[float, Tensor]:
    """Loss and Hessian by differences of gradients, each of a copy of its own."""
    named = list(model.named_parameters())
    theta = torch.cat([p.detach().flatten() for _, p in named])
    ((inputs, targets),) = data

    def value(theta: Tensor) -> tuple[Tensor, list[Tensor]]:
        twin = copy.deepcopy(model).eval()
        torch.nn.utils.vector_to_parameters(theta, twin.parameters())
        return F.cross_entropy(twin(inputs.clone()), targets), list(twin.parameters())

    def gradient(theta: Tensor) -> Tensor:
        loss, parameters = value(theta)
        return torch.cat([g.flatten() for g in torch.autograd.grad(loss, parameters)])

    h = 1e-5
    columns = [(gradient(theta + h * e) - gradient(theta - h * e)) / (2 * h) for e in torch.eye(len(theta), dtype=torch.float64)]
    return value(theta)[0].item(), torch.stack(columns, 1)


def compare(model: nn.Module, data: list[tuple[Tensor, Tensor]]) -> None:
    loss, hessian = fresh_hessian(model, data)
    with untouched(model, data):
        operator = og.HessianOperator(model, F.cross_entropy, data)
        found = operator @ torch.eye(operator.size, dtype=torch.float64)
        again = operator @ torch.eye(operator.size, dtype=torch.float64)
        gradient = operator.gradient
        value = og.Objective(model, F.cross_entropy, data).loss(operator.theta)
    assert operator.loss == pytest.approx(loss, rel=1e-12)
    assert value == pytest.approx(loss, rel=1e-12)
    assert gradient.isfinite().all()
    assert torch.equal(found, again)
    assert (found - hessian).norm() <= 1e-7 * hessian.norm()  # of the differences: h² and ε/h are both near 1e-10


@pytest.mark.parametrize("what", BESIDES)
def test_what_a_module_does_besides_is_done_to_a_copy(what: str) -> None:
    compare(*make(what))


@settings(max_examples=3)
@given(st.lists(st.sampled_from(sorted(BESIDES)), min_size=2, max_size=4), st.integers(0, 99))
def test_so_it_is_in_any_combination(whats: list[str], seed: int) -> None:
    compare(*make(*whats, seed=seed))


def test_after_an_error_all_is_as_it_was() -> None:
    model, data = make("subtracts in place", "averages", "counts", "remembers in a list")

    class Fails(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            self.half_done = x
            raise KeyError("lost")

    model.append(Fails())
    with untouched(model, data), pytest.raises(ConfigurationError, match="lost"):
        og.HessianOperator(model, F.cross_entropy, data)


class Merging(nn.Linear):
    """An adapter that eval() merges into a frozen weight; `wrong` merges other numbers than it computes with."""

    def __init__(self, wrong: float = 1.0) -> None:
        super().__init__(4, 3)
        self.a, self.b = nn.Parameter(torch.randn(2, 4)), nn.Parameter(torch.randn(3, 2))
        self.weight.requires_grad_(False)
        self.merged, self.wrong = False, wrong

    def train(self, mode: bool = True) -> "Merging":
        super().train(mode)
        if self.merged == mode:
            self.weight.data += (-1 if mode else 1) * self.wrong * (self.b @ self.a).data
            self.merged = not mode
        return self

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + (0 if self.merged else x @ self.a.T @ self.b.T)


def test_an_adapter_that_eval_merges_is_measured_unmerged_and_stays_so() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(Merging(), nn.Tanh()).double()
    data = [(torch.randn(5, 4).double(), torch.tensor([0, 1, 2, 0, 1]))]
    with untouched(model, data):
        operator = og.HessianOperator(model, F.cross_entropy, data)
        dense = operator @ torch.eye(operator.size, dtype=torch.float64)
    layer: Any = model[0]

    def loss(b: Tensor) -> Tensor:
        weight = layer.weight + b.view(3, 2) @ layer.a
        return F.cross_entropy((data[0][0] @ weight.T + layer.bias).tanh(), data[0][1])

    place = operator.theta[-6:]
    torch.testing.assert_close(dense[-6:, -6:], torch.autograd.functional.hessian(loss, place), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("wrong", "merged", "words"), [(1.0, True, "merged '0.a'.*train"), (0.5, False, "Merging.*eval")])
def test_a_merged_adapter_and_one_that_merges_wrongly_are_refused_by_name(wrong: float, merged: bool, words: str) -> None:
    model = nn.Sequential(Merging(wrong), nn.Tanh()).train(not merged)
    data = [(torch.randn(5, 4), torch.tensor([0, 1, 2, 0, 1]))]
    with untouched(model, data), pytest.raises(ConfigurationError, match=words):
        og.HessianOperator(model, F.cross_entropy, data)


def test_every_mode_is_restored_without_train_or_eval_being_called() -> None:
    model = nn.Sequential(Merging(), nn.Dropout(), nn.BatchNorm1d(3))
    model[1].eval()
    seen = []
    with untouched(model), pytest.raises(ZeroDivisionError), evaluation_mode(model):
        seen.append(1 / sum(module.training for module in model.modules()))
    assert not seen


@pytest.mark.parametrize("switched_off", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize(
    ("kind", "what"),
    [
        (og.HessianOperator, "counts"),
        (og.HessianOperator, "branches"),
        (og.GaussNewtonOperator, "counts"),
        (og.EmpiricalFisherOperator, "branches"),
    ],
)
def test_within_no_grad_and_inference_mode_all_is_as_outside(kind: Any, switched_off: Any, what: str) -> None:
    """One of the two traces; the other, which asks for values, does not."""
    model, data = make(what)
    outside = kind(model, F.cross_entropy, data)
    with switched_off():
        inside = kind(model, F.cross_entropy, [(data[0][0] * 1, data[0][1] * 1)])  # which makes data of that mode
        vector = torch.ones(inside.size, dtype=torch.float64)
        products = inside @ vector, inside.at(inside.theta * 1.1) @ vector, inside @ vector[:, None].expand(-1, 2)
        gradient = og.Objective(model, F.cross_entropy, data).gradient(inside.theta)
    assert inside.method == outside.method == ("traced" if what != "branches" else "forward-over-reverse")
    assert torch.equal(products[0], outside @ torch.ones(inside.size, dtype=torch.float64))
    torch.testing.assert_close(products[2][:, 1], products[0])
    assert products[1].isfinite().all()
    torch.testing.assert_close(gradient, outside.gradient)
