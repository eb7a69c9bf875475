"""Clusters, bounds and signs of hand-written eigenvalues, where the right answer can be read off."""

import torch
from torch import Tensor

from orograph.spectral.spectrum import claimed_signs, eigenvector_bounds, find_clusters, splits_cluster


def doubles(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


NONE = torch.zeros(5, dtype=torch.bool)


def test_overlapping_intervals_join_a_cluster() -> None:
    values = doubles(5.0, 4.0, 3.9, 3.85, 1.0)
    assert find_clusters(values, doubles(0.01, 0.06, 0.06, 0.01, 0.01), NONE) == ((1, 4),)
    assert find_clusters(values, torch.full((5,), 1e-3, dtype=torch.float64), NONE) == ()
    assert find_clusters(values, torch.full((5,), 2.0, dtype=torch.float64), NONE) == ((0, 5),)


def test_noise_belongs_to_no_cluster() -> None:
    noise = torch.tensor([False, False, False, True, True])
    assert find_clusters(doubles(2.0, 2.0, 0.0, 0.0, 0.0), torch.full((5,), 1e-9, dtype=torch.float64), noise) == ((0, 2),)


def test_a_cluster_is_split_by_a_further_copy_only() -> None:
    values, radii = doubles(5.0, 4.0, 3.0, 2.0, 1.0), torch.full((5,), 1e-3, dtype=torch.float64)
    assert splits_cluster(values, radii, NONE, doubles(0.5, 1.0001))
    assert not splits_cluster(values, radii, NONE, doubles(0.5, 0.99))
    assert not splits_cluster(values, radii, NONE, doubles())


def test_the_bound_is_the_residual_over_the_gap_and_missing_inside_clusters() -> None:
    values, residuals = doubles(5.0, 4.0, 2.0, 2.0, 1.0), doubles(0.1, 0.1, 0.0, 0.0, 0.2)
    bounds = eigenvector_bounds(values, residuals, ((2, 4),), doubles(0.5))
    torch.testing.assert_close(bounds[[0, 1, 4]], doubles(0.1 / 0.9, 0.1 / 0.9, 0.2 / 0.5))
    assert torch.isnan(bounds[2:4]).all()


def test_no_bound_is_given_where_the_gap_does_not_exceed_the_residual() -> None:
    assert torch.isnan(eigenvector_bounds(doubles(1.0, 0.9), doubles(0.2, 0.2), (), doubles())).all()


def test_an_eigenvalue_that_is_hardly_known_narrows_the_gap_by_its_residual() -> None:
    value, residual, other = doubles(1.0), doubles(0.01), doubles(0.8)
    torch.testing.assert_close(eigenvector_bounds(value, residual, (), other, doubles(0.1)), doubles(0.01 / 0.1))
    assert torch.isnan(eigenvector_bounds(value, residual, (), other, doubles(0.3))).all()


def test_a_sign_is_claimed_only_beyond_the_margin() -> None:
    assert claimed_signs(doubles(1.0, 0.1, -0.1, -1.0), doubles(0.5, 0.5, 0.5, 0.5)).tolist() == [1, 0, 0, -1]
