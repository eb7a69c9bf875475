"""The index against the signs of all eigenvalues (`numpy.linalg.eigvalsh`), and what few or noisy pairs may claim."""

import dataclasses

import numpy as np
import pytest
import torch

from orograph.curvature.operator import MatrixOperator
from orograph.errors import ConfigurationError
from orograph.spectral.eigenpairs import lanczos
from orograph.spectral.morse_index import index

ROTATION, _ = np.linalg.qr(np.random.default_rng(3).standard_normal((40, 40)))
MATRIX = (ROTATION * np.r_[[-3.0, -2.0, -1.0], np.linspace(0.5, 5, 37)]) @ ROTATION.T
OPERATOR = MatrixOperator(torch.from_numpy(MATRIX))


def test_all_negative_eigenvalues_are_counted_once_a_positive_one_is_reached() -> None:
    result = index(lanczos(OPERATOR, 6, which="SA", tolerance=1e-6))
    truth = np.linalg.eigvalsh(MATRIX)
    assert result.count == np.sum(truth < 0) == 3
    assert not result.lower_bound
    assert abs(result.lowest - truth[0]) <= result.residual + 1e-12


def test_pairs_that_are_all_negative_give_a_lower_bound() -> None:
    result = index(lanczos(OPERATOR, 2, which="SA", tolerance=1e-6))
    assert (result.count, result.lower_bound) == (2, True)


def test_of_both_ends_the_lower_half_is_looked_at() -> None:
    both = lanczos(OPERATOR, 9, which="BE", tolerance=1e-6)
    assert (index(both).count, index(both).lower_bound) == (3, False)
    assert index(lanczos(OPERATOR, 5, which="BE", tolerance=1e-6)).lower_bound


def test_values_within_the_noise_are_not_negative() -> None:
    values = np.r_[np.linspace(1, 2, 35), np.full(5, -1e-9)]
    operator = MatrixOperator(torch.from_numpy((ROTATION * values) @ ROTATION.T).float())
    result = index(lanczos(operator, 3, which="SA"))
    assert (result.count, result.undecided, result.lower_bound) == (0, 0, False)


def test_a_residual_that_hides_the_sign_leaves_it_undecided() -> None:
    spectrum = lanczos(OPERATOR, 6, which="SA", tolerance=1e-6)
    signs = torch.where(spectrum.eigenvalues == spectrum.eigenvalues[3], 0, spectrum.signs)
    result = index(dataclasses.replace(spectrum, signs=signs))
    assert (result.count, result.undecided, result.lower_bound) == (2, 1, True)


@pytest.mark.parametrize(("which", "k"), [("LM", 4), ("LA", 4), ("BE", 1)])
def test_pairs_of_the_other_end_are_refused(which: str, k: int) -> None:
    with pytest.raises(ConfigurationError, match="`which` SA"):
        index(lanczos(OPERATOR, k, which=which))
