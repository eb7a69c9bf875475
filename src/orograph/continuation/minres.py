"""MINRES: symmetric systems that may be indefinite or singular, by the shortest residual over a Krylov space (Paige & Saunders
1975, "Solution of sparse indefinite systems of linear equations").

Scalars are in float64, vectors as they come and where they lie. A singular system is solved as far as its right side allows.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

_ROUNDING = 100  # a pivot of so many units in the last place of the largest is zero


@dataclass(frozen=True, eq=False)
class Solution:
    """What MINRES found.

    Attributes:
        vector: `(n,)`, x.
        residual: ‖b − Kx‖ by the recursion.
        products: matrix–vector products spent.
    """

    vector: Float[Tensor, " n"]
    residual: float
    products: int


def minres(product: Callable[[Tensor], Tensor], right: Float[Tensor, " n"], *, tolerance: float, max_products: int) -> Solution:
    """x with ‖b − Kx‖ ≤ tolerance, or the shortest residual that so many products reach.

    Args:
        product: `v ↦ Kv`, K symmetric.
        right: b, `(n,)`.
        tolerance: of the residual, absolute: at a singular K a relative one need never be met.
        max_products: products to spend at most.

    Returns:
        x `(n,)` of smallest norm among equals, its residual, the products spent.
    """
    solution = torch.zeros_like(right)
    residual = coupling = right.double().norm().item()
    if residual <= tolerance:
        return Solution(solution, residual, 0)
    previous, vector = torch.zeros_like(right), right / residual
    older, old = torch.zeros_like(right), torch.zeros_like(right)  # directions of the last two steps
    cosines, sines = (1.0, 1.0), (0.0, 0.0)
    signed, coupling, products, largest = residual, 0.0, 0, 0.0
    while abs(signed) > tolerance and products < max_products:
        following = product(vector)
        products += 1
        diagonal = torch.dot(vector, following).item()
        following = following - diagonal * vector - coupling * previous
        following_coupling = following.double().norm().item()
        # the column of the tridiagonal matrix, turned by the last two rotations, and its own
        below = cosines[1] * diagonal - cosines[0] * sines[1] * coupling
        length = math.hypot(below, following_coupling)
        largest = max(largest, length)
        if length <= _ROUNDING * torch.finfo(right.dtype).eps * largest:  # the rest of b lies in the kernel
            break
        above = sines[1] * diagonal + cosines[0] * cosines[1] * coupling
        direction = (vector - (sines[0] * coupling) * older - above * old) / length
        cosine, sine = below / length, following_coupling / length
        solution = solution + (cosine * signed) * direction
        signed *= -sine
        older, old = old, direction
        cosines, sines = (cosines[1], cosine), (sines[1], sine)
        if following_coupling <= _ROUNDING * torch.finfo(right.dtype).eps * largest:
            break
        previous, vector, coupling = vector, following / following_coupling, following_coupling
    return Solution(solution, abs(signed), products)
