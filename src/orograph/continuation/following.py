"""A branch of critical points of L + λ‖θ − θ_ref‖², followed through folds and turns in one call."""

import math
from collections.abc import Callable
from typing import Any, Literal

from jaxtyping import Float
from torch import Tensor

from orograph.arguments import checked
from orograph.continuation.branch import Branch, BranchPoint, Event
from orograph.continuation.equation import only_strength
from orograph.continuation.follower import Follower, Limits, Origin, Symmetry, require_followable, size_of
from orograph.curvature.counting import OnProduct, counter
from orograph.errors import ConfigurationError
from orograph.objective import Objective


@checked
def follow(
    objective: Objective,
    theta: Float[Tensor, " P"] | None = None,
    *,
    direction: Literal["up", "down"] = "up",
    between: tuple[float, float] = (0.0, math.inf),
    points: int = 200,
    step: float | None = None,
    longest_step: float | None = None,
    tolerance: float | None = None,
    pairs: int = 4,
    symmetry: Symmetry | None = None,
    max_products: int | None = None,
    seed: int = 0,
    on_product: OnProduct | None = None,
    on_point: Callable[[BranchPoint], Any] | None = None,
) -> Branch:
    """Follows the critical point θ of L_eff(·; λ) as λ changes, through folds onto branches that no optimiser reaches.

    Pseudo-arclength continuation with a symmetric bordered system; the module says how. Two solves by MINRES are a step's cost,
    and the lowest eigenvalues.

    Args:
        objective: L, θ_ref and the λ at which it starts; float64 is advised.
        theta: `(P,)`, a critical point there (see `polish`); the objective's θ if not given.
        direction: in which λ goes first.
        between: λ beyond which it ends; its last point lies on the bound. Not below 0.
        points: to follow at most.
        step: the first step's length in s; a hundredth of ‖θ − θ_ref‖ (of λ at θ_ref itself) if not given.
        longest_step: in s; a tenth of the same if not given.
        tolerance: τ of ‖∇L_eff‖ ≤ τ·max(1, 2λ‖θ − θ_ref‖); 1e-9 in float64, 1e-5 in float32 if not given.
        pairs: how many of the lowest eigenvalues of H + 2λI are looked at, P − 1 at most; 0: none, and then no index
            and no branch points.
        symmetry: `θ ↦ (m, P)`, orthonormal directions in which nothing changes (see `layer_rotations`): their zeros are none of
            the branch's.
        max_products: Hessian-vector products to spend at most, counted after each step.
        seed: of the random starts of Lanczos.
        on_product: called with "following" and the products so far; see `orograph.curvature.counting`.
        on_point: called with each point that is accepted.

    Returns:
        Points and events in order, with the reason why it ends.

    Raises:
        ConfigurationError: a number out of range, a loss that is not twice differentiable, or a start that is no critical point.

    Examples:
        >>> import torch, orograph as og
        >>> data = [(torch.eye(3), torch.zeros(3, 1))]
        >>> objective = og.Objective(torch.nn.Linear(3, 1), torch.nn.MSELoss(), data, strength=0.1, dtype=torch.float64)
        >>> og.follow(objective, torch.zeros(4), between=(0.0, 0.2), pairs=2).points[-1].strength
        0.2
    """
    start = objective.theta if theta is None else theta.detach().to(objective.dtype)
    low, high = between
    if direction not in ("up", "down"):
        raise ConfigurationError(f"`direction` {direction} is none of up and down.")
    if not 0 <= low < high:
        raise ConfigurationError(f"`between` ({low}, {high}) must be a range of λ, at least 0 and ascending.")
    if not low <= objective.strength <= high:
        raise ConfigurationError(f"λ = {objective.strength} of the start lies outside `between` ({low}, {high}).")
    for name, value, least in (("points", points, 1), ("pairs", pairs, 0)):
        if value < least:
            raise ConfigurationError(f"`{name}` {value} must be at least {least}.")
    given = {"step": step, "longest_step": longest_step, "tolerance": tolerance, "max_products": max_products}
    require_followable(objective, given)
    follower = Follower(objective, tolerance, pairs, symmetry, seed)
    first = follower.begin(start, objective.strength)
    size = size_of(first.distance2**0.5, objective.strength, objective.dtype)
    limits = Limits((low, high), longest_step or 0.1 * size, max_products or math.inf)
    told = counter(on_product, "following")
    sign = 1.0 if direction == "up" else -1.0
    standing = follower.standing(first, sign * only_strength(first.theta), step or 0.01 * size)
    origin = Origin(first.theta, first.strength, standing.reached.tangent, standing.reached.low)
    branch: list[BranchPoint] = []
    events: list[Event] = []
    ended = ""
    while True:
        branch.append(follower.point(standing))
        told(branch[-1].products)
        if on_point is not None:
            on_point(branch[-1])
        if ended or len(branch) >= points:
            break
        taken = follower.advance(standing, limits, len(branch) - 1, origin)
        events += taken.events
        ended = taken.ended
        if taken.standing is None:
            break
        standing = taken.standing
    ended = ended or f"{points} points were asked for"
    return Branch(tuple(branch), tuple(events), ended, follower.equation.products, follower.equation.gradients)
