"""Outliers planted on a semicircle bulk of known edge."""

import math

import numpy as np
import pytest
import torch

from orograph.curvature.operator import MatrixOperator
from orograph.errors import ConfigurationError
from orograph.spectral.bulk import outliers
from orograph.spectral.densities import density
from orograph.spectral.eigenpairs import lanczos

SIZE = 500
# the quantiles of the semicircle of radius 1
ANGLES = np.linspace(-1, 1, 100_001)
SHARES = 0.5 + (ANGLES * np.sqrt(1 - ANGLES**2) + np.arcsin(ANGLES)) / math.pi
ROTATION, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((SIZE, SIZE)))


def operator(*planted: float) -> MatrixOperator:
    count = SIZE - len(planted)
    values = np.r_[np.interp((np.arange(count) + 0.5) / count, SHARES, ANGLES), planted]
    return MatrixOperator(torch.from_numpy((ROTATION * values) @ ROTATION.T))


PLANTED = operator(9.0, 8.0, 6.0, 5.0)


@pytest.mark.parametrize("which", ["LA", "LM"])
def test_planted_outliers_are_found_and_the_edge_is_that_of_the_bulk(which: str) -> None:
    result = outliers(lanczos(PLANTED, 12, which=which), density(PLANTED, probes=8, steps=60))
    assert result.above_gap == 4
    assert result.count == 4
    assert not result.lower_bound
    assert result.edge == pytest.approx(1, abs=0.05)  # of 500 eigenvalues the last lies within 500^(−2/3) = 0.016 of the edge
    assert result.gap == pytest.approx(math.log(5), abs=0.05)


def test_without_outliers_the_gap_is_small() -> None:
    plain = operator()
    assert outliers(lanczos(plain, 12, which="LA"), density(plain, steps=60)).gap < 0.05


def test_too_few_pairs_give_a_lower_bound() -> None:
    result = outliers(lanczos(PLANTED, 3, which="LA"), density(PLANTED, steps=60))
    assert result.lower_bound
    assert result.count == 3


def test_what_cannot_show_outliers_is_refused() -> None:
    spread = density(PLANTED, probes=2, steps=10)
    with pytest.raises(ConfigurationError, match="`which` SA"):
        outliers(lanczos(PLANTED, 3, which="SA"), spread)
    with pytest.raises(ConfigurationError, match="P = 3"):
        outliers(lanczos(PLANTED, 3, which="LA"), density(MatrixOperator(torch.eye(3))))
