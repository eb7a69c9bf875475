"""Whether a function bends at a point itself, where no second derivative is: by differences to both sides of it.

Of f smooth at 0, [f(h) + f(−h) − 2f(0)]/h is proportional to h. Where f has a kink (a ReLU of zeros, a norm at zero, ties of a
maximum) it is the difference of the slopes to both sides, however short the step.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

Along = Callable[[float], Float[Tensor, "*n"]]  # a number or a vector at so many steps along a line


def bends(function: Along, steps: tuple[float, float], rounding: float) -> bool:
    """Whether the slopes to both sides differ, at a short step by as much as at a long one.

    Args:
        function: of the way along a line.
        steps: the long one and the short one.
        rounding: what of a value is rounding.

    Returns:
        Whether there is a kink at 0.
    """
    here = function(0.0)
    long, short = (torch.linalg.vector_norm(function(h) + function(-h) - 2 * here).item() / h for h in steps)
    return short > 0.5 * long and short > 10 * rounding / steps[1]


def leap(function: Along, steps: tuple[float, float]) -> Float[Tensor, "*n"] | None:
    """By how much a function jumps at 0; None where it does not: where the jump shrinks with the step.

    Args:
        function: of the way along a line.
        steps: the long one and the short one.

    Returns:
        The value right of 0 less that left of it.
    """
    long, short = (function(h) - function(-h) for h in steps)
    return short if torch.linalg.vector_norm(short) > 0.5 * torch.linalg.vector_norm(long) else None
