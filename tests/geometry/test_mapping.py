"""Where `vmap` has no rule, or no right one, a loop gives what each model gives by itself; so has forward mode a stand-in."""

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import orograph as og
from orograph.errors import ConfigurationError
from orograph.geometry.directional import sample_derivatives


class Last(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.r, self.o = getattr(nn, kind)(3, 3, batch_first=True), nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.o(self.r(x)[0][:, -1])


class Branch(nn.Module):
    """Which way it goes depends on what it computed."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        h = self.a(x.mean(1))
        return h.tanh() if h.square().sum() > 0 else h


class Written(nn.Module):
    """Steps written into a tensor made before."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        out = x.new_zeros(len(x), 2, x.shape[1])
        for t in range(x.shape[1]):
            out[:, :, t] = self.a(x[:, t]).tanh()
        return out.mean(2)


class Old(torch.autograd.Function):
    """A custom function of the old kind, without a rule for vmap or forward mode."""

    @staticmethod
    def forward(context: Any, x: Tensor) -> Tensor:
        context.save_for_backward(x)
        return x.tanh()

    @staticmethod
    def backward(context: Any, slope: Tensor) -> Tensor:  # type: ignore[override]
        return slope * (1 - context.saved_tensors[0].tanh().square())


class Custom(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(3, 3), nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(Old.apply(self.a(x.mean(1))))


NETWORKS = {
    "LSTM": lambda: Last("LSTM"),
    "GRU": lambda: Last("GRU"),
    "RNN": lambda: Last("RNN"),
    "branch": Branch,
    "written": Written,
    "old function": Custom,
}


@pytest.fixture(params=NETWORKS)
def objective(request: pytest.FixtureRequest) -> og.Objective:
    torch.manual_seed(0)
    return og.Objective(NETWORKS[request.param](), F.cross_entropy, [(torch.randn(9, 4, 3), torch.randint(2, (9,)))])


def test_many_models_give_what_each_gives_alone(objective: og.Objective) -> None:
    theta, u = objective.theta, og.random_orthonormal(objective.theta, 2)
    radius = 0.1 * theta.double().norm().item()
    right = [objective.loss(theta + step * radius * u[0]) for step in (-1, 0, 1)]
    near = {"rel": 1e-5}  # rounding of float32
    assert og.profile(objective, theta, u[0], points=3).losses.tolist() == pytest.approx(right, **near)
    corners = [objective.loss(theta + radius * (a * u[0] + b * u[1])) for a in (-1, 1) for b in (-1, 1)]
    assert og.surface(objective, theta, u, points=2).losses.flatten().tolist() == pytest.approx(corners, **near)
    assert og.sharpness(objective, theta, pairs=2).loss == pytest.approx(right[1], **near)
    ends = og.curve_profile(objective, og.line(theta, theta + radius * u[0]), points=2).train.losses
    assert ends.tolist() == pytest.approx(right[1:], **near)


@pytest.mark.slow
def test_blocks_of_products_are_the_products_of_their_columns(objective: og.Objective) -> None:
    operator = og.HessianOperator.of(objective)
    block = torch.randn(operator.size, 3, generator=torch.Generator().manual_seed(0))
    columns = torch.stack([operator @ column for column in block.T], 1)
    assert torch.allclose(operator @ block, columns, rtol=1e-4, atol=1e-6)


def _samples_hessians(objective: og.Objective, v: Tensor) -> Tensor:
    """vᵀH_n v by torch's own Hessian, one sample after the other."""
    (inputs, targets), found = next(objective.batches(objective.count)), []
    for i in range(objective.count):

        def loss(t: Tensor, i: int = i) -> Tensor:
            return objective.losses(objective.theta + t * v, inputs[i : i + 1], targets[i : i + 1]).sum()

        found.append(torch.autograd.functional.hessian(loss, torch.zeros((), dtype=v.dtype)))
    return torch.stack(found)


def test_derivatives_of_samples_need_no_forward_mode(objective: og.Objective) -> None:
    exact = objective.to(torch.float64)
    v = og.random_orthonormal(exact.theta, 1)
    found = sample_derivatives(exact, exact.theta, v)
    assert torch.allclose(found.curvatures[0], _samples_hessians(exact, v[0]), rtol=1e-8, atol=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("middle", [nn.SiLU(), nn.Mish(), nn.Tanh()])
@pytest.mark.parametrize("loss", [nn.BCEWithLogitsLoss(), nn.HuberLoss(), nn.SmoothL1Loss(), nn.SoftMarginLoss()])
def test_losses_without_forward_derivatives_have_derivatives_of_samples(middle: nn.Module, loss: nn.Module) -> None:
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(4, 3), middle, nn.Linear(3, 2)).double()
    objective = og.Objective(model, loss, [(torch.randn(6, 4).double(), torch.rand(6, 2).double().round())])
    v = og.random_orthonormal(objective.theta, 2)
    found = sample_derivatives(objective, objective.theta, v)
    assert torch.allclose(found.curvatures[1], _samples_hessians(objective, v[1]), rtol=1e-8, atol=1e-10)
    right = og.GaussNewtonOperator.of(objective)
    assert found.gauss_newton[1].mean().item() == pytest.approx((v[1] @ (right @ v[1])).item(), rel=1e-8, abs=1e-12)


def test_what_is_random_is_refused_and_not_looped() -> None:
    class Noise(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            return F.dropout(self.a(x), 0.5)

    objective = og.Objective(Noise(), F.cross_entropy, [(torch.randn(6, 4), torch.randint(2, (6,)))])
    with pytest.raises(ConfigurationError, match="two outputs"):
        og.sharpness(objective, objective.theta, pairs=2)


@dataclass(frozen=True)
class Output:
    logits: Tensor
    hidden: Tensor
    name: str = "net"


WAYS: dict[str, Any] = {
    "tuple": (lambda z, h: (z, h), lambda o: o[0]),
    "nested": (lambda z, h: {"h": [h, None], "out": (h, {"z": z})}, lambda o: o["out"][1]["z"]),
    "dict": (lambda z, h: {"hidden": h, "logits": z}, lambda o: o["logits"]),
    "frozen dataclass": (Output, lambda o: o.logits),
    "namespace": (lambda z, h: SimpleNamespace(h=h, z=z), lambda o: o.z),
    "distribution": (lambda z, h: torch.distributions.Categorical(logits=z, validate_args=False), lambda o: o.logits),
}


class Many(nn.Module):
    def __init__(self, make: Any) -> None:
        super().__init__()
        self.a, self.b, self.make = nn.Linear(4, 3), nn.Linear(3, 2), make

    def forward(self, x: Tensor) -> Any:
        h = self.a(x).tanh()
        return self.make(self.b(h), h)


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_outputs_of_any_structure_give_what_their_logits_give(way: str) -> None:
    torch.manual_seed(0)
    make, pick = WAYS[way]
    plain, data = Many(lambda z, h: z), [(torch.randn(8, 4), torch.randint(2, (8,)))]
    model = Many(make)
    model.load_state_dict(plain.state_dict())
    one = og.Objective(plain, F.cross_entropy, data)
    other = og.Objective(model, lambda o, t: F.cross_entropy(pick(o), t, reduction="none"), data)
    u = og.random_orthonormal(one.theta, 1)[0]
    for kind in (og.HessianOperator, og.GaussNewtonOperator, og.EmpiricalFisherOperator):
        assert torch.allclose(kind.of(other) @ u, kind.of(one) @ u, rtol=1e-4, atol=1e-6)
    found, right = (og.profile(each, one.theta, u, points=3) for each in (other, one))
    assert torch.allclose(found.losses, right.losses, rtol=1e-5)
    assert torch.equal(found.accuracies, right.accuracies)
    shares = [sample_derivatives(each, one.theta, u[None]).gauss_newton for each in (other, one)]
    assert torch.allclose(*shares, rtol=1e-3, atol=1e-6)
    assert og.align(other, one.theta, one.theta).distance == 0


def test_the_outputs_of_a_loss_that_reads_two_have_no_accuracy() -> None:
    def loss(o: Any, t: Tensor) -> Tensor:
        return F.cross_entropy(o["logits"], t, reduction="none") + o["hidden"].square().sum(1)

    make = WAYS["dict"][0]
    objective = og.Objective(Many(make), loss, [(torch.randn(8, 4), torch.randint(2, (8,)))])
    assert torch.isnan(og.evaluate(objective, objective.theta[None]).accuracies).all()
    with pytest.raises(ConfigurationError, match="several outputs"):
        og.ensemble(objective, objective.theta[None])
