"""The central flow against gradient descent itself, step by step, on a valley that sharpens as one goes down it."""

import pytest
import torch
from torch import nn

import orograph as og
from orograph.errors import ConfigurationError
from orograph.response import central_flow


class Valley(nn.Module):
    """½x²y − y, plus what bends the way: a valley along y, as sharp as y."""

    def __init__(self, x: float, y: float) -> None:
        super().__init__()
        self.xy = nn.Parameter(torch.tensor([x, y], dtype=torch.float64))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        x, y = self.xy
        return inputs[:, 0] * (0.5 * x**2 * y - y)


def valley(x: float, y: float) -> og.Objective:
    return og.Objective(Valley(x, y), lambda z, target: z, [(torch.ones(3, 1, dtype=torch.float64), torch.zeros(3))])


def told(objective: og.Objective, theta: torch.Tensor, decay: float = 0.0):
    pair = og.lanczos(og.HessianOperator.of(objective).at(theta).shifted(decay), k=1, which="LA", tolerance=1e-10)
    return central_flow(objective, theta, pair.eigenvalues[0].item(), pair.eigenvectors[0], decay=decay), pair.eigenvalues[
        0
    ].item()


def descend(objective: og.Objective, theta: torch.Tensor, lr: float, steps: int) -> torch.Tensor:
    course = [theta]
    for _ in range(steps):
        course.append(course[-1] - lr * objective.gradient(course[-1]))
    return torch.stack(course)


def test_below_the_edge_gradient_descent_sharpens_at_the_rate_of_the_flow() -> None:
    objective, lr = valley(1e-4, 3.0), 0.01
    found, sharpness = told(objective, objective.theta)
    course = descend(objective, objective.theta, lr, 20)
    _, later = told(objective, course[-1])
    assert found.rate == pytest.approx((later - sharpness) / (20 * lr), rel=1e-3)  # of x², 1e-8, and of y, which falls at speed 1


@pytest.mark.slow
def test_at_the_edge_it_oscillates_as_the_central_flow_says() -> None:
    lr = 0.02
    objective = valley(0.05, 2 / lr - 2)
    course = descend(objective, objective.theta, lr, 6000)[2000:]
    found, sharpness = told(objective, course[-1])
    assert sharpness * lr / 2 == pytest.approx(1.0, abs=0.1)
    assert course[:, 1].mean().item() * lr / 2 == pytest.approx(1.0, abs=0.02)
    # ⟨∂L/∂y⟩ = ½⟨x²⟩ − 1 is zero where y stays: its drift over 4,000 steps of at most 5 % of 100 leaves 0.06
    assert found.oscillation == pytest.approx(2.0, rel=0.15)
    assert course[:, 0].square().mean().item() == pytest.approx(found.oscillation, rel=0.15)
    seen = [told(objective, each)[0].seen for each in course[::97]]
    assert sum(seen) / len(seen) == pytest.approx(course[::97, 0].square().mean().item(), rel=0.05)


def test_a_decay_belongs_to_what_is_minimised() -> None:
    objective = valley(1e-4, 3.0)
    plain, decayed = told(objective, objective.theta)[0], told(objective, objective.theta, decay=0.2)[0]
    assert decayed.rate == pytest.approx(plain.rate - 0.2 * 3.0, rel=1e-6)  # ∇S is along y, whose slope grows by wy


def test_the_length_of_the_direction_does_not_count() -> None:
    objective = valley(0.1, 3.0)
    pair = og.lanczos(og.HessianOperator.of(objective), k=1, which="LA", tolerance=1e-10)
    one, two = (central_flow(objective, objective.theta, pair.eigenvalues[0].item(), s * pair.eigenvectors[0]) for s in (1, -3))
    assert (one.rate, one.oscillation, one.seen) == pytest.approx((two.rate, two.oscillation, two.seen), rel=1e-12)


@pytest.mark.parametrize("entry", [0.0, float("nan")])
def test_a_direction_without_a_length_is_refused(entry: float) -> None:
    objective = valley(0.1, 3.0)
    with pytest.raises(ConfigurationError, match=r"`direction` has the length (0|nan)"):
        central_flow(objective, objective.theta, 3.0, torch.full((2,), entry, dtype=torch.float64))
