"""Anchored paths against the closed form of quadratics, and of a double well, where they jump."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import orograph as og
from landscapes import landscape
from orograph.connectivity import anchored_path
from orograph.errors import ConfigurationError


def objective(height: Callable[[Tensor], Tensor], size: int) -> og.Objective:
    return landscape(height, torch.zeros(size, dtype=torch.float64), samples=1)


def test_the_path_of_a_quadratic_is_the_closed_form() -> None:
    curvatures = torch.tensor([10.0, 1.0, 0.1], dtype=torch.float64)
    centre, end = torch.tensor([1.0, 2.0, -1.0], dtype=torch.float64), torch.tensor([-1.0, 0.5, 2.0], dtype=torch.float64)
    found = anchored_path(objective(lambda x: 0.5 * (curvatures * (x - centre) ** 2).sum(), 3), centre, end)
    assert all(found.converged)
    assert not found.jumps
    assert torch.equal(found.curve.controls[0], centre)
    assert torch.equal(found.curve.controls[-1], end)
    for strength, theta in zip(found.strengths.tolist(), found.curve.controls[1:-1], strict=True):
        exact = (curvatures * centre + 2 * strength * end) / (curvatures + 2 * strength)
        assert torch.allclose(theta, exact, atol=1e-5)  # of a gradient of 1e-6 and a curvature of 0.1 and more
    steps = torch.linalg.vector_norm(found.curve.controls.diff(dim=0), dim=1)
    assert steps.max() <= 2.1 * torch.linalg.vector_norm(end - centre) / 12  # of an elbow no more than twice the way
    losses = og.curve_profile(objective(lambda x: 0.5 * (curvatures * (x - centre) ** 2).sum(), 3), found.curve).train.losses
    assert (losses.diff() >= -1e-12).all()  # L rises with λ


@pytest.mark.slow
def test_between_two_wells_the_path_jumps_where_the_first_ends() -> None:
    # ¼(x² − 1)² + λ(x − 1)²: the minimum that begins at −1 ends where x³ − x + 2λ(x − 1) = 0 has a double root, x = −½.
    well = objective(lambda x: 0.25 * (x[0] ** 2 - 1) ** 2 + x[1] ** 2, 2)
    found = anchored_path(well, torch.tensor([-1.0, 0.0]).double(), torch.tensor([1.0, 0.0]).double())
    ((before, behind, length),) = found.jumps
    assert before <= 0.125 <= behind  # x(x + 1) + 2λ = 0 has its roots together at λ = 1/8
    assert behind / before < 1.03
    assert length == pytest.approx(1.5, abs=0.15)  # from −½, where it comes as a square root of the rest, to 1
    assert og.curve_profile(well, found.curve).barriers.train_loss > 0.2  # 1/4 at 0, by the straight line between


def test_from_a_start_that_is_no_minimum_it_jumps_once_and_goes_on_in_steps_of_its_own_length() -> None:
    # The minimum lies a thousand times as far from both ends as these from each other: nearly all of the way is there and back.
    curvatures, centre = torch.tensor([10.0, 1.0, 0.1], dtype=torch.float64), torch.ones(3, dtype=torch.float64)
    start, end = centre + 1e-3, centre + 1e-3 + 1e-6
    bowl = objective(lambda x: 0.5 * (curvatures * (x - centre) ** 2).sum(), 3)
    found = anchored_path(bowl, start, end, tolerance=1e-10)
    ((before, _, length),) = found.jumps
    assert before == 0
    assert length == pytest.approx(3**0.5 * 1e-3, rel=1e-3)
    assert len(found.strengths) < 40
    for strength, theta in zip(found.strengths.tolist(), found.curve.controls[1:-1], strict=True):
        assert torch.allclose(theta, (curvatures * centre + 2 * strength * end) / (curvatures + 2 * strength), atol=1e-8, rtol=0)


def test_ends_that_few_digits_hardly_tell_apart_are_joined() -> None:
    start = torch.ones(3)
    end = start + 2 * torch.finfo(torch.float32).eps
    bowl = landscape(lambda x: 0.5 * ((x - 1) ** 2).sum(), torch.zeros(3), samples=1)
    found = anchored_path(bowl, start, end)
    assert torch.equal(found.curve.controls[0], start)
    assert torch.equal(found.curve.controls[-1], end)
    assert (torch.linalg.vector_norm(found.curve.controls.diff(dim=0), dim=1) > 0).all()


@pytest.mark.slow
def test_no_path_takes_more_products_than_its_limit_and_goes_straight_from_there(monkeypatch: pytest.MonkeyPatch) -> None:
    curvatures = torch.logspace(0, -8, 40, dtype=torch.float64)
    start, end = torch.zeros(40, dtype=torch.float64), torch.ones(40, dtype=torch.float64)
    valley = objective(lambda x: 0.5 * (curvatures * x**2).sum(), 40)
    whole = anchored_path(valley, start, end, tolerance=1e-12, points=40)
    assert whole.complete
    assert whole.products > 100
    monkeypatch.setattr("orograph.connectivity.anchored.TRIALS", 5)
    cut = anchored_path(valley, start, end, tolerance=1e-12, points=40, max_products=10)
    assert cut.products <= 50
    assert not cut.complete
    assert torch.equal(cut.curve.controls[-1], end)


def test_what_is_no_path_is_refused() -> None:
    well = objective(lambda x: (x**2).sum(), 2)
    with pytest.raises(ConfigurationError, match="two different ends"):
        anchored_path(well, torch.ones(2).double(), torch.ones(2).double())
    with pytest.raises(ConfigurationError, match="finite numbers, not inf apart"):
        anchored_path(well, torch.ones(2).double(), torch.full((2,), torch.inf).double())
    hill = objective(lambda x: -(x**2).sum(), 2)
    with pytest.raises(ConfigurationError, match="is no minimum"):
        anchored_path(hill, torch.zeros(2).double(), torch.ones(2).double())
