"""Surfaces of a quadratic against its closed form, filter norms by hand, and the plane through three known points."""

import pytest
import torch
from networks import LeNet, clusters, images, mlp, objective_of
from torch import Tensor

import orograph as og
from landscapes import landscape, quadratic, symmetric
from orograph.connectivity.barriers import curve_profile
from orograph.connectivity.curves import line
from orograph.connectivity.directions import filter_normalised, orthonormalised, random_orthonormal
from orograph.connectivity.surfaces import plane, profile, surface, volume
from orograph.errors import ConfigurationError


@pytest.fixture
def theta() -> Tensor:
    return torch.randn(6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_the_surface_along_eigenvectors_is_a_paraboloid_with_their_eigenvalues(theta: Tensor) -> None:
    hessian = symmetric(6)
    values, vectors = torch.linalg.eigh(hessian)
    found = surface(quadratic(hessian, theta), theta, vectors.T[[5, 0]], radius=0.1, points=9)
    reach = 0.1 * theta.norm().item()
    assert (found.x[0].item(), found.x[-1].item()) == pytest.approx((-reach, reach))
    expected = (values[5] * found.x[:, None] ** 2 + values[0] * found.y**2) / 2
    torch.testing.assert_close(found.losses, expected, rtol=1e-10, atol=1e-15)
    assert found.losses.shape == (9, 9)
    assert torch.isnan(found.accuracies).all()


def test_a_profile_is_the_parabola_of_its_direction(theta: Tensor) -> None:
    hessian = symmetric(6)
    direction = random_orthonormal(theta, 1)[0]
    found = profile(quadratic(hessian, theta), theta, direction, radius=0.2, points=11)
    torch.testing.assert_close(found.losses, (direction @ hessian @ direction) * found.x**2 / 2, rtol=1e-9, atol=1e-15)


def test_random_directions_are_orthonormal_and_seeded(theta: Tensor) -> None:
    found = random_orthonormal(theta, 3, seed=4)
    torch.testing.assert_close(found @ found.T, torch.eye(3, dtype=torch.float64))
    assert torch.equal(found, random_orthonormal(theta, 3, seed=4))
    with pytest.raises(ConfigurationError, match="7 orthonormal"):
        random_orthonormal(theta, 7)


def test_each_filter_of_a_direction_is_as_long_as_the_networks() -> None:
    torch.manual_seed(0)
    objective = objective_of(LeNet(normalised=True), images(4))
    rows = filter_normalised(objective.layout, objective.theta)
    assert rows.norm(dim=1).tolist() == pytest.approx([1, 1])
    own = objective.layout.unflatten(objective.theta)
    ratios = []
    for name, part in objective.layout.unflatten(rows[1]).items():
        if part.ndim == 1:
            assert (part == 0).all()
        else:
            ratios.append(part.flatten(1).norm(dim=1) / own[name].flatten(1).norm(dim=1))
    ratios = torch.cat(ratios)
    torch.testing.assert_close(ratios, ratios[:1].expand(len(ratios)))


def test_the_plane_passes_through_its_three_minima(theta: Tensor) -> None:
    hessian = symmetric(6, positive=True)
    objective = quadratic(hessian, theta, torch.zeros_like(theta))
    minima = torch.stack([theta, theta.flip(0), -theta + 1])
    found = plane(objective, minima, points=7)
    placed = found.origin + found.marks @ found.directions
    torch.testing.assert_close(placed, minima)
    torch.testing.assert_close(found.directions @ found.directions.T, torch.eye(2, dtype=torch.float64))
    assert found.marks[0].tolist() == [0, 0]
    assert found.marks[1, 1].item() == pytest.approx(0, abs=1e-12)
    assert found.x[0] < found.marks[:, 0].min() < found.marks[:, 0].max() < found.x[-1]
    torch.testing.assert_close(found.project(minima), found.marks, rtol=1e-10, atol=1e-10)
    i, j = 2, 5
    point = found.origin + found.x[i] * found.directions[0] + found.y[j] * found.directions[1]
    assert found.losses[i, j].item() == pytest.approx((point @ hessian @ point).item() / 2, rel=1e-10)


def test_the_plane_agrees_with_the_path_between_two_of_its_minima_with_batch_normalisation() -> None:
    torch.manual_seed(0)
    objective = objective_of(mlp(normalised=True), clusters(40))
    minima = objective.theta + torch.randn(3, objective.layout.size, generator=torch.Generator().manual_seed(3)).double()
    found = plane(objective, minima, points=5, margin=0.0)
    along = curve_profile(objective, line(minima[0], minima[1]), points=3)
    row = found.y.abs().argmin()
    # Without margin the second minimum lies on the grid only if the third does not reach beyond it.
    first = found.x.abs().argmin()
    if found.x[first].abs() < 1e-12 and found.y[row].abs() < 1e-12:
        assert found.losses[first, row].item() == pytest.approx(along.train.losses[0].item(), rel=1e-9)


def test_points_on_one_line_span_no_plane(theta: Tensor) -> None:
    with pytest.raises(ConfigurationError, match="dependent"):
        plane(quadratic(symmetric(6), theta), torch.stack([theta, 2 * theta, 3 * theta]))
    with pytest.raises(ConfigurationError, match="dependent"):
        orthonormalised(torch.stack([theta, theta]))


def test_a_surface_around_zero_is_refused(theta: Tensor) -> None:
    with pytest.raises(ConfigurationError, match="is θ zero"):
        surface(quadratic(symmetric(6), theta), torch.zeros_like(theta), random_orthonormal(theta))


def test_a_volume_is_the_loss_at_every_point_of_a_cube() -> None:
    objective = landscape(lambda point: (point**4).sum() + point[0] * point[1], torch.linspace(0.5, 2, 6, dtype=torch.float64))
    theta, directions = objective.theta, random_orthonormal(objective.theta, count=3, seed=3)
    found = volume(objective, theta, directions, radius=0.3, points=4)
    assert found.x[-1].item() == pytest.approx(0.3 * theta.norm().item())
    for i, j, k in ((0, 0, 0), (1, 2, 3), (3, 0, 2)):
        at = theta + found.x[i] * directions[0] + found.x[j] * directions[1] + found.x[k] * directions[2]
        assert found.losses[i, j, k].item() == pytest.approx(objective.loss(at), rel=1e-12)
    assert og.persistence(found).births.tolist() == og.persistence(found.losses).births.tolist()
