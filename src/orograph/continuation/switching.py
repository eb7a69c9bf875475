"""From a point where branches meet onto those that leave it.

In the kernel of A = H + 2λI at such a point each branch has a direction φ. A point on it is found at a small amplitude a, with
F(θ, λ) = 0 and φ·(θ − θ*) = a for θ and λ together (Keller 1977, "perturbed" bordering): λ follows by itself.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from orograph.arguments import checked
from orograph.brief import brief
from orograph.continuation.branch import Event
from orograph.continuation.equation import State, only_strength
from orograph.continuation.follower import ITERATIONS, Follower
from orograph.errors import ConfigurationError
from orograph.objective import Objective

_BESIDE = (1.0, 0.25, 0.0625)  # of λ and the amplitude: how far from a branch point its stem is looked for


@brief
@dataclass(frozen=True, eq=False)
class Switched:
    """A point on a branch that leaves an event.

    Attributes:
        theta: `(P,)`.
        strength: λ.
        direction: `(P,)`, unit: the direction of the kernel in which it was sought, or that of a stem that goes on in λ.
    """

    theta: Float[Tensor, " P"]
    strength: float
    direction: Float[Tensor, " P"]


@checked
def switch_branch(
    objective: Objective,
    event: Event,
    *,
    amplitude: float = 0.05,
    directions: Sequence[Float[Tensor, " P"]] | None = None,
    tolerance: float | None = None,
) -> tuple[Switched, ...]:
    """Points on the branches that leave an event, at ± a small amplitude along the directions of its kernel.

    Where the kernel has one dimension those are all; of a larger one further directions may carry branches that its basis does
    not meet: give them. Where λ turns, as on the arms of a pitchfork, the stem that goes on in λ is found too, on both sides.

    Args:
        objective: that of the branch.
        event: of kind `branch`, with its kernel.
        amplitude: how far along each direction, in θ.
        directions: `(P,)` each, within the kernel; its basis if not given.
        tolerance: τ of ‖∇L_eff‖, as of `follow`; 1e-9 in float64, 1e-5 in float32 if not given.

    Returns:
        What was found at λ ≥ 0, at most two a direction and two of a stem; `follow` them from
        `objective.penalised(found.strength).moved(found.theta)`.

    Raises:
        ConfigurationError: the event has no kernel, or the amplitude is not positive.

    Examples:
        >>> import torch, orograph as og
        >>> model = torch.nn.Sequential(*[torch.nn.Linear(1, 1, bias=False) for _ in range(2)]).double()
        >>> objective = og.Objective(model, torch.nn.MSELoss(), [(torch.ones(1, 1).double(),) * 2], strength=1.5)
        >>> branch = og.follow(objective, torch.zeros(2), direction="down", between=(0.5, 2), pairs=1, longest_step=0.1)
        >>> [round(each.strength, 2) for each in og.switch_branch(objective, branch.events[0], amplitude=0.2)]
        [0.98, 0.98]
    """
    if not len(event.kernel) and not directions:
        raise ConfigurationError(f"The {event.kind} at λ = {event.strength:.6g} has no kernel: no branch leaves it.")
    if not amplitude > 0:
        raise ConfigurationError(f"`amplitude` {amplitude} must be positive.")
    follower = Follower(objective, tolerance, 0, None, 0)
    found = []
    for direction in event.kernel if directions is None else directions:
        unit = direction.to(event.theta) / direction.norm()
        for sign in (1.0, -1.0):
            state = follower.constrained(event.theta + sign * amplitude * unit, event.strength, unit)
            if state is not None and state.strength >= 0:
                found.append(Switched(state.theta, state.strength, unit))
    if event.turns and directions is None:
        for state in stems(follower, event.theta, event.strength, amplitude):
            away = state.theta - event.theta
            found.append(Switched(state.theta, state.strength, away / away.norm().clamp_min(torch.finfo(away.dtype).tiny)))
    return tuple(found)


def stems(follower: Follower, theta: Tensor, strength: float, amplitude: float) -> list[State]:
    """The critical points above and below a branch point in λ, with nothing of the directions in which its arms leave it."""
    found: list[State] = []
    for sign in (1.0, -1.0):
        ways = (follower.equation.at(theta, strength * (1 + sign * part * amplitude)) for part in _BESIDE)
        ends = (follower.solved(guess, only_strength(theta), -1.0, ITERATIONS)[0] for guess in ways)
        near = (end for end in ends if (end.theta - theta).norm().item() <= amplitude)
        found += itertools.islice((end for end in near if end.residual <= follower.target(end)), 1)
    return found
