"""Linear networks of two and three factors without biases on whitened data with known correlations, by names."""

import math

import torch
from torch import Tensor, nn

from orograph.objective import Objective


def three_factors() -> nn.Module:
    """One unit a layer: u⁴ − σu + 2λ = 0, which folds at λ = 0.09375 for σ = 0.5."""
    return nn.Sequential(*[nn.Linear(1, 1, bias=False) for _ in range(3)]).double()


def two_factors() -> nn.Module:
    """Two modes and one hidden unit."""
    return nn.Sequential(nn.Linear(2, 1, bias=False), nn.Linear(1, 2, bias=False)).double()


def kinked() -> nn.Module:
    """Not twice differentiable."""
    return nn.Sequential(nn.Linear(1, 1), nn.ReLU(), nn.Linear(1, 1)).double()


def one_mode() -> dict[str, tuple[Tensor, Tensor]]:
    """σ = 0.5."""
    return {"train": (torch.ones(1, 1).double(), torch.full((1, 1), 0.5).double())}


def two_modes() -> dict[str, tuple[Tensor, Tensor]]:
    """σ = 1.2 and 0.5."""
    inputs = torch.eye(2).double() * math.sqrt(2)
    return {"train": (inputs, inputs * torch.tensor([1.2, 0.5], dtype=torch.float64))}


def half_squared(outputs: Tensor, targets: Tensor) -> Tensor:
    """½‖y − f(x)‖² of each sample."""
    return 0.5 * (outputs - targets).square().sum(1)


def checkpoint(path: str, values: list[float], make: object = three_factors) -> str:
    """A state dict with these parameters, and its path."""
    model = make()  # type: ignore[operator]
    data = two_modes() if make is two_factors else one_mode()
    objective = Objective(model, half_squared, data["train"])
    torch.save(objective.layout.unflatten(torch.tensor(values).double()), path)
    return path
