"""Networks whose critical points are known in closed form, and what is found of them by following: found beside true.

Deep linear networks with the loss ½‖y − f(x)‖² a sample on whitened inputs, whose input–output correlation has singular values
σ, around θ_ref = 0. Mode by mode (Saxe, McClelland & Ganguli 2014, "Exact solutions to the nonlinear dynamics of learning in deep
linear neural networks", with the penalty λ‖θ‖² added):

- two factors: a mode's strength p = σ − 2λ vanishes continuously at λ = σ/2, where the origin has as many null modes as there are
  hidden units. A point in which the modes S are learnt has index Σ over i ∉ S with σ_i > 2λ of (h − |S|) + #{j ∈ S: σ_j < σ_i}.
- three factors: p = u³ with u⁴ − σu + 2λ = 0, a fold at λ = ⅜σ(σ/4)^⅓, equal depth with the origin at ¼σ(σ/2)^⅓.
- a hidden layer of tanh units on centred data: the origin loses its stability at λ = σ₁(YᵀX/N)/2.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from orograph.continuation.branch import Branch
from orograph.continuation.equal_depth import maxwell
from orograph.continuation.follower import Follower, default_tolerance
from orograph.continuation.following import follow
from orograph.continuation.spheres import follow_spheres
from orograph.continuation.stability import lowest
from orograph.continuation.switching import switch_branch
from orograph.continuation.symmetry import layer_rotations
from orograph.curvature import HessianOperator
from orograph.models import build_model
from orograph.objective import Objective
from orograph.training import polish

THREE_MODES = (1.5, 0.9, 0.5)


@dataclass(frozen=True)
class Check:
    """One number of an exactly solvable network.

    Attributes:
        name: what it is.
        found: by following.
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


def half_squared(output: Tensor, target: Tensor) -> Tensor:
    """½‖y − f(x)‖² of each sample.

    Args:
        output: `(n, m)`.
        target: `(n, m)`.

    Returns:
        `(n,)`.
    """
    return 0.5 * (output - target).square().sum(1)


def deep_linear(singular: Sequence[float], factors: int, width: int, strength: float, dtype: torch.dtype) -> Objective:
    """A deep linear network on whitened data with these correlations, at the origin.

    Args:
        singular: σ, as many as inputs and outputs.
        factors: how many matrices.
        width: of the hidden layers.
        strength: λ.
        dtype: of all.

    Returns:
        Its objective.
    """
    modes = len(singular)
    model = build_model("deep-linear", input_shape=(modes,), classes=modes, widths=(width,) * (factors - 1), init_seed=0)
    inputs = math.sqrt(modes) * torch.eye(modes, dtype=dtype)  # whitened: XᵀX/N = 1
    data = [(inputs, inputs * torch.tensor(list(singular), dtype=dtype))]
    objective = Objective(model.to(dtype), half_squared, data, strength=strength)
    return objective.moved(torch.zeros_like(objective.theta))


def learnt(objective: Objective, singular: Sequence[float], factors: int, modes: Sequence[int] | None = None) -> Objective:
    """The same at the critical point in which these modes are learnt, each in a hidden unit of its own.

    Args:
        objective: as `deep_linear` gives it.
        singular: σ.
        factors: two or three.
        modes: their numbers; all if not given.

    Returns:
        The objective there; a mode that has no such point at this λ is left out.
    """
    parts = {name: torch.zeros_like(part) for name, part in objective.layout.unflatten(objective.theta).items()}
    for unit, mode in enumerate(range(len(singular)) if modes is None else modes):
        size = largest_unit(singular[mode], factors, objective.strength)
        layers = list(parts.values())
        layers[0][unit, mode], layers[-1][mode, unit] = size, size
        for inner in layers[1:-1]:
            inner[unit, unit] = size
    return objective.moved(objective.layout.flatten(parts))


def largest_unit(sigma: float, factors: int, strength: float) -> float:
    """u with p = u^factors at the largest solution of a mode; 0 where there is none.

    Args:
        sigma: σ of the mode.
        factors: two or three.
        strength: λ.
    """
    if factors == 2:
        return math.sqrt(max(sigma - 2 * strength, 0.0))
    roots = np.roots([1, 0, 0, -sigma, 2 * strength])
    return float(max((root.real for root in roots if abs(root.imag) < 1e-9), default=0.0))


def fold_of_three(sigma: float) -> float:
    """λ at which a mode of three factors folds.

    Args:
        sigma: σ of the mode.
    """
    return 3 / 8 * sigma * (sigma / 4) ** (1 / 3)


def index_of(singular: Sequence[float], width: int, strength: float, modes: Sequence[int]) -> int:
    """The index of the critical point of two factors in which these modes are learnt.

    Args:
        singular: σ.
        width: h.
        strength: λ.
        modes: numbers of those that are learnt.
    """
    others = [sigma for number, sigma in enumerate(singular) if number not in modes and sigma > 2 * strength]
    return sum(width - len(modes) + sum(singular[mode] < sigma for mode in modes) for sigma in others)


def checks(dtype: torch.dtype = torch.float64, *, say: Callable[[str], object] = lambda _: None) -> Iterator[Check]:
    """Everything that is known in closed form, found by following, one after the other.

    Args:
        dtype: of all; in float32 tolerances are its rounding.
        say: told what comes next.

    Yields:
        What was found beside what is true.
    """
    exact = dtype == torch.float64
    fine, coarse = (1e-8, 1e-7) if exact else (2e-5, 2e-3)
    for sigma in (0.5, 1.0):
        say(f"three factors, σ = {sigma}: a fold")
        start = learnt(deep_linear([sigma], 3, 1, 0.02, dtype), [sigma], 3)
        branch = follow(start, between=(0.01, 1.0), pairs=2)
        yield Check(f"fold of three factors, σ = {sigma}: λ", _strength(branch, "fold"), fold_of_three(sigma), fine)
        yield Check(f"index below that fold, σ = {sigma}", _index(branch, 0), 0, 0)
        yield Check(f"index beyond it, σ = {sigma}", _index(branch, -1), 1, 0)
    say("three factors: equal depth")
    start = learnt(deep_linear([1.0], 3, 1, 0.19, dtype), [1.0], 3)
    meeting = maxwell(start, start.theta, torch.zeros_like(start.theta), tolerance=default_tolerance(dtype))
    yield Check("Maxwell point of three factors, σ = 1: λ", meeting.strength, 1 / 4 * (1 / 2) ** (1 / 3), fine)
    yield from _three_modes(dtype, fine, coarse, say)
    yield from _opening(dtype, fine, coarse, say)
    yield from _tanh(dtype, fine, say)
    yield from _families(dtype, say)
    yield from _ladder(dtype, say)


def _three_modes(dtype: torch.dtype, fine: float, coarse: float, say: Callable[[str], object]) -> Iterator[Check]:
    say("three factors, three modes: a turn of q, and rotations between layers")
    start = learnt(deep_linear(THREE_MODES, 3, 4, 0.05, dtype), THREE_MODES, 3)
    names = list(start.layout.unflatten(start.theta))

    def around(theta: Tensor) -> Tensor:
        return layer_rotations(start.layout, theta, names)

    yield Check("null modes of three modes, 4 × 4 hidden units", float(len(around(start.theta))), 12, 0)
    branch = follow(start, between=(0.04, 1.0), symmetry=around)
    yield Check("fold of three modes: λ", _strength(branch, "fold"), fold_of_three(0.5), fine)
    yield Check("turn of q: λ", _strength(branch, "turn"), 0.0684981, coarse)
    turn = next((event for event in branch.events if event.kind == "turn"), None)
    yield Check("turn of q: q", math.nan if turn is None else turn.distance2, 6.4358014, coarse)
    jumping = follow_spheres(start, 6.0, symmetry=around, pairs=0)
    jumped = jumping.events[0].distance2 if jumping.events and jumping.events[0].kind == "jump" else math.nan
    yield Check("steps in q, which cannot pass it, end in a jump: q", jumped, 6.4358014, 1e-4 if dtype == torch.float64 else 1e-2)
    yield Check("branch points on the way: none", float(sum(event.kind == "branch" for event in branch.events)), 0, 0)


def _opening(dtype: torch.dtype, fine: float, coarse: float, say: Callable[[str], object]) -> Iterator[Check]:
    say("two factors: the origin")
    origin = deep_linear((1.2, 0.5), 2, 3, 0.9, dtype)
    branch = follow(origin, direction="down", between=(0.1, 2.0), pairs=8, step=0.02, longest_step=0.05)
    for number, sigma in enumerate((1.2, 0.5)):
        event = branch.events[number] if number < len(branch.events) else None
        yield Check(f"origin of two factors, σ = {sigma}: λ", math.nan if event is None else event.strength, sigma / 2, fine)
        yield Check(f"its multiplicity, σ = {sigma}", math.nan if event is None else float(len(event.kernel)), 3, 0)
    found = switch_branch(origin, branch.events[0], amplitude=0.2, tolerance=default_tolerance(dtype))
    worst = max(abs(each.theta.double().square().sum().item() - 2 * (1.2 - 2 * each.strength)) for each in found)
    yield Check("branches that leave it: q − 2(σ − 2λ)", worst, 0, coarse)
    say("two factors: a mode vanishes")
    start = learnt(deep_linear([1.0], 2, 1, 0.05, dtype), [1.0], 2)
    branch = follow(start, between=(0.0, 2.0), pairs=1)
    yield Check("two factors vanish, σ = 1: λ", _strength(branch, "end"), 0.5, 1e-6 if dtype == torch.float64 else 1e-3)


def _tanh(dtype: torch.dtype, fine: float, say: Callable[[str], object]) -> Iterator[Check]:
    say("tanh: the origin")
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(40, 4, generator=generator, dtype=torch.float64)
    targets = torch.tanh(inputs @ torch.randn(4, 2, generator=generator, dtype=torch.float64))
    inputs, targets = inputs - inputs.mean(0), targets - targets.mean(0)
    true = (torch.linalg.svdvals(targets.T @ inputs / 40)[0] / 2).item()
    model = nn.Sequential(nn.Linear(4, 3, bias=False), nn.Tanh(), nn.Linear(3, 2, bias=False)).to(dtype)
    origin = Objective(model, half_squared, [(inputs.to(dtype), targets.to(dtype))], strength=1.2 * true)
    zero = torch.zeros_like(origin.theta)
    branch = follow(origin, zero, direction="down", between=(0.8 * true, 2.0), pairs=5, step=0.02, longest_step=0.05)
    yield Check("origin of tanh on centred data: λ = σ₁/2", _strength(branch, "branch"), true, fine)


def _families(dtype: torch.dtype, say: Callable[[str], object]) -> Iterator[Check]:
    say("two factors, rank 3: all critical points")
    strength, wrong = 0.1, 0
    for count in range(4):
        for modes in itertools.combinations(range(3), count):
            start = learnt(deep_linear(THREE_MODES, 2, 3, strength, dtype), THREE_MODES, 2, modes)
            follower = Follower(start, default_tolerance(dtype), 0, None, 0)
            state = follower.begin(start.theta, strength)
            found = lowest(state, 12, None, tolerance=1e-3, seed=0).index
            wrong += found != index_of(THREE_MODES, 3, strength, modes)
    yield Check("families of two factors, rank 3, whose index is wrong, of 8", float(wrong), 0, 0)


def _ladder(dtype: torch.dtype, say: Callable[[str], object]) -> Iterator[Check]:
    say("three factors: a ladder of polished points")
    objective, step = learnt(deep_linear([0.5], 3, 1, 0.05, dtype), [0.5], 3), 0.002
    theta, lost = objective.theta, math.nan
    tolerance = default_tolerance(dtype)
    hessian = HessianOperator.of(objective)
    for strength in np.arange(0.05, 0.12, step):
        there = objective.penalised(float(strength))
        theta = polish(there, theta, hessian=hessian, tolerance=tolerance, max_products=2000).theta
        if theta.norm() < 0.1:
            lost = float(strength)
            break
    yield Check("λ at which warm steps lose the branch, σ = 0.5", lost - step / 2, fold_of_three(0.5), step)


def _strength(branch: Branch, kind: str) -> float:
    return next((event.strength for event in branch.events if event.kind == kind), math.nan)


def _index(branch: Branch, number: int) -> float:
    index = branch.points[number].index
    return math.nan if index is None else float(index)
