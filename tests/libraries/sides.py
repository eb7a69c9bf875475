"""Small networks in float64 that every library can multiply by, with the dense matrices of them.

Attention is in kernels that torch can differentiate twice (MATH): other libraries take whichever torch chooses.
"""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from curvature.cases import Batches, Case, Dense, Transformer, cnn, group_norm, labels, mlp, next_token, relu, resnet


class OfTokens(nn.Module):
    """The mean cross-entropy of all tokens."""

    reduction = "mean"

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return next_token(outputs, targets).mean()


def attention() -> tuple[nn.Module, Any, Batches]:
    return Transformer(), OfTokens(), [(labels(20, 7).view(5, 4), labels(20, 7).view(5, 4))]


def regression() -> tuple[nn.Module, Any, Batches]:
    model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 2))
    inputs, targets = (torch.randn(9, width, dtype=torch.float64) for width in (4, 2))
    return model, nn.MSELoss(), [(inputs, targets)]


CASES = {
    "mlp": Case("mlp", mlp),
    "cnn": Case("cnn", cnn),
    "relu": Case("relu", relu),
    "batchnorm resnet": Case("batchnorm resnet", resnet),
    "groupnorm": Case("groupnorm", group_norm),
    "attention": Case("attention", attention, lambda z, y: next_token(z, y).mean(1)),
    "regression": Case("regression", regression, lambda z, y: (z - y).square().mean(1)),
}


def built(name: str) -> tuple[nn.Module, nn.Module, Batches]:
    """A network in eval mode, its loss as a module, and the data in one batch: means of batches are then means of samples."""
    model, loss, batches = CASES[name].build()
    inputs, targets = (torch.cat(column) for column in zip(*batches, strict=True))
    module = loss if isinstance(loss, nn.Module) else nn.CrossEntropyLoss()
    return model.eval(), module, [(inputs, targets)]


def dense(name: str) -> Dense:
    model, _, batches = built(name)
    return Dense(CASES[name], model, batches)


@pytest.fixture
def twice_differentiable() -> Iterator[None]:
    """Kernels of attention for libraries that do not choose them."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    with sdpa_kernel(SDPBackend.MATH):
        yield
    torch.backends.mha.set_fastpath_enabled(fast)


def close(found: Tensor, expected: Tensor, tolerance: float) -> None:
    assert found.shape == expected.shape
    assert (found - expected).norm() <= tolerance * expected.norm(), float((found - expected).norm() / expected.norm())
