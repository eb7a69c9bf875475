"""What later batches do otherwise than the few samples that products are tested on is seen before a spectrum is made of it."""

import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import orograph as og
from orograph.curvature.tracing.traced import Trace
from orograph.errors import ConfigurationError, OrographWarning

KINDS = (og.HessianOperator, og.GaussNewtonOperator)


def batches(late: float = 5.0, dtype: torch.dtype = torch.float32) -> list[tuple[Tensor, Tensor]]:
    """Four of twelve samples, the last far from the others."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(48, 4, generator=generator, dtype=dtype)
    inputs[36:] += late
    targets = torch.randint(3, (48,), generator=generator)
    return list(zip(inputs.split(12), targets.split(12), strict=True))


class Net(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.first, self.last = nn.Linear(4, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.first(x)
        late = x.mean() > 2
        if self.kind == "detaches" and bool(late):
            hidden = hidden.detach() * hidden
        if self.kind == "traced":
            hidden = hidden * torch.where(late, hidden.detach(), torch.ones_like(hidden))
        if self.kind == "custom" and bool(late):
            hidden = Bent.apply(hidden)
        return self.last(torch.tanh(hidden))


class Bent(torch.autograd.Function):
    """x² whose gradient takes x for a constant."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x**2

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> Tensor:
        return 2 * slope * ctx.saved_tensors[0].detach()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "said", "dtype"),
    [
        ("traced", "detached", torch.float64),
        pytest.param("traced", "detached", torch.float32, marks=pytest.mark.slow),
        pytest.param("detaches", "detached", torch.float32, marks=pytest.mark.slow),
        pytest.param("custom", "computes with Bent", torch.float32, marks=pytest.mark.slow),
    ],
)
def test_what_the_last_batch_alone_does_otherwise_is_refused_with_its_samples(kind: str, said: str, dtype: torch.dtype) -> None:
    operator = og.HessianOperator(Net(kind).to(dtype), nn.CrossEntropyLoss(), batches(dtype=dtype))
    assert operator.tested_on == "a few samples"
    with pytest.raises(ConfigurationError, match=f"on the samples 36 to 47.*{said}"):
        og.lanczos(operator, k=2)


@pytest.mark.slow
def test_it_is_seen_of_the_gauss_newton_matrix_and_after_many_products_too() -> None:
    operator = og.GaussNewtonOperator(Net("traced"), nn.CrossEntropyLoss(), batches())
    with pytest.raises(ConfigurationError, match="on the samples 36 to 47"):
        og.density(operator)
    operator = og.HessianOperator(Net("traced"), nn.CrossEntropyLoss(), batches())
    operator @ torch.ones(operator.size)  # one product is no dearer than before
    assert operator.tested_on == "a few samples"
    with pytest.raises(ConfigurationError, match="on the samples 36 to 47"):
        operator @ torch.eye(operator.size)


@pytest.mark.slow
@pytest.mark.parametrize("operator", KINDS)
@pytest.mark.parametrize("middle", [nn.Tanh(), nn.ReLU()])
@pytest.mark.parametrize("loss", [nn.CrossEntropyLoss(), nn.CrossEntropyLoss(ignore_index=0, reduction="sum")])
def test_a_network_that_does_the_same_on_all_is_certified_on_all(operator: Any, middle: nn.Module, loss: nn.Module) -> None:
    model = nn.Sequential(Net("").first, middle, Net("").last)
    found = operator(model, loss, batches()).shifted(0.5)
    og.lanczos(found, k=2)
    assert found.tested_on == "all batches" == found.at(found.theta + 1).tested_on
    assert found.plan.endswith("on all batches")


@pytest.mark.slow
def test_batches_all_of_whose_targets_are_ignored_are_no_reason_to_refuse() -> None:
    data = batches()
    data[3][1].fill_(-100)
    operator = og.HessianOperator(Net(""), nn.CrossEntropyLoss(), data)
    og.lanczos(operator, k=1)
    assert operator.tested_on == "all batches"


@pytest.mark.slow
def test_a_kink_that_only_a_later_batch_stands_on_is_said_and_the_batch_not_counted() -> None:
    data = batches()
    data[3][0][5].zero_()  # of inputs 0 and no bias a ReLU stands on its edge; not among the few
    model = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3))
    model[0].bias.data.zero_()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        operator = og.HessianOperator(model, nn.MSELoss(), [(x, torch.ones(len(x), 3)) for x, _ in data])
    assert operator.kink == ""
    with pytest.warns(OrographWarning, match=r"kink at these very parameters, by '0\.bias'"):
        og.lanczos(operator, k=1)
    assert operator.kink == "0.bias"
    assert operator.tested_on == "a few samples"  # of the one batch that there is nothing more is known


@pytest.mark.slow
def test_a_trace_that_multiplies_a_batch_otherwise_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    truth = og.HessianOperator(Net(""), nn.CrossEntropyLoss(), batches()) @ torch.eye(43)
    operator = og.HessianOperator(Net(""), nn.CrossEntropyLoss(), batches())
    assert operator.method == "traced"
    true = Trace.multiply
    monkeypatch.setattr(Trace, "multiply", lambda self, total, known: true(self, total.mul_(2).add_(0.1), known))
    operator.examine()
    assert operator.method == "double-backward"
    assert "differs" in operator.fallback_reason
    torch.testing.assert_close(operator @ torch.eye(43), truth)  # of float32
