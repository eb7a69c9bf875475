"""λ_max and its preconditioned form against dense Hessians in float64, with the moments of PyTorch's own Adam."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from trainable import problem

from orograph.objective import Objective
from orograph.training.cohort import train_cohort
from orograph.training.fitting import fit, initial
from orograph.training.loop import train
from orograph.training.moment import Moment
from orograph.training.settings import FitSettings, TrainingSettings
from orograph.training.stability import StabilityObserver, preconditioner


def dense_hessian(objective: Objective, theta: Tensor) -> Tensor:
    (batch,) = objective.batches(objective.count)
    return torch.func.hessian(lambda point: objective.summed(point, *batch))(theta) / objective.count


@pytest.mark.slow
def test_the_sharpness_of_gradient_descent_is_that_of_the_dense_hessian() -> None:
    model, data = problem()
    objective = Objective(model, F.cross_entropy, [data])
    settings = FitSettings(optimizer="SGD", lr=0.1, momentum=0.5, epochs=2, batch_size=16)
    observer = StabilityObserver(objective, settings)
    (fitted,) = fit(
        objective, [initial(objective, objective.theta, settings)], settings, order_seeds=[0], observer=observer, every=2
    )
    largest = torch.linalg.eigvalsh(dense_hessian(objective, fitted.state.theta))[-1].item()
    (record,) = fitted.observed
    assert record["lambda_max"] == pytest.approx(largest, rel=1e-3)  # a residual of 1e-2 leaves an error of its square
    assert record["stability"] == pytest.approx(largest * 0.1 / 2, rel=1e-3)
    assert record["edge"] == 1.5
    assert "preconditioned_lambda_max" not in record


@pytest.mark.slow
def test_the_preconditioned_sharpness_is_that_of_the_dense_matrices() -> None:
    model, data = problem()
    objective = Objective(model, F.cross_entropy, [data])
    settings = FitSettings(optimizer="Adam", lr=0.01, epochs=2, batch_size=16)
    kept: list[tuple[Tensor, Tensor, int]] = []
    inner = StabilityObserver(objective, settings)

    def observer(moment: Moment) -> dict[str, float]:
        kept.append((moment.theta.clone(), moment.moments[1].clone(), moment.steps))
        return inner(moment)

    (fitted,) = fit(
        objective, [initial(objective, objective.theta, settings)], settings, order_seeds=[0], observer=observer, every=2
    )
    theta, second, steps = kept[-1]
    unbiased = second / (1 - 0.999**steps)
    diagonal = (1 - 0.9**steps) * (unbiased.sqrt() + 1e-8)
    values = torch.linalg.eigvals(torch.diag(1 / diagonal) @ dense_hessian(objective, theta)).real
    record = fitted.observed[-1]
    assert record["preconditioned_lambda_max"] == pytest.approx(values.max().item(), rel=1e-3)
    assert record["preconditioned_stability"] == pytest.approx(values.max().item() * 0.01 / 38, rel=1e-3)


def test_the_preconditioner_is_what_pytorchs_adam_divides_by() -> None:
    torch.manual_seed(0)
    point = torch.nn.Parameter(torch.randn(7, dtype=torch.float64))
    optimizer = torch.optim.Adam([point], lr=0.1)
    for _ in range(6):
        optimizer.zero_grad()
        (point**4).sum().backward()
        before = point.detach().clone()
        optimizer.step()
    state = optimizer.state[point]
    step = before - point.detach()  # lr·m̂/(√v̂ + ε), with m̂ = m/(1 − β₁ᵗ)
    torch.testing.assert_close(0.1 * state["exp_avg"] / preconditioner(state["exp_avg_sq"], 6), step, rtol=1e-9, atol=0.0)


@pytest.mark.slow
@pytest.mark.parametrize("alone", [True, False])
def test_a_sweeps_training_is_tracked_with_its_penalty(alone: bool) -> None:
    model, data = problem()
    objective = Objective(model, F.cross_entropy, [data], strength=0.05)
    settings = TrainingSettings(optimizer="SGD", lr=0.1, epochs=2, patience=9, batch_size=16)
    observer = StabilityObserver(objective, settings)
    if alone:
        trained = train(objective, objective.theta, settings, order_seed=0, observer=observer, every=2)
    else:
        both = torch.stack([objective.theta, objective.theta])
        _, trained = train_cohort(objective, both, settings, strengths=[0.0, 0.05], order_seeds=0, observer=observer, every=2)
    first, last = trained.history
    assert "lambda_max" not in first
    largest = torch.linalg.eigvalsh(dense_hessian(objective, trained.theta))[-1].item() + 2 * 0.05
    assert trained.best_epoch == 2  # so that what was kept is what was observed
    assert last["lambda_max"] == pytest.approx(largest, rel=1e-3)
    assert last["stability"] == pytest.approx(largest * 0.1 / 2, rel=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("optimizer", "decay", "coupled"), [("SGD", 0.3, 0.3), ("Adam", 0.3, 0.3), ("AdamW", 0.3, 0.0), ("SGD", 0.0, 0.0)]
)
def test_the_decay_that_is_part_of_the_gradient_is_part_of_what_is_minimised(optimizer, decay: float, coupled: float) -> None:
    """w/2‖θ‖² has the Hessian wI; AdamW's decay is beside the gradient and belongs to no function."""
    model, data = problem()
    objective = Objective(model, F.cross_entropy, [data])
    settings = FitSettings(optimizer=optimizer, lr=0.01, weight_decay=decay, epochs=1, batch_size=16)
    observer = StabilityObserver(objective, settings)
    start = initial(objective, objective.theta, settings)
    (fitted,) = fit(objective, [start], settings, order_seeds=[0], observer=observer)
    largest = torch.linalg.eigvalsh(dense_hessian(objective, fitted.state.theta))[-1].item()
    assert fitted.observed[-1]["lambda_max"] == pytest.approx(largest + coupled, rel=1e-3)


@pytest.mark.slow
def test_the_decay_comes_on_top_of_a_penalty() -> None:
    model, data = problem()
    objective = Objective(model, F.cross_entropy, [data])
    settings = FitSettings(optimizer="SGD", lr=0.01, weight_decay=0.3)
    moment = Moment(1, objective.theta, [], {}, 1, 0.01, 0.1)
    largest = torch.linalg.eigvalsh(dense_hessian(objective, objective.theta))[-1].item()
    found = StabilityObserver(objective, settings)(moment)
    assert found["lambda_max"] == pytest.approx(largest + 0.3 + 2 * 0.1, rel=1e-3)
