"""Derivatives of every sample's loss along a direction: d/dt and d²/dt² of ℓ_n(θ+tv) at t = 0, all samples at once.

With z(t) the outputs along the line, jvp of jvp gives ż and z̈, and

    d²ℓ/dt² = żᵀ ∇²ℓ(z) ż + ∇ℓ(z)·z̈,

whose first term is the Gauss–Newton part vᵀG_n v and whose second is vᵀ(H_n − G_n)v (Schraudolph, 2002).

Like a curvature product this is traced once for a block of directions and a chunk of samples: jvp of jvp computes twice what both
tangents share, and once for each direction what depends on none; the simplified trace takes a third of the time.

Many losses and recurrent layers have no derivative of a derivative in forward mode. Where it is missing, or differs on a few
samples, three passes of reverse mode give the same for one direction at a time: Σ w_n ℓ_n(θ+tv) is linear in the weights w,
and so are its derivatives by t, whose gradients by w are those of each sample.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.fx import GraphModule
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._pytree import tree_leaves

from orograph.arguments import checked
from orograph.boundary import explained
from orograph.brief import brief
from orograph.curvature.chunks import even_length
from orograph.curvature.formulas import Formula, push
from orograph.curvature.plain import agree
from orograph.curvature.tracing.simplify import simplify
from orograph.curvature.tracing.traced import record
from orograph.curvature.tracing.widen import widen
from orograph.geometry.evaluation import CPU_BLOCK
from orograph.geometry.mapping import One, many
from orograph.intake import Batch, Inputs
from orograph.objective import Objective

WIDTH = 8  # directions in a block
_FEW = 2  # samples on which forward mode is tried
_NAME = "derivatives"
WORTH_TRACING = 12  # blocks: fewer take less time than tracing does

jvp: Any = torch.func.jvp  # typed for its rarest form

Values = tuple[Float[Tensor, " n"], Float[Tensor, " n"], Float[Tensor, " n"]]
Product = Callable[[Tensor, Tensor, Batch], tuple[Tensor, ...]]  # (θ, block `(b, P)`, batch) → tensors `(b, n)`


@brief
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

    whole = None if objective.readout.plain else objective.outputs(theta, inputs)
    others = [] if whole is None else objective.readout.read(whole)[1]

    def outputs(point: Tensor) -> list[Tensor]:
        return objective.readout.read(objective.outputs(point, inputs))[0]

    def loss(values: list[Tensor]) -> Tensor:
        return objective.output_losses(objective.readout.unread(whole, values, others), targets)

    def moving(function: Callable[[Any], Any], speed: Any) -> Callable[[Any], tuple[Any, Any]]:
        return lambda point: jvp(function, (point,), (speed,))

    (place, speed), (_, acceleration) = jvp(moving(outputs, direction), (theta,), (direction,))
    (_, slope), (_, quadratic) = jvp(moving(loss, speed), (place,), (speed,))
    return slope, quadratic + jvp(loss, (place,), (acceleration,))[1], quadratic


def along_by_reverse(objective: Objective, theta: Tensor, direction: Tensor, inputs: Inputs, targets: Tensor) -> Values:
    """The same by reverse mode alone."""
    with torch.enable_grad():
        slope, curvature = _along_line(lambda t: objective.losses(theta + t * direction, inputs, targets), theta)
        t = torch.zeros_like(theta[0], requires_grad=True)
        whole = objective.outputs(theta + t * direction, inputs)
        place, others = objective.readout.read(whole)
        speed = [push(each, t, torch.ones_like(t)).detach() for each in place]
        place, others = [each.detach() for each in place], [each.detach() for each in others]

        def loss(t: Tensor) -> Tensor:
            moved = [z + t * way for z, way in zip(place, speed, strict=True)]
            return objective.output_losses(objective.readout.unread(whole, moved, others), targets)

        return slope, curvature, _along_line(loss, theta)[1]


def _along_line(function: Callable[[Tensor], Tensor], theta: Tensor) -> tuple[Tensor, Tensor]:
    """First and second derivative by t, at 0, of each of the values of a function of one number."""
    t = torch.zeros_like(theta[0], requires_grad=True)
    values = function(t)
    weights = torch.ones_like(values, requires_grad=True)
    found, total = [], (values * weights).sum()
    for _ in range(2):
        (total,) = torch.autograd.grad(total, t, create_graph=True, materialize_grads=True)
        if not total.requires_grad:  # the function is linear
            found.append(torch.zeros_like(values))
            total = total + 0 * t
        else:
            found.append(torch.autograd.grad(total, weights, retain_graph=True, materialize_grads=True)[0].detach())
    return found[0], found[1]


@checked
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
    said = "the derivatives of each sample cannot be computed"
    # The fused attentions have no forward derivative.
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), explained(objective.model, said):
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

    def slope(batch: Batch) -> One:
        return lambda direction: (jvp(lambda point: objective.losses(point, *batch), (theta,), (direction,))[1],)

    def by_reverse(batch: Batch) -> One:
        def one(direction: Tensor) -> tuple[Tensor]:
            with torch.enable_grad():
                return (_along_line(lambda t: objective.losses(theta + t * direction, *batch), theta)[0],)

        return one

    def trial() -> Any:
        few = next(objective.batches(_FEW))
        return slope(few), by_reverse(few), (directions[:2],)

    rows, said = [], "the slopes of each sample cannot be computed"
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), explained(objective.model, said):
        for block in directions.split(WIDTH):
            chunks = [
                many(objective, "slopes", slope(batch), (block,), trial, by_reverse(batch))[0].double()
                for batch in objective.batches(_length(objective))
            ]
            rows.append(torch.cat(chunks, dim=1))
    return torch.cat(rows)


def _eager(objective: Objective) -> Product:
    def product(theta: Tensor, block: Tensor, batch: Batch) -> tuple[Tensor, ...]:
        def of(way: Callable[..., Values], batch: Batch) -> One:
            return lambda direction: way(objective, theta, direction, *batch)

        def trial() -> Any:
            few = next(objective.batches(_FEW))
            return of(along, few), of(along_by_reverse, few), (block[:2],)

        return many(objective, _NAME, of(along, batch), (block,), trial, of(along_by_reverse, batch))

    return product


def _product(objective: Objective, theta: Tensor, block: Tensor, batch: Batch) -> Product:
    """The traced product for blocks of this shape; the untraced one where a trace fails or differs from it."""
    known: dict[tuple[str, int, int], Product] = objective.traces
    key = ("samples", len(block), len(batch[1]))
    if key not in known:
        known[key] = _eager(objective)
        expected = known[key](theta, block, batch)
        if not objective.traces["mapped", _NAME]:
            return known[key]
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
