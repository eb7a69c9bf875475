"""Products in tiles of rows against dense Hessians by torch, in float64, and against products without tiles."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

import orograph as og
from orograph.curvature.formulas import HESSIAN
from orograph.curvature.tracing.traced import Trace

TOKENS, PLACES, WIDTH = 26, 13, 4


class Transformer(nn.Module):
    """One block of causal attention with two heads, and a head over a vocabulary."""

    def __init__(self, tokens: int = TOKENS, places: int = PLACES) -> None:
        super().__init__()
        self.embedding, self.places = nn.Embedding(tokens, WIDTH), nn.Parameter(torch.randn(places, WIDTH))
        self.qkv, self.out, self.norm = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH), nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, tokens)

    def forward(self, text: Tensor) -> Tensor:
        x = self.embedding(text) + self.places
        q, k, v = self.qkv(x).unflatten(-1, (3, 2, WIDTH // 2)).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2)
        return self.head(self.norm(x + self.out(mixed)))


def flat(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(outputs.flatten(0, 1), targets.flatten(), ignore_index=3)


def next_tokens(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(outputs[:, :-1].transpose(1, 2), targets[:, 1:], reduction="none").mean(1)


def next_flat(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(
        outputs[:, :-1].flatten(0, 1), targets[:, 1:].flatten(), weight=torch.linspace(1, 2, TOKENS).to(outputs)
    )


def text(samples: int, tokens: int = TOKENS, places: int = PLACES) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    return [tuple(torch.randint(tokens, (samples, places), generator=generator) for _ in range(2))]  # type: ignore[misc]


def product(trace: Trace, theta: Tensor, batch: Any, vector: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Loss, gradient and product of a batch."""
    gradient, total = torch.zeros_like(theta), torch.zeros_like(vector)
    with torch.no_grad():
        values, given = trace.at(theta), trace.batch(batch)
        loss, residuals = trace.evaluate(values, given, gradient)
        trace.multiply(total, values | given | residuals | trace.direction(values, vector))
    return loss, gradient, total


@pytest.mark.slow
@pytest.mark.parametrize(
    ("loss", "samples"),
    [
        (next_tokens, 1),
        pytest.param(next_tokens, 2, marks=pytest.mark.slow),
        pytest.param(flat, 2, marks=pytest.mark.slow),
        pytest.param(next_flat, 2, marks=pytest.mark.slow),
    ],
)
def test_tiles_give_the_loss_gradient_and_hessian_of_a_transformer(loss: Any, samples: int) -> None:
    torch.manual_seed(0)
    model = Transformer().double()
    data = text(samples)
    objective = og.Objective(model, loss, data)
    batch = next(objective.batches(samples))
    # the half of the logits and of attention, which is more than the tensors of other layers
    trace = Trace(objective, HESSIAN, batch, tile_bytes=samples * PLACES * TOKENS * 8 // 2)
    assert trace.tiling.counts == (2, 2)  # logits, attention
    assert not trace.tiling.whole
    sizes = {node.meta["val"].numel() for node in trace._residuals}
    assert max(sizes) < samples * PLACES * PLACES * 2  # neither logits nor attention
    names, shapes = objective.layout.names, [dict(model.named_parameters())[name].shape for name in objective.layout.names]

    def summed(theta: Tensor) -> Tensor:
        parts = theta.split([shape.numel() for shape in shapes])
        state = {name: part.view(shape) for name, part, shape in zip(names, parts, shapes, strict=True)}
        with nn.attention.sdpa_kernel(nn.attention.SDPBackend.MATH):
            value = loss(functional_call(model, state, data[0][0]), data[0][1])
        return value.mean() * samples

    theta, identity = objective.theta, torch.eye(objective.theta.numel(), dtype=torch.float64)
    hessian = torch.autograd.functional.hessian(summed, theta, vectorize=False)
    for column in range(0, len(theta), 29):
        value, gradient, found = product(trace, theta, batch, identity[column])
        torch.testing.assert_close(found, hessian[column], rtol=0, atol=1e-13 * hessian.abs().max().item())
    torch.testing.assert_close(value, summed(theta), rtol=1e-14, atol=0)
    torch.testing.assert_close(gradient, torch.func.grad(summed)(theta), rtol=0, atol=1e-13)


class Bilinear(nn.Module):
    """Places that meet one another by a softmax, once or twice over."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times, self.q, self.k, self.out = times, nn.Linear(3, 4), nn.Linear(3, 4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        met = (self.q(x) @ self.k(x).transpose(1, 2)).softmax(-1)
        for _ in range(self.times - 1):
            met = (met @ met).tanh()
        return self.out(met @ self.q(x)).mean(1)


def operators(model: nn.Module, data: Any, loss: Any = F.cross_entropy, **options: Any) -> list[og.HessianOperator]:
    """Without tiles and with them."""
    objectives = [og.Objective(model, loss, data, **options) for _ in range(2)]
    objectives[0].chunks = "traced"
    return [og.HessianOperator.of(objective) for objective in objectives]


@pytest.mark.slow
def test_samples_larger_than_a_quarter_of_the_memory_are_computed_in_tiles_and_the_plan_says_so() -> None:
    torch.manual_seed(0)
    data = [(torch.randn(2, 400, 3).double(), torch.tensor([0, 1]))]
    model = Bilinear(1).double()
    one, other = operators(model, data, memory="8MiB")
    assert "tiles" not in one.plan
    assert "in up to 5 tiles of rows, vectors one by one" in other.plan
    assert other._engine.plan.peak_bytes < one._engine.plan.peak_bytes / 2
    block = torch.randn(one.size, 3, dtype=torch.float64)
    torch.testing.assert_close(one @ block, other @ block, rtol=0, atol=1e-14)  # float64, other orders of summation
    torch.testing.assert_close(one @ block[:, 0], other @ block[:, 0], rtol=0, atol=1e-14)
    torch.testing.assert_close(one.gradient, other.gradient, rtol=0, atol=1e-15)


@pytest.mark.slow
def test_what_cannot_be_tiled_is_named_and_computed_as_without() -> None:
    torch.manual_seed(0)
    data = [(torch.randn(1, 400, 3).double(), torch.tensor([1]))]
    one, other = operators(Bilinear(2).double(), data, memory="8MiB")
    assert "in one piece, for " in other.plan
    assert "tiles" not in other.plan
    vector = torch.randn(one.size, dtype=torch.float64)
    assert torch.equal(one @ vector, other @ vector)


@pytest.mark.slow
def test_small_samples_know_no_tiles() -> None:
    torch.manual_seed(0)
    one, other = operators(Transformer().double(), text(4), next_tokens)
    assert one.plan == other.plan
    vector = torch.randn(one.size, dtype=torch.float64)
    assert torch.equal(one @ vector, other @ vector)
