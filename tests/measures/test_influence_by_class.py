"""Influence by class against softmax regression that is trained again, with classes of other weights and without a sample.

Training is Newton's method on formulas that are written out, which know nothing of the library's losses, products or solves.
"""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import orograph as og
from orograph.measures import take
from orograph.problem import Groups
from orograph.store.kinds import wrong_field
from orograph.store.measure_quantities import MEASURES

STRENGTH, CLASSES, INPUTS = 0.05, 3, 4
COUNT, TESTED = 120, 60


def drawn(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Inputs, and classes that they say something of."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(count, INPUTS, generator=generator, dtype=torch.float64)
    noise = torch.randn(count, CLASSES, generator=generator, dtype=torch.float64)
    return inputs, (inputs[:, :CLASSES] + 0.7 * noise).argmax(1)


TRAIN, TEST = drawn(COUNT, 1), drawn(TESTED, 2)


def losses(theta: Tensor, data: tuple[Tensor, Tensor]) -> Tensor:
    """Of each sample, by the weights of one linear layer."""
    return F.cross_entropy(data[0] @ theta.view(CLASSES, INPUTS).T, data[1], reduction="none")


def trained(weights: Tensor, strength: float = STRENGTH) -> Tensor:
    """The minimum of Σ wₙℓₙ/N + λ‖θ‖²: ∂ℓ/∂z = p − y, ∂²ℓ/∂z² = diag(p) − ppᵀ."""
    inputs, labels = TRAIN
    theta = torch.zeros(CLASSES * INPUTS, dtype=torch.float64)
    for _ in range(12):
        shares = (inputs @ theta.view(CLASSES, INPUTS).T).softmax(1)
        errors = (shares - F.one_hot(labels, CLASSES)) * weights[:, None]
        gradient = (errors.T @ inputs / COUNT).flatten() + 2 * strength * theta
        if gradient.norm() < 1e-14:
            break
        curved = (torch.diag_embed(shares) - shares[:, :, None] * shares[:, None]) * weights[:, None, None] / COUNT
        hessian = torch.einsum("ncd,ni,nj->cidj", curved, inputs, inputs).reshape(len(theta), len(theta))
        theta = theta - torch.linalg.solve(hessian + 2 * strength * torch.eye(len(theta)), gradient)
    assert gradient.norm() < 1e-13
    return theta


def of_classes(theta: Tensor) -> Tensor:
    """The test loss of each class."""
    each = losses(theta, TEST)
    return torch.stack([each[TEST[1] == label].mean() for label in range(CLASSES)])


def objectives(loss: Any = F.cross_entropy) -> tuple[og.Objective, og.Objective]:
    model = nn.Linear(INPUTS, CLASSES, bias=False).double()
    return og.Objective(model, loss, [TRAIN], strength=STRENGTH), og.Objective(model, loss, [TEST])


@pytest.fixture(scope="module")
def minimum() -> Tensor:
    return trained(torch.ones(COUNT, dtype=torch.float64))


@pytest.fixture
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orograph.measures.table.SOLVE_TOLERANCE", 1e-11)


def answers(theta: Tensor, step: float = 1e-3) -> Tensor:
    """(C, C): of each test loss to the weight of a class, by central differences of trainings: right to step²."""
    rows = []
    for label in range(CLASSES):
        ends = [trained(1 + side * step * (TRAIN[1] == label).double()) for side in (1, -1)]
        rows.append((of_classes(ends[0]) - of_classes(ends[1])) / (2 * step))
    return torch.stack(rows)


def test_it_is_what_training_again_with_other_weights_of_a_class_does(minimum: Tensor, exact: None) -> None:
    train, test = objectives()
    found, failures = take(["influence"], train, minimum, on=test)
    assert failures == {}
    assert set(found) <= set(MEASURES)
    assert wrong_field(found) is None
    matrix = torch.tensor(found["influence"], dtype=torch.float64)
    assert (matrix - answers(minimum)).abs().max() < 1e-5 * matrix.abs().max()  # differences have an error of step²
    assert found["influence_own"] == pytest.approx(matrix.diagonal().mean().item())
    assert found["influence_other"] == pytest.approx((matrix.sum() - matrix.diagonal().sum()).item() / 6)
    assert found["influence_own"] < 0 < found["influence_other"]
    assert max(map(abs, found["influence_polishing"])) < 1e-12
    # All classes weigh more: as if the penalty weighed less.
    step = 1e-3
    ends = [of_classes(trained(torch.ones(COUNT, dtype=torch.float64), STRENGTH * math.exp(side * step))) for side in (1, -1)]
    assert torch.allclose(matrix.sum(0), -(ends[0] - ends[1]) / (2 * step), rtol=1e-4)


def test_what_is_left_of_a_solve_bounds_the_error(minimum: Tensor) -> None:
    """M_ab is wrong by r_b·A⁻¹g_a, with r_b what is left and g_a the gradient of a class's samples over N."""
    train, test = objectives()
    found, _ = take(["influence"], train, minimum, on=test)
    matrix, residuals = (
        torch.tensor(found["influence"], dtype=torch.float64),
        torch.tensor(found["influence_residual"], dtype=torch.float64),
    )
    assert (residuals <= 1e-2).all()
    curved = torch.func.hessian(lambda theta: losses(theta, TRAIN).mean())(minimum) + 2 * STRENGTH * torch.eye(12)
    moved = torch.linalg.solve(curved, torch.func.jacrev(lambda theta: losses(theta, TRAIN))(minimum).T)
    by_class = torch.stack([moved[:, TRAIN[1] == label].sum(1) for label in range(CLASSES)]) / COUNT
    slopes = torch.func.jacrev(of_classes)(minimum)
    bound = by_class.norm(dim=1)[:, None] * (residuals * slopes.norm(dim=1))
    assert ((matrix + by_class @ slopes.T).abs() <= bound + 1e-12).all()


@pytest.mark.slow
def test_samples_at_the_ends_are_those_whose_absence_from_training_changes_the_test_loss_most(
    minimum: Tensor, exact: None
) -> None:
    train, test = objectives()
    found, _ = take(["influence"], train, minimum, on=test)
    before = losses(minimum, TEST).mean()
    without = []
    for sample in range(COUNT):
        weights = torch.ones(COUNT, dtype=torch.float64)
        weights[sample] = 0
        without.append((losses(trained(weights * COUNT / (COUNT - 1)), TEST).mean() - before).item())
    for end, sign in (("helpful", 1), ("harmful", -1)):
        samples, rises = found[f"{end}_samples"], found[f"{end}_rises"]
        changes = np.array(without)[samples]
        assert len(samples) == 5
        assert (np.diff(rises) * sign <= 0).all()
        # Of second order in 1/N: twice the leverage, 12 parameters among 120 samples.
        assert np.abs(changes - rises).max() < 2 * 12 / 120 * np.abs(changes).max()
        assert max(sign * np.array(without)) == pytest.approx(max(sign * changes))


def test_groups_in_place_of_classes_are_sums_over_these(minimum: Tensor, exact: None) -> None:
    train, test = objectives()
    by_class = torch.tensor(take(["influence"], train, minimum, on=test)[0]["influence"], dtype=torch.float64)
    groups = Groups(("first", "rest", "none"), TRAIN[1].clamp_max(1), TEST[1].clamp_max(1))
    found = torch.tensor(take(["influence"], train, minimum, on=test, groups=groups)[0]["influence"], dtype=torch.float64)
    shares = torch.bincount(TEST[1]).double()
    rows = torch.stack([by_class[0], by_class[1:].sum(0)])
    columns = torch.stack([rows[:, 0], (rows[:, 1:] @ shares[1:]) / shares[1:].sum()], 1)
    assert torch.allclose(found[:2, :2], columns, rtol=1e-8)
    assert found[2, :2].tolist() == [0, 0]  # of no training sample
    assert found[:, 2].isnan().all()  # of no test sample


def reason(objective: og.Objective, theta: Tensor, on: og.Objective | None) -> str:
    found, failures = take(["influence", "sam"], objective, theta, on=on)
    assert found.keys() >= {"sam_rise"}  # the rest goes on
    return failures["influence"]


@pytest.mark.slow
def test_what_has_no_influence_is_told_why(minimum: Tensor) -> None:
    train, test = objectives()
    assert "there are none" in reason(train, minimum, None)
    assert "is not polished" in reason(train, -minimum, test)
    squared = [og.Objective(nn.Linear(2, 1).double(), nn.MSELoss(), [(torch.eye(2).double(), torch.ones(2, 1).double())])] * 2
    assert "no classes" in reason(squared[0], squared[0].theta, squared[1])
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(INPUTS, 4, bias=False), nn.Tanh(), nn.Linear(4, CLASSES, bias=False)).double()
    saddle, beside = (og.Objective(model, F.cross_entropy, [data]) for data in (TRAIN, TEST))
    assert "no minimum at λ = 0" in reason(saddle, 0.01 * saddle.theta, beside)
    joined, other = objectives(lambda outputs, targets: F.cross_entropy(outputs, targets).square())
    assert "one value per sample" in reason(joined, minimum, other)


def test_a_solve_that_comes_to_no_end_gives_no_numbers(minimum: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orograph.measures.table.SOLVE_PRODUCTS", 3)
    monkeypatch.setattr("orograph.measures.table.SOLVED", 1e-6)
    train, test = objectives()
    assert "left a residual of" in reason(train.penalised(1e-9), minimum, test)
