"""What the atlas measures beside the branches: where two minima are equally deep, and where one comes down from a saddle.

A descent begins a little beside a saddle of index 1, on one side of its unstable direction, and goes down L_eff by the
trust-region method of polishing, whose steps never raise it. What it ends in is held against the known minima at the same λ: the
same point, one like it (equal L and q: an image under a symmetry of the network), or one that is new. The saddle's L_eff less
that of the minimum is the height of the barrier there, from that side.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from orograph.branches.bench import FollowBench, Say
from orograph.branches.stages import array_of, tensor_of
from orograph.continuation.equal_depth import SAME, maxwell
from orograph.continuation.equation import State
from orograph.continuation.stability import lowest
from orograph.errors import ConfigurationError
from orograph.store.branch import LOW, THETA
from orograph.store.findings import Result
from orograph.store.stretches import Stretch, crossings
from orograph.training.polishing import polish

NUDGE = 1e-2  # of ‖θ − θ_ref‖: how far beside the saddle a descent begins
ALIKE = {torch.float64: 1e-7, torch.float32: 1e-4}  # of L and q: two critical points that are images of each other


@dataclass(frozen=True, eq=False)
class Work:
    """One thing to measure.

    Attributes:
        kind: `maxwell` or `descent`.
        name: of its finding.
        stretches: the two minima, or the saddle.
        strength: λ at which it begins.
        side: of the unstable direction.
    """

    kind: str
    name: str
    stretches: tuple[Stretch, ...]
    strength: float
    side: float = 0.0


def to_do(known: Sequence[Stretch], descents: int) -> Iterator[Work]:
    """All that there is to measure: every crossing of L_eff of two stretches of minima, and the descents from saddles."""
    minima = [each for each in known if each.index == 0]
    count = 0
    for number, one in enumerate(minima):
        for other in minima[number + 1 :]:
            for strength in crossings(one, other):
                yield Work("maxwell", f"{count:04d}", (one, other), strength)
                count += 1
    count = 0
    for saddle in known:
        if saddle.index != 1:
            continue
        places = sorted({round((each + 1) / (descents + 1) * (len(saddle.points) - 1)) for each in range(descents)})
        for place in places:
            strength = float(saddle.points[place].scalars["strength"])
            for side in (1.0, -1.0):
                yield Work("descent", f"{count:04d}{'+' if side > 0 else '-'}", (saddle,), strength, side)
            count += 1


def measured(work: Work, benches: dict[str, FollowBench], known: Sequence[Stretch], products: int, say: Say) -> Result:
    """One of them."""
    bench = benches[str(work.stretches[0].path)]
    return _maxwell(work, bench) if work.kind == "maxwell" else _descent(work, bench, known, products, say)


def _maxwell(work: Work, bench: FollowBench) -> Result:
    """The λ of equal depth, certified by both critical points there."""
    one, other = (_state(bench, each, work.strength) for each in work.stretches)
    scalars = {"first_stretch": work.stretches[0].name, "second_stretch": work.stretches[1].name}
    if one is None or other is None:
        return Result({**scalars, "strength": work.strength, "certified": False})
    anchored = bench.instruments.train.penalised(work.strength, bench.instruments.train.anchor)
    try:
        found = maxwell(anchored, one.theta, other.theta, tolerance=bench.follower.tolerance)
    except ConfigurationError:  # a branch ends before
        return Result({**scalars, "strength": work.strength, "certified": False})
    return Result(
        {**scalars, "strength": found.strength, "objective": found.objective, "latent": found.latent, "certified": True},
        {"first_theta": array_of(found.one), "second_theta": array_of(found.other)},
    )


def _descent(work: Work, bench: FollowBench, known: Sequence[Stretch], products: int, say: Say) -> Result:
    """From a saddle to a minimum, and which that is."""
    (saddle,) = work.stretches
    point = next(each for each in saddle.points if each.scalars["strength"] == work.strength)
    arrays = point.arrays(saddle.path)
    theta, down = (tensor_of(bench, arrays[THETA]), tensor_of(bench, arrays[LOW][0]))
    objective = bench.instruments.train.penalised(work.strength, bench.instruments.train.anchor)
    size = max(objective.offset(theta).norm().item(), 1e-3)
    scalars = {
        "first_stretch": saddle.name,
        "strength": work.strength,
        "objective": point.scalars["objective"],
        "descent_side": "+" if work.side > 0 else "-",
    }
    found = polish(
        objective,
        theta + work.side * NUDGE * size * down,
        hessian=bench.instruments.hessian,
        tolerance=bench.follower.tolerance,
        max_products=products,
        on_product=lambda stage, count: say(f"descent from {saddle.name}: product {count}"),
    )
    scalars |= {"certified": found.converged, "objective_gradient_norm": found.gradient_norm, "products": found.products}
    end = bench.follower.equation.at(found.theta, work.strength)
    scalars |= {
        "height": point.scalars["objective"] - end.objective,
        "arrives_objective": end.objective,
        "arrives_order_parameter": end.distance2,
    }
    if not found.converged:
        return Result({**scalars, "second_stretch": "", "likeness": ""}, {THETA: array_of(found.theta)})
    low = lowest(end, min(2, len(theta) - 1), None, tolerance=1e-3, seed=0)
    scalars["objective_negative_eigenvalues"] = low.index
    name, likeness = _recognised(bench, end, known, work.strength, size)
    return Result({**scalars, "second_stretch": name, "likeness": likeness}, {THETA: array_of(found.theta)})


def _recognised(bench: FollowBench, end: State, known: Sequence[Stretch], strength: float, size: float) -> tuple[str, str]:
    """The stretch of minima on which a critical point lies, and whether it is that point or an image of it; else none."""
    best: tuple[str, str] = ("", "")
    same, alike = SAME[end.theta.dtype], ALIKE[end.theta.dtype]
    for stretch in known:
        if stretch.index != 0 or not stretch.covers(strength):
            continue
        there = _state(bench, stretch, strength)
        if there is None:
            continue
        apart = (there.theta - end.theta).double().norm().item()
        if apart <= same * size:
            return stretch.name, "same"
        like = abs(there.distance2 - end.distance2) <= alike * max(end.distance2, 1e-12)
        if like and abs(there.loss - end.loss) <= alike * max(abs(end.loss), 1e-12) and not best[0]:
            best = stretch.name, "image"
    return best


def _state(bench: FollowBench, stretch: Stretch, strength: float) -> State | None:
    """The critical point of a stretch at this λ, from its two neighbours there; None where Newton's method does not meet it."""
    below = [each for each in stretch.points if each.scalars["strength"] <= strength]
    above = [each for each in stretch.points if each.scalars["strength"] >= strength]
    near = [max(below, key=_strength)] if below else []
    near += [min(above, key=_strength)] if above else []
    thetas = [tensor_of(bench, each.arrays(stretch.path)[THETA]) for each in near]
    first, last = _strength(near[0]), _strength(near[-1])
    share = 0.0 if first == last else (strength - first) / (last - first)
    try:
        return bench.follower.begin(torch.lerp(thetas[0], thetas[-1], share), strength)
    except ConfigurationError:
        return None


def _strength(point: object) -> float:
    return float(point.scalars["strength"])  # type: ignore[attr-defined]
