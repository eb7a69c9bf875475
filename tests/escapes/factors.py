"""A linear network of three factors of one unit whose samples scatter: known minima and saddles, and noise in their gradients."""

import torch
from torch import Tensor, nn

SIGMA = 0.5
SCATTER = 1.5


def three_factors() -> nn.Module:
    """u⁴ − σu + 2λ = 0 where all are u; the minimum and the saddle meet at λ = 0.09375."""
    return nn.Sequential(*[nn.Linear(1, 1, bias=False) for _ in range(3)]).double()


def scattered() -> dict[str, tuple[Tensor, Tensor]]:
    """Inputs 1, targets σ ± s: L is that of one sample with target σ, and s²/2 more."""
    targets = SIGMA + SCATTER * torch.tensor([[1.0], [-1.0]]).double()
    return {"train": (torch.ones(2, 1).double(), targets)}


def half_squared(outputs: Tensor, targets: Tensor) -> Tensor:
    """½(y − f(x))² of each sample."""
    return 0.5 * (outputs - targets).square().sum(1)
