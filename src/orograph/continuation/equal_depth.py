"""The λ at which two branches have equal L_eff: there the global minimum passes from one to the other.

dL_eff/dλ = q on a branch, so that Newton's iteration on the difference of two needs no more than what each has at hand.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from orograph.arguments import checked
from orograph.brief import brief
from orograph.continuation.equation import State
from orograph.continuation.follower import Follower, require_penalty
from orograph.errors import ConfigurationError
from orograph.objective import Objective
from orograph.training.ends import End, one_branch

SAME = {torch.float64: 1e-5, torch.float32: 1e-3}  # of ‖θ − θ_ref‖: two critical points nearer than that are one
_STEPS = 80  # of λ
NEAR = 1e-3  # of λ: how near to its end a branch is followed
_UNITS = 100  # in the last place of L_eff, which a loss in the dtype of θ is good to


@brief
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
def maxwell(
    objective: Objective, one: Float[Tensor, " P"], other: Float[Tensor, " P"], *, tolerance: float | None = None
) -> Maxwell:
    """The λ near that of the objective at which two critical points, kept on their branches, have equal L_eff.

    Args:
        objective: L, θ_ref and the λ of both points.
        one: `(P,)`, a critical point there.
        other: `(P,)`, another.
        tolerance: τ of ‖∇L_eff‖, as of `follow`; 1e-9 in float64, 1e-5 in float32 if not given.

    Returns:
        λ, L_eff and both points there.

    Raises:
        ConfigurationError: one is no critical point, both are one, or a branch ends before the two are equally deep.

    Examples:
        >>> import torch, orograph as og
        >>> loss = lambda output, target: 0.5 * (output - target).square().sum(1)
        >>> model = torch.nn.Sequential(*[torch.nn.Linear(1, 1, bias=False) for _ in range(3)]).double()
        >>> objective = og.Objective(model, loss, [(torch.ones(1, 1).double(),) * 2], strength=0.19)
        >>> round(og.maxwell(objective, torch.full((3,), 0.804).double(), torch.zeros(3).double()).strength, 6)
        0.198425
    """
    require_penalty(objective.strength)
    follower = Follower(objective, tolerance, 0, None, 0)
    strength, longest = objective.strength, math.inf
    here, there = (follower.begin(theta.detach().to(objective.dtype), strength) for theta in (one, other))
    if _are_one(here, there):
        raise ConfigurationError("`one` and `other` are the same point, which is as deep as itself; give two.")
    for _ in range(_STEPS):
        gap = here.objective - there.objective
        slope = here.distance2 - there.distance2
        if slope == 0:
            raise ConfigurationError(
                "The two points are as far from θ_ref: L_eff of both changes alike, at no λ more than at others."
            )
        move = -gap / slope
        if abs(move) <= 1e-14 * max(strength, 1e-300) or abs(gap) <= 1e-15 * abs(here.objective):
            return Maxwell(strength, here.objective, here.theta, there.theta, slope)
        move = math.copysign(min(abs(move), 0.2 * strength, longest), move)
        ahead = [carried(follower, each, strength + move) for each in (here, there)]
        first, second = ahead
        if first is not None and second is not None:
            if _are_one(first, second):
                raise ConfigurationError(
                    f"The branches of `one` and `other` meet near λ = {strength + move:.4g}, and are equal there."
                )
            here, there, strength = first, second, strength + move
            continue
        longest = 0.5 * abs(move)
        if longest < NEAR * strength:
            lost = "one" if first is None else "other"
            raise ConfigurationError(
                f"The branch of `{lost}` ends near λ = {strength:.3g}, before the two are equally deep: there is no such λ."
            )
    raise ConfigurationError(f"No λ near {objective.strength} was found at which the two points have equal L_eff.")


def carried(follower: Follower, state: State, strength: float) -> State | None:
    """The point of the same branch at another λ; None where Newton's method meets none, or one of another branch."""
    try:
        found = follower.begin(state.theta, strength)
    except ConfigurationError:
        return None
    old, new = (End(each.objective, each.distance2, max(each.residual, follower.target(each))) for each in (state, found))
    length = (found.theta - state.theta).double().norm().item()
    rounding = _UNITS * torch.finfo(state.theta.dtype).eps
    return found if one_branch(old, new, strength - state.strength, length, rounding=rounding, minima=False) else None


def _are_one(one: State, other: State) -> bool:
    apart = (one.theta - other.theta).double().norm().item()
    return apart <= SAME[one.theta.dtype] * max(one.distance2, other.distance2, 1e-6) ** 0.5
