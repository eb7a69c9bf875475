"""Derivatives of every sample's loss along a direction: d/dt and d²/dt² of ℓ_n(θ+tv) at t = 0, all samples at once.

With z(t) the outputs along the line, jvp of jvp gives ż and z̈, and

    d²ℓ/dt² = żᵀ ∇²ℓ(z) ż + ∇ℓ(z)·z̈,

whose first term is the Gauss–Newton part vᵀG_n v and whose second is vᵀ(H_n − G_n)v (Schraudolph, 2002).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from orograph.errors import ConfigurationError
from orograph.geometry.evaluate import block_of
from orograph.objective import Inputs, Objective

jvp: Any = torch.func.jvp  # typed for its rarest form


@dataclass(frozen=True)
class SampleDerivatives:
    """Derivatives of each sample's loss along k directions.

    Attributes:
        slopes: `(k, N)` float64, vᵀ∇ℓ_n.
        curvatures: `(k, N)` float64, vᵀH_n v.
        gauss_newton: `(k, N)` float64, vᵀG_n v.
    """

    slopes: Float[Tensor, "k N"]
    curvatures: Float[Tensor, "k N"]
    gauss_newton: Float[Tensor, "k N"]


def sample_derivatives(objective: Objective, theta: Float[Tensor, " P"], directions: Float[Tensor, "k P"]) -> SampleDerivatives:
    """First and second derivatives of every sample's loss along each direction, exactly.

    Raises:
        ConfigurationError: the loss only gives a mean.
    """

    def along(direction: Tensor, inputs: Inputs, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        def outputs(point: Tensor) -> Tensor:
            return objective.outputs(point, inputs)

        def first(point: Tensor) -> tuple[Tensor, Tensor]:
            return jvp(outputs, (point,), (direction,))

        def loss(values: Tensor) -> Tensor:
            return objective.output_losses(values, targets)

        (place, speed), (_, acceleration) = jvp(first, (theta,), (direction,))
        (_, slope), (_, quadratic) = jvp(lambda z: jvp(loss, (z,), (speed,)), (place,), (speed,))
        return slope, quadratic + jvp(loss, (place,), (acceleration,))[1], quadratic

    return SampleDerivatives(*_mapped(objective, along, directions, results=3))


def sample_slopes(objective: Objective, theta: Float[Tensor, " P"], directions: Float[Tensor, "k P"]) -> Float[Tensor, "k N"]:
    """vᵀ∇ℓ_n of every sample and direction, float64.

    Raises:
        ConfigurationError: the loss only gives a mean.
    """

    def along(direction: Tensor, inputs: Inputs, targets: Tensor) -> tuple[Tensor]:
        return (jvp(lambda point: objective.losses(point, inputs, targets), (theta,), (direction,))[1],)

    return _mapped(objective, along, directions, results=1)[0]


def _mapped(
    objective: Objective, along: Callable[..., tuple[Tensor, ...]], directions: Float[Tensor, "k P"], results: int
) -> Float[Tensor, "results k N"]:
    """`along` for blocks of directions and samples."""
    if not objective.per_sample:
        raise ConfigurationError("this loss gives only a mean; per-sample results need one value per sample.")
    mapped = vmap(along, in_dims=(0, None, None), randomness="error")
    group, length = block_of(objective, len(directions))
    found = torch.empty(results, len(directions), objective.count, dtype=torch.float64, device=objective.device)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH):  # the fused attentions have no forward derivative
        for first in range(0, len(directions), group):
            part = slice(first, first + group)
            start = 0
            for inputs, targets in objective.batches(length):
                values = mapped(directions[part], inputs, targets)
                found[:, part, start : start + len(targets)] = torch.stack([each.double() for each in values])
                start += len(targets)
    return found
