"""Every dtype works or is refused by name: single, double, half, mixed and complex."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import orograph as og
from orograph.errors import ConfigurationError

HALVES = [torch.bfloat16, torch.float16]


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))


def data() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(12, 4, generator=generator), torch.randint(3, (12,), generator=generator)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", HALVES)
def test_a_module_in_half_precision_is_that_of_the_same_weights_in_float32(dtype: torch.dtype) -> None:
    half = net().to(dtype)
    exact = net().to(dtype).float()  # float32 holds each of them
    operator, truth = (og.HessianOperator(model, F.cross_entropy, [data()]) for model in (half, exact))
    vector = torch.randn(operator.size)
    assert (operator.dtype, operator.loss) == (torch.float32, truth.loss)
    assert torch.equal(operator @ vector, truth @ vector)
    assert og.trace(operator, probes=4).value == og.trace(truth, probes=4).value
    assert all(p.dtype == dtype for p in half.parameters())


@pytest.mark.slow
@pytest.mark.parametrize("dtype", HALVES)
def test_the_traces_of_a_module_in_half_precision_are_those_of_its_own_weights(dtype: torch.dtype) -> None:
    half = net().to(dtype)
    exact = og.HessianOperator(net().to(dtype).double(), F.cross_entropy, [(data()[0].double(), data()[1])])
    right = (exact @ torch.eye(exact.size, dtype=torch.float64)).trace().item()
    every = og.trace(og.HessianOperator(half, F.cross_entropy, [data()]), probes=exact.size)
    assert every.value == pytest.approx(right, rel=1e-2)  # inputs follow to float32 with their own digits
    found = og.measure(half, F.cross_entropy, [data()], k=3).trace
    assert found.value == pytest.approx(right, rel=1e-2)  # of so few parameters it is exact


def test_a_module_of_several_precisions_takes_the_widest() -> None:
    model = net()
    model[0].bfloat16()
    assert og.Objective(model, F.cross_entropy, [data()]).dtype == torch.float32
    model[2].double()
    assert og.Objective(model, F.cross_entropy, [data()]).dtype == torch.float64


class Casting(nn.Module):
    """Computes in bfloat16 whatever its parameters are."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 5).bfloat16(), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.a(x.bfloat16()).float().tanh())


class Single(nn.Module):
    """Makes float32 tensors of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.mix = nn.Linear(4, 3), torch.eye(4)

    def forward(self, x: Tensor) -> Tensor:
        return self.a(x.float() @ self.mix)


def test_a_module_with_casts_of_its_own_is_refused_with_its_dtypes() -> None:
    with pytest.raises(ConfigurationError, match=r"parameters are bfloat16, float32, cannot be evaluated in float32.*by itself"):
        og.Objective(Casting(), F.cross_entropy, [data()])
    with pytest.raises(ConfigurationError, match="parameters are float32, cannot be evaluated in float64"):
        og.Objective(Single(), F.cross_entropy, [data()], dtype=torch.float64)


def test_where_float64_is_impossible_pairs_are_found_without_it() -> None:
    operator = og.HessianOperator(Single(), F.cross_entropy, [data()])
    assert operator.double() is None
    matrix = operator @ torch.eye(operator.size)
    found = og.lanczos(operator, 10).eigenvalues  # so many that the noise is measured
    right = torch.linalg.eigvalsh(matrix.double()).flip(0)
    assert found[0].item() == pytest.approx(right[0].item(), rel=1e-4)  # float32


@pytest.mark.parametrize("dtype", [*HALVES, torch.complex64])
def test_a_dtype_with_too_few_digits_is_refused_by_name(dtype: torch.dtype) -> None:
    with pytest.raises(ConfigurationError, match=f"dtype {str(dtype)[6:]} .*float32 or float64"):
        og.Objective(net(), F.cross_entropy, [data()], dtype=dtype)


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize(
    "function",
    [lambda a: og.lanczos(a, 2), og.trace, og.density, lambda a: og.trace(2 * a)],
    ids=["lanczos", "trace", "density", "sum"],
)
def test_an_operator_in_half_precision_is_refused_by_name(dtype: torch.dtype, function: Callable[[Any], Any]) -> None:
    with pytest.raises(ConfigurationError, match=f"in {str(dtype)[6:]} cannot be had"):
        function(og.MatrixOperator(torch.eye(4).to(dtype)))


@pytest.mark.parametrize("dtype", [*HALVES, torch.float32, torch.float64])
def test_scipy_multiplies_by_an_operator_of_any_dtype(dtype: torch.dtype) -> None:
    operator = og.MatrixOperator(torch.diag(torch.tensor([1.0, 2.0])).to(dtype)).to_scipy()
    assert (operator @ torch.ones(2).numpy()).tolist() == [1, 2]


class Fourier(nn.Module):
    def __init__(self, *, frozen: bool = False) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.ones(2, dtype=torch.cfloat), requires_grad=not frozen)

    def forward(self, h: Tensor) -> Tensor:
        return torch.fft.irfft(torch.fft.rfft(h) * self.w, n=3)


@pytest.mark.parametrize("first", [True, False])
def test_complex_parameters_are_refused_by_name(first: bool) -> None:
    model = nn.Sequential(Fourier(), nn.Linear(3, 3)) if first else nn.Sequential(nn.Linear(4, 3), Fourier())
    x = data()[0][:, :3] if first else data()[0]
    name = "0.w" if first else "1.w"
    with pytest.raises(ConfigurationError, match=f"'{name}' is complex.*view_as_real"):
        og.Objective(model, F.cross_entropy, [(x, data()[1])])


def test_complex_constants_follow_the_dtype() -> None:
    model = nn.Sequential(nn.Linear(4, 3), Fourier(frozen=True))
    single = og.Objective(model, F.cross_entropy, [data()])
    assert single.constants["1.w"].dtype == torch.complex64
    double = single.to(torch.float64)
    assert double.constants["1.w"].dtype == torch.complex128
    assert double.loss(double.theta) == pytest.approx(single.loss(single.theta), rel=1e-6)
