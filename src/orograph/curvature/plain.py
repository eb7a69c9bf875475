"""Products on plain autograd, by two routes, and a traced product held against them."""

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._pytree import tree_map

from orograph.curvature.formulas import Formula
from orograph.curvature.tracing.traced import Trace
from orograph.intake import Batch
from orograph.objective import Objective

FORWARD, REVERSE = "forward-over-reverse", "double-backward"


def multiplied(formula: Formula, route: str, objective: Objective, theta: Tensor, vector: Tensor, batch: Batch) -> Tensor:
    """The product of a batch on plain autograd."""
    with sdpa_kernel(SDPBackend.MATH):
        if route == FORWARD:
            return formula.forward(objective, theta, vector, *batch)[0].detach()
        return formula.reverse(objective, theta, vector, *batch).detach()


def check_product(
    trace: Trace,
    objective: Objective,
    formula: Formula,
    batch: Batch,
    models: int | None,
    reference: str = REVERSE,
    truth: Tensor | None = None,
) -> None:
    """Raises unless a traced product of a fixed random tangent agrees with one on plain autograd.

    Where rounding alone parts the two (cancellation in float32), float64 decides. Of a cohort, made up for the purpose, the
    first and the last member are checked. `truth` is the product with `tangent(θ)` on plain autograd, where it is known.
    """
    theta = objective.theta
    vector = tangent(theta)
    members = torch.arange(models or 1, dtype=theta.dtype, device=theta.device)[:, None]
    points, vectors = theta * (1 + 0.1 * members), vector.repeat(len(members), 1)
    with torch.no_grad():
        values, given = trace.at(points if models else theta), trace.batch(batch)
        total = torch.zeros_like(vectors if models else vector)
        _, residuals = trace.evaluate(values, given, torch.zeros_like(total))
        trace.multiply(total, values | given | residuals | trace.direction(values, vectors if models else vector))
    products = total if models else total[None]
    for member in {0, len(members) - 1}:
        place = points[member]
        known = truth if member == 0 else None
        expected = multiplied(formula, reference, objective, place, vector, batch) if known is None else known
        if agree(products[member], expected):
            continue
        exact = objective.to(torch.float64)
        doubled = tree_map(lambda x: x.double() if isinstance(x, Tensor) and x.is_floating_point() else x, batch)
        truth = multiplied(formula, reference, exact, place.double(), vector.double(), doubled)
        if not (products[member].double() - truth).norm() <= 10 * (expected.double() - truth).norm():
            raise RuntimeError(f"the first traced product differs from its {reference} check.")


def tangent(theta: Tensor) -> Tensor:
    """A fixed random vector `(P,)`, for products that are held against one another."""
    return torch.randn(theta.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(theta)


def agree(product: Tensor, expected: Tensor) -> bool:
    """Whether two products differ by no more than rounding: half of the digits agree."""
    tolerance = torch.finfo(product.dtype).eps ** 0.5
    return bool((product - expected).norm() <= tolerance * expected.norm())


def sentence(error: Exception) -> str:
    """The type and first line of what torch, or a test, said."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else 'no message'}"
