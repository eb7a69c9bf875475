"""Heads of attention: planted by hand on the rows of `in_proj_weight`, found by alignment; optima beside searches of everything.

Queries and keys of a head may be rotated together, for QᵀK = (RQ)ᵀ(RK), values and outputs likewise, and heads change places.
Functions are compared by calling the modules.
"""

import itertools
import math

import pytest
import torch
from networks import objective_of
from torch import Tensor, nn
from torch.func import functional_call

from orograph.connectivity import align
from orograph.objective import Objective

WIDTH, HEADS = 8, 2
SIZE = WIDTH // HEADS


class Encoder(nn.Module):
    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.first, self.body, self.last = nn.Linear(3, WIDTH), body, nn.Linear(WIDTH, 4)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.last(self.body(self.first(inputs)).mean(1))


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.self_attn = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
        self.norm = nn.LayerNorm(WIDTH)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.norm(inputs + self.self_attn(inputs, inputs, inputs, need_weights=False)[0])


class Packed(nn.Module):
    """One layer for queries, keys and values, split as many people do it."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how, self.norm = how, nn.LayerNorm(WIDTH)
        self.in_proj, self.out_proj = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, inputs: Tensor) -> Tensor:
        count, length, _ = inputs.shape
        packed = self.in_proj(self.norm(inputs))
        if self.how == "unbind":
            query, key, value = packed.reshape(count, length, 3, HEADS, SIZE).permute(2, 0, 3, 1, 4).unbind(0)
        else:
            query, key, value = (part.view(count, length, HEADS, SIZE).transpose(1, 2) for part in packed.split(WIDTH, dim=2))
        if self.how == "fused":
            found = nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        else:
            scores = query @ key.transpose(-2, -1) / math.sqrt(SIZE)
            found = scores.masked_fill(torch.ones(length, length).tril() == 0, -torch.inf).softmax(-1) @ value
        return inputs + self.out_proj(found.transpose(1, 2).reshape(count, length, WIDTH))


def encoder(**options: bool) -> nn.Module:
    return nn.TransformerEncoderLayer(WIDTH, HEADS, 12, batch_first=True, **options)


BUILD = {
    "attention": (Attention, "body.self_attn.in_proj_weight", "body.self_attn.in_proj_bias", "body.self_attn.out_proj.weight"),
    "encoder": (encoder, "body.self_attn.in_proj_weight", "body.self_attn.in_proj_bias", "body.self_attn.out_proj.weight"),
    "norm first": (
        lambda: encoder(norm_first=True),
        "body.self_attn.in_proj_weight",
        "body.self_attn.in_proj_bias",
        "body.self_attn.out_proj.weight",
    ),
    **{
        how: (lambda how=how: Packed(how), "body.in_proj.weight", "body.in_proj.bias", "body.out_proj.weight")
        for how in ("unbind", "split", "fused")
    },
}


def sequences(count: int = 5) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, 6, 3, generator=generator, dtype=torch.float64), torch.arange(count) % 4


def rotation(size: int, generator: torch.Generator) -> Tensor:
    return torch.linalg.qr(torch.randn(size, size, generator=generator, dtype=torch.float64)).Q


def turned(state: dict[str, Tensor], names: tuple[str, str, str], generator: torch.Generator) -> dict[str, Tensor]:
    """Heads in another order, each with its queries and keys rotated, and its values and outputs."""
    weight, bias, out = names
    found = dict(state)
    order = torch.randperm(HEADS, generator=generator)
    both, values = (torch.stack([rotation(SIZE, generator) for _ in range(HEADS)]) for _ in range(2))
    for name in (weight, bias):
        parts = state[name].reshape(3, HEADS, SIZE, -1)[:, order]
        parts = torch.stack([turn @ part for turn, part in zip((both, both, values), parts, strict=True)])
        found[name] = parts.reshape(state[name].shape)
    columns = state[out].reshape(WIDTH, HEADS, SIZE)[:, order]
    found[out] = torch.einsum("hab,ohb->oha", values, columns).reshape(WIDTH, WIDTH)
    return found


def check(name: str, seeds: range) -> None:
    build, *names = BUILD[name]
    torch.manual_seed(0)
    model, data = Encoder(build()).double().eval(), sequences()
    objective = objective_of(model, data)
    own = {each: tensor.clone() for each, tensor in model.state_dict().items()}
    for seed in seeds:
        generator = torch.Generator().manual_seed(seed)
        first = {
            each: tensor + 0.3 * torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
            for each, tensor in own.items()
        }
        second = turned(first, (names[0], names[1], names[2]), generator)
        order = torch.randperm(WIDTH, generator=generator)  # of the residual stream
        for each, tensor in second.items():
            if each in ("first.weight", "first.bias", names[2]) or "norm" in each or "out_proj" in each or "linear2" in each:
                second[each] = tensor[order]
            elif each in ("last.weight", names[0]) or each.endswith("linear1.weight"):
                second[each] = tensor[:, order]
        one, other = objective.layout.flatten(first), objective.layout.flatten(second)
        found = align(objective, one, other)
        assert found.distance_before > 1
        # Rotations are known to the rounding of a singular value decomposition.
        assert found.distance < 1e-6 * torch.linalg.vector_norm(other)
        assert found.least_distance <= found.distance
        assert not found.held
        with torch.no_grad():
            outputs = [functional_call(model, each, data[0]) for each in (first, second, found.reordered(second))]
        torch.testing.assert_close(outputs[1], outputs[0], rtol=1e-9, atol=1e-9)  # what was planted is a symmetry
        torch.testing.assert_close(outputs[2], outputs[1], rtol=1e-9, atol=1e-9)
        rotations = found.rotations[names[0]]
        assert [tuple(each.shape) for each in rotations] == [(HEADS, SIZE, SIZE)] * 2
        for each in rotations:
            torch.testing.assert_close(each @ each.mT, torch.eye(SIZE).double().expand_as(each), rtol=0, atol=1e-12)
    assert all(torch.equal(tensor, own[each]) for each, tensor in model.state_dict().items())


@pytest.mark.parametrize("name", BUILD)
def test_planted_heads_and_rotations_are_found(name: str) -> None:
    check(name, range(5))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["encoder", "split"])
def test_they_are_found_in_a_hundred_of_a_hundred(name: str) -> None:
    check(name, range(100))


class Bare(nn.Module):
    """Two heads of two components, without biases; inputs and outputs as they come."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(3, 4, bias=False) for _ in range(3))
        self.out = nn.Linear(4, 4, bias=False)

    def forward(self, inputs: Tensor) -> Tensor:
        query, key, value = (layer(inputs).unflatten(-1, (2, 2)).transpose(1, 2) for layer in (self.query, self.key, self.value))
        found = (query @ key.mT).softmax(-1) @ value
        return self.out(found.transpose(1, 2).flatten(2)).mean(1)


def nearest_of_all(objective: Objective, one: Tensor, other: Tensor, steps: int = 720) -> float:
    """‖θ₁ − g(θ₂)‖ over both orders of heads and all rotations and reflections of a fine grid of angles."""
    angles = torch.linspace(0, 2 * math.pi, steps + 1, dtype=torch.float64)[:-1]
    cosine, sine = angles.cos(), angles.sin()
    turns = torch.stack([torch.stack([cosine, -sine], 1), torch.stack([sine, cosine], 1)], 1)
    turns = torch.cat([turns, turns @ torch.diag(torch.tensor([1.0, -1.0]).double())])
    parts = []
    for theta in (one, other):
        named = objective.layout.unflatten(theta)
        both = torch.cat([named["query.weight"].view(2, 2, 3), named["key.weight"].view(2, 2, 3)], 2)
        values = torch.cat([named["value.weight"].view(2, 2, 3), named["out.weight"].view(4, 2, 2).permute(1, 2, 0)], 2)
        parts.append((both, values))
    squares = torch.zeros(2, 2, dtype=torch.float64)
    for a, b in itertools.product(range(2), repeat=2):
        for first, second in zip(*parts, strict=True):
            squares[a, b] += (first[a] - turns @ second[b]).square().sum((1, 2)).min()
    return math.sqrt(min(squares[0, 0] + squares[1, 1], squares[0, 1] + squares[1, 0]))


@pytest.mark.slow
def test_heads_are_matched_as_well_as_a_search_of_all_orders_and_angles_does() -> None:
    for seed in range(5):
        torch.manual_seed(seed)
        objective = objective_of(Bare(), sequences())
        one, other = torch.randn(2, objective.layout.size, dtype=torch.float64)
        found = align(objective, one, other)
        searched = nearest_of_all(objective, one, other)
        # A grid of half a degree misses the best angle by a quarter: (0.0044)²/2 of the inner product.
        assert searched * (1 - 1e-4) <= found.distance <= searched
        assert found.least_distance == pytest.approx(found.distance, rel=1e-12)  # heads and nothing else: it is proven
