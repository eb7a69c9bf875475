"""At a kink, where there is no second derivative, products are those of torch and it is said; beside one nothing is said."""

import warnings
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import orograph as og
from orograph.curvature.kinks import bends, leap
from orograph.errors import ConfigurationError

LABELS = torch.arange(8) % 3


def net(middle: nn.Module, zeros: Sequence[str] = ()) -> nn.Module:
    model = nn.Sequential(nn.Linear(4, 5), middle, nn.Linear(5, 3))
    for name, parameter in model.named_parameters():
        if name in zeros:
            nn.init.zeros_(parameter)
    return model


class Abs(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.abs()


class Scaled(nn.Module):
    """A residual branch whose scale begins at zero."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.scale = nn.Linear(5, 5), nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.scale * F.relu(self.inner(x))


class Adapter(nn.Linear):
    """W x + B A x with B = 0, as adapters of low rank begin."""

    def __init__(self) -> None:
        super().__init__(5, 5)
        self.requires_grad_(False)
        self.a, self.b = nn.Parameter(torch.randn(2, 5)), nn.Parameter(torch.zeros(5, 2))

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + x @ self.a.T @ self.b.T


class Detaches(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x) * (1 + x.detach().tanh())


def inputs(*empty: int) -> Tensor:
    x = torch.randn(8, 4)
    x[list(empty)] = 0
    return x


FIRST = ("0.weight", "0.bias")
ON: dict[str, Callable[[], tuple[nn.Module, Tensor]]] = {
    "a ReLU whose layer is zero": lambda: (net(nn.ReLU(), FIRST), inputs()),
    "all zero": lambda: (net(nn.ReLU(), [*FIRST, "2.weight", "2.bias"]), inputs()),
    "rows of padding and no biases": lambda: (net(nn.ReLU(), ["0.bias"]), inputs(3, 4)),
    "a leaky ReLU": lambda: (net(nn.LeakyReLU(0.1), FIRST), inputs()),
    "a hard tanh at its end": lambda: (net(nn.Hardtanh(0.0, 1.0), FIRST), inputs()),
    "an absolute value": lambda: (net(Abs(), FIRST), inputs()),
    "a maximum of ties": lambda: (net(nn.Sequential(nn.ReLU(), nn.AdaptiveMaxPool1d(5)), ["0.bias"]), inputs(0, 5)),
}
BESIDE: dict[str, Callable[[], tuple[nn.Module, Tensor]]] = {
    "a last layer of zeros": lambda: (net(nn.ReLU(), ["2.weight", "2.bias"]), inputs()),
    "a first layer of zeros before a tanh": lambda: (net(nn.Tanh(), FIRST), inputs()),
    "an adapter that begins at zero": lambda: (net(nn.Sequential(nn.ReLU(), Adapter(), nn.Tanh())), inputs()),
    "a branch that begins at zero": lambda: (net(Scaled()), inputs()),
    "units that are off": lambda: (net(nn.ReLU(), ["0.weight"]), inputs()),
}


def dense(model: nn.Module, x: Tensor, theta: Tensor) -> Tensor:
    """Torch's own Hessian."""
    named = {name: p for name, p in model.named_parameters() if p.requires_grad}

    def loss(theta: Tensor) -> Tensor:
        parts = theta.split([p.numel() for p in named.values()])
        values = {name: part.view_as(p) for (name, p), part in zip(named.items(), parts, strict=True)}
        return F.cross_entropy(torch.func.functional_call(model, values, (x,)), LABELS)

    found: Tensor = torch.autograd.functional.hessian(loss, theta)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", [*ON, *BESIDE])
def test_products_are_those_of_torch_and_a_kink_at_theta_is_said(name: str) -> None:
    torch.manual_seed(0)
    model, x = (ON | BESIDE)[name]()
    model, x = model.double(), x.double()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        hessian = og.HessianOperator(model, F.cross_entropy, [(x, LABELS)])
    said = [str(each.message) for each in caught if "no second derivative" in str(each.message)]
    assert bool(said) == bool(hessian.kink) == (name in ON)
    assert "symmetry" in hessian.certificate
    truth = dense(model, x, hessian.theta)
    found = hessian @ torch.eye(hessian.size, dtype=torch.float64)
    torch.testing.assert_close(found, truth, rtol=1e-10, atol=1e-12)  # the same operations in another order, in float64


@pytest.mark.slow
@pytest.mark.parametrize("kind", [og.GaussNewtonOperator, og.EmpiricalFisherOperator])
def test_the_other_matrices_are_had_at_a_kink_too(kind: type[og.LinearOperator]) -> None:
    torch.manual_seed(0)
    model, x = ON["a ReLU whose layer is zero"]()
    with pytest.warns(UserWarning, match="no second derivative"):
        assert kind(model, F.cross_entropy, [(x, LABELS)]).kink in FIRST  # type: ignore[call-arg, attr-defined]


@pytest.mark.parametrize("zeros", [FIRST, ()])
def test_a_wrong_derivative_is_refused_at_a_kink_as_beside_it(zeros: Sequence[str]) -> None:
    torch.manual_seed(0)
    with pytest.raises(ConfigurationError, match=r"derivatives by '0\.(weight|bias)'"):
        og.HessianOperator(net(Detaches(), zeros), F.cross_entropy, [(inputs(), LABELS)])


@pytest.mark.slow
def test_measure_says_the_kink_in_its_fields() -> None:
    torch.manual_seed(0)
    model, x = ON["rows of padding and no biases"]()
    with pytest.warns(UserWarning, match=r"kink at these very parameters, by '0\.bias'"):
        found = og.measure(model, F.cross_entropy, [(x, LABELS)], k=2, steps=5, probes=3)
    assert (found.fields()["smooth"], found.fields()["kink"]) == (False, "0.bias")


@pytest.mark.parametrize(
    ("function", "kinked", "jumps"),
    [
        (lambda t: t.abs(), True, False),
        (lambda t: t.relu() + 3 * t, True, False),
        (lambda t: (t + 1e-3).abs(), False, False),  # a kink beside
        (lambda t: t.exp(), False, False),
        (lambda t: t.sign() + t, False, True),
        (lambda t: t.square().sin(), False, False),
        (lambda t: torch.ones_like(t), False, False),
    ],
)
def test_kinks_and_jumps_are_told_from_what_is_smooth(function: Callable[[Tensor], Tensor], kinked: bool, jumps: bool) -> None:
    def along(way: float) -> Tensor:
        return function(torch.tensor(way, dtype=torch.float64))

    assert bends(along, (1e-5, 1e-7), 1e-16) == kinked
    assert (leap(along, (1e-5, 1e-9)) is not None) == jumps
