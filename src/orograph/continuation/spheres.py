"""Critical points of L on spheres ‖θ − θ_ref‖² = q, step by step in q; λ is the multiplier, λ(q) = −dL/dq.

What is unstable as λ is given may be a minimum as q is: beyond a fold, where λ turns and q goes on, these steps are the simplest.
Where q itself turns, or where the critical point on the sphere goes soft, the next sphere holds none nearby: that is told as a
jump, and nothing is said of what lies beyond, as an optimiser on the sphere would silently do. `follow` passes both.

Each step solves K = [[A, b/β], [bᵀ/β, 0]], A = H + 2λI, b = 2(θ − θ_ref), β = ‖b‖, which is singular where q turns.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from orograph.arguments import checked
from orograph.continuation.branch import Branch, BranchPoint, Event
from orograph.continuation.equation import State
from orograph.continuation.follower import (
    ITERATIONS,
    SHORT,
    SMALL_TURN,
    TURN,
    Follower,
    Standing,
    Symmetry,
    require_followable,
    require_penalty,
)
from orograph.continuation.reached import Reached
from orograph.curvature.counting import OnProduct, counter
from orograph.errors import ConfigurationError
from orograph.objective import Objective

_SHORTEST = 1e-7  # of the range of q: below it a step is none


@checked
def follow_spheres(
    objective: Objective,
    to: float,
    theta: Float[Tensor, " P"] | None = None,
    *,
    points: int = 200,
    step: float | None = None,
    longest_step: float | None = None,
    tolerance: float | None = None,
    pairs: int = 4,
    symmetry: Symmetry | None = None,
    max_products: int | None = None,
    seed: int = 0,
    on_product: OnProduct | None = None,
) -> Branch:
    """Follows the critical point θ of L_eff(·; λ) in q = ‖θ − θ_ref‖² in place of λ.

    Args:
        objective: L, θ_ref and the λ at which it starts; float64 is advised.
        to: q at which it ends.
        theta: `(P,)`, a critical point at the start (see `polish`); the objective's θ if not given.
        points: to follow at most.
        step: the first in q; a hundredth of the way if not given.
        longest_step: in q; a tenth of the way if not given.
        tolerance: τ of ‖∇L_eff‖ ≤ τ·max(1, 2λ‖θ − θ_ref‖); 1e-9 in float64, 1e-5 in float32 if not given.
        pairs: how many of the lowest eigenvalues of H + 2λI are looked at; 0: none. They are of L_eff at the multiplier λ, where
            a constrained minimum may have one that is negative.
        symmetry: `θ ↦ (m, P)`, orthonormal directions in which nothing changes.
        max_products: Hessian-vector products to spend at most, counted after each step.
        seed: of the random starts of Lanczos.
        on_product: called with "following" and the products so far; see `orograph.curvature.counting`.

    Returns:
        Points in order; `arclength` is the way in q. Where λ falls to 0 it ends. Where no next sphere holds a point nearby, an
        event `jump` at the last one.

    Raises:
        ConfigurationError: a number out of range, a loss that is not twice differentiable, a start that is no critical point or
            is θ_ref itself.

    Examples:
        >>> import torch, orograph as og
        >>> model, loss = torch.nn.Linear(1, 1, bias=False).double(), torch.nn.MSELoss()
        >>> objective = og.Objective(model, loss, [(torch.ones(1, 1).double(),) * 2], strength=1.0)  # θ = 1/(1 + λ)
        >>> round(og.follow_spheres(objective, 0.04, torch.full((1,), 0.5).double(), pairs=0).points[-1].strength, 6)
        4.0
    """
    start = objective.theta if theta is None else theta.detach().to(objective.dtype)
    given = {"to": to, "step": step, "longest_step": longest_step, "tolerance": tolerance, "max_products": max_products}
    require_followable(objective, given)
    require_penalty(objective.strength)
    for name, value, least in (("points", points, 1), ("pairs", pairs, 0)):
        if value < least:
            raise ConfigurationError(f"`{name}` {value} must be at least {least}.")
    follower = Follower(objective, tolerance, pairs, symmetry, seed)
    first = follower.begin(start, objective.strength)
    way = to - first.distance2
    if first.distance2 == 0 or way == 0:
        raise ConfigurationError(
            f"`to` {to} must differ from q = {first.distance2} of the start, which must not be θ_ref itself."
        )
    told = counter(on_product, "following")
    length, longest = (step or 0.01 * abs(way)), (longest_step or 0.1 * abs(way))
    here, gone, branch, events = _reached(follower, first, math.copysign(1.0, way)), 0.0, list[BranchPoint](), list[Event]()
    ended, turned = "", 1.0
    while True:
        point = follower.point(Standing(here, gone, turned, length))
        branch.append(point)
        told(point.products)
        left = abs(to - here.state.distance2)
        if not ended and left / here.state.scale <= 2 * follower.target(here.state):
            ended = f"q reached {to:g}"
        elif not ended and len(branch) >= points:
            ended = f"{points} points were asked for"
        there = None
        while not ended and there is None:
            if follower.equation.products >= (max_products or math.inf):
                ended = f"the budget of {max_products:,} products is spent"
            elif length < _SHORTEST * abs(way):
                ended = f"no sphere beyond q = {here.state.distance2:.6g} holds a critical point nearby"
                events.append(_jump(here, len(branch) - 1, gone))
            else:
                there = _next(follower, here, math.copysign(min(length, left), way))
                length = length if there is not None else 0.5 * length
        if there is not None and there.state.strength < 0:
            there, ended = _unpenalised(follower, here, there, math.copysign(1.0, way)), "λ reached 0"
        if there is None:
            break
        turned = torch.dot(here.tangent, there.tangent).item()
        gone += abs(there.state.distance2 - here.state.distance2)
        if there.iterations <= 3 and turned > SMALL_TURN:
            length = min(1.5 * length, longest)
        here = there
    return Branch(tuple(branch), tuple(events), ended, follower.equation.products, follower.equation.gradients)


def _reached(follower: Follower, state: State, sign: float, iterations: int = 0, corrected: float = 0.0) -> Reached:
    along = sign * state.along(0.0, tolerance=1e-8, max_products=follower.longest_solve)
    return follower.looked(Reached(state, along / along.norm(), None, iterations, corrected))


def _next(follower: Follower, here: Reached, step: float) -> Reached | None:
    """The critical point on the sphere that is so much larger; None where Newton's method does not meet it nearby."""
    state = here.state
    along = here.tangent * (step / here.growth)
    q = state.distance2 + step
    length = along.norm().item()
    now = guess = follower.equation.at(state.theta + along[:-1], state.strength + along[-1].item() / state.scale)
    for count in range(ITERATIONS + 1):
        if not math.isfinite(now.residual):
            return None
        miss = now.distance2 - q
        if now.residual <= follower.target(now) and abs(miss) / now.scale <= follower.target(now):
            corrected = follower.apart(guess, now)
            if corrected > SHORT * length:
                return None
            found = _reached(follower, now, math.copysign(1.0, step), count, corrected)
            return found if torch.dot(found.tangent, here.tangent) >= TURN else None
        forcing = max(0.2 * follower.target(now), min(1e-2, now.residual) * max(now.residual, abs(miss) / now.scale))
        right = torch.cat([-now.force, now.force.new_tensor([-miss / now.scale])])
        move = now.solve(right, 0.0, tolerance=forcing, max_products=follower.longest_solve)
        if not move.norm() <= 2 * length:
            return None
        now = follower.equation.at(now.theta + move[:-1], now.strength + move[-1].item() / now.scale)
    return None


def _unpenalised(follower: Follower, here: Reached, there: Reached, sign: float) -> Reached | None:
    """The critical point of L alone between two points, λ = 0; None where none is met, or the first is it."""
    landed = None if here.state.strength == 0 else follower.landed(here, there, 0.0)
    return None if landed is None else _reached(follower, landed.state, sign, landed.iterations)


def _jump(here: Reached, after: int, gone: float) -> Event:
    state = here.state
    return Event(
        kind="jump",
        after=after,
        arclength=gone,
        theta=state.theta,
        strength=state.strength,
        distance2=state.distance2,
        objective=state.objective,
        eigenvalue=math.nan,
        kernel=state.theta.new_zeros(0, len(state.theta)),
        residual=state.residual,
    )
