"""What runs of exactly solvable networks found, beside what is true: ladders, branches and atlases of two and three factors."""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from orograph.commands.solvable_runs import Runs, Solvable, course
from orograph.continuation import Event, follow, follow_spheres, layer_rotations, switch_branch
from orograph.continuation.solvable import (
    deep_linear,
    distance_of,
    fold_of_three,
    heights_of_three,
    index_of,
    largest_unit,
    learnt,
    maxwell_of_three,
    merged_units,
    strength_of_three,
)
from orograph.objective import Objective
from orograph.settings.shared import THREE_MODES, DataSettings, ModelSettings
from orograph.store.branch import KERNEL, Course, courses
from orograph.store.dataset import open_run
from orograph.store.findings import Finding
from orograph.store.run import Run

INDEX = "objective_negative_eigenvalues"
TURN = (0.0684981, 6.4358014)  # λ and q at which q turns, of three factors of THREE_MODES; two independent solvers, to 8 digits
TWO_MODES = (1.2, 0.5)


@dataclass(frozen=True)
class Check:
    """One number of an exactly solvable network.

    Attributes:
        name: what it is.
        found: by a run.
        true: by the closed form.
        tolerance: by how much they may differ.
    """

    name: str
    found: float
    true: float
    tolerance: float

    @property
    def passed(self) -> bool:
        """Whether what was found is true."""
        return abs(self.found - self.true) <= self.tolerance


@dataclass(frozen=True)
class Allowed:
    """What may lie between found and true in an arithmetic.

    Attributes:
        place: of λ at an event, of L_eff at a minimum, and of q at a point of a branch that is not soft.
        turn: of λ and q where q turns, a place that is known to eight digits.
        end: of λ where θ vanishes, which q ∝ λ_c − λ makes a square root of the tolerance of ∇L_eff.
        jump: of q where steps in q end, which are no shorter than a share of their range.
        null: of an eigenvalue of L_eff that is zero.
    """

    place: float
    turn: float
    end: float
    jump: float
    null: float


ALLOWED = {
    "float64": Allowed(place=1e-8, turn=1e-7, end=1e-6, jump=1e-4, null=1e-6),
    "float32": Allowed(place=2e-5, turn=2e-3, end=1e-3, jump=1e-2, null=1e-3),
}


def checks(
    folder: Path, dtype: Literal["float64", "float32"] = "float64", *, say: Callable[[str], object] = lambda _: None
) -> Iterator[Check]:
    """Everything that is known in closed form, found by runs, one after the other.

    Args:
        folder: where the runs are written.
        dtype: of all.
        say: told what comes next.

    Yields:
        What was found beside what is true.
    """
    runs, allowed = Runs(folder, dtype), ALLOWED[dtype]
    for sigma in (0.5, 1.0):
        say(f"three factors, σ = {sigma}: a ladder, a branch through its fold, an atlas")
        yield from _one_mode(runs, sigma, allowed)
    say("three factors, three modes: a turn of q, and rotations between layers")
    yield from _three_modes(runs, allowed)
    say("two factors: a ladder, the origin, what leaves it, an atlas")
    yield from _two_factors(runs, allowed)
    say("tanh: the origin, and two units that part")
    yield from _tanh(runs, allowed)
    for count in (1, 2, 3):
        say(f"two factors, rank {count}: all critical points")
        yield from _families(THREE_MODES[:count], getattr(torch, dtype))


def _one_mode(runs: Runs, sigma: float, allowed: Allowed) -> Iterator[Check]:
    """Three factors of one unit: a transition of first order."""
    fold, network, run = fold_of_three(sigma), Solvable.linear([sigma], 3, 1), f"three-{sigma}"
    shares = (0.5, 0.7, 0.85, 0.92, 0.96, 0.98, 1.02, 1.1)
    strengths = [float(f"{share * fold:.6g}") for share in shares]
    ladder = runs.ladder(f"{run}-ladder", network, strengths, pairs=1)
    yield _distances(f"three factors, σ = {sigma}: q along the ladder", ladder, [sigma], 3, allowed)
    branch = runs.follow(f"{run}-branch", ladder, network, strengths[0], min=0.3 * fold, pairs=2, longest_step=0.05, points=100)
    followed = course(branch)
    at = _event(followed, "fold")
    yield Check(f"fold of three factors, σ = {sigma}: λ", _of(at, "strength"), fold, allowed.place)
    yield Check(f"fold of three factors, σ = {sigma}: events on the branch", len(followed.events), 1, 0)
    yield Check(f"index below that fold, σ = {sigma}", _of(followed.points[0], INDEX), 0, 0)
    yield Check(f"index beyond it, σ = {sigma}", _of(followed.points[-1], INDEX), 1, 0)
    wrong = max(abs(strength_of_three(sigma, _of(each, "order_parameter")) - _of(each, "strength")) for each in followed.points)
    yield Check(f"λ as a function of q along the branch, σ = {sigma}: largest error", wrong, 0, allowed.place)
    origin = runs.follow(f"{run}-origin", {}, network, strengths[0], max=1.2 * fold, longest_step=0.2 * fold, pairs=2, points=40)
    yield Check(f"index of the origin, largest, σ = {sigma}", max(_of(each, INDEX) for each in course(origin).points), 0, 0)
    graph = runs.atlas(f"{run}-atlas", branch, origin, ladder)
    (equal,) = graph.graph["maxwell"] or [{}]
    met = float(equal["strength"]) if equal.get("certified") else math.nan
    yield Check(f"Maxwell point of three factors, σ = {sigma}: λ", met, maxwell_of_three(sigma), allowed.place)
    (barrier,) = graph.graph["barriers"] or [{"strength": fold / 2, "from_one": math.nan, "from_other": math.nan}]
    heights = sorted((barrier["from_one"], barrier["from_other"]))
    for name, height, true in zip(
        ("lower", "higher"), heights, sorted(heights_of_three(sigma, barrier["strength"])), strict=True
    ):
        yield Check(f"height of the saddle, {name} side, σ = {sigma}", height, true, allowed.place)
    fallen = [each for each in graph.graph["jumps"] if each["to"].startswith(origin.path.name)]
    yield Check(f"jumps of the ladder to the origin, σ = {sigma}", len(fallen), 1, 0)
    lost = _lost(ladder)
    yield Check(f"points at which the ladder loses its branch, σ = {sigma}: first order", len(lost), 1, 0)
    # between the last two strengths, the way is halved six times
    yield Check(f"λ up to which the ladder keeps it, σ = {sigma}", lost[0] if lost else math.nan, fold, 0.04 * fold)


def _three_modes(runs: Runs, allowed: Allowed) -> Iterator[Check]:
    """Three factors of 4 × 4 hidden units: q turns on the way, and rotations between layers cost nothing."""
    network = Solvable.linear(THREE_MODES, 3, 4)
    ladder = runs.ladder("modes-ladder", network, (0.01, 0.03, 0.05), pairs=14)
    yield _distances("three modes of three factors: q along the ladder", ladder, THREE_MODES, 3, allowed)
    lowest = open_run(ladder.path).eigenvalue.sel(strength=0.05).squeeze().values
    yield Check("null modes of three modes, 4 × 4 hidden units", float((abs(lowest) < allowed.null).sum()), 12, 0)
    branch = runs.follow("modes-branch", ladder, network, 0.05, min=0.04, symmetry="rotations", points=120)
    followed = course(branch)
    yield Check("fold of three modes: λ", _of(_event(followed, "fold"), "strength"), fold_of_three(0.5), allowed.place)
    turn = _event(followed, "turn")
    yield Check("turn of q: λ", _of(turn, "strength"), TURN[0], allowed.turn)
    yield Check("turn of q: q", _of(turn, "order_parameter"), TURN[1], allowed.turn)
    kinds = [each.scalars["event_kind"] for each in followed.events]
    yield Check("rotations that are called a branch point", float(kinds.count("branch")), 0, 0)
    yield Check("events of the branch of three modes: a fold and a turn", len(kinds), 2, 0)
    wrong = max(_of(each, INDEX) for each in followed.points[: int(_of(_event(followed, "fold"), "after")) + 1])
    yield Check("index of three modes up to the fold, largest", wrong, 0, 0)
    dtype = getattr(torch, runs.dtype)
    start = learnt(deep_linear(THREE_MODES, 3, 4, 0.05, dtype), THREE_MODES, 3)
    jumping = follow_spheres(start, 6.0, symmetry=_rotations(start), pairs=0)
    jumped = jumping.events[0].distance2 if jumping.events and jumping.events[0].kind == "jump" else math.nan
    yield Check("steps in q, which cannot pass that turn, end in a jump: q", jumped, TURN[1], allowed.jump)


def _two_factors(runs: Runs, allowed: Allowed) -> Iterator[Check]:
    """Two factors of three units: modes vanish continuously, one after the other."""
    network, width = Solvable.linear(TWO_MODES, 2, 3), 3
    ladder = runs.ladder("two-ladder", network, (0.1, 0.2, 0.3, 0.4, 0.5, 0.55), pairs=1)
    yield _distances("two factors: q along the ladder", ladder, TWO_MODES, 2, allowed)
    ending = runs.follow("two-end", ladder, network, 0.4, direction="both", pairs=4, min=0.15, max=1.0, points=60)
    vanishing = course(ending, "up")
    yield Check("two factors vanish, σ = 1.2: λ", _of(_event(vanishing, "end"), "strength"), 0.6, allowed.end)
    wrong = max(abs(_of(each, "order_parameter") - 2 * (1.2 - 2 * _of(each, "strength"))) for each in vanishing.points[:-1])
    yield Check("q = 2(σ − 2λ) along that branch: largest error", wrong, 0, 10 * allowed.place)
    chosen = {"direction": "down", "step": 0.02, "longest_step": 0.05}
    origin = course(runs.follow("two-origin", {}, network, 0.7, min=0.1, pairs=8, points=30, **chosen))
    for number, sigma in enumerate(TWO_MODES):
        event = origin.events[number] if number < len(origin.events) else None
        yield Check(f"origin of two factors, σ = {sigma}: λ", _of(event, "strength"), sigma / 2, allowed.place)
        yield Check(f"its multiplicity, σ = {sigma}", _of(event, "kernel_size"), width, 0)
    wrong_index = sum(_of(each, INDEX) != index_of(TWO_MODES, width, _of(each, "strength"), ()) for each in origin.points)
    yield Check("points of the origin whose index is wrong", float(wrong_index), 0, 0)
    leaving = courses(runs.follow("two-leaving", {}, network, 0.62, min=0.5, pairs=4, switch=1, points=4, **chosen))
    known = [each for name, each in leaving.items() if name != "down"]
    yield Check("branches that leave the origin, one each way along each null mode", len(known), 2 * width, 0)
    wrong = max(abs(_of(each, "order_parameter") - 2 * (1.2 - 2 * _of(each, "strength"))) for one in known for each in one.points)
    yield Check("q = 2(σ − 2λ) along them: largest error", wrong, 0, 10 * allowed.place)
    yield Check("index of them, largest", max(_of(each, INDEX) for one in known for each in one.points), 0, 0)
    graph = runs.atlas("two-atlas", ending, ladder)
    yield Check("jumps of the ladder of two factors: second order", len(graph.graph["jumps"]), 0, 0)


def _tanh(runs: Runs, allowed: Allowed) -> Iterator[Check]:
    """Units that are not linear: the loss of stability at the origin, and two units that cease to be one."""
    sigmas = (1.1, 0.4)
    network = Solvable.taught(ModelSettings(model="mlp", widths=(3,), activation="tanh"), sigmas)
    chosen = {"direction": "down", "min": 0.5, "step": 0.02, "longest_step": 0.05, "pairs": 5, "points": 20}
    origin = course(runs.follow("tanh-origin", {}, network, 0.65, **chosen))
    at = _event(origin, "branch")
    yield Check("origin of tanh on centred data: λ = σ₁/2", _of(at, "strength"), sigmas[0] / 2, allowed.place)
    yield Check("its multiplicity, of three units", _of(at, "kernel_size"), 3, 0)
    data = DataSettings(dataset="orograph.continuation.solvable:two_steps")
    pair = Solvable(ModelSettings(model="mlp", widths=(2,), activation="tanh"), data, 1, 1)
    strength = 0.01
    w, u, _ = merged_units(strength)
    start = {"fc1.weight": torch.full((2, 1), w).double(), "fc2.weight": torch.full((1, 2), u).double()}
    run = runs.follow("tanh-pair", start, pair, strength, direction="down", min=0.002, pairs=3, points=60)
    merged = course(run)
    at = _event(merged, "branch")
    yield Check("two equal tanh units part, a branch point: λ", _of(at, "strength"), merged_units()[2], allowed.place)
    yield Check("its multiplicity", _of(at, "kernel_size"), 1, 0)
    yield Check("its direction: how much of it parts the biases", _parting(run, at), 1, 1e-3 if runs.dtype == "float32" else 1e-6)
    yield Check("index before the units part", _of(merged.points[0], INDEX), 0, 0)
    yield Check("index of equal units behind it", _of(merged.points[-1], INDEX), 1, 0)


def _parting(run: Run, event: Finding | None) -> float:
    """|φ·(b₁ − b₂)/√2| of a kernel of the pair: parameters are two weights, two biases, two weights, one bias."""
    if event is None:
        return math.nan
    kernel = event.arrays(run.path)[KERNEL]
    return float(abs(kernel[0, 2] - kernel[0, 3]) / math.sqrt(2))


def _families(singular: Sequence[float], dtype: torch.dtype) -> Iterator[Check]:
    """Every critical point of two factors up to symmetry, by going from the origin over every branch point to what leaves it."""
    width, bottom, rank = 3, 0.1, len(singular)
    found: dict[tuple[int, ...], float] = {}
    strange = 0
    waiting = [deep_linear(singular, 2, width, 0.8, dtype)]
    while waiting:
        objective = waiting.pop()
        chosen: dict[str, Any] = {"symmetry": _rotations(objective), "pairs": 10, "step": 0.03, "longest_step": 0.3}
        branch = follow(objective, direction="down", between=(bottom, 1.0), **chosen)
        last = branch.points[-1]
        modes = _modes_of(singular, bottom, last.distance2)
        if last.strength != bottom or modes is None:
            strange += 1
            continue
        if modes in found:
            continue
        found[modes] = math.nan if last.index is None else float(last.index)
        waiting += [each for event in branch.events if event.kind == "branch" for each in _leaving(objective, event)]
    expected = {
        modes: index_of(singular, width, bottom, modes)
        for count in range(rank + 1)
        for modes in itertools.combinations(range(rank), count)
    }
    yield Check(f"families of critical points of two factors, rank {rank}", len(found), 2**rank, 0)
    yield Check(f"critical points that are of none, rank {rank}", strange, 0, 0)
    wrong = sum(found.get(modes) != index for modes, index in expected.items())
    yield Check(f"families whose index is wrong, rank {rank}", wrong, 0, 0)


def _leaving(objective: Objective, event: Event) -> list[Objective]:
    """One of the branches that leave a branch point, from where it is followed on: the others are its images."""
    found = switch_branch(objective, event, amplitude=0.2)
    return [objective.penalised(each.strength).moved(each.theta) for each in found[:1]]


def _rotations(objective: Objective) -> Callable[[Tensor], Tensor]:
    """The directions in which a deep linear network can turn between layers at no cost."""
    names = list(objective.layout.unflatten(objective.theta))
    return lambda theta: layer_rotations(objective.layout, theta, names)


def _modes_of(singular: Sequence[float], strength: float, distance2: float) -> tuple[int, ...] | None:
    """The modes that are learnt where q of two factors is this; None where it is that of no set of modes."""
    for count in range(len(singular) + 1):
        for modes in itertools.combinations(range(len(singular)), count):
            true = sum(2 * largest_unit(singular[mode], 2, strength) ** 2 for mode in modes)
            if abs(true - distance2) < 1e-3:  # sets of modes lie 0.2 apart
                return modes
    return None


def _distances(name: str, ladder: Run, singular: Sequence[float], factors: int, allowed: Allowed) -> Check:
    """q of every point of a ladder."""
    worst = max(
        abs(record.scalars["anchor_distance"] ** 2 - distance_of(singular, factors, cell.strength))
        for cell, record in ladder.records.items()
    )
    return Check(f"{name}: largest error", worst, 0, 10 * allowed.place)


def _lost(ladder: Run) -> list[float]:
    """λ up to which a ladder kept its branch, where it lost it."""
    return [record.scalars["branch_strength"] for record in ladder.records.values() if record.scalars.get("branch_kept") is False]


def _event(followed: Course, kind: str) -> Finding | None:
    return next((each for each in followed.events if each.scalars["event_kind"] == kind), None)


def _of(found: Finding | None, name: str) -> float:
    return math.nan if found is None else float(found.scalars.get(name, math.nan))
