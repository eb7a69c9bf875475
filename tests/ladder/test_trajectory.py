"""Principal components, step lengths and angles against NumPy on the whole matrix."""

import itertools

import numpy as np
import pytest

from orograph.ladder.trajectories import gram, trajectory


def test_components_are_those_of_the_centred_matrix() -> None:
    draw = np.random.default_rng(0)
    points = draw.standard_normal((7, 40)) * np.linspace(3, 0.1, 40) + 100
    found = trajectory(gram(points.__getitem__, 7), 3)
    left, singular, _ = np.linalg.svd(points - points.mean(0), full_matrices=False)
    np.testing.assert_allclose(np.abs(found.coordinates), np.abs(left[:, :3] * singular[:3]), atol=1e-9)
    np.testing.assert_allclose(found.explained, singular[:3] ** 2 / (singular**2).sum(), atol=1e-12)
    steps = np.diff(points, axis=0)
    np.testing.assert_allclose(found.lengths[1:], np.linalg.norm(steps, axis=1), rtol=1e-9)
    expected = [np.degrees(np.arccos(a @ b / np.linalg.norm(a) / np.linalg.norm(b))) for a, b in itertools.pairwise(steps)]
    np.testing.assert_allclose(found.angles[1:-1], expected, rtol=1e-6)
    assert np.isnan(found.lengths[0])
    assert np.isnan(found.angles[[0, -1]]).all()


def test_a_straight_way_fills_one_dimension_and_does_not_turn() -> None:
    points = np.outer(np.array([0.0, 1, 3, 4]), np.ones(5))
    found = trajectory(gram(points.__getitem__, 4), 2)
    assert found.explained[0] == pytest.approx(1)
    assert found.angles[1:-1] == pytest.approx([0, 0], abs=1e-5)
    assert found.lengths[1:] == pytest.approx(np.sqrt(5) * np.array([1, 2, 1]))


def test_a_single_point_has_no_way() -> None:
    found = trajectory(gram(lambda index: np.ones(4), 1), 3)
    assert found.coordinates.shape == (1, 1)
    assert np.isnan(found.lengths).all()
