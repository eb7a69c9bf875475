"""Minima that descents met, carried along their branches to the λ at which ladders have points.

A descent begins at the λ of a saddle, and a ladder has its points at others. Newton's method takes the minimum from one to the
next, in steps that are halved where L_eff does not change by what q at their ends allows. Where the branch ends, or is one of
minima no more, so ends what is known of it.
"""

from collections.abc import Collection

from jaxtyping import Float
from torch import Tensor

from orograph.branches.bench import FollowBench
from orograph.continuation.equal_depth import NEAR, carried
from orograph.continuation.equation import State
from orograph.continuation.stability import lowest
from orograph.store.findings import Result

_LONGEST = 0.2  # of λ: a step


def carried_to(
    wanted: Collection[float], theta: Float[Tensor, " P"], strength: float, bench: FollowBench, products: int
) -> Result:
    """The λ at which a minimum was met again, ascending, with q and L there; what its branch does not reach is left out.

    Args:
        wanted: λ.
        theta: `(P,)`, the minimum.
        strength: its λ.
        bench: of the branches that it was met from.
        products: Hessian products to spend at most, counted at each λ that is reached.
    """
    bench.follower.equation.products = 0
    begin = bench.follower.equation.at(theta, strength)
    below = sorted((each for each in wanted if each < strength), reverse=True)
    above = sorted(each for each in wanted if each > strength)
    found = [state for way in (below, above) for state in _along(bench, begin, way, products)]
    found.sort(key=lambda state: state.strength)
    return Result(
        {
            "strength": strength,
            "reached_strength": [each.strength for each in found],
            "reached_order_parameter": [each.distance2 for each in found],
            "reached_train_loss": [each.loss for each in found],
            "products": bench.follower.equation.products,
        }
    )


def _along(bench: FollowBench, state: State, way: Collection[float], products: int) -> list[State]:
    """The minimum at one λ after the other, as far as its branch reaches and is of minima."""
    found: list[State] = []
    for strength in way:
        there = _carried_far(bench, state, strength, products)
        if there is None or lowest(there, min(2, len(there.theta) - 1), None, tolerance=1e-3, seed=0).index:
            break
        found.append(state := there)
    return found


def _carried_far(bench: FollowBench, state: State, strength: float, products: int) -> State | None:
    """The point of the same branch at another λ, by as many steps as it takes; None where the branch ends before."""
    longest = _LONGEST * state.strength
    while state.strength != strength:
        if longest < NEAR * state.strength or bench.follower.equation.products >= products:
            return None
        ahead = strength
        if abs(strength - state.strength) > longest:
            ahead = state.strength + (longest if strength > state.strength else -longest)
        there = carried(bench.follower, state, ahead)
        state, longest = (state, 0.5 * longest) if there is None else (there, longest)
    return state
