"""Deep linear networks on whitened data, whose critical points are known: ½‖y − f(x)‖² a sample, correlations diag(σ).

With θ_ref = 0 and all layers equal on the diagonal, mode by mode: two factors p = u² = σ − 2λ; three factors u⁴ − σu + 2λ = 0.
"""

import itertools
import math

import numpy as np
import torch
from torch import Tensor, nn

import orograph as og


class DeepLinear(nn.Module):
    def __init__(self, modes: int, width: int, factors: int) -> None:
        super().__init__()
        sizes = [modes, *[width] * (factors - 1), modes]
        self.layers = nn.ModuleList(nn.Linear(a, b, bias=False) for a, b in itertools.pairwise(sizes))

    def forward(self, inputs: Tensor) -> Tensor:
        for layer in self.layers:
            inputs = layer(inputs)
        return inputs


def squared(output: Tensor, target: Tensor) -> Tensor:
    return 0.5 * (output - target).square().sum(1)


def objective(
    singular: list[float], factors: int, width: int, strength: float, dtype: torch.dtype = torch.float64
) -> og.Objective:
    """At the origin."""
    model = DeepLinear(len(singular), width, factors).to(dtype)
    inputs = torch.eye(len(singular), dtype=dtype) * math.sqrt(len(singular))
    found = og.Objective(model, squared, [(inputs, inputs * torch.tensor(singular, dtype=dtype))], strength=strength)
    return found.moved(torch.zeros_like(found.theta))


def unit(sigma: float, factors: int, strength: float) -> float:
    """The largest u of a mode."""
    if factors == 2:
        return math.sqrt(max(sigma - 2 * strength, 0.0))
    roots = np.roots([1, 0, 0, -sigma, 2 * strength])
    return float(max(root.real for root in roots if abs(root.imag) < 1e-12))


def fitted(problem: og.Objective, singular: list[float], factors: int, strength: float) -> og.Objective:
    """At the minimum in which every mode is learnt."""
    parts = {name: torch.zeros_like(part) for name, part in problem.layout.unflatten(problem.theta).items()}
    for number, sigma in enumerate(singular):
        for part in parts.values():
            part[number, number] = unit(sigma, factors, strength)
    return problem.moved(problem.layout.flatten(parts))


def rotations(problem: og.Objective):
    names = list(problem.layout.unflatten(problem.theta))
    return lambda theta: og.layer_rotations(problem.layout, theta, names)
