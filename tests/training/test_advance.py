"""Steps along a branch against closed forms: a product of weights, σ = 1, and a quadratic."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from orograph.curvature.hessian import HessianOperator
from orograph.errors import ConfigurationError
from orograph.objective import Objective
from orograph.training import Advanced, advance
from orograph.training.ends import End, one_branch

FOLD = 0.375 * 0.25 ** (1 / 3)  # of three factors: ⅜σ(σ/4)^⅓


def half_square(output: Tensor, target: Tensor) -> Tensor:
    return 0.5 * (output - target).square().sum(1)


def factors(count: int, dtype: torch.dtype = torch.float64) -> Objective:
    """L = ½(1 − u₁u₂…)², a number a weight."""
    one = torch.ones(1, 1, dtype=dtype)
    layers = [nn.Linear(1, 1, bias=False) for _ in range(count)]
    return Objective(nn.Sequential(*layers).to(dtype), half_square, [(one, one)])


def unit(count: int, strength: float) -> float:
    """The weights of the branch: u² = 1 − 2λ of two factors, the largest root of u⁴ − u + 2λ of three."""
    if count == 2:
        return math.sqrt(1 - 2 * strength)
    return max(float(root.real) for root in np.roots([1, 0, 0, -1, 2 * strength]) if abs(root.imag) < 1e-9)


def advanced(count: int, at: float, to: float, dtype: torch.dtype = torch.float64, most: int = 500) -> Advanced:
    objective = factors(count, dtype)
    start = torch.full((count,), unit(count, at), dtype=dtype)
    given = {"tolerance": 1e-12 if dtype == torch.float64 else 1e-6, "max_products": most}
    return advance(objective.penalised(to), start, at, hessian=HessianOperator.of(objective), **given)


@pytest.mark.parametrize(("count", "at", "to"), [(2, 0.01, 0.4), (2, 0.4, 0.0), (3, 0.02, 0.23), (3, 0.23, 0.01), (3, 0.1, 0.1)])
def test_a_way_ends_on_the_branch_of_its_closed_form(count: int, at: float, to: float) -> None:
    found = advanced(count, at, to)
    assert found.kept
    assert found.strength == to
    assert found.polished.converged
    assert found.angle <= 1e-5 or at == to  # all of the way lies on a line, and acos near 1 knows eight digits
    # ‖∇L_eff‖ ≤ 1e-12, and the least curvature along these branches is above 1e-2
    torch.testing.assert_close(found.theta, torch.full_like(found.theta, unit(count, to)), rtol=0, atol=1e-9)
    assert found.polished.distance == pytest.approx(math.sqrt(count) * abs(unit(count, to) - unit(count, at)), abs=1e-9)


def test_a_quadratic_is_predicted_exactly() -> None:
    draw = torch.Generator().manual_seed(0)
    inputs, targets = (torch.randn(20, size, generator=draw, dtype=torch.float64) for size in (3, 1))
    objective = Objective(nn.Linear(3, 1, bias=False).double(), half_square, [(inputs, targets)])
    block = inputs.T @ inputs / 20

    def minimum(strength: float) -> Tensor:
        return torch.linalg.solve(block + 2 * strength * torch.eye(3).double(), inputs.T @ targets / 20)[:, 0]

    given = {"hessian": HessianOperator.of(objective), "tolerance": 1e-12, "max_products": 50}
    for goal, parts in ((0.2, 1), (3.0, 4)):  # to 3.0 the whole prediction is longer than half of θ
        found = advance(objective.penalised(goal), minimum(0.1), 0.1, **given)
        assert found.parts == parts
        assert found.corrected <= 0.05 * found.predicted  # the prediction is solved to five percent
        torch.testing.assert_close(found.theta, minimum(goal), rtol=0, atol=1e-11)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_branch_is_lost_at_its_fold_and_not_before(dtype: torch.dtype) -> None:
    found = advanced(3, 0.2, 0.25, dtype)
    assert not found.kept
    assert FOLD - 4 * 0.05 / 2**6 < found.strength < FOLD  # a prediction holds for a part of the way that is left
    assert found.polished.converged
    assert found.polished.theta.norm() < 1e-3  # beyond the fold the origin is all there is
    assert found.products < found.polished.products
    at = unit(3, found.strength)
    torch.testing.assert_close(found.theta, torch.full((3,), at, dtype=dtype), rtol=0, atol=0.1 * (at - 0.25 ** (1 / 3)) + 1e-3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("at", "to"), [(0.05, 1.0), (0.23, 0.3), (0.05, 50.0)]
)  # at 0.05 the origin is higher, at 0.23 it is lower
def test_a_far_goal_does_not_hide_the_end_of_the_branch(at: float, to: float) -> None:
    found = advanced(3, at, to)
    assert not found.kept
    assert at <= found.strength < FOLD < found.beyond + 0.002
    assert found.theta.norm() > 1
    assert found.polished.theta.norm() < 1e-3


def test_two_branches_are_told_apart_by_the_objective() -> None:
    def end(u: float, strength: float) -> End:
        return End(0.5 * (1 - u**3) ** 2 + strength * 3 * u**2, 3 * u**2, 0.0)

    here = end(unit(3, 0.22), 0.22)
    for strength in (0.21, 0.225, 0.235):
        assert one_branch(here, end(unit(3, strength), strength), strength - 0.22, 0.1)
    assert not one_branch(here, end(0.0, 0.3), 0.08, 1.0)  # the origin, which is lower at 0.22 already
    assert not one_branch(end(0.0, 0.1), end(unit(3, 0.05), 0.05), -0.05, 1.0)  # down from the origin, which is higher at 0.1


def test_the_budget_is_kept_and_a_lost_way_says_where_it_was() -> None:
    found = advanced(3, 0.02, 0.23, most=1)
    assert found.polished.products <= 1
    assert not found.kept or not found.polished.converged


def test_no_product_to_spend_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="max_products"):
        advanced(2, 0.1, 0.2, most=0)
