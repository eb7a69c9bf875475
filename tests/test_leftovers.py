"""A loss is a function of outputs and targets: one that reads what forward leaves behind is refused, with its place."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import orograph as og
from orograph.errors import ConfigurationError

X, Y = torch.randn(40, 4, generator=torch.Generator().manual_seed(0)), torch.arange(40) % 3
FEATURES: dict[str, Tensor] = {}


class Net(nn.Module):
    """Leaves a term wherever `leave` puts it."""

    def __init__(self, leave: Callable[[Any, Tensor], object]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b, self.leave = nn.Linear(4, 5), nn.Linear(5, 3), leave
        self.aux: Any = 0.0
        self.terms: dict[str, Tensor] = {}
        self.parts: list[Tensor] = []
        self.register_buffer("level", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.tanh(self.a(x))
        self.leave(self, hidden.square().mean())
        out: Tensor = self.b(hidden)
        return out


PLACES: dict[str, tuple[Callable[[Any, Tensor], object], Callable[[Any], Tensor]]] = {
    "aux": (lambda net, term: setattr(net, "aux", term), lambda net: net.aux),
    "fresh": (lambda net, term: setattr(net, "fresh", term), lambda net: net.fresh),
    "terms": (lambda net, term: net.terms.update(h=term), lambda net: net.terms["h"]),
    "parts": (lambda net, term: net.parts.append(term), lambda net: sum(net.parts, torch.zeros(()))),
    "level": (lambda net, term: setattr(net, "level", term), lambda net: net.level),
}


@pytest.mark.parametrize("name", PLACES)
def test_a_loss_that_reads_what_forward_leaves_on_the_module_is_refused_by_name(name: str) -> None:
    leave, read = PLACES[name]
    net = Net(leave)
    with pytest.raises(ConfigurationError, match=f"the loss reads what forward leaves in '{name}'"):
        og.Objective(net, lambda out, target: F.cross_entropy(out, target) + 1e-3 * read(net), [(X, Y)])


def test_what_is_written_into_a_buffer_is_seen_and_the_buffer_is_as_it_was() -> None:
    net = Net(lambda net, term: net.level.copy_(term))
    with pytest.raises(ConfigurationError, match="leaves in 'level'"):
        og.Objective(net, lambda out, target: F.cross_entropy(out, target) + net.level, [(X, Y)])
    assert net.level == 0


@pytest.mark.parametrize("graph", [True, False])
def test_what_an_earlier_call_on_the_same_data_left_hides_nothing(graph: bool) -> None:
    leave, read = PLACES["aux"]
    net = Net(leave)
    with torch.set_grad_enabled(graph):
        net(X)
    before = net.aux
    with pytest.raises(ConfigurationError, match=r"leaves in '0\.aux'"):
        og.HessianOperator(nn.Sequential(net), lambda out, target: F.cross_entropy(out, target) + read(net), [(X, Y)])
    assert net.aux is before


@pytest.mark.parametrize("held", [{}, FEATURES], ids=["of a function", "global"])
def test_features_that_a_hook_keeps_are_seen(held: dict[str, Tensor]) -> None:
    net = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))
    if held is FEATURES:
        net[1].register_forward_hook(lambda module, given, out: FEATURES.update(h=out))
    else:
        net[1].register_forward_hook(lambda module, given, out: held.update(h=out))
    with pytest.raises(ConfigurationError, match="leaves in what a hook or another object holds"):
        og.GaussNewtonOperator(net, lambda out, target: F.cross_entropy(out, target) + held["h"].square().mean(), [(X, Y)])


def test_a_problem_whose_loss_reads_the_module_that_copies_are_made_of_is_refused() -> None:
    leave, read = PLACES["aux"]
    net = Net(leave)
    problem = og.Problem(net, lambda out, target: F.cross_entropy(out, target) + read(net), train=(X, Y))
    with pytest.raises(ConfigurationError, match="leaves in 'aux'"):
        problem.objective()


def test_what_forward_leaves_and_the_loss_does_not_read_is_no_matter() -> None:
    net = Net(PLACES["aux"][0])
    assert og.Objective(net, F.cross_entropy, [(X, Y)]).loss(og.Objective(net, F.cross_entropy, [(X, Y)]).theta) > 0


class Returning(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b = nn.Linear(4, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        hidden = torch.tanh(self.a(x))
        return self.b(hidden), hidden.square().mean()


@pytest.mark.slow
def test_the_way_out_that_is_named_gives_the_right_hessian() -> None:
    net = Returning().double()
    x = X.double()

    def loss(out: tuple[Tensor, Tensor], target: Tensor) -> Tensor:
        return F.cross_entropy(out[0], target) + out[1]

    operator = og.HessianOperator(net, loss, [(x, Y)])
    parameters = list(net.parameters())
    slopes = torch.autograd.grad(loss(net(x), Y), parameters, create_graph=True)
    flat = torch.cat([each.flatten() for each in slopes])
    rows = [torch.autograd.grad(each, parameters, retain_graph=True) for each in flat]
    dense = torch.stack([torch.cat([part.flatten() for part in row]) for row in rows])
    torch.testing.assert_close(operator @ torch.eye(operator.size, dtype=torch.float64), dense)
