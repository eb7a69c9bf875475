"""Small networks in float64 that every library can multiply by, and the dense matrices of them.

Attention is computed by matrix products (MATH), which alone torch can differentiate twice: other libraries take what torch
chooses.
"""

import functools
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from curvature.cases import Batches, Case, Dense, features, labels, mlp, resnet


class Attention(nn.Module):
    """Causal attention over tokens, with one LayerNorm before it or none; logits `(n, tokens, length)`."""

    def __init__(self, *, normed: bool) -> None:
        super().__init__()
        self.embed, self.attend, self.readout = nn.Embedding(7, 6), nn.Linear(6, 18), nn.Linear(6, 7)
        self.norm = nn.LayerNorm(6) if normed else nn.Identity()

    def forward(self, tokens: Tensor) -> Tensor:
        query, key, value = self.attend(self.norm(self.embed(tokens))).unflatten(-1, (3, 2, 3)).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        return self.readout(mixed.transpose(1, 2).flatten(2)).transpose(1, 2)


def attention(*, normed: bool = False) -> tuple[nn.Module, nn.Module, Batches]:
    return Attention(normed=normed), nn.CrossEntropyLoss(), [(labels(20, 7).view(5, 4), labels(20, 7).view(5, 4))]


def cnn() -> tuple[nn.Module, nn.Module, Batches]:
    layers = nn.Conv2d(2, 3, 3, padding=1), nn.GELU(), nn.MaxPool2d(2), nn.Conv2d(3, 4, 2, stride=2, bias=False), nn.Tanh()
    model = nn.Sequential(*layers, nn.AvgPool2d(2), nn.Flatten(), nn.Linear(4, 3))
    return model, nn.CrossEntropyLoss(), [(features(9, 2, 8, 8), labels(9, 3))]


def regression() -> tuple[nn.Module, nn.Module, Batches]:
    model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 2))
    return model, nn.MSELoss(), [(features(9, 4), features(9, 2))]


def of_tokens(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(outputs, targets, reduction="none").mean(1)


CASES = {
    "mlp": Case("mlp", mlp),
    "cnn": Case("cnn", cnn),
    "batchnorm resnet": Case("batchnorm resnet", resnet),
    "attention": Case("attention", attention, of_tokens),
    "regression": Case("regression", regression, lambda z, y: (z - y).square().mean(1)),
}
NORMED = Case("attention behind a LayerNorm", lambda: attention(normed=True), of_tokens)


def case_of(name: str) -> Case:
    return CASES.get(name, NORMED)


def built(name: str) -> tuple[nn.Module, nn.Module, Batches]:
    """A network in eval mode, its loss as a module, and the data in one batch: means over batches are then means over samples."""
    model, loss, batches = case_of(name).build()
    inputs, targets = (torch.cat(column) for column in zip(*batches, strict=True))
    return model.eval(), loss if isinstance(loss, nn.Module) else nn.CrossEntropyLoss(), [(inputs, targets)]


@functools.cache
def matrix(name: str, kind: str) -> Tensor:
    """`hessian`, `gauss_newton` or `fisher`, by plain autograd."""
    model, _, batches = built(name)
    dense = Dense(case_of(name), model, batches)
    found: Tensor = getattr(dense, kind)(dense.theta)
    return found


@pytest.fixture
def differentiable_attention() -> Iterator[None]:
    """For libraries that take the kernel that torch chooses."""
    with sdpa_kernel(SDPBackend.MATH):
        yield


def columns(size: int, count: int = 3) -> Tensor:
    return torch.randn(size, count, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


def away(found: Tensor, expected: Tensor) -> float:
    """‖found − expected‖/‖expected‖."""
    assert found.shape == expected.shape
    return float((found - expected).norm() / expected.norm())
