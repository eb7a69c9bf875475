"""A cohort against single operators at each θ, and against dense Hessians: rows of one are the products of the others."""

import functools

import pytest
import torch
from torch import nn

from curvature.cases import CASES, Case, Dense
from orograph.curvature.cohort import CohortHessian
from orograph.curvature.hessian import HessianOperator
from orograph.errors import ConfigurationError
from orograph.objective import Objective

slow = pytest.mark.slow


def spread(theta: torch.Tensor, models: int) -> torch.Tensor:
    return theta + 0.2 * torch.randn(models, len(theta), dtype=theta.dtype)


@functools.cache
def objective_of(case: Case) -> tuple[Objective, nn.Module, list]:
    model, loss, batches = case.build()
    return Objective(model, loss, batches), model, batches


@pytest.mark.slow
@pytest.mark.parametrize("case", [pytest.param(c, marks=[] if c.name == "mlp" else slow) for c in CASES], ids=str)
def test_each_row_is_the_product_with_its_own_dense_hessian(case: Case) -> None:
    objective, model, batches = objective_of(case)
    dense = Dense(case, model, batches)
    thetas = spread(objective.theta, 3)
    cohort = CohortHessian(objective, thetas)
    vectors = torch.randn_like(thetas)
    assert cohort.method == "traced", cohort._engine.fallback_reason
    for theta, row, gradient, loss, vector in zip(
        thetas, cohort @ vectors, cohort.gradients, cohort.losses, vectors, strict=True
    ):
        torch.testing.assert_close(row, dense.hessian(theta) @ vector, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(gradient, dense.gradient(theta), rtol=1e-9, atol=1e-13)
        torch.testing.assert_close(loss, dense.loss(theta), rtol=1e-12, atol=0)
    assert cohort.products == 3


@pytest.mark.slow
def test_a_cohort_moves_without_a_new_trace() -> None:
    objective, _, _ = objective_of(CASES[0])
    thetas = spread(objective.theta, 2)
    cohort = CohortHessian(objective, spread(objective.theta, 2))
    traces = cohort.traces
    vectors = torch.randn_like(thetas)
    operator = HessianOperator.of(objective)
    expected = torch.stack([operator.at(theta) @ vector for theta, vector in zip(thetas, vectors, strict=True)])
    torch.testing.assert_close(cohort.at(thetas) @ vectors, expected, rtol=1e-10, atol=1e-13)
    assert cohort.at(thetas).traces == traces


@pytest.mark.slow
def test_a_small_budget_gives_the_same_rows() -> None:
    model, loss, batches = CASES[1].build()
    objective = Objective(model, loss, batches)
    small = Objective(model, loss, batches, memory=1)
    thetas = spread(objective.theta, 2)
    vectors = torch.randn_like(thetas)
    torch.testing.assert_close(
        CohortHessian(small, thetas) @ vectors, CohortHessian(objective, thetas) @ vectors, rtol=1e-12, atol=1e-14
    )


@pytest.mark.slow
def test_the_first_layer_of_all_models_is_one_wide_product() -> None:
    objective, _, _ = objective_of(CASES[0])
    cohort = CohortHessian(objective, spread(objective.theta, 3))
    calls = [str(n.target) for n in cohort._engine._chunks[0][0].tangent.run.__self__.graph.nodes]  # type: ignore[attr-defined]
    # Shared inputs: the tangent of the first layer and its gradient. All else has two operands of its own a model.
    assert sum(".mm" in call or "addmm" in call for call in calls) == 2


def test_wrong_shapes_are_refused() -> None:
    objective, _, _ = objective_of(CASES[1])
    with pytest.raises(ConfigurationError, match="entries a model"):
        CohortHessian(objective, torch.zeros(2, 3))
    cohort = CohortHessian(objective, spread(objective.theta, 2))
    with pytest.raises(ConfigurationError, match="cannot multiply"):
        cohort @ torch.zeros(3, cohort.size)
    with pytest.raises(ConfigurationError, match="this stands"):
        cohort.at(torch.zeros(3, cohort.size))
