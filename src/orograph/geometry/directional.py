"""Derivatives of every sample's loss along a direction: d/dt and d²/dt² of ℓ_n(θ+tv) at t = 0, all samples at once.

With z(t) the outputs along the line, jvp of jvp gives ż and z̈, and

    d²ℓ/dt² = żᵀ ∇²ℓ(z) ż + ∇ℓ(z)·z̈,

whose first term is the Gauss–Newton part vᵀG_n v and whose second is vᵀ(H_n − G_n)v (Schraudolph, 2002).

Like a curvature product this is traced once for a block of directions and a chunk of samples: jvp of jvp computes twice what both
tangents share, and once for each direction what depends on none; the simplified trace takes a third of the time.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import vmap
from torch.fx import GraphModule
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._pytree import tree_leaves

from orograph.curvature.chunks import even_length
from orograph.curvature.engine import agree
from orograph.curvature.formulas import Formula
from orograph.curvature.tracing.simplify import simplify
from orograph.curvature.tracing.traced import record
from orograph.curvature.tracing.widen import widen
from orograph.geometry.evaluation import CPU_BLOCK
from orograph.objective import Batch, Inputs, Objective

WIDTH = 8  # directions in a block
WORTH_TRACING = 12  # blocks: fewer take less time than tracing does

jvp: Any = torch.func.jvp  # typed for its rarest form

Values = tuple[Float[Tensor, " n"], Float[Tensor, " n"], Float[Tensor, " n"]]
Product = Callable[[Tensor, Tensor, Batch], tuple[Tensor, ...]]  # (θ, block `(b, P)`, batch) → tensors `(b, n)`


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


def along(objective: Objective, theta: Tensor, direction: Tensor, inputs: Inputs, targets: Tensor) -> Values:
    """Slope, curvature and Gauss–Newton curvature of each sample of a batch along one direction."""

    def outputs(point: Tensor) -> Tensor:
        return objective.outputs(point, inputs)

    def loss(values: Tensor) -> Tensor:
        return objective.output_losses(values, targets)

    def moving(function: Callable[[Tensor], Tensor], speed: Tensor) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
        return lambda point: jvp(function, (point,), (speed,))

    (place, speed), (_, acceleration) = jvp(moving(outputs, direction), (theta,), (direction,))
    (_, slope), (_, quadratic) = jvp(moving(loss, speed), (place,), (speed,))
    return slope, quadratic + jvp(loss, (place,), (acceleration,))[1], quadratic


def sample_derivatives(objective: Objective, theta: Float[Tensor, " P"], directions: Float[Tensor, "k P"]) -> SampleDerivatives:
    """First and second derivatives of every sample's loss along each direction, exactly.

    Args:
        objective: loss and data.
        theta: `(P,)`, where.
        directions: `(k, P)`, one v a row.

    Returns:
        Slopes, curvatures and their Gauss–Newton part, `(k, N)` each, in the loss's unit.

    Raises:
        ConfigurationError: the loss only gives a mean.
    """
    objective.require_samples("per-sample results need")
    length = _length(objective)
    blocks = -(-len(directions) // WIDTH) * -(-objective.count // length)
    found = torch.empty(3, len(directions), objective.count, dtype=torch.float64, device=objective.device)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH):  # the fused attentions have no forward derivative
        for first in range(0, len(directions), WIDTH):
            block = directions[first : first + WIDTH]
            start = 0
            for batch in objective.batches(length):
                stop = start + len(batch[1])
                product = _product(objective, theta, block, batch) if blocks >= WORTH_TRACING else _eager(objective)
                for row, values in zip(found, product(theta, block, batch), strict=True):
                    row[first : first + len(block), start:stop] = values
                start = stop
    return SampleDerivatives(*found)


def sample_slopes(objective: Objective, theta: Float[Tensor, " P"], directions: Float[Tensor, "k P"]) -> Float[Tensor, "k N"]:
    """vᵀ∇ℓ_n of every sample and direction, float64.

    Raises:
        ConfigurationError: the loss only gives a mean.
    """
    objective.require_samples("per-sample results need")

    def slope(direction: Tensor, inputs: Inputs, targets: Tensor) -> Tensor:
        return jvp(lambda point: objective.losses(point, inputs, targets), (theta,), (direction,))[1]

    mapped = vmap(slope, in_dims=(0, None, None), randomness="error")
    rows = []
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        for block in directions.split(WIDTH):
            chunks = [mapped(block, *batch).double() for batch in objective.batches(_length(objective))]
            rows.append(torch.cat(chunks, dim=1))
    return torch.cat(rows)


def _eager(objective: Objective) -> Product:
    mapped = vmap(along, in_dims=(None, None, 0, None, None), randomness="error")
    return lambda theta, block, batch: mapped(objective, theta, block, *batch)


def _product(objective: Objective, theta: Tensor, block: Tensor, batch: Batch) -> Product:
    """The traced product for blocks of this shape; the untraced one where a trace fails or differs from it."""
    known: dict[tuple[str, int, int], Product] = objective.traces
    key = ("samples", len(block), len(batch[1]))
    if key not in known:
        known[key] = _eager(objective)
        expected = known[key](theta, block, batch)
        try:
            product = _trace(objective, batch, len(block))
            if all(map(agree, product(theta, block, batch), expected)):
                known[key] = product
        except Exception:  # whatever a tracer may raise on a model it cannot follow
            pass
    return known[key]


def _trace(objective: Objective, batch: Batch, width: int) -> Product:
    graph, attributes = record(objective, Formula("derivatives of each sample", along, lambda *_: torch.empty(0)), batch)
    before = len(attributes)
    after = sum(node.op == "placeholder" for node in graph.nodes) - before - 2
    wide = widen(graph, [False] * before + [False, True] + [False] * after, width)
    simplify(wide)
    module = GraphModule({}, wide)

    def product(theta: Tensor, block: Tensor, batch: Batch) -> tuple[Tensor, ...]:
        tensors = [leaf for leaf in tree_leaves(batch) if isinstance(leaf, Tensor)]
        return tuple(module(*attributes.values(), theta, block, *constants, *tensors))

    constants = list(objective.constants.values())
    return product


def _length(objective: Objective) -> int:
    """Samples in a chunk: with a block of directions they fill a CPU's cache, or a quarter of an accelerator's budget."""
    budget = min(CPU_BLOCK, objective.memory) if objective.device.type == "cpu" else objective.memory // 4
    return even_length(objective.count, max(1, budget // (WIDTH * objective.activation_bytes())))
