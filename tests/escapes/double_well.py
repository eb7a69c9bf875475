"""SGD in a double well whose noise is known: V(θ) = θ⁴/4 − θ²/2, and a term zθ with z = ±σ in each sample."""

import math

import numpy as np
import torch
from numpy import ndarray
from scipy import integrate, stats
from torch import Tensor, nn

from orograph.objective import Objective

SIGMA = 3.0
REFERENCE = -3.0  # θ_ref, far on the left: q = (θ + 3)² grows with θ


class Place(nn.Module):
    """Its one parameter is its output."""

    def __init__(self) -> None:
        super().__init__()
        self.place = nn.Parameter(torch.tensor([-1.0]))

    def forward(self, inputs: Tensor) -> Tensor:
        return self.place.expand(len(inputs))


def well(outputs: Tensor, targets: Tensor) -> Tensor:
    return outputs**4 / 4 - outputs**2 / 2 + targets * outputs


def objective(*, gaussian: bool = False) -> Objective:
    """Of two samples, z = ±σ; or of 1,000 whose z are the quantiles of a normal law of standard deviation σ."""
    quantiles = stats.norm.ppf((np.arange(1000) + 0.5) / 1000)
    kicks = quantiles / quantiles.std() if gaussian else np.array([1.0, -1.0])
    targets = torch.from_numpy(SIGMA * kicks)
    return Objective(
        Place().double(), well, (torch.zeros(len(targets), 1).double(), targets), anchor=torch.tensor([REFERENCE]).double()
    )


def q_of(place: float) -> float:
    return (place - REFERENCE) ** 2


def temperature(lr: float, batch_size: int) -> float:
    """T of dθ = −V′dt + √(2T) dW, whose noise over dt = η is that of a step: η²σ²/B = 2Tη."""
    return lr * SIGMA**2 / (2 * batch_size)


def kramers(at: float) -> float:
    """Eyring–Kramers: the mean time from one bottom to the other, 2π exp(ΔV/T)/√(V″(−1)|V″(0)|)."""
    return 2 * math.pi / math.sqrt(2) * math.exp(0.25 / at)


def langevin(at: float) -> float:
    """The exact mean time from −1 to 1: (1/T) ∫ exp(V/T) (∫ exp(−V/T))."""

    def potential(x: ndarray) -> ndarray:
        return x**4 / 4 - x**2 / 2

    grid = np.linspace(-3, 1, 20_001)
    inner = integrate.cumulative_trapezoid(np.exp(-potential(grid) / at), grid, initial=0)
    inside = grid >= -1
    return float(integrate.trapezoid(np.exp(potential(grid[inside]) / at) * inner[inside], grid[inside]) / at)


def discrete(lr: float, batch_size: int) -> float:
    """The exact mean number of steps, times η: (I − P)τ = 1 for the chain itself, whose kicks are binomial."""
    grid = np.linspace(-2.5, 1, 701)
    spacing = grid[1] - grid[0]
    kicks = lr * SIGMA * (2 * np.arange(batch_size + 1) - batch_size) / batch_size
    weights = stats.binom.pmf(np.arange(batch_size + 1), batch_size, 0.5)
    moves = np.zeros((len(grid), len(grid)))
    for kick, weight in zip(kicks, weights, strict=True):
        place = (grid - lr * (grid**3 - grid) + kick - grid[0]) / spacing
        low = np.floor(place).astype(int)
        for target, share in ((low, 1 - place + low), (low + 1, place - low)):  # linear between the points of the grid
            kept = (target < len(grid) - 1) & (grid - lr * (grid**3 - grid) + kick < 1)
            np.add.at(moves, (np.arange(len(grid))[kept], np.clip(target[kept], 0, None)), (weight * share)[kept])
    times = np.linalg.solve(np.eye(len(grid)) - moves, np.ones(len(grid)))
    return lr * float(np.interp(-1, grid, times))
