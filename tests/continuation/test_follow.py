"""Branches against closed forms of linear networks (folds, turns, branch points, the collapse), and against dense Hessians."""

import math
import re
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.interpolate import CubicSpline
from solvable import fitted, objective, rotations, squared, unit
from torch import nn

import orograph as og
from orograph.errors import OrographError


@pytest.mark.parametrize(
    ("sigma", "fold"), [(0.5, 0.09375), pytest.param(1.0, 3 / 8 * (1 / 4) ** (1 / 3), marks=pytest.mark.slow)]
)
def test_the_fold_of_three_factors_is_where_theory_has_it(sigma: float, fold: float) -> None:
    start = fitted(objective([sigma], 3, 1, 0.02), [sigma], 3, 0.02)
    branch = og.follow(start, between=(0.01, 1.0), pairs=2)
    assert [event.kind for event in branch.events] == ["fold"]
    (event,) = branch.events
    assert event.strength == pytest.approx(fold, abs=1e-12)  # λ is flat in s there: the square of what places s
    assert event.distance2 == pytest.approx(3 * (sigma / 4) ** (2 / 3), rel=1e-6)
    assert len(event.kernel) == 1
    assert branch.points[-1].strength == 0.01
    for point in branch.points:  # the stable part lies above u³ = σ/4, the unstable one below it
        u = (point.distance2 / 3) ** 0.5
        assert u**4 - sigma * u + 2 * point.strength == pytest.approx(0, abs=1e-7)
        assert point.index == int(u**3 < sigma / 4)


@pytest.mark.slow
def test_a_turn_of_q_is_passed_and_is_no_bifurcation_and_neither_are_the_rotations_between_layers() -> None:
    singular = [1.5, 0.9, 0.5]
    start = fitted(objective(singular, 3, 4, 0.05), singular, 3, 0.05)
    around = rotations(start)
    assert len(around(start.theta)) == 12  # rank of the Lie generators' orbit, 4 × 4 hidden, rank 3
    branch = og.follow(start, between=(0.04, 1.0), symmetry=around)
    assert [event.kind for event in branch.events] == ["fold", "turn"]
    fold, turn = branch.events
    assert fold.strength == pytest.approx(0.09375, abs=1e-10)
    assert (turn.strength, turn.distance2) == pytest.approx((0.0684981, 6.4358014), abs=1e-7)  # stated to so many digits
    assert not len(turn.kernel)
    assert [point.index for point in (branch.points[0], branch.points[-1])] == [0, 1]


@pytest.mark.slow
def test_a_start_at_the_reference_up_to_rounding_is_followed_in_steps_of_strength() -> None:
    near = objective([0.5], 3, 1, 0.02)
    branch = og.follow(near, torch.full((3,), 1e-10, dtype=torch.float64), between=(0.01, 0.1), pairs=1)
    assert branch.ended == "λ reached 0.1"
    assert len(branch.points) < 100


@pytest.mark.slow
def test_two_factors_vanish_continuously() -> None:
    start = fitted(objective([1.0], 2, 1, 0.05), [1.0], 2, 0.05)
    branch = og.follow(start, between=(0.0, 2.0), pairs=1)
    assert branch.ended == "θ reached θ_ref"
    (event,) = branch.events
    assert (event.kind, event.strength) == ("end", pytest.approx(0.5, abs=1e-6))
    assert [point.distance2 / 2 for point in branch.points] == pytest.approx([1 - 2 * point.strength for point in branch.points])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_the_rank_of_rotations_is_not_that_of_the_noise_of_a_point(dtype: torch.dtype) -> None:
    start = fitted(objective([1.5, 0.9], 3, 4, 0.05, dtype), [1.5, 0.9], 3, 0.05)
    around = rotations(start)
    noise = torch.randn(start.layout.size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    known = 10 * torch.finfo(dtype).eps  # relative, as a critical point is known
    near = start.theta + known * noise.to(dtype)
    assert (
        len(around(near)) == len(around(start.theta)) == 10
    )  # the two generators between two layers that turn nothing are missing


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "places"), [(torch.float64, 1e-9), (torch.float32, 1e-5)])
def test_at_the_origin_a_mode_opens_with_as_many_directions_as_hidden_units(dtype: torch.dtype, places: float) -> None:
    origin = objective([1.2, 0.5], 2, 3, 0.9, dtype)
    options = {"direction": "down", "between": (0.1, 2.0), "step": 0.02, "longest_step": 0.05}
    branch = og.follow(origin, pairs=8, **options)
    assert [(event.kind, len(event.kernel)) for event in branch.events] == [("branch", 3), ("branch", 3)]
    assert [event.strength for event in branch.events] == pytest.approx([0.6, 0.25], abs=places)
    found = og.switch_branch(origin, branch.events[0], amplitude=0.2)
    assert len(found) == 6
    for each in found:  # on the branch of the first mode, q = 2p = 2(σ − 2λ)
        assert each.theta.square().sum() == pytest.approx(2 * (1.2 - 2 * each.strength), rel=10 * places)


@pytest.mark.slow
def test_tanh_on_centred_data_opens_at_half_of_the_correlation() -> None:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(40, 4, generator=generator, dtype=torch.float64)
    inputs -= inputs.mean(0)
    targets = torch.tanh(inputs @ torch.randn(4, 2, generator=generator, dtype=torch.float64))
    targets -= targets.mean(0)
    opens = (torch.linalg.svdvals(targets.T @ inputs / 40)[0] / 2).item()
    model = nn.Sequential(nn.Linear(4, 3, bias=False), nn.Tanh(), nn.Linear(3, 2, bias=False)).double()
    origin = og.Objective(model, squared, [(inputs, targets)], strength=1.2 * opens)
    origin = origin.moved(torch.zeros_like(origin.theta))
    branch = og.follow(origin, direction="down", between=(0.8 * opens, 2.0), pairs=5, step=0.02, longest_step=0.05)
    assert [(event.kind, len(event.kernel)) for event in branch.events] == [("branch", 3)]
    assert branch.events[0].strength == pytest.approx(opens, abs=1e-9)


def smooth_network() -> tuple[nn.Module, nn.Module, list[tuple[torch.Tensor, torch.Tensor]]]:
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 3)).double()
    inputs = torch.randn(30, 4, dtype=torch.float64)
    return model, nn.CrossEntropyLoss(), [(inputs, (inputs @ torch.randn(4, 3, dtype=torch.float64)).argmax(1))]


@pytest.mark.slow
def test_points_of_a_network_are_critical_and_their_eigenvalues_those_of_the_dense_hessian() -> None:
    model, loss, data = smooth_network()
    problem = og.Objective(model, loss, data, strength=0.002)
    start = og.polish(problem, problem.theta, hessian=og.HessianOperator.of(problem), tolerance=1e-10, max_products=5000)
    assert start.converged
    branch = og.follow(problem, start.theta, between=(0.001, 0.006), pairs=3, points=15)
    assert len(branch.points) > 3
    for point in branch.points:
        objective = problem.penalised(point.strength)
        assert objective.value_gradient(point.theta).norm() <= 1e-9 * max(1.0, 2 * point.strength * point.distance2**0.5)

        def value(theta: torch.Tensor, strength: float = point.strength) -> torch.Tensor:
            parts = problem.layout.unflatten(theta)
            return loss(torch.func.functional_call(model, parts, data[0][0]), data[0][1]) + strength * theta.square().sum()

        values = torch.linalg.eigvalsh(torch.func.hessian(value)(point.theta))
        assert torch.allclose(point.eigenvalues, values[:3], rtol=1e-5, atol=1e-9)  # squares of residuals of 1e-3
        assert point.index == int((values < -1e-9).sum())
        assert point.objective == pytest.approx(objective.value(point.theta), rel=1e-12)


@pytest.mark.slow
def test_the_envelope_holds_along_a_branch_and_round_its_fold() -> None:
    start = fitted(objective([1.0], 3, 1, 0.02), [1.0], 3, 0.02)
    branch = og.follow(start, between=(0.01, 1.0), pairs=0, longest_step=0.03, points=2000)
    assert any(event.kind == "fold" for event in branch.events)
    s, q, strength = (
        np.array([getattr(point, name) for point in branch.points]) for name in ("arclength", "distance2", "strength")
    )
    fine = np.linspace(s[0], s[-1], 20_001)
    by_q = np.trapezoid(CubicSpline(s, q)(fine) * CubicSpline(s, strength)(fine, 1), fine)  # dF = q dλ; splines err by h⁴
    assert branch.points[-1].objective - branch.points[0].objective == pytest.approx(by_q, abs=1e-6)


@pytest.mark.slow
def test_in_single_precision_the_fold_is_found_to_its_rounding() -> None:
    start = fitted(objective([0.5], 3, 1, 0.02, torch.float32), [0.5], 3, 0.02)
    (event,) = og.follow(start, between=(0.01, 1.0), pairs=1).events
    assert event.kind == "fold"
    assert event.strength == pytest.approx(0.09375, abs=1e-6)


@pytest.mark.parametrize(
    ("to", "options", "words"),
    [
        (math.nan, {}, "`to` nan"),
        (1.0, {"points": 0}, "`points` 0"),
        (1.0, {"max_products": 0}, "`max_products` 0"),
        (1.0, {"theta": torch.zeros(3, dtype=torch.float64)}, "θ_ref itself"),
        (1.0, {"theta": torch.full((3,), 9.0, dtype=torch.float64)}, "no critical point"),
    ],
)
def test_spheres_that_cannot_be_followed_are_refused_in_a_sentence(to: float, options: dict, words: str) -> None:
    with pytest.raises(OrographError, match=words):
        og.follow_spheres(fitted(objective([0.5], 3, 1, 0.02), [0.5], 3, 0.02), to, **options)


def test_from_sphere_to_sphere_a_fold_is_no_obstacle_and_every_point_is_that_of_the_closed_form() -> None:
    start = fitted(objective([0.5], 3, 1, 0.05), [0.5], 3, 0.05)
    branch = og.follow_spheres(start, 0.1, pairs=1, longest_step=0.07)
    assert branch.ended == "q reached 0.1"
    assert branch.points[-1].distance2 == pytest.approx(0.1, rel=1e-8)
    assert not branch.events
    for point in branch.points:
        u = (point.distance2 / 3) ** 0.5
        assert u**4 - 0.5 * u + 2 * point.strength == pytest.approx(0, abs=1e-8)  # ‖F‖/u
        assert point.index == int(u**3 < 0.125)
    losses, squares, strengths = (
        np.array([getattr(point, name) for point in branch.points]) for name in ("loss", "distance2", "strength")
    )
    spline = CubicSpline(squares[::-1], losses[::-1])
    assert -spline(squares[1:-1], 1) == pytest.approx(strengths[1:-1], abs=2e-4)  # λ = −dL/dq, to the spline's h³


@pytest.mark.slow
def test_steps_in_q_end_where_q_turns_and_say_that_they_jump() -> None:
    singular = [1.5, 0.9, 0.5]
    start = fitted(objective(singular, 3, 4, 0.05), singular, 3, 0.05)
    branch = og.follow_spheres(start, 6.0, symmetry=rotations(start), pairs=0)
    (event,) = branch.events
    assert event.kind == "jump"
    assert event.distance2 == pytest.approx(6.4358014, abs=1e-4)  # steps get shorter and shorter towards a square root
    assert branch.ended.startswith("no sphere beyond")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"points": 0}, "`points` 0"),
        ({"between": (0.5, 1.0)}, "λ = 0.02"),
        ({"pairs": -1}, "`pairs` -1"),
        ({"step": -1.0}, "`step` -1.0"),
        ({"tolerance": math.nan}, "`tolerance` nan"),
        ({"max_products": 0}, "`max_products` 0"),
        ({"theta": torch.full((3,), 9.0, dtype=torch.float64)}, "no critical point"),
    ],
)
def test_what_cannot_be_followed_is_refused_in_a_sentence(options: dict, words: str) -> None:
    with pytest.raises(OrographError, match=words):
        og.follow(fitted(objective([0.5], 3, 1, 0.02), [0.5], 3, 0.02), **options)


def test_a_network_with_kinks_is_refused() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1)).double()
    data = [(torch.ones(3, 2, dtype=torch.float64), torch.ones(3, 1, dtype=torch.float64))]
    with pytest.raises(OrographError, match=r"relu"):
        og.follow(og.Objective(model, nn.MSELoss(), data, strength=0.1))


def test_the_lowest_mode_of_three_factors_has_the_unit_that_theory_has() -> None:
    assert unit(0.5, 3, 0.0) == pytest.approx(0.5 ** (1 / 3))  # u³ = σ without a penalty: the closed form itself is right


def double_well(slope: float) -> og.Objective:
    """(x² − 1)²/4 + slope·x of one parameter at λ = 0.1."""
    model = nn.Linear(1, 1, bias=False).double()
    data = [(torch.ones(1, 1, dtype=torch.float64), torch.zeros(1, 1, dtype=torch.float64))]
    return og.Objective(model, lambda x, _: ((x.square() - 1).square() / 4 + slope * x).squeeze(1), data, strength=0.1)


def root(slope: float, near: float) -> torch.Tensor:
    """The critical point of the well there, x³ − x + slope + 2λx = 0."""
    found = np.roots([1, 0, 2 * 0.1 - 1, slope])
    return torch.tensor([min(found.real, key=lambda x: abs(x - near))], dtype=torch.float64)


@pytest.mark.parametrize(("slope", "bound"), [(0.05, 0.0), (0.3, 0.03)])
def test_the_last_point_lies_on_the_bound_to_the_last_bit_and_none_beyond_it(slope: float, bound: float) -> None:
    well = double_well(slope)
    branch = og.follow(well, root(slope, -1.0), direction="down", between=(bound, 1.0), pairs=0)
    assert branch.points[-1].strength == bound
    assert branch.ended == f"λ reached {bound:g}"
    at_once = og.follow(well, root(slope, -1.0), direction="down", between=(0.1, 1.0), pairs=0)
    assert ([point.strength for point in at_once.points], at_once.ended) == ([0.1], "λ reached 0.1")


def test_steps_in_q_end_where_the_penalty_vanishes() -> None:
    branch = og.follow_spheres(double_well(0.05), 100.0, root(0.05, -1.0), pairs=0)
    assert branch.ended == "λ reached 0"
    assert branch.points[-1].strength == 0
    (x,) = branch.points[-1].theta
    assert x**3 - x + 0.05 == pytest.approx(0, abs=1e-8)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"direction": "sideways"}, "`direction` sideways is none of up and down"),
        ({"between": (-1.0, 1.0)}, "`between` (-1.0, 1.0) must be a range of λ, at least 0"),
        ({"between": (0.5, 1.0)}, "λ = 0.1 of the start lies outside `between` (0.5, 1.0)"),
        ({"points": 0}, "`points` 0 must be at least 1."),
    ],
)
def test_what_cannot_be_followed_is_named(options: dict, said: str) -> None:
    with pytest.raises(OrographError, match=re.escape(said)):
        og.follow(double_well(0.05), root(0.05, -1.0), **options)


@pytest.mark.slow
def test_no_equal_depth_is_found_where_a_branch_ends_before() -> None:
    well, upper, lower = double_well(0.05), root(0.05, 1.0), root(0.05, -1.0)
    # x³ − (1 − 2λ)x + c = 0 has a double root at ((1 − 2λ)/3)³ = c²/4: there the upper minimum ends
    end = (1 - 3 * (0.05**2 / 4) ** (1 / 3)) / 2
    with pytest.raises(OrographError, match="The branch of `one` ends near λ = ") as found:
        og.maxwell(well, upper, lower)
    assert float(str(found.value).split("λ = ")[1].split(",")[0]) == pytest.approx(end, rel=3e-3)


def test_one_point_is_as_deep_as_itself_at_no_certain_strength() -> None:
    well, upper = double_well(0.05), root(0.05, 1.0)
    with pytest.raises(OrographError, match="are the same point"):
        og.maxwell(well, upper, upper)


class Potential(nn.Module):
    """A function of θ itself in place of a network."""

    def __init__(self, height: Callable[[torch.Tensor], torch.Tensor], start: list[float]) -> None:
        super().__init__()
        self.place, self.height = nn.Parameter(torch.tensor(start, dtype=torch.float64)), height

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.height(self.place).expand(len(inputs), 1)


def on_potential(height: Callable[[torch.Tensor], torch.Tensor], start: list[float], strength: float) -> og.Objective:
    data = [(torch.ones(1, 1, dtype=torch.float64), torch.zeros(1, 1, dtype=torch.float64))]
    return og.Objective(Potential(height, start), lambda out, _: out.squeeze(1), data, strength=strength, dtype=torch.float64)


@pytest.mark.slow
def test_where_two_branches_cross_the_point_is_as_sharp_on_the_one_as_on_the_other() -> None:
    def height(theta: torch.Tensor) -> torch.Tensor:
        x, y = theta
        return x**4 / 4 + x**3 / 3 - x**2 / 2 + y**2

    x = 0.05  # on the branch λ = (1 − x − x²)/2, which crosses x = 0 at λ = 1/2, where q turns
    objective = on_potential(height, [x, 0.0], (1 - x - x**2) / 2)
    (event,) = og.follow(objective, direction="up", between=(0.2, 0.55), pairs=1, points=25).events
    assert event.kind == "branch"
    assert abs(event.strength - 0.5) < 1e-10  # the points themselves are good to √τ = 3e-5 there
    assert event.theta.abs().max() < 1e-8


@pytest.mark.slow
def test_a_pitchfork_is_a_branch_point_along_its_arms_too() -> None:
    def height(theta: torch.Tensor) -> torch.Tensor:
        x, y, z = theta
        return (x * x - 1) ** 2 / 4 + (y * y - 1) ** 2 / 4 + 0.12 * (x - y) ** 2 + 0.05 * (x + y) + z**2

    # on x = y: x³ − x + 0.05 + 2λx = 0, and across it 3x² − 0.52 + 2λ = 0
    (x,) = (each.real for each in np.roots([-2, 0, -0.48, 0.05]) if abs(each.imag) < 1e-9)
    strength = (0.52 - 3 * x**2) / 2
    start = 0.09
    near = on_potential(height, [start, start, 0.0], (start - start**3 - 0.05) / (2 * start))
    (event,) = (each for each in og.follow(near, pairs=2, points=12).events if each.kind == "branch")
    arm, _ = og.switch_branch(near, event)
    along = og.follow(near.penalised(arm.strength).moved(arm.theta), pairs=2, points=12)
    (again,) = along.events
    for found in (event, again):
        assert (found.kind, found.strength) == ("branch", pytest.approx(strength, abs=1e-10))
        assert (found.theta[:2] - x).abs().max() < 1e-8
        assert len(found.kernel) == 1
    assert (event.turns, again.turns) == (False, True)
    *arms, above, below = og.switch_branch(near, again)
    assert len(arms) == 2
    assert below.strength < strength < above.strength
    for stem in (above, below):  # on x = y again
        assert (stem.theta[0] - stem.theta[1]).abs() < 1e-8
        assert stem.theta[0] ** 3 - stem.theta[0] + 0.05 + 2 * stem.strength * stem.theta[0] == pytest.approx(0, abs=1e-8)


@pytest.mark.slow
def test_a_closed_branch_is_gone_round_once() -> None:
    def height(theta: torch.Tensor) -> torch.Tensor:
        x, y = theta
        square = x**2 + y**2
        return (square + 3.75) * torch.atan2(y, x) - 4 * y - square

    objective = on_potential(height, [1.5, 0.0], 1.0)  # a loop on which λ turns four times
    branch = og.follow(objective, between=(0.0, 5.0), pairs=1, points=60)
    assert branch.ended == "the branch closed"
    assert torch.equal(branch.points[-1].theta, branch.points[0].theta)
    assert branch.points[-1].strength == branch.points[0].strength
    assert [event.kind for event in branch.events].count("fold") == 4
