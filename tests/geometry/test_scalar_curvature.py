"""The closed formula and its estimate against Riemannian geometry by brute force.

The truth knows nothing of the formula: it differentiates the graph's metric g = I + ∇L∇Lᵀ into Christoffel symbols, these into
the Ricci tensor, and contracts.
"""

import math

import pytest
import torch
from torch import Tensor

from landscapes import landscape, symmetric
from orograph.curvature.operator import MatrixOperator
from orograph.errors import ConfigurationError
from orograph.geometry.ricci import ScalarCurvature, scalar_curvature, scalar_curvature_top_k
from orograph.spectral.spectrum import Spectrum

FUNCTIONS = {
    "paraboloid": lambda p: (p * p).sum() / 2,
    "saddle": lambda p: p[0] ** 2 - p[1] ** 2 + (p[2:] ** 3).sum(),
    "waves": lambda p: torch.sin(p).prod() + torch.cos(p.sum()),
    "bowl": lambda p: torch.logsumexp(torch.cat([p, -p, p.sum()[None]]), 0),
}


def riemannian(function, point: Tensor) -> float:
    """Scalar curvature of the graph of a function, from its metric alone."""

    def metric(at: Tensor) -> Tensor:
        slope = torch.func.jacfwd(function)(at)
        return torch.eye(len(at), dtype=at.dtype) + torch.outer(slope, slope)

    def christoffel(at: Tensor) -> Tensor:
        slope = torch.func.jacfwd(metric)(at)  # [i, j, l] = ∂_l g_ij
        lower = (torch.einsum("jlk->ljk", slope) + torch.einsum("klj->ljk", slope) - torch.einsum("jkl->ljk", slope)) / 2
        return torch.einsum("il,ljk->ijk", torch.linalg.inv(metric(at)), lower)

    symbols = christoffel(point)
    slopes = torch.func.jacfwd(christoffel)(point)  # [i, j, k, l] = ∂_l Γ^i_jk
    ricci = (
        torch.einsum("ijki->jk", slopes)
        - torch.einsum("ijik->jk", slopes)
        + torch.einsum("iip,pjk->jk", symbols, symbols)
        - torch.einsum("ikp,pji->jk", symbols, symbols)
    )
    return torch.einsum("jk,jk->", torch.linalg.inv(metric(point)), ricci).item()


def whole_spectrum(hessian: Tensor, count: int | None = None) -> Spectrum:
    """Exact pairs, the `count` largest in magnitude."""
    values, vectors = torch.linalg.eigh(hessian)
    chosen = values.abs().argsort(descending=True)[: count or len(values)].sort(descending=True).values
    k = len(chosen)
    return Spectrum(
        eigenvalues=values[chosen],
        eigenvectors=vectors.T[chosen].contiguous(),
        residuals=torch.zeros(k, dtype=torch.float64),
        noise_level=math.nan,
        converged=torch.ones(k, dtype=torch.bool),
        noise=torch.zeros(k, dtype=torch.bool),
        clusters=(),
        cut=False,
        bounds=torch.zeros(k, dtype=torch.float64),
        signs=values[chosen].sign().long(),
        products=0,
        which="LM",
        tolerance=1e-3,
    )


def test_the_brute_force_knows_the_curvature_of_a_sphere() -> None:
    point = torch.tensor([0.2, -0.1, 0.4, 0.3], dtype=torch.float64)
    radius = 1.5
    found = riemannian(lambda p: -torch.sqrt(radius**2 - p @ p), point)
    assert found == pytest.approx(4 * 3 / radius**2, rel=1e-10)


@pytest.mark.parametrize("size", [2, 3, 4, 5, 6])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_all_eigenpairs_give_the_riemannian_curvature(name: str, size: int) -> None:
    function = FUNCTIONS[name]
    theta = torch.randn(size, generator=torch.Generator().manual_seed(size), dtype=torch.float64) / 2
    objective = landscape(function, theta)
    hessian = torch.func.hessian(function)(theta)
    found = scalar_curvature_top_k(whole_spectrum(hessian), objective.gradient(theta))
    assert found == pytest.approx(riemannian(function, theta), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_estimate_agrees_with_the_riemannian_curvature_within_its_error(name: str) -> None:
    function = FUNCTIONS[name]
    theta = torch.randn(5, generator=torch.Generator().manual_seed(9), dtype=torch.float64) / 2
    hessian = torch.func.hessian(function)(theta)
    found = scalar_curvature(MatrixOperator(hessian), landscape(function, theta).gradient(theta), probes=400)
    # Probes of a diagonal matrix have no variance; then only rounding is left.
    assert abs(found.value - riemannian(function, theta)) < 4 * found.error + 1e-10


def estimates(hessian: Tensor, gradient: Tensor, count: int, **options) -> list[ScalarCurvature]:
    return [scalar_curvature(MatrixOperator(hessian), gradient, probes=6, seed=seed, **options) for seed in range(count)]


@pytest.mark.slow
def test_the_estimate_is_unbiased_and_its_error_is_its_spread() -> None:
    hessian, gradient = symmetric(12), torch.linspace(-1, 1, 12, dtype=torch.float64)
    exact = scalar_curvature_top_k(whole_spectrum(hessian), gradient)
    found = estimates(hessian, gradient, 144)
    values = torch.tensor([each.value for each in found])
    spread = values.std().item()
    assert abs(values.mean().item() - exact) < 4 * spread / 12
    squared_errors = torch.tensor([each.error**2 for each in found])
    # The jackknife of 6 probes overestimates the variance of a quadratic statistic a little, never by half.
    assert 0.8 < squared_errors.mean().sqrt().item() / spread < 1.5
    naive = torch.tensor([each.trace.value**2 - each.frobenius_square.value for each in found]).mean().item()
    assert abs(naive - (hessian.trace() ** 2 - (hessian**2).sum()).item()) > 1  # what the U-statistic avoids


def test_known_pairs_lower_the_error_and_leave_the_value() -> None:
    values = torch.cat([torch.tensor([50.0, 30.0, -20.0]), torch.linspace(-0.1, 0.1, 17)]).double()
    basis = torch.linalg.qr(symmetric(20))[0]
    hessian = (basis * values) @ basis.T
    hessian = (hessian + hessian.T) / 2
    gradient = torch.linspace(-0.2, 0.1, 20, dtype=torch.float64)
    exact = scalar_curvature_top_k(whole_spectrum(hessian), gradient)
    plain = scalar_curvature(MatrixOperator(hessian), gradient, probes=10)
    helped = scalar_curvature(MatrixOperator(hessian), gradient, probes=10, spectrum=whole_spectrum(hessian, 3))
    assert helped.error < plain.error / 50
    assert abs(helped.value - exact) < 4 * helped.error
    assert helped.products == 11


@pytest.mark.parametrize("unit", [1.0, 1e-50])
def test_errors_without_pairs_are_relative_to_the_unit_of_the_hessian(unit: float) -> None:
    """Half precision, in which products are kept for them, has no such numbers of its own."""
    hessian, nowhere = symmetric(30), torch.zeros(30, dtype=torch.float64)
    plain, scaled = (scalar_curvature(MatrixOperator(each), nowhere, probes=6) for each in (hessian, unit * hessian))
    assert scaled.frobenius_square.error == pytest.approx(unit**2 * plain.frobenius_square.error, rel=1e-2, abs=0)
    assert scaled.participation_ratio.error == pytest.approx(plain.participation_ratio.error, rel=1e-2)
    assert scaled.frobenius_square.degrees == pytest.approx(plain.frobenius_square.degrees, rel=1e-2)


@pytest.mark.slow
def test_errors_without_pairs_are_the_spread_of_what_they_belong_to() -> None:
    hessian, nowhere = symmetric(30), torch.zeros(30, dtype=torch.float64)
    hessian = hessian + 8 * torch.eye(30, dtype=torch.float64)
    found = estimates(hessian, nowhere, 100)
    for name in ("frobenius_square", "participation_ratio"):
        errors = torch.tensor([getattr(each, name).error for each in found])
        spread = torch.tensor([getattr(each, name).value for each in found]).std()
        # Of 100 values a spread is known within 7 %. The variance leaves out how uneven the diagonal is, and the larger of two is
        # taken, one of six samples: both make it too large, the latter by E max(1, χ²₅/5) = 1.26.
        assert 0.8 < errors.square().mean().sqrt() / spread < 1.6


def test_top_k_is_another_number_and_ignores_the_rest() -> None:
    hessian = torch.diag(torch.tensor([3.0, 2.0, 0.5], dtype=torch.float64))
    gradient = torch.zeros(3, dtype=torch.float64)
    assert scalar_curvature_top_k(whole_spectrum(hessian, 2), gradient) == pytest.approx(2 * 3 * 2)
    assert scalar_curvature_top_k(whole_spectrum(hessian), gradient) == pytest.approx(2 * (6 + 1.5 + 1))


def test_two_probes_are_too_few() -> None:
    with pytest.raises(ConfigurationError, match="at least 3"):
        scalar_curvature(MatrixOperator(symmetric(3)), torch.zeros(3, dtype=torch.float64), probes=2)


def test_the_former_name_of_the_trace_of_the_square_still_works() -> None:
    found = scalar_curvature(MatrixOperator(torch.eye(5).double()), torch.zeros(5).double(), probes=3)
    with pytest.warns(DeprecationWarning, match="frobenius_square"):
        assert found.squared_trace is found.frobenius_square
    assert found.frobenius_square.value == 5.0  # signs have ‖z‖² = P
