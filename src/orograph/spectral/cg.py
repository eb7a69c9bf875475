"""Conjugate gradients: (A + shift·I)x = b for a symmetric positive definite operator (Hestenes & Stiefel 1952).

Vectors are in the operator's dtype, scalars in float64. What is reported as residual comes from a true product, not from the
recursion, which drifts away from the truth in float32: where the two disagree the iteration starts again from the true
residual, as long as that gains anything.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from orograph.arguments import checked
from orograph.brief import brief
from orograph.curvature.counting import OnProduct, counter
from orograph.curvature.operator import LinearOperator, not_finite
from orograph.errors import ConfigurationError, DataError

_RESTART_GAIN = 0.5  # a restart must leave at most this share of the residual, or it was the last


@brief
@dataclass(frozen=True, eq=False)
class CGResult:
    """What conjugate gradients found.

    Attributes:
        solution: `(P,)`, x, in the operator's dtype.
        residual: ‖b − (A + shift·I)x‖ / ‖b‖ by a true product; 0 where b = 0.
        products: matrix–vector products spent, verification included.
        converged: the residual is within the tolerance.
        negative_curvature: a direction with pᵀ(A + shift·I)p ≤ 0 ended the iteration: the matrix is not positive definite, and
            `solution` is the last iterate before it.
    """

    solution: Float[Tensor, " P"]
    residual: float
    products: int
    converged: bool
    negative_curvature: bool


@checked
def conjugate_gradient(
    operator: LinearOperator,
    rhs: Float[Tensor, " P"],
    *,
    shift: float = 0.0,
    tolerance: float = 1e-6,
    max_products: int | None = None,
    on_product: OnProduct | None = None,
) -> CGResult:
    """Solve (A + shift·I)x = b, starting from zero.

    Hestenes & Stiefel (1952).

    Args:
        operator: A, symmetric.
        rhs: b, `(P,)`.
        shift: added to the diagonal.
        tolerance: of ‖b − (A + shift·I)x‖ / ‖b‖.
        max_products: stop after so many products, the verifying ones included (default 1000).
        on_product: called with "conjugate gradients" and the products so far; see `orograph.curvature.counting`.

    Returns:
        The solution `(P,)` with its verified residual, relative to ‖b‖.

    Raises:
        ConfigurationError: the tolerance or `max_products` is out of range, or the shape of b is not that of A.
        DataError: b or a product is not finite, or x or a step is too large for the operator's dtype.

    Examples:
        >>> import torch, orograph as og
        >>> matrix = og.MatrixOperator(torch.diag(torch.tensor([1.0, 3.0])))
        >>> og.conjugate_gradient(matrix, torch.tensor([2.0, 4.0]), shift=1.0).solution.round(decimals=3)
        tensor([1., 1.])
    """
    limit = 1000 if max_products is None else max_products
    if not 0 < tolerance < 1:
        raise ConfigurationError(f"`tolerance` {tolerance} must lie between 0 and 1.")
    if limit < 2:
        raise ConfigurationError(f"`max_products` {limit} must be at least 2, one to step and one to verify.")
    operator.examine()
    products, tell = 0, counter(on_product, "conjugate gradients")

    def multiply(vector: Tensor) -> Tensor:
        nonlocal products
        result = (operator @ vector) + shift * vector
        products += 1
        tell(products)
        return result

    rhs = rhs.to(operator.device, operator.dtype)
    size = math.sqrt(_dot(rhs, rhs))
    if not math.isfinite(size):
        raise DataError(
            "the right-hand side of conjugate gradients is not finite; look for NaN or infinity in what it was computed from."
        )
    solution, residual = torch.zeros_like(rhs), rhs.clone()
    true, negative = size, False
    while true > tolerance * size and not negative and products + 2 <= limit:
        before = true
        solution, negative = _descend(multiply, solution, residual, tolerance * size, limit - products - 1)
        if solution.isinf().any():
            raise _too_large(solution.dtype)
        residual = rhs - multiply(solution)
        true = math.sqrt(_dot(residual, residual))
        if not math.isfinite(true):
            raise not_finite(operator, products)
        if true > _RESTART_GAIN * before:
            break  # as good as the operator's rounding allows
    relative = true / size if size > 0 else 0.0
    return CGResult(solution, relative, products, relative <= tolerance, negative)


def _descend(
    multiply: Callable[[Tensor], Tensor], solution: Float[Tensor, " P"], residual: Float[Tensor, " P"], target: float, steps: int
) -> tuple[Float[Tensor, " P"], bool]:
    """At most so many steps, until the residual of the recursion is at the target; and whether negative curvature ended them."""
    solution, residual = solution.clone(), residual.clone()
    direction, squared = residual.clone(), _dot(residual, residual)
    for _ in range(steps):
        product = multiply(direction)
        curvature = _dot(direction, product)
        if curvature <= 0:
            return solution, True
        length = squared / curvature
        if length > torch.finfo(solution.dtype).max:
            raise _too_large(solution.dtype)
        solution.add_(direction, alpha=length)
        residual.sub_(product, alpha=length)
        before, squared = squared, _dot(residual, residual)
        if not math.sqrt(squared) > target:  # a NaN ends it too
            break
        direction.mul_(squared / before).add_(residual)
    return solution, False


def _too_large(dtype: torch.dtype) -> DataError:
    kind = str(dtype).removeprefix("torch.")
    return DataError(
        f"a step of conjugate gradients, or the solution, is larger than the largest {kind}, {torch.finfo(dtype).max:.2g}: the "
        "matrix is almost 0; give a larger shift, a matrix and right-hand side in larger units, or an operator in float64."
    )


def _dot(left: Float[Tensor, " P"], right: Float[Tensor, " P"]) -> float:
    return float(left.double() @ right.double())
