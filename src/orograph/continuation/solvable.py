"""Networks whose critical points are known in closed form: what `orograph verify` holds runs against.

Deep linear networks with the loss ½‖y − f(x)‖² a sample on whitened inputs, whose input–output correlation has singular values
σ, around θ_ref = 0. Mode by mode (Saxe, McClelland & Ganguli 2014, "Exact solutions to the nonlinear dynamics of learning in deep
linear neural networks", with the penalty λ‖θ‖² added):

- two factors: a mode's strength p = σ − 2λ vanishes continuously at λ = σ/2, where the origin has as many null modes as there are
  hidden units. A point in which the modes S are learnt has index Σ over i ∉ S with σ_i > 2λ of (h − |S|) + #{j ∈ S: σ_j < σ_i}.
- three factors: p = u³ with u⁴ − σu + 2λ = 0, a fold at λ = ⅜σ(σ/4)^⅓, equal depth with the origin at ¼σ(σ/2)^⅓.
- a hidden layer of tanh units on centred data: the origin loses its stability at λ = σ₁(YᵀX/N)/2.
- two tanh units that are equal, on two steps: they part where three equations in three unknowns are solved (`parting`).
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from scipy.optimize import fsolve
from torch import Tensor

from orograph.losses import half_squared
from orograph.models import build_model
from orograph.objective import Objective


def deep_linear(singular: Sequence[float], factors: int, width: int, strength: float, dtype: torch.dtype) -> Objective:
    """A deep linear network on whitened data with these correlations, at the origin.

    Args:
        singular: σ, as many as inputs and outputs.
        factors: how many matrices.
        width: of the hidden layers.
        strength: λ.
        dtype: of all.

    Returns:
        Its objective.
    """
    modes = len(singular)
    model = build_model("deep-linear", input_shape=(modes,), classes=modes, widths=(width,) * (factors - 1), init_seed=0)
    inputs = math.sqrt(modes) * torch.eye(modes, dtype=dtype)  # whitened: XᵀX/N = 1
    data = [(inputs, inputs * torch.tensor(list(singular), dtype=dtype))]
    objective = Objective(model.to(dtype), half_squared, data, strength=strength)
    return objective.moved(torch.zeros_like(objective.theta))


def learnt(objective: Objective, singular: Sequence[float], factors: int, modes: Sequence[int] | None = None) -> Objective:
    """The same at the critical point in which these modes are learnt, each in a hidden unit of its own.

    Args:
        objective: as `deep_linear` gives it.
        singular: σ.
        factors: two or three.
        modes: their numbers; all if not given.

    Returns:
        The objective there; a mode that has no such point at this λ is left out.
    """
    parts = {name: torch.zeros_like(part) for name, part in objective.layout.unflatten(objective.theta).items()}
    for unit, mode in enumerate(range(len(singular)) if modes is None else modes):
        size = largest_unit(singular[mode], factors, objective.strength)
        layers = list(parts.values())
        layers[0][unit, mode], layers[-1][mode, unit] = size, size
        for inner in layers[1:-1]:
            inner[unit, unit] = size
    return objective.moved(objective.layout.flatten(parts))


def largest_unit(sigma: float, factors: int, strength: float) -> float:
    """u with p = u^factors at the largest solution of a mode; 0 where there is none.

    Args:
        sigma: σ of the mode.
        factors: two or three.
        strength: λ.
    """
    if factors == 2:
        return math.sqrt(max(sigma - 2 * strength, 0.0))
    roots = np.roots([1, 0, 0, -sigma, 2 * strength])
    return float(max((root.real for root in roots if abs(root.imag) < 1e-9), default=0.0))


def fold_of_three(sigma: float) -> float:
    """λ at which a mode of three factors folds.

    Args:
        sigma: σ of the mode.
    """
    return 3 / 8 * sigma * (sigma / 4) ** (1 / 3)


def index_of(singular: Sequence[float], width: int, strength: float, modes: Sequence[int]) -> int:
    """The index of the critical point of two factors in which these modes are learnt.

    Args:
        singular: σ.
        width: h.
        strength: λ.
        modes: numbers of those that are learnt.
    """
    others = [sigma for number, sigma in enumerate(singular) if number not in modes and sigma > 2 * strength]
    return sum(width - len(modes) + sum(singular[mode] < sigma for mode in modes) for sigma in others)


def maxwell_of_three(sigma: float) -> float:
    """λ at which a mode of three factors is as deep as the origin.

    Args:
        sigma: σ of the mode.
    """
    return 1 / 4 * sigma * (sigma / 2) ** (1 / 3)


def distance_of(singular: Sequence[float], factors: int, strength: float) -> float:
    """q where every mode is learnt that can be.

    Args:
        singular: σ.
        factors: two or three.
        strength: λ.
    """
    return sum(factors * largest_unit(sigma, factors, strength) ** 2 for sigma in singular)


def strength_of_three(sigma: float, distance2: float) -> float:
    """λ of the critical point of one mode of three factors at which q is this, on either side of the fold.

    Args:
        sigma: σ of the mode.
        distance2: q = 3u².
    """
    unit = math.sqrt(distance2 / 3)
    return (sigma * unit - unit**4) / 2


def heights_of_three(sigma: float, strength: float) -> tuple[float, float]:
    """L_eff at the saddle of a mode of three factors, less that at the largest solution, and less that at the origin.

    Args:
        sigma: σ of the mode.
        strength: λ, below the fold.
    """
    roots = (root.real for root in np.roots([1, 0, 0, -sigma, 2 * strength]) if abs(root.imag) < 1e-9)
    origin, saddle, learnt_ = (0.5 * (sigma - u**3) ** 2 + 3 * strength * u**2 for u in (0.0, *sorted(roots)[-2:]))
    return saddle - learnt_, saddle - origin


def two_steps() -> dict[str, tuple[Tensor, Tensor]]:
    """Data of two steps, for two tanh units: where λ is large they are equal, and each takes a step where it is small."""
    x = torch.linspace(-2, 2, 9, dtype=torch.float64)[:, None]
    return {"train": (x, torch.tanh(3 * (x - 1)) + torch.tanh(3 * (x + 1)))}


def merged_units(strength: float | None = None) -> tuple[float, float, float]:
    """Two equal tanh units u·tanh(wx) each on two steps: w, u and λ; where they part if λ is left open.

    Where both are alike, ∂L_eff/∂w = ∂L_eff/∂u = 0. They part where the second derivative in b₁ = −b₂, their biases, vanishes:
    mean (f − y)·u·tanh″(wx) + 2λ = 0, as f does not change to first order in that direction and others are of another parity.

    Args:
        strength: λ; None solves for it.
    """
    x, y = (part[:, 0].numpy() for part in two_steps()["train"])

    def equations(unknown: np.ndarray) -> list[float]:
        w, u, lam = unknown
        t = np.tanh(w * x)
        wrong, slope = 2 * u * t - y, 1 - t**2
        parted = (wrong * u * -2 * t * slope).mean() + 2 * lam if strength is None else lam - strength
        return [(wrong * t).mean() + 2 * lam * u, (wrong * u * x * slope).mean() + 2 * lam * w, parted]

    w, u, lam = fsolve(equations, [0.5, 1.2, 0.004 if strength is None else strength], xtol=1e-12)
    return float(w), float(u), float(lam)
