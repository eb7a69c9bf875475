"""The steps of a branch, each a function of the bench and of plain values, so that any process can do it.

A step begins where the last one was committed, and depends on that alone: whoever does it, whenever, finds the same.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from orograph.branches.bench import FollowBench, Say
from orograph.branches.settings import FollowSettings
from orograph.continuation.branch import Event
from orograph.continuation.equation import State, only_strength
from orograph.continuation.follower import Origin, Standing
from orograph.continuation.stability import Lowest
from orograph.continuation.switching import stems
from orograph.settings.shared import Execution
from orograph.store.branch import KERNEL, LOW, TANGENT, THETA
from orograph.store.findings import Result
from orograph.sweep.point import measure_points
from orograph.work.problems import unpacked_problem

PLACE = ("strength", "arclength", "tangent_cosine", "next_step", "products")  # what a step depends on beside its arrays


@dataclass(frozen=True, eq=False)
class Advanced:
    """What one step of a branch found, in the form in which it is committed.

    Attributes:
        events: between the two points, in order.
        point: where it ends; None where no point was accepted.
        ended: why the branch ends, in words; empty where it goes on.
    """

    events: tuple[Result, ...]
    point: Result | None
    ended: str


def begin(bench: FollowBench, state: State, like: Tensor) -> Result:
    """Point 0 of a branch whose tangent points as `like` does, `(P + 1,)`."""
    step = bench.settings.branch.step
    assert step is not None  # settled
    return _point(bench, bench.follower.standing(state, like, min(step, bench.limits.longest)))


def both_ways(bench: FollowBench, say: Say) -> dict[str, Result]:
    """The first points of the branches that begin at the start, by name."""
    state = bench.critical(say)
    chosen = bench.settings.branch.direction
    signs = {"up": 1.0, "down": -1.0}
    found = {}
    for name in signs if chosen == "both" else (chosen,):
        bench.follower.equation.products = 0
        found[name] = begin(bench, state, signs[name] * only_strength(state.theta))
    return found


def advance(
    bench: FollowBench,
    number: int,
    scalars: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray],
    begun: tuple[Mapping[str, Any], Mapping[str, np.ndarray]],
    say: Say,
) -> Advanced:
    """The step that leaves the point of this number, of a branch whose point 0 is `begun`."""
    standing = _standing(bench, scalars, arrays)
    say(f"from λ = {scalars['strength']:.6g}, {scalars['products']:,} products so far")
    taken = bench.follower.advance(standing, bench.limits, number, _origin(bench, *begun))
    point = None if taken.standing is None else _point(bench, taken.standing)
    return Advanced(tuple(map(_event, taken.events)), point, taken.ended)


def switch(bench: FollowBench, scalars: Mapping[str, Any], arrays: Mapping[str, np.ndarray], say: Say) -> dict[str, Result]:
    """The first points of the branches that leave a branch point, by the direction of its kernel and the sign in it."""
    theta, kernel = (tensor_of(bench, arrays[name]) for name in (THETA, KERNEL))
    strength, amplitude = scalars["strength"], bench.settings.branch.amplitude
    found = {}
    for number, direction in enumerate(kernel, 1):
        for sign, named in ((1.0, "+"), (-1.0, "-")):
            say(f"what leaves λ = {strength:.6g}")
            bench.follower.equation.products = 0
            state = bench.follower.constrained(theta + sign * amplitude * direction, strength, direction)
            if state is None or not bench.limits.between[0] <= state.strength <= bench.limits.between[1]:
                continue
            found[f"{'' if len(kernel) == 1 else number}{named}"] = begin(bench, state, _away(state, theta, strength))
    if scalars["turns"]:
        bench.follower.equation.products = 0
        for state in stems(bench.follower, theta, strength, amplitude):
            if bench.limits.between[0] <= state.strength <= bench.limits.between[1]:
                named = "above" if state.strength > strength else "below"
                found[named] = begin(bench, state, _away(state, theta, strength))
    return found


def _away(state: State, theta: Tensor, strength: float) -> Tensor:
    """From the branch point to a point on a branch that leaves it, in θ and λ."""
    return torch.cat([state.theta - theta, (state.theta - theta).new_tensor([state.scale * (state.strength - strength)])])


def tensor_of(bench: FollowBench, array: np.ndarray) -> Tensor:
    """An array of a finding, where the bench computes."""
    return torch.from_numpy(np.array(array)).to(bench.start)


def _standing(bench: FollowBench, scalars: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Standing:
    """A committed point, as the next step begins there."""
    return bench.follower.restored(
        tensor_of(bench, arrays[THETA]),
        scalars["strength"],
        tensor_of(bench, arrays[TANGENT]),
        _low(bench, scalars, arrays),
        arclength=scalars["arclength"],
        turned=scalars["tangent_cosine"],
        step=scalars["next_step"],
        products=int(scalars["products"]),
    )


def _origin(bench: FollowBench, scalars: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Origin:
    """A committed point 0, as a branch can come back to it."""
    low = _low(bench, scalars, arrays)
    return Origin(tensor_of(bench, arrays[THETA]), scalars["strength"], tensor_of(bench, arrays[TANGENT]), low)


def _low(bench: FollowBench, scalars: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Lowest | None:
    if LOW not in arrays:
        return None
    values = torch.tensor(scalars["lowest_eigenvalues"], dtype=torch.float64)
    return Lowest(values, tensor_of(bench, arrays[LOW]), int(scalars["objective_negative_eigenvalues"]))


def _point(bench: FollowBench, standing: Standing) -> Result:
    point, reached = bench.follower.point(standing), standing.reached
    (measured,) = measure_points(bench.instruments, [point.theta], [point.strength])
    scalars = {
        **measured.scalars,
        "train_loss": point.loss,
        "objective": point.objective,
        "objective_gradient_norm": point.residual,
        "gradient_norm_limit": bench.follower.target(reached.state),
        "strength": point.strength,
        "order_parameter": point.distance2,
        "arclength": point.arclength,
        "strength_rate": point.rate,
        "tangent_cosine": point.turned,
        "next_step": standing.step,
        "products": point.products,
    }
    arrays = {THETA: array_of(point.theta), TANGENT: array_of(reached.tangent)}
    if reached.low is not None:
        scalars |= {
            "lowest_eigenvalues": reached.low.values.tolist(),
            "objective_lambda_min": reached.low.values[0].item(),
            "objective_negative_eigenvalues": reached.low.index,
            "objective_negative_eigenvalues_lower_bound": point.index_is_bound,
        }
        arrays[LOW] = array_of(reached.low.vectors)
    return Result(scalars, arrays)


def _event(event: Event) -> Result:
    scalars = {
        "event_kind": event.kind,
        "after": event.after,
        "arclength": event.arclength,
        "strength": event.strength,
        "order_parameter": event.distance2,
        "objective": event.objective,
        "objective_gradient_norm": event.residual,
        "event_eigenvalue": event.eigenvalue,
        "kernel_size": len(event.kernel),
    }
    return Result(scalars, {THETA: array_of(event.theta), **({KERNEL: array_of(event.kernel)} if len(event.kernel) else {})})


def array_of(tensor: Tensor) -> np.ndarray:
    """A tensor, for a finding."""
    return tensor.detach().cpu().numpy()


STAGES: dict[str, Callable[..., Any]] = {"advance": advance, "switch": switch}


@dataclass(frozen=True)
class FollowContext:
    """What workers know of it: its settings, where data lie, and its problem where that has no name."""

    stages: ClassVar[Mapping[str, Callable[..., Any]]] = STAGES

    settings: FollowSettings
    data_dir: str | None
    problem: bytes | None = None

    @property
    def threads(self) -> int:
        """Of one process."""
        return self.settings.numerics.threads

    def bench(self) -> FollowBench:
        """Made anew."""
        return FollowBench.prepare(self.settings, Execution(data_dir=self.data_dir), unpacked_problem(self.problem))
