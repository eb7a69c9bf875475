"""The split of eigenvalues against dense matrices H = G + R whose parts are known, and a model with a known Hessian."""

import numpy as np
import pytest
import torch

from orograph.curvature.operator import MatrixOperator
from orograph.errors import ConfigurationError
from orograph.spectral.eigenpairs import lanczos
from orograph.spectral.splitting import split

GENERATOR = np.random.default_rng(4)
FACTOR = GENERATOR.standard_normal((30, 5))
G = torch.from_numpy(FACTOR @ FACTOR.T)
R = torch.from_numpy(GENERATOR.standard_normal((30, 30)) * 0.1)
R = R + R.T
SPECTRUM = lanczos(MatrixOperator(G + R), 11, which="LM", tolerance=1e-8)


def test_both_parts_are_the_quadratic_forms_of_the_matrices() -> None:
    result = split(MatrixOperator(G + R), MatrixOperator(G), SPECTRUM)
    vectors = SPECTRUM.eigenvectors
    torch.testing.assert_close(result.gauss_newton, (vectors @ G * vectors).sum(1))
    torch.testing.assert_close(result.remainder, (vectors @ R * vectors).sum(1))
    assert result.products == 22


def test_the_parts_sum_to_the_eigenvalue_within_its_residual() -> None:
    result = split(MatrixOperator(G + R), MatrixOperator(G), SPECTRUM)
    torch.testing.assert_close(result.gauss_newton + result.remainder, SPECTRUM.eigenvalues + result.defect)
    assert (result.defect.abs() <= SPECTRUM.residuals + 1e-12).all()


def test_operators_of_other_sizes_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="do not fit"):
        split(MatrixOperator(G + R), MatrixOperator(G[:9, :9]), SPECTRUM)
