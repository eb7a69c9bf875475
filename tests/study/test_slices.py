"""Slices of a quadratic against its closed form, and the plane through three points with a path that lies in it or leaves it."""

import numpy as np
import pytest
import torch
from torch import Tensor

from landscapes import classifier, quadratic, symmetric
from orograph.errors import ConfigurationError
from orograph.study.settings import SurfaceSettings
from orograph.study.slices import PATH_POINTS, plane_of_minima, slice_minimum

SIZE = 12
SETTINGS = SurfaceSettings(slice_points=7, slice_directions="eigenvector")


@pytest.fixture
def theta() -> Tensor:
    return torch.randn(SIZE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.slow
@pytest.mark.parametrize("given", [False, True])
def test_along_eigenvectors_a_quadratic_is_a_paraboloid(theta: Tensor, given: bool) -> None:
    hessian, other = symmetric(SIZE, positive=True), symmetric(SIZE, 1)
    values, vectors = torch.linalg.eigh(hessian)
    train, test = quadratic(hessian, theta), quadratic(other, theta)
    passed = vectors.flip(1).T.contiguous() if given else None
    found = slice_minimum(train, test, theta, settings=SETTINGS, eigenvectors=passed)
    x, y = found.arrays["x"], found.arrays["y"]
    reach = 0.1 * theta.norm().item()
    assert (x[0], x[-1]) == pytest.approx((-reach, reach))
    expected = (values[-1].item() * x[:, None] ** 2 + values[-2].item() * y**2) / 2
    np.testing.assert_allclose(found.arrays["train_loss"], expected, rtol=1e-3, atol=1e-12)
    np.testing.assert_allclose(
        found.arrays["profile_train_loss"][0], values[-1].item() * found.arrays["profile_x"] ** 2 / 2, rtol=1e-3, atol=1e-12
    )
    assert (found.scalars["products"] == 0) == given
    assert found.arrays["test_loss"].shape == (7, 7)
    assert found.arrays["marks"].tolist() == [[0, 0]]


@pytest.mark.parametrize("directions", ["random", "filter"])
def test_directions_of_a_network_have_unit_length(directions) -> None:
    objective = classifier()
    settings = SurfaceSettings(slice_points=5, slice_radius=0.2, slice_directions=directions)
    found = slice_minimum(objective, objective, objective.theta, settings=settings, seed=3)
    assert found.arrays["x"][-1] == pytest.approx(0.2 * objective.theta.norm().item())
    assert found.arrays["train_loss"][2, 2] == pytest.approx(objective.loss(objective.theta), rel=1e-9)
    if directions == "random":
        assert found.scalars["direction_cosine"] == pytest.approx(0, abs=1e-12)


def test_a_path_in_the_plane_is_drawn_where_it_is(theta: Tensor) -> None:
    objective = quadratic(symmetric(SIZE, positive=True), theta, torch.zeros_like(theta))
    minima = torch.stack([theta, theta.flip(0), -theta + 1])
    bend = minima[2:] / 2 + minima[:1] / 2  # in the plane
    found = plane_of_minima(objective, objective, minima, settings=SETTINGS, path=bend)
    marks, path = found.arrays["marks"], found.arrays["path"]
    assert path.shape == (PATH_POINTS, 2)
    np.testing.assert_allclose(path[[0, -1]], marks[:2], atol=1e-9)
    # At t = ½ a quadratic curve is a quarter of both ends and half of its bend, which is halfway from the first to the third.
    np.testing.assert_allclose(path[PATH_POINTS // 2], marks[:2].sum(0) / 4 + (marks[0] + marks[2]) / 4, atol=1e-9)
    assert found.scalars["path_leaves_plane"] == pytest.approx(0, abs=1e-9)


def test_how_far_a_path_leaves_the_plane_is_said(theta: Tensor) -> None:
    objective = quadratic(symmetric(SIZE), theta)
    minima = torch.zeros(3, SIZE, dtype=torch.float64)
    minima[1, 0], minima[2, 1] = 2.0, 1.0
    bend = torch.zeros(1, SIZE, dtype=torch.float64)
    bend[0, 0], bend[0, 5] = 1.0, 3.0
    found = plane_of_minima(objective, objective, minima, settings=SETTINGS, path=bend)
    assert found.scalars["path_leaves_plane"] == pytest.approx(1.5)
    assert found.arrays["marks"].tolist() == [[0, 0], [2, 0], [0, 1]]
    assert "path" not in plane_of_minima(objective, objective, minima, settings=SETTINGS).arrays


def test_minima_on_one_line_span_no_plane(theta: Tensor) -> None:
    objective = quadratic(symmetric(SIZE), theta)
    with pytest.raises(ConfigurationError, match="dependent"):
        plane_of_minima(objective, objective, torch.stack([theta, 2 * theta, 3 * theta]), settings=SETTINGS)
