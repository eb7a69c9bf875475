"""The λ at which two branches have equal L_eff: there the global minimum passes from one to the other.

dL_eff/dλ = q on a branch, so that Newton's iteration on the difference of two needs no more than what each has at hand.
"""

import math
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from orograph.arguments import checked
from orograph.continuation.follower import ITERATIONS, Follower
from orograph.errors import ConfigurationError
from orograph.objective import Objective


@dataclass(frozen=True, eq=False)
class Maxwell:
    """Where two branches have equal L_eff.

    Attributes:
        strength: λ.
        objective: L_eff of both.
        one: `(P,)`, θ on the first branch.
        other: `(P,)`, on the second.
        latent: q of the first minus q of the second: by how much dL_eff/dλ of the global minimum jumps.
    """

    strength: float
    objective: float
    one: Float[Tensor, " P"]
    other: Float[Tensor, " P"]
    latent: float


@checked
def maxwell(objective: Objective, one: Float[Tensor, " P"], other: Float[Tensor, " P"], *, tolerance: float = 1e-9) -> Maxwell:
    """The λ near that of the objective at which two critical points, kept on their branches, have equal L_eff.

    Args:
        objective: L, θ_ref and the λ of both points.
        one: `(P,)`, a critical point there.
        other: `(P,)`, another.
        tolerance: τ of ‖∇L_eff‖, as of `follow`.

    Returns:
        λ, L_eff and both points there.

    Raises:
        ConfigurationError: one is no critical point, or the way leads over the end of a branch.

    Examples:
        >>> import torch, orograph as og
        >>> loss = lambda output, target: 0.5 * (output - target).square().sum(1)
        >>> model = torch.nn.Sequential(*[torch.nn.Linear(1, 1, bias=False) for _ in range(3)]).double()
        >>> objective = og.Objective(model, loss, [(torch.ones(1, 1).double(),) * 2], strength=0.19)
        >>> round(og.maxwell(objective, torch.full((3,), 0.804).double(), torch.zeros(3).double()).strength, 6)
        0.198425
    """
    follower = Follower(objective, tolerance, 0, None, 0)
    strength = objective.strength
    first, second = (theta.detach().to(objective.dtype) for theta in (one, other))
    for _ in range(3 * ITERATIONS):
        here, there = follower.begin(first, strength), follower.begin(second, strength)
        gap = here.objective - there.objective
        slope = here.distance2 - there.distance2
        if slope == 0:
            raise ConfigurationError("The two points are as far from θ_ref: L_eff of both changes alike, and never meets.")
        move = -gap / slope
        first, second = here.theta, there.theta
        if abs(move) <= 1e-14 * max(strength, 1e-300) or abs(gap) <= 1e-15 * abs(here.objective):
            return Maxwell(strength, here.objective, first, second, slope)
        strength += math.copysign(min(abs(move), 0.2 * strength), move)
    raise ConfigurationError(f"No λ near {objective.strength} was found at which the two points have equal L_eff.")
