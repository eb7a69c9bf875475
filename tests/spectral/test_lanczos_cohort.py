"""Lanczos in step against dense eigenvalues of every operator, and against Lanczos of each by itself."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from designed import Rounded, extremes, turned
from torch import nn
from torch.nn import functional as F

from orograph.curvature.cohort import CohortHessian
from orograph.curvature.counting import OnProduct
from orograph.curvature.hessian import HessianOperator
from orograph.curvature.operator import FunctionOperator, LinearOperator, MatrixOperator
from orograph.errors import ConfigurationError, DataError
from orograph.objective import Objective
from orograph.spectral.cohort import Products, lanczos_cohort
from orograph.spectral.eigenpairs import lanczos, least_rows
from orograph.spectral.spectrum import Spectrum

# Spectra that ask for different numbers of steps: one that ends soon, copies, a cluster, no gap, few directions at all.
DIAGONALS = [
    np.concatenate([[9.0, 7.0, -6.0, 5.0, 4.0, 3.0], np.linspace(-0.1, 0.1, 394)]),
    np.concatenate([[4.0] * 3, [2.0] * 2, np.linspace(-1, 1, 395)]),
    np.concatenate([[3.5, 3.4999, 3.4998, -3.9, -3.9], np.random.default_rng(0).uniform(-1, 1, 395)]),
    np.linspace(-1, 1.5, 400),
    np.concatenate([[5.0, 4.0, 2.0], np.zeros(397)]),
]


def side_by_side(operators: list[LinearOperator]) -> Products:
    return lambda vectors: torch.stack([operator @ vector for operator, vector in zip(operators, vectors, strict=True)])


@pytest.mark.parametrize("which", ["LM", "LA", "SA", "BE"])
def test_every_operator_gets_its_own_eigenvalues(which: str) -> None:
    matrices = [turned(diagonal, seed) for seed, diagonal in enumerate(DIAGONALS)]
    operators: list[LinearOperator] = [MatrixOperator(matrix) for matrix in matrices]
    spectra = lanczos_cohort(operators, side_by_side(operators), 5, which=which, tolerance=1e-7)
    for matrix, spectrum in zip(matrices, spectra, strict=True):
        expected, found = extremes(np.linalg.eigvalsh(matrix.numpy()), 5, which), spectrum.eigenvalues.numpy()
        if which == "LM":
            expected, found = np.sort(np.abs(expected)), np.sort(np.abs(found))
        np.testing.assert_allclose(found, expected, atol=1e-6)  # tolerance·|λ| inside a cluster
        assert spectrum.converged.all()
        vectors = spectrum.eigenvectors
        residuals = (vectors @ matrix - spectrum.eigenvalues[:, None] * vectors).norm(dim=1)
        assert (residuals <= 1e-7 * spectrum.eigenvalues.abs() + spectrum.noise * 1e-12).all()
        torch.testing.assert_close(vectors @ vectors.T, torch.eye(5, dtype=torch.float64), atol=1e-12, rtol=0)


@pytest.mark.slow
def test_rounding_is_marked_as_by_lanczos_alone() -> None:
    operators: list[LinearOperator] = [Rounded(turned(diagonal)) for diagonal in DIAGONALS]
    for operator, spectrum in zip(operators, lanczos_cohort(operators, side_by_side(operators), 6), strict=True):
        alone = lanczos(operator, 6)
        assert torch.equal(spectrum.noise, alone.noise)
        assert spectrum.converged.all()
        np.testing.assert_allclose(spectrum.eigenvalues, alone.eigenvalues, rtol=1e-3, atol=2 * np.nan_to_num(alone.noise_level))


@pytest.mark.slow
def test_a_basis_that_is_full_is_restarted() -> None:
    operators: list[LinearOperator] = [MatrixOperator(turned(np.linspace(-1, 1.5, 900) ** 3, seed)) for seed in range(3)]
    memory = 3 * least_rows(4) * 900 * 8
    spectra = lanczos_cohort(operators, side_by_side(operators), 4, tolerance=1e-8, memory=memory)
    for spectrum in spectra:
        assert spectrum.products > least_rows(4)
        assert spectrum.basis_bytes * 3 <= memory
        np.testing.assert_allclose(spectrum.eigenvalues, np.sort(np.linspace(-1, 1.5, 900) ** 3)[::-1][:4], rtol=1e-10)


@dataclass
class Networks:
    """The Hessians of some networks, together and one by one; the single ones count their products."""

    objective: Objective
    cohort: CohortHessian
    hessian: HessianOperator

    def spectra(self, on_product: OnProduct | None = None) -> tuple[list[Spectrum], int]:
        """Of all, and the products that were made for one network alone."""
        members = [self.hessian.at(theta) for theta in self.cohort.thetas]
        found = lanczos_cohort(members, self.cohort.__matmul__, 8, on_product=on_product)
        return found, sum(member.products for member in members)


@pytest.fixture(scope="module")
def networks() -> Networks:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(20, 16), nn.Sigmoid(), nn.Linear(16, 5))
    targets = torch.randint(0, 5, (300,))
    objective = Objective(model, F.cross_entropy, (torch.randn(300, 20) + 1.5 * F.one_hot(targets, 20), targets))
    thetas = objective.theta * torch.linspace(0.3, 3, 7)[:, None]
    return Networks(objective, CohortHessian(objective, thetas), HessianOperator.of(objective))


@pytest.mark.slow
def test_the_hessians_of_a_cohort_of_networks(networks: Networks) -> None:
    seen = [0]
    spectra, alone = networks.spectra(lambda stage, count: seen.append(count))
    made = sum(spectrum.products for spectrum in spectra)
    assert seen[-1] == made
    assert seen == sorted(seen)
    assert alone < 0.5 * made  # most are made in step
    exact = HessianOperator.of(networks.objective.to(torch.float64))
    for theta, spectrum in zip(networks.cohort.thetas, spectra, strict=True):
        dense = (exact.at(theta.double()) @ torch.eye(len(theta), dtype=torch.float64)).numpy()
        expected = np.sort(np.abs(extremes(np.linalg.eigvalsh(dense), 8, "LM")))  # ties of ±λ may be cut either way
        np.testing.assert_allclose(np.sort(spectrum.eigenvalues.abs()), expected, rtol=1e-3)
        assert spectrum.converged.all()


@pytest.mark.slow
def test_the_same_cohort_gives_the_same_bytes(networks: Networks) -> None:
    for one, other in zip(networks.spectra()[0], networks.spectra()[0], strict=True):
        assert torch.equal(one.eigenvectors, other.eigenvectors)
        assert torch.equal(one.eigenvalues, other.eigenvalues)


def test_more_products_are_not_spent_than_allowed() -> None:
    operators: list[LinearOperator] = [MatrixOperator(turned(np.linspace(-1, 1, 300), seed)) for seed in range(2)]
    for spectrum in lanczos_cohort(operators, side_by_side(operators), 3, tolerance=1e-10, max_products=20):
        assert not spectrum.converged.all()
        assert spectrum.products <= 20 + 3  # and those that verify


def test_what_cannot_go_together_is_refused() -> None:
    small, large = (MatrixOperator(torch.eye(size, dtype=torch.float64)) for size in (30, 40))
    with pytest.raises(ConfigurationError, match="2 operators of 2 kinds"):
        lanczos_cohort([small, large], torch.clone, 3)
    with pytest.raises(ConfigurationError, match="more than `memory` 1 kB; give more memory or fewer operators"):
        lanczos_cohort([small, small], torch.clone, 3, memory=1000)
    with pytest.raises(ConfigurationError, match="`k` 30 must"):
        lanczos_cohort([small], torch.clone, 30)


def test_a_product_that_is_not_finite_is_said() -> None:
    operators = [
        FunctionOperator(lambda v: v, 50, dtype=torch.float64),
        FunctionOperator(lambda v: v / 0, 50, dtype=torch.float64),
    ]
    with pytest.raises(DataError, match="product number 1 of the"):
        lanczos_cohort(operators, side_by_side(list(operators)), 3)
