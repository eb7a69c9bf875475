"""What a loss depends on is θ, or it is refused: parameters read elsewhere would leave their part of the curvature out."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import orograph as og
from orograph.errors import ConfigurationError

Loss = Callable[[Any, Tensor], Tensor]


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))


def data() -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(1)
    return [(torch.randn(6, 4, generator=generator), torch.randint(3, (6,), generator=generator))]


class Holding(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, out: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(out, target) + sum(p.square().sum() for p in self.model.parameters())


@pytest.mark.parametrize(
    "loss_of",
    [
        lambda model: lambda out, target: F.cross_entropy(out, target) + model[0].weight.square().sum(),
        lambda model: lambda out, target: F.cross_entropy(out, target, reduction="none") + model[2].bias.abs().sum(),
        lambda model: lambda out, target: F.cross_entropy(out, target) + model(data()[0][0] + 0.1).square().mean(),
        Holding,
    ],
    ids=["a penalty", "a penalty on every sample", "another call", "a module that holds it"],
)
def test_a_loss_that_reads_the_parameters_is_refused(loss_of: Callable[[nn.Module], Loss]) -> None:
    model = net()
    with pytest.raises(ConfigurationError, match=r"the loss reads the parameters '[02]\.(weight|bias)'"):
        og.Objective(model, loss_of(model), data())


class Listed(nn.Module):
    """Keeps parameters under their names and, besides, in a container that nothing looks into."""

    def __init__(self, keep: Callable[[list[Tensor]], Any]) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 5), nn.Linear(5, 3)
        self.kept = keep([self.a.weight, self.a.bias])

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = self.kept() if callable(self.kept) else self.kept
        return self.b(F.linear(x, weight, bias).tanh())


@pytest.mark.parametrize("keep", [list, tuple, lambda tensors: lambda: tensors], ids=["list", "tuple", "closure"])
def test_a_forward_that_reads_parameters_elsewhere_is_refused(keep: Callable[[list[Tensor]], Any]) -> None:
    with pytest.raises(ConfigurationError, match=r"forward reads the parameters 'a\.(weight|bias)' and 1 more"):
        og.Objective(Listed(keep), F.cross_entropy, data())


def test_parameters_that_are_not_asked_for_may_be_read_by_anyone() -> None:
    model = net()

    def loss(out: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(out, target) + model[0].weight.square().sum()

    objective = og.Objective(model, loss, data(), parameters="2.*")
    theta = objective.theta.clone().requires_grad_()
    weight, bias = theta[:15].view(3, 5), theta[15:]
    inputs, targets = data()[0]
    value = loss(F.linear(model[:2](inputs), weight, bias), targets)
    assert torch.allclose(objective.gradient(objective.theta), torch.autograd.grad(value, theta)[0], atol=1e-6)  # float32


class OwnLayer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 3)

    def forward(self, out: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(self.layer(out), target)


def test_a_loss_may_have_parameters_of_its_own() -> None:
    torch.manual_seed(2)
    model, loss = net(), OwnLayer()
    inputs, targets = data()[0]
    assert og.Objective(model, loss, data()).loss(og.Objective(model, loss, data()).theta) == pytest.approx(
        loss(model(inputs), targets).item(),
        rel=1e-6,  # float32
    )
