"""The closed forms of solvable networks, held against the gradients and Hessians of the networks themselves."""

import math

import pytest
import torch

import orograph as og
from orograph.continuation.solvable import (
    deep_linear,
    distance_of,
    fold_of_three,
    heights_of_three,
    index_of,
    learnt,
    maxwell_of_three,
    merged_units,
    strength_of_three,
    two_steps,
)


@pytest.mark.parametrize("factors", [2, 3])
def test_what_is_learnt_is_a_critical_point_at_the_distance_that_is_said(factors: int) -> None:
    there = learnt(deep_linear((1.5, 0.9), factors, 3, 0.05, torch.float64), (1.5, 0.9), factors)
    gradient = there.gradient(there.theta) + 2 * 0.05 * there.theta
    assert gradient.norm() < 1e-14
    assert there.theta.square().sum().item() == pytest.approx(distance_of((1.5, 0.9), factors, 0.05), rel=1e-14)


@pytest.mark.slow
def test_the_index_of_two_factors_is_that_of_the_dense_hessian() -> None:
    sigma = (1.5, 0.9, 0.5)
    for modes in ((), (1,), (0, 2)):
        there = learnt(deep_linear(sigma, 2, 3, 0.1, torch.float64), sigma, 2, modes)
        dense = og.HessianOperator.of(there) @ torch.eye(18).double() + 0.2 * torch.eye(18)
        assert int((torch.linalg.eigvalsh(dense) < -1e-9).sum()) == index_of(sigma, 3, 0.1, modes)


def test_three_factors_fold_where_lambda_of_q_is_largest_and_are_as_deep_as_the_origin_at_maxwell() -> None:
    fold, meeting = fold_of_three(1.0), maxwell_of_three(1.0)
    assert (fold, meeting) == (pytest.approx(0.236235, abs=1e-6), pytest.approx(0.198425, abs=1e-6))
    at = 3 * (1 / 4) ** (2 / 3)
    assert strength_of_three(1.0, at) == pytest.approx(fold)
    assert max(strength_of_three(1.0, at * share) for share in (0.9, 1.1)) < fold
    above_minimum, above_origin = heights_of_three(1.0, meeting)
    assert above_minimum == pytest.approx(above_origin, abs=1e-12)


def test_equal_units_part_where_an_eigenvalue_of_the_dense_hessian_passes_zero() -> None:
    x, y = two_steps()["train"]
    _, _, parting = merged_units()
    for strength, sign in ((parting * 1.001, 1), (parting * 0.999, -1)):
        w, u, _ = merged_units(strength)
        theta = torch.tensor([w, w, 0, 0, u, u, 0], dtype=torch.float64)

        def energy(t: torch.Tensor, strength: float = strength) -> torch.Tensor:
            outputs = torch.tanh(x * t[:2] + t[2:4]) @ t[4:6] + t[6]
            return 0.5 * (outputs - y[:, 0]).square().mean() + strength * t.square().sum()

        assert torch.autograd.functional.jacobian(energy, theta).norm() < 1e-11
        hessian = torch.autograd.functional.hessian(energy, theta)
        apart = torch.tensor([0, 0, 1, -1, 0, 0, 0], dtype=torch.float64) / math.sqrt(2)
        assert torch.sign(apart @ hessian @ apart) == sign
