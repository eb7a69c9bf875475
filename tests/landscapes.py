"""Landscapes of a few parameters with known derivatives, as modules and losses; and dense per-sample Hessians by autograd."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from orograph.objective import Objective


class Landscape(nn.Module):
    """Hands out its only parameter, once a sample, so that the loss can be any function of it."""

    def __init__(self, theta: Tensor) -> None:
        super().__init__()
        self.theta = nn.Parameter(theta.clone())

    def forward(self, inputs: Tensor) -> Tensor:
        return self.theta.expand(len(inputs), -1)


def landscape(function, theta: Tensor, samples: int = 3) -> Objective:
    """An objective whose loss is `function(θ)` at every sample."""

    def loss(output: Tensor, target: Tensor) -> Tensor:
        return torch.func.vmap(function)(output)

    return Objective(Landscape(theta), loss, [(torch.zeros(samples, 1).to(theta), torch.zeros(samples).to(theta))])


def quadratic(hessian: Tensor, theta: Tensor, minimum: Tensor | None = None) -> Objective:
    """½(θ−m)ᵀH(θ−m)."""
    centre = theta if minimum is None else minimum
    return landscape(lambda point: (point - centre) @ hessian @ (point - centre) / 2, theta)


def symmetric(size: int, seed: int = 0, *, positive: bool = False) -> Tensor:
    """A random symmetric matrix, float64."""
    matrix = torch.randn(size, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return matrix @ matrix.T / size if positive else (matrix + matrix.T) / 2


def classifier(activation=nn.Tanh, *, count: int = 30, classes: int = 4, dtype=torch.float64) -> Objective:
    """A small MLP on made-up data."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 6), activation(), nn.Linear(6, classes)).to(dtype)
    inputs = torch.randn(count, 5, dtype=dtype)
    return Objective(model, F.cross_entropy, [(inputs, torch.randint(0, classes, (count,)))], memory=200_000)


def dense_hessians(objective: Objective, theta: Tensor) -> Tensor:
    """`(N, P, P)`, each sample's own, by torch.func.hessian."""
    inputs, targets = next(objective.batches(objective.count))
    rows = [
        torch.func.hessian(lambda point, n=n: objective.losses(point, inputs[n : n + 1], targets[n : n + 1])[0])(theta)
        for n in range(objective.count)
    ]
    return torch.stack(rows)
