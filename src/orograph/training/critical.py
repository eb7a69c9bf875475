"""Critical sharpness: the curvature that an update meets, by a handful of forward passes and no derivative.

λ_c = 2/lr_c, where lr_c is the smallest learning rate at which the update raises the loss, L(θ − lr_c·Δ) > L(θ) (Kalra et al.,
arXiv 2601.16979). On a quadratic λ_c = ΔᵀHΔ/(gᵀΔ) with the gradient g: of gradient descent the curvature along g, which is λ_max
where g is its eigenvector; training is unstable from lr > 2/λ_c on.

lr_c is enclosed by doubling or halving, the enclosure is bisected on a logarithmic scale, and the last of it interpolated: the
mean slope (L(θ − lr·Δ) − L(θ))/lr, whose root lr_c is, is linear in lr on a quadratic.
"""

import math
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from orograph.arguments import checked
from orograph.brief import brief
from orograph.errors import ConfigurationError
from orograph.objective import Objective

_BISECTIONS = 3  # the enclosure is then 9 % wide: what is not quadratic of the slope bends by less than a percent in it


@brief
@dataclass(frozen=True)
class CriticalSharpness:
    """What was found along one update.

    Attributes:
        value: λ_c; NaN where no learning rate that was tried raises the loss, or all do.
        lr: the critical learning rate 2/λ_c, likewise.
        passes: evaluations of the loss.

    Examples:
        >>> import torch, orograph as og
        >>> objective = og.Objective(torch.nn.Linear(3, 1), torch.nn.MSELoss(), [(torch.randn(9, 3), torch.randn(9, 1))])
        >>> og.training.critical_sharpness(objective, objective.theta, objective.gradient(objective.theta)).passes < 10
        True
    """

    value: float
    lr: float
    passes: int


@checked
def critical_sharpness(
    objective: Objective,
    theta: Float[Tensor, " P"],
    update: Float[Tensor, " P"],
    *,
    guess: float = 1.0,
    passes: int = 20,
) -> CriticalSharpness:
    """Twice the inverse of the smallest learning rate at which an update raises the loss.

    Args:
        objective: its L, without the penalty, is the loss.
        theta: θ, `(P,)`, where the update begins.
        update: Δ, `(P,)`: the step is −lr·Δ, so that for gradient descent Δ is the gradient.
        guess: the learning rate that is tried first; near the critical one, fewer than ten passes suffice.
        passes: evaluations of the loss at most.

    Returns:
        λ_c, the critical learning rate, and what they cost.

    Raises:
        ConfigurationError: the update is not of θ's length, or the guess is not positive.

    Examples:
        >>> import torch, orograph as og
        >>> objective = og.Objective(torch.nn.Linear(3, 1), torch.nn.MSELoss(), [(torch.randn(9, 3), torch.randn(9, 1))])
        >>> found = og.critical_sharpness(objective, objective.theta, objective.gradient(objective.theta))
        >>> 0 < found.value <= 1.01 * og.lanczos(og.HessianOperator.of(objective), 1, which="LA").eigenvalues[0]
        tensor(True)
    """
    if not (math.isfinite(guess) and guess > 0):
        raise ConfigurationError(f"`guess` {guess} must be a positive learning rate.")
    spent, before = 1, objective.loss(theta)

    def slope(lr: float) -> float:
        nonlocal spent
        spent += 1
        return (objective.loss(theta - lr * update) - before) / lr

    def raised(value: float) -> bool:
        return not value <= 0  # what overflows too

    lr, at = guess, slope(guess)
    up = not raised(at)
    enclosed = False
    while spent < passes and not enclosed:
        further = lr * 2 if up else lr / 2
        value = slope(further)
        enclosed = raised(value) == up
        (low, low_at, high, high_at) = (lr, at, further, value) if up else (further, value, lr, at)
        lr, at = further, value
    if not enclosed:
        return CriticalSharpness(math.nan, math.nan, spent)
    for _ in range(min(_BISECTIONS, passes - spent)):
        middle = math.sqrt(low * high)
        value = slope(middle)
        if raised(value):
            high, high_at = middle, value
        else:
            low, low_at = middle, value
    share = -low_at / (high_at - low_at) if math.isfinite(high_at) and high_at > low_at else 0.5
    critical = low + share * (high - low)
    return CriticalSharpness(2 / critical, critical, spent)
