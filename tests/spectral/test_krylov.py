"""The decomposition A Qₘ = Qₙ C itself, checked with explicit products after every kind of move, and the basis under it."""

import numpy as np
import pytest
import torch
from designed import turned

from orograph.curvature.operator import MatrixOperator
from orograph.curvature.shards import Shards
from orograph.spectral.basis import Basis
from orograph.spectral.eigenpairs import lanczos
from orograph.spectral.krylov import Krylov
from orograph.spectral.verification import residual_weights


class Noisy(MatrixOperator):
    """Products less exact than their dtype: with noise of this size in every entry."""

    def __init__(self, matrix: torch.Tensor, noise: float) -> None:
        super().__init__(matrix)
        self._noise, self._generator = noise, torch.Generator().manual_seed(0)

    def __matmul__(self, other: torch.Tensor) -> torch.Tensor:
        return super().__matmul__(other) + self._noise * torch.randn(other.shape, generator=self._generator, dtype=other.dtype)


def holds(krylov: Krylov, matrix: torch.Tensor, tolerance: float) -> None:
    m, n = krylov.multiplied, krylov.count
    rows = krylov.basis.combine(torch.eye(n, dtype=torch.float64)).double()
    torch.testing.assert_close(rows @ rows.T, torch.eye(n, dtype=torch.float64), atol=tolerance, rtol=0)
    torch.testing.assert_close(rows[:m] @ matrix, krylov.coefficients[:n, :m].T @ rows, atol=tolerance, rtol=0)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 5e-6)])
@pytest.mark.parametrize("memory", ["1GiB", 100])
def test_the_decomposition_survives_growing_restarting_and_turning(
    dtype: torch.dtype, tolerance: float, memory: str | int
) -> None:
    matrix = turned(np.random.default_rng(0).normal(size=90))
    krylov = Krylov(MatrixOperator(matrix.to(dtype)), 60, seed=0, memory=memory)
    assert krylov.basis.mapped == (memory == 100)
    krylov.add_random(2)
    for _ in range(10):
        krylov.expand(2)
    holds(krylov, matrix, tolerance)
    krylov.add_random(3)
    krylov.prefer([krylov.count - 1])
    krylov.expand()
    holds(krylov, matrix, tolerance)
    krylov.add(torch.ones(1, krylov.operator.size))
    krylov.expand()
    holds(krylov, matrix, tolerance)
    weights = krylov.ritz()[1]
    krylov.restart(weights[:, -7:])
    assert krylov.multiplied == 7
    holds(krylov, matrix, tolerance)
    krylov.expand(4)
    holds(krylov, matrix, tolerance)


SPECTRA = {
    "a dense bulk": np.random.default_rng(2).normal(size=90),
    "a few large outliers": np.concatenate([[1e3, -300.0, 50.0], np.linspace(-1, 1, 87)]),
    "values of a thousand sizes": 0.8 ** np.arange(90.0),
    "low rank": np.concatenate([np.arange(1.0, 21.0), np.zeros(70)]),
}


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 3e-6)])
@pytest.mark.parametrize("spectrum", SPECTRA)
def test_postponed_passes_leave_the_decomposition_as_it_was(spectrum: str, dtype: torch.dtype, tolerance: float) -> None:
    values = SPECTRA[spectrum] / np.abs(SPECTRA[spectrum]).max()  # rounding is relative to the largest
    matrix, postponed = turned(values), 0
    krylov = Krylov(MatrixOperator(matrix.to(dtype)), 60, seed=0, memory="1GiB")
    krylov.add_random(1)
    for step in range(50):
        if krylov.pool == 0:
            break
        krylov.advance()
        postponed = max(postponed, krylov.fresh)
        if step % 17 == 16:
            krylov.settle()
            holds(krylov, matrix, tolerance)
    values, weights = krylov.ritz()
    holds(krylov, matrix, tolerance)
    vectors = krylov.basis.combine(weights[:, -1:]).double()
    residual = (vectors @ matrix - values[-1] * vectors).norm()
    assert float(residual_weights(krylov, values, weights)[:, -1].norm()) == pytest.approx(float(residual), abs=tolerance)
    assert postponed > 1


def test_copies_of_an_eigenvalue_set_aside_that_come_later_are_lost_along_no_row() -> None:
    values = np.repeat([1e3, 1e3, 2.4, 2.0, 1.4, 1.0, -0.8, 0.4], [2, 2, 4, 8, 8, 16, 16, 4])
    matrix, most = turned(values / 1e3), 0
    krylov = Krylov(MatrixOperator(matrix), len(values), seed=0, memory="1GiB")
    krylov.add_random(1)
    for step in range(len(values) - 2):
        if krylov.pool == 0:
            krylov.add_random(1)
        krylov.advance()
        if step % 4 == 3:
            krylov.ritz()
            holds(krylov, matrix, 1e-12)
        most = max(most, len(krylov.aside.sizes))
    assert most > 0
    assert krylov.products == krylov.multiplied  # none was given up
    assert krylov.basis.written > 0  # most rows are not those of the vectors
    assert krylov.ritz()[0][-4:].tolist() == pytest.approx([1.0] * 4, abs=1e-12)


def test_products_less_exact_than_their_dtype_cost_some_more_and_no_row() -> None:
    matrix = turned(0.7 ** np.arange(90.0))
    krylov = Krylov(Noisy(matrix, 1e-6), 60, seed=0, memory="1GiB")
    krylov.add_random(1)
    while krylov.multiplied < 50:
        krylov.advance()
    krylov.settle()
    holds(krylov, matrix, 1e-4)
    assert 50 < krylov.products <= 50 + 33  # those that were postponed, once


@pytest.mark.parametrize("products", [6, 30, 500])
def test_pairs_of_products_less_exact_than_their_dtype_are_as_good_as_these(products: int) -> None:
    matrix = turned(0.5 ** np.arange(60.0))
    found = lanczos(Noisy(matrix, 1e-7), 4, tolerance=1e-3, max_products=products)  # the first look may find rows to give up
    for value, residual in zip(found.eigenvalues.tolist(), found.residuals.tolist(), strict=True):
        assert min(abs(value - 0.5**i) for i in range(60)) <= residual + 1e-5


def test_the_residual_of_a_ritz_pair_is_known_without_a_product() -> None:
    matrix = turned(np.random.default_rng(1).normal(size=80))
    krylov = Krylov(MatrixOperator(matrix), 40, seed=0, memory="1GiB")
    krylov.add_random(3)
    for _ in range(6):
        krylov.expand(3)
    values, weights = krylov.ritz()
    vectors = krylov.basis.combine(weights)
    truth = (vectors @ matrix - values[:, None] * vectors).norm(dim=1)
    torch.testing.assert_close(residual_weights(krylov, values, weights).norm(dim=0), truth)
    torch.testing.assert_close(krylov.couplings(weights), truth)


def test_an_invariant_subspace_ends_the_chain() -> None:
    krylov = Krylov(MatrixOperator(turned(np.repeat([1.0, 2.0, 5.0], 20))), 30, seed=0, memory="1GiB")
    krylov.add_random(1)
    for _ in range(3):
        krylov.expand()
    assert krylov.pool == 0 or krylov.coefficients[3, 2] < 1e-13


def test_no_more_vectors_are_added_than_the_space_has() -> None:
    krylov = Krylov(MatrixOperator(turned(np.arange(6.0))), 30, seed=0, memory="1GiB")
    assert krylov.add_random(10) == 6
    assert krylov.expand(6) == 0
    torch.testing.assert_close(krylov.ritz()[0], torch.arange(6.0, dtype=torch.float64), atol=1e-12, rtol=0)


@pytest.mark.parametrize("memory", ["1GiB", 100])
@pytest.mark.parametrize("written", [0, 6, 9])
def test_vectors_that_are_not_written_are_the_combinations_that_they_were_made(written: int, memory: str | int) -> None:
    draw = torch.Generator().manual_seed(0)
    basis = Basis(12, Shards(50), dtype=torch.float64, device=torch.device("cpu"), memory=memory)
    truth = torch.randn(10, 50, generator=draw, dtype=torch.float64)
    basis.rows[:10] = truth
    block = torch.randn(2, 50, generator=draw, dtype=torch.float64)
    for first, count in ((4, 7), (7, 10)):  # one upon the other
        weights = torch.randn(count, count - first, generator=draw, dtype=torch.float64).triu(-first)  # none of those behind
        basis.rotate(weights, first, written=min(written, count - 1))
        truth[first:count] = weights.T @ truth[:count]
    assert basis.written == written
    assert torch.equal(basis.rows[written:10], basis.chosen(list(range(written, 10))))
    torch.testing.assert_close(basis.combine(torch.eye(10, dtype=torch.float64)), truth)
    torch.testing.assert_close(basis.chosen([0, 4, 5, 8]), truth[[0, 4, 5, 8]])
    torch.testing.assert_close(basis.components(block, 10), truth @ block.T)
    rest = block.clone()
    removed = basis.project_out(rest, 10, first=5)
    torch.testing.assert_close(removed, truth[5:] @ block.T)
    torch.testing.assert_close(rest, block - removed.T @ truth[5:])
    weights = torch.randn(10, 3, generator=draw, dtype=torch.float64)
    basis.rotate(weights)
    assert basis.written == 0
    torch.testing.assert_close(basis.rows[:3], weights.T @ truth)


def test_dot_products_of_concentrated_vectors_keep_float32_accuracy() -> None:
    # a few large entries, then very many small ones: what a running float32 sum loses
    size = 200_000
    vector = torch.full((1, size), 1e-3)
    vector[0, :10] = 1.0
    vector /= torch.linalg.vector_norm(vector, dtype=torch.float64).float()
    basis = Basis(1, Shards(size), dtype=torch.float32, device=torch.device("cpu"), memory="1GiB")
    basis.rows[0] = vector[0]
    exact = float((vector[0].double() ** 2).sum())
    assert float(basis.project_out(vector.clone(), 1)) == pytest.approx(exact, abs=5e-6)
