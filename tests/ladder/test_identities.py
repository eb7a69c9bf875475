"""Jumps and kinks of the order parameter by identities: all that closed forms have, and none on a smooth branch."""

import math

import numpy as np
import pytest
import torch
from families import ONSET, correlated_noise, inner, outer, second_order, smooth, walk

import error_rates
from landscapes import symmetric
from orograph.analysis.chain import Chain
from orograph.analysis.series import changes_of
from orograph.ladder.changes import ChangePoint, change_points
from orograph.ladder.identities import decided, jumps_by_energy, jumps_by_response, kinks_by_response, merged
from orograph.ladder.thermodynamics import envelope, unsettled
from orograph.store.cells import Cell

LADDER = np.linspace(0, 2, 41)


def test_a_step_beyond_the_susceptibilities_is_a_jump_on_any_ladder() -> None:
    """Seven uneven points across the fold of the outer branch; χ from the closed forms, by differences."""
    ladder = np.array([0.4, 0.7, 1.1, 1.3, 1.5, 1.7, 2.0])
    states = walk(ladder, upward=True)
    on_outer = [state.u > 0.1 for state in states]
    ends = [[order_at(x, branch, shift) for shift in (-1e-6, 1e-6)] for x, branch in zip(ladder, on_outer, strict=True)]
    chi = np.array([(before - after) / 2e-6 for before, after in ends])
    (found,) = jumps_by_response(ladder, orders(states), chi, [True] * 7)
    assert (found.low, found.high) == (1.5, 1.7)
    assert found.jump < -0.5
    assert jumps_by_response(ladder, orders(states), chi, [True] * 5 + [False] * 2) == ()
    assert jumps_by_response(ladder[:5], orders(states)[:5], chi[:5], [True] * 5) == ()
    assert merged((found,), ()) == (found,)


def test_a_jump_of_the_susceptibility_is_a_kink_of_the_order_parameter() -> None:
    """χ = ½ + χ_smooth below the onset and χ_smooth above it; without an onset χ has no jump."""
    steady = np.array([(smooth(x - 1e-6)[1] - smooth(x + 1e-6)[1]) / 2e-6 for x in LADDER])
    noise = correlated_noise(len(LADDER), 0.005, 0.5, 3)
    chi = steady + 0.5 * (LADDER < ONSET) + noise
    (found,) = kinks_by_response(LADDER, chi, change_points(LADDER, chi))
    assert found.low < ONSET < found.high
    assert found.kind == "kink"
    # −Δχ: the step of ½, χ's own fall between two points (below 0.1), and two values' noise.
    assert found.kink == pytest.approx(0.55, abs=0.1)
    assert kinks_by_response(LADDER, steady + noise, change_points(LADDER, steady + noise)) == ()


def orders(states) -> np.ndarray:
    return np.array([state.order for state in states])


def order_at(strength: float, on_outer: bool, shift: float) -> float:
    return (outer if on_outer else inner)(strength + shift).order


def by_energy(strengths, q, energy, chi, **known):
    steps = envelope(strengths.tolist(), energy.tolist(), q.tolist(), chi.tolist(), rounding=1e-12, **known)
    return jumps_by_energy(steps, q, chi)


@pytest.mark.parametrize("part", [0.01, 0.1, 0.9])
@pytest.mark.parametrize("points", [11, 31, 101])
def test_a_fold_beside_a_mode_that_hides_it_is_a_jump(part: float, points: int) -> None:
    """Three factors fold at λ_f; a smooth mode makes up all of q but a part, so that Δq is near χΔλ there."""
    at = error_rates.fold_of(1.0)
    strengths = at * np.linspace(0.31, 1.29, points)
    height = math.sqrt(3 * 0.25 ** (2 / 3) * (1 / part - 1)) * 2
    modes = error_rates.three_factors(strengths, 1.0), error_rates.bath(strengths, 2 * at, height)
    found = by_energy(strengths, *(one + other for one, other in zip(*modes, strict=True)))
    assert [change.low < at < change.high for change in found] == [True]
    assert (found[0].evidence, found[0].kind) == ("energy", "jump")
    assert math.isnan(found[0].p_value)


def test_a_jump_at_equal_energies_is_seen_by_what_the_susceptibilities_leave() -> None:
    """At the Maxwell point F is continuous and its slope between both q; only the trapezoid is wrong."""
    strengths = np.linspace(1.105, 1.505, 9)
    states = [outer(x) if x < 1.3 else inner(x) for x in map(float, strengths)]
    chi = np.array([order_at(x, x < 1.3, -1e-6) - order_at(x, x < 1.3, 1e-6) for x in strengths]) / 2e-6
    energy = np.array([state.energy for state in states])
    found = by_energy(strengths, orders(states), energy, chi)
    assert [(change.low < 1.3 < change.high) for change in found] == [True]
    steps = envelope(strengths.tolist(), energy.tolist(), orders(states).tolist(), chi.tolist())
    assert all(step.outside == 0 for step in steps)


@pytest.mark.parametrize("seed", range(12))
def test_a_smooth_branch_of_minima_has_none(seed: int) -> None:
    ladder = np.linspace(0.001, 0.031, 31)
    assert error_rates.proven(ladder, *error_rates.smooth_branch(np.random.default_rng(seed), ladder)) == ()


def test_an_order_parameter_that_rises_is_a_jump_unless_a_saddle_is_there_or_a_point_is_not_critical() -> None:
    strengths, q = np.array([1.0, 1.1, 1.2]), np.array([0.5, 0.49, 0.6])
    energy, chi = np.array([0.0, 0.0495, 0.104]), np.full(3, 0.1)
    assert [change.strength for change in by_energy(strengths, q, energy, chi)] == pytest.approx([1.15])
    # Between saddles the corrected trapezoid is all there is, and it holds.
    assert by_energy(strengths, q, energy, chi, saddles=[False, False, True]) == ()
    assert by_energy(strengths, q, energy, chi, critical=[True, True, False]) == ()


def test_what_is_left_of_a_gradient_bounds_what_it_may_change() -> None:
    """L = ½θᵀHθ about its own minimum: a point off the critical one by A⁻¹g has other F and q, by no more than the bounds."""
    hessian = symmetric(12, positive=True)
    matrix = hessian + 0.2 * torch.eye(12, dtype=torch.float64)
    centre = torch.linspace(1, 2, 12, dtype=torch.float64)
    exact = torch.linalg.solve(matrix, hessian @ centre)  # of ½(θ − c)ᵀH(θ − c) + 0.1‖θ‖²

    def energy(theta: torch.Tensor) -> float:
        return (0.5 * (theta - centre) @ hessian @ (theta - centre) + 0.1 * theta @ theta).item()

    chi = 4 * (exact @ torch.linalg.solve(matrix, exact)).item()
    lowest = torch.linalg.eigvalsh(matrix)[0].item()
    for seed in range(5):
        gradient = 1e-6 * torch.randn(12, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
        near = exact + torch.linalg.solve(matrix, gradient)
        of_energy, of_order = unsettled(*(np.array([x]) for x in (gradient.norm().item(), chi, lowest, 0.1)))
        assert 0 <= energy(near) - energy(exact) <= of_energy[0] + 1e-15  # rounding of F
        assert abs((near @ near - exact @ exact).item()) <= of_order[0] * (1 + 1e-4)  # to first order


def test_gradients_that_are_left_excuse_a_step() -> None:
    strengths, q = np.array([1.0, 1.1]), np.array([0.5, 0.5001])
    energy, chi = np.array([0.0, 0.05]), np.full(2, 0.1)
    assert by_energy(strengths, q, energy, chi) != ()
    assert by_energy(strengths, q, energy, chi, uncertainties=([0.0, 0.0], [1e-4, 1e-4])) == ()


def test_the_surest_way_stays_where_several_find_the_same() -> None:
    proof = ChangePoint(1.05, 1.0, 1.1, "jump", -1.0, 0.0, math.nan, evidence="energy")
    kink = ChangePoint(1.15, 1.1, 1.2, "kink", 0.0, 1.0, 0.005, evidence="response")
    far = ChangePoint(1.55, 1.5, 1.6, "kink", 0.0, 1.0, 0.005)
    assert merged((proof,), (kink,), (far,)) == (proof, far)
    assert merged((), (kink,), (far,)) == (kink, far)


def test_identities_decide_steps_between_critical_points_of_known_susceptibility() -> None:
    assert decided([True, True, False, True], np.array([1.0, 1.0, 1.0, np.nan])).tolist() == [True, False, False]


def test_a_point_inserted_at_a_transition_has_no_susceptibility_and_hides_none() -> None:
    inserted = 0.8301
    strengths = sorted([*LADDER.tolist(), inserted])
    steady = [(smooth(x - 1e-6)[1] - smooth(x + 1e-6)[1]) / 2e-6 for x in strengths]
    chi = [math.nan if x == inserted else rest + 0.5 * (x < ONSET) for x, rest in zip(strengths, steady, strict=True)]
    distances = [second_order(x).order ** 0.5 for x in strengths]
    rows = [{"anchor_distance": distance, "susceptibility": each} for distance, each in zip(distances, chi, strict=True)]
    cells = tuple(Cell(0, strength=x) for x in strengths)
    chain = Chain(0, "up", cells, tuple(rows), frozenset(LADDER.tolist()))
    found = changes_of(chain, (), (), [True] * len(strengths), resamples=199, seed=0).found
    assert [change.low < ONSET < change.high for change in found["susceptibility"]] == [True]
    assert [change.low < ONSET < change.high for change in found["order parameter"]] == [True]


def test_what_the_gradients_leave_of_q_is_no_jump() -> None:
    ladder, order, chi = np.array([0.1, 0.11, 0.12]), np.array([2.5e-10, 1.1e-19, 0.0]), np.array([4.6e-9, 2e-18, 0.0])
    gradients, lowest = np.array([3.2e-6, 7.3e-11, 3e-20]), np.array([0.2, 0.22, 0.24])
    assert len(jumps_by_response(ladder, order, chi, [True] * 3)) == 2
    _, loose = unsettled(gradients, chi, lowest, ladder)
    assert jumps_by_response(ladder, order, chi, [True] * 3, loose) == ()
    (far,) = jumps_by_response(ladder, order + np.array([1e-6, 0, 0]), chi, [True] * 3, loose)
    assert (far.low, far.high) == (0.1, 0.11)
