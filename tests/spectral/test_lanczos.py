"""Lanczos against LAPACK's dense eigenvalues, SciPy's ARPACK and spectra known by construction.

Nothing here uses the projected problem of the code under test: eigenvalues come from `numpy.linalg.eigvalsh` of the
explicit matrix or from the diagonal it was built of, residuals from explicit float64 products.
"""

import inspect
from typing import Any

import numpy as np
import pytest
import torch
from designed import Rounded, extremes, turned
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.linalg import eigsh
from torch import Tensor

from orograph.curvature.operator import FunctionOperator, MatrixOperator
from orograph.errors import ConfigurationError, DataError
from orograph.spectral.eigenpairs import lanczos
from orograph.spectral.iteration import Iteration
from orograph.spectral.krylov import Krylov
from orograph.spectral.spectrum import Spectrum

ALL = ("LM", "LA", "SA", "BE")


def true_residuals(matrix: Tensor, spectrum: Spectrum) -> Tensor:
    vectors = spectrum.eigenvectors.double()
    return (vectors @ matrix.double() - spectrum.eigenvalues[:, None] * vectors).norm(dim=1)


@pytest.fixture(scope="module")
def difficult() -> tuple[Tensor, np.ndarray]:
    """2,000 dimensions: clusters, copies and negative extremes around a dense bulk, some of them near the cut of k = 30."""
    rng = np.random.default_rng(0)
    extreme = [4.0] * 5 + [3.5, 3.4999, 3.4998] + [2.0] * 2 + [-3.9] * 4 + [-3.0, -2.9995] + [-1.4] * 6 + [1.3] * 4
    matrix = turned(np.array(extreme + list(rng.uniform(-1, 1, 2000 - len(extreme)))))
    return matrix, np.linalg.eigvalsh(matrix.numpy())


@pytest.mark.slow
@pytest.mark.parametrize(("which", "k"), [("LM", 7), ("LM", 30), ("LA", 7), ("SA", 12), ("BE", 25)])
def test_copies_clusters_and_negative_extremes_are_all_found(difficult: tuple[Tensor, np.ndarray], which: str, k: int) -> None:
    matrix, truth = difficult
    spectrum = lanczos(MatrixOperator(matrix), k, which=which, tolerance=1e-7)
    # Ritz values err by ‖r‖²/gap at most, but a value inside a cluster only by ‖r‖.
    expected = extremes(truth, k, which)
    found = spectrum.eigenvalues.numpy()
    if which == "LM":  # ties of ±λ in magnitude may be cut either way
        expected, found = np.sort(np.abs(expected)), np.sort(np.abs(found))
    np.testing.assert_allclose(found, expected, atol=4e-7)
    assert spectrum.converged.all()
    assert not spectrum.noise.any()
    assert (true_residuals(matrix, spectrum) <= 1e-7 * spectrum.eigenvalues.abs()).all()
    gram = spectrum.eigenvectors @ spectrum.eigenvectors.T
    torch.testing.assert_close(gram, torch.eye(k, dtype=torch.float64), atol=1e-12, rtol=0)


@pytest.mark.slow
def test_float32_finds_the_same_eigenvalues_to_its_rounding(difficult: tuple[Tensor, np.ndarray]) -> None:
    matrix, truth = difficult
    spectrum = lanczos(Rounded(matrix), 30, tolerance=1e-3)
    expected = np.sort(np.abs(extremes(truth, 30, "LM")))
    # tolerance² · λ²/gap ≈ 1e-6/0.1 for single ones; 1e-3·|λ| where two are closer than that
    np.testing.assert_allclose(np.sort(spectrum.eigenvalues.abs().numpy()), expected, rtol=1e-3)
    assert spectrum.eigenvectors.dtype == torch.float32
    assert (true_residuals(matrix, spectrum) <= 1e-3 * spectrum.eigenvalues.abs()).all()


@pytest.mark.parametrize("k", [10, 30])
@pytest.mark.parametrize("which", ["LM", "LA", "SA"])
def test_an_eigenvalue_of_multiplicity_127_fills_the_spectrum_and_is_cut(k: int, which: str) -> None:
    diagonal = np.concatenate([np.full(127, 3.0), np.full(127, -2.5), np.random.default_rng(1).normal(size=500) * 0.1])
    spectrum = lanczos(Rounded(turned(diagonal)), k, which=which)
    np.testing.assert_allclose(spectrum.eigenvalues, np.full(k, -2.5 if which == "SA" else 3.0), atol=1e-5)
    assert spectrum.clusters == ((0, k),)
    assert spectrum.cut
    assert torch.isnan(spectrum.bounds).all()
    assert spectrum.products < 12 * k + 60  # each copy costs a few steps, not a run of its own


def test_whole_clusters_are_reported_and_not_called_cut() -> None:
    diagonal = np.concatenate([[5.0, 5.0, 5.0, 4.0, 3.0, 3.0], np.linspace(-1, 1, 600)])
    spectrum = lanczos(MatrixOperator(turned(diagonal)), 6, tolerance=1e-6)
    assert spectrum.clusters == ((0, 3), (4, 6))
    assert not spectrum.cut
    assert torch.isnan(spectrum.bounds[[0, 1, 2, 4, 5]]).all()
    assert spectrum.bounds[3] < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("copies", [1, 3])
def test_a_collapsed_spectrum_ends_quickly_with_its_noise_marked(copies: int) -> None:
    rng = np.random.default_rng(2)
    large = np.repeat(np.linspace(3.4, 3.0, 9), copies)
    matrix = turned(np.concatenate([large, 1e-9 * rng.normal(size=1200)]))
    spectrum = lanczos(Rounded(matrix), 30)
    assert spectrum.products < 120
    np.testing.assert_allclose(spectrum.eigenvalues[: len(large)], large, rtol=1e-5)
    assert spectrum.noise.tolist() == [False] * len(large) + [True] * (30 - len(large))
    assert spectrum.converged.all()
    assert (spectrum.signs[len(large) :] == 0).all()
    assert (spectrum.signs[: len(large)] == 1).all()
    # measured noise: not below what float32 can do, and not a hundred times its rounding
    eps = torch.finfo(torch.float32).eps
    assert eps * 3 < spectrum.noise_level < 100 * eps * 3.4


def test_small_eigenvalues_above_the_noise_are_not_called_noise() -> None:
    matrix = turned(np.concatenate([[3.0, 2.0], np.linspace(4e-4, 2e-4, 8), np.zeros(400)]))
    spectrum = lanczos(Rounded(matrix), 10)
    np.testing.assert_allclose(spectrum.eigenvalues[2:], np.linspace(4e-4, 2e-4, 8), atol=2e-6)
    assert not spectrum.noise.any()
    assert (spectrum.signs == 1).all()


def test_noise_is_found_by_linearity_where_there_is_no_float64_twin() -> None:
    factor = torch.randn(300, 2, generator=torch.Generator().manual_seed(3))
    spectrum = lanczos(MatrixOperator(factor @ factor.T), 5)
    assert spectrum.noise.tolist() == [False, False, True, True, True]


def test_pairs_that_cannot_converge_are_not_called_converged() -> None:
    spectrum = lanczos(MatrixOperator(turned(np.linspace(-1, 1, 500))), 5, tolerance=1e-8, max_products=20)
    assert not spectrum.converged.any()


@pytest.mark.parametrize("which", ["LM", "LA", "SA", "BE"])
def test_it_agrees_with_arpack(which: str) -> None:
    matrix = turned(np.random.default_rng(4).normal(size=700))
    spectrum = lanczos(MatrixOperator(matrix), 9, which=which, tolerance=1e-8)
    theirs = np.sort(eigsh(matrix.numpy(), 9, which=which, tol=1e-10, return_eigenvectors=False))[::-1]
    np.testing.assert_allclose(spectrum.eigenvalues, theirs, atol=1e-9)


def test_eigenvector_bounds_hold() -> None:
    matrix = turned(np.concatenate([[3.0, 2.0, 1.9, -2.5, 1.5], np.linspace(-1, 1, 500)]))
    spectrum = lanczos(MatrixOperator(matrix), 5, tolerance=1e-3)
    vectors = np.linalg.eigh(matrix.numpy())[1]
    for vector, bound in zip(spectrum.eigenvectors.numpy(), spectrum.bounds.numpy(), strict=True):
        nearest = vectors[:, np.argmax(np.abs(vectors.T @ vector))]
        sine = np.linalg.norm(vector - nearest * (nearest @ vector))
        assert sine <= bound + 1e-13
        assert bound < 0.02


@pytest.mark.parametrize("verification", ["sampled", "full"])
def test_stated_residuals_are_those_of_true_products(verification: str) -> None:
    matrix = turned(np.random.default_rng(5).normal(size=600))
    spectrum = lanczos(Rounded(matrix), 20, verification=verification)
    truth = true_residuals(matrix.float(), spectrum)
    eps = torch.finfo(torch.float32).eps
    assert (truth <= spectrum.residuals + 3 * eps).all()
    # and not much larger, where they are more than rounding
    assert (spectrum.residuals <= 1.1 * truth + 100 * eps).all()


def test_a_wrong_product_does_not_pass_verification() -> None:
    matrix = turned(np.concatenate([np.linspace(3, 2, 20), np.linspace(-1, 1, 400)])).float()
    calls = 0

    def drifting(vector: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return matrix @ vector + (0.05 * matrix @ (matrix @ vector) if calls > 20 else 0.0)

    spectrum = lanczos(FunctionOperator(drifting, 420), 20)
    assert not spectrum.converged.all()


def test_coarse_products_are_judged_by_the_operator_that_verifies_them() -> None:
    """Operands rounded to bfloat16 converge to eigenpairs of the wrong matrix: their residual by exact products is stated."""
    matrix = turned(np.concatenate([np.linspace(5, 3, 6), [0.02, 0.01], np.linspace(-1e-3, 1e-3, 400)])).float()

    class Coarse(MatrixOperator):
        def product(self, vector: Tensor) -> Tensor:
            return self.matrix.bfloat16().float() @ vector.bfloat16().float()

        @property
        def verification(self) -> MatrixOperator:
            return MatrixOperator(matrix)

    spectrum = lanczos(Coarse(matrix), 8, tolerance=1e-2)
    truth = true_residuals(matrix, spectrum)
    assert (truth <= 1.01 * spectrum.residuals + 1e-6).all()
    claimed = spectrum.converged & ~spectrum.noise
    assert (truth[claimed] <= 1e-2 * spectrum.eigenvalues[claimed]).all()
    assert spectrum.converged[:6].all()
    assert not claimed[6:].any()
    assert spectrum.products < 200


@pytest.mark.parametrize("block", [2, 5])
def test_blocks_find_what_single_vectors_find(block: int) -> None:
    matrix = turned(np.concatenate([[3.0] * 4, np.random.default_rng(6).normal(size=500)]))
    truth = np.linalg.eigvalsh(matrix.numpy())
    spectrum = lanczos(MatrixOperator(matrix), 12, block=block, tolerance=1e-7)
    np.testing.assert_allclose(np.sort(spectrum.eigenvalues.abs()), np.sort(np.abs(extremes(truth, 12, "LM"))), atol=1e-9)


@pytest.mark.parametrize("memory", ["4GiB", 600 * 8 * 60, 1000])
def test_a_short_or_mapped_basis_restarts_and_finds_the_same(memory: str | int) -> None:
    matrix = turned(np.random.default_rng(7).normal(size=600))
    truth = np.linalg.eigvalsh(matrix.numpy())
    spectrum = lanczos(MatrixOperator(matrix), 6, which="LA", tolerance=1e-7, memory=memory)
    np.testing.assert_allclose(spectrum.eigenvalues, extremes(truth, 6, "LA"), atol=1e-9)


def test_from_a_neighbours_eigenvector_it_takes_fewer_products_and_from_a_wrong_one_it_finds_the_same() -> None:
    values = torch.cat([torch.tensor([4.0, 3.9]), torch.linspace(0, 3, 398)]).double()
    operator = MatrixOperator(torch.diag(values))
    cold = lanczos(operator, 1, which="LA", tolerance=1e-3)
    unit = torch.eye(400, dtype=torch.float64)
    near = lanczos(operator, 1, which="LA", tolerance=1e-3, start=unit[0] + 1e-3 * unit[200])
    assert near.products - near.certificate_products < (cold.products - cold.certificate_products) / 2
    wrong = lanczos(operator, 1, which="LA", tolerance=1e-3, start=unit[5])  # another eigenvector, from which no step leads away
    for found in (cold, near, wrong):
        assert found.eigenvalues[0].item() == pytest.approx(4.0, rel=4e-5)  # ‖r‖²/gap of λ


@pytest.mark.parametrize("size", [2, 3, 7, 40])
@pytest.mark.parametrize("which", ALL)
def test_tiny_operators_are_solved_exactly_for_every_k(size: int, which: str) -> None:
    matrix = turned(np.random.default_rng(size).normal(size=size), seed=size)
    truth = np.linalg.eigvalsh(matrix.numpy())
    for k in {1, size // 2, size - 1}:
        spectrum = lanczos(MatrixOperator(matrix), k, which=which, tolerance=1e-9)
        np.testing.assert_allclose(spectrum.eigenvalues, extremes(truth, k, which), atol=1e-12)


@pytest.mark.parametrize("value", [1.0, -2.0])
def test_multiples_of_the_identity_are_one_cut_cluster(value: float) -> None:
    spectrum = lanczos(MatrixOperator(value * torch.eye(100)), 5)
    np.testing.assert_allclose(spectrum.eigenvalues, np.full(5, value), atol=1e-6)
    assert spectrum.clusters == ((0, 5),)
    assert spectrum.cut
    assert spectrum.converged.all()
    assert (spectrum.signs == int(np.sign(value))).all()


def test_the_zero_operator_is_nothing_but_noise() -> None:
    spectrum = lanczos(MatrixOperator(torch.zeros(100, 100)), 5)
    assert (spectrum.eigenvalues == 0).all()
    assert spectrum.noise.all()
    assert spectrum.converged.all()
    assert spectrum.products < 30


def test_the_same_seed_gives_the_same_bytes_and_the_callback_counts() -> None:
    matrix = turned(np.random.default_rng(8).normal(size=300)).float()
    counts: list[int] = []
    first = lanczos(MatrixOperator(matrix), 5, seed=3, on_product=lambda stage, count: counts.append(count))
    second = lanczos(MatrixOperator(matrix), 5, seed=3)
    assert torch.equal(first.eigenvectors, second.eigenvectors)
    assert torch.equal(first.residuals, second.residuals)
    assert counts == sorted(counts)
    assert counts[-1] == first.products == second.products


def large(values: np.ndarray) -> FunctionOperator:
    """A diagonal operator of more than 5,000 parameters, in float32."""
    diagonal = torch.as_tensor(values).float()
    return FunctionOperator(lambda vector: diagonal * vector, len(values))


def fewest_steps(diagonal: np.ndarray, k: int, tolerance: float, seed: int) -> int:
    """Of plain Lanczos with full reorthogonalisation in float64, from the same start, until k pairs have converged."""
    start = torch.randn(len(diagonal), generator=torch.Generator().manual_seed(seed)).double().numpy()
    basis, above, below = [start / np.linalg.norm(start)], [], []
    while True:
        vector = diagonal * basis[-1]
        above.append(vector @ basis[-1])
        rows = np.array(basis)
        for _ in range(2):
            vector -= rows.T @ (rows @ vector)
        below.append(np.linalg.norm(vector))
        basis.append(vector / below[-1])
        values, weights = np.linalg.eigh(np.diag(above) + np.diag(below[:-1], 1) + np.diag(below[:-1], -1))
        chosen = np.argsort(-np.abs(values))[:k]
        if len(above) >= k and (below[-1] * np.abs(weights[-1, chosen]) <= tolerance * np.abs(values[chosen])).all():
            return len(above)


@pytest.mark.parametrize("k", [10, 40])
def test_pairs_take_no_more_products_than_the_fewest_lanczos_steps_besides_certificates(k: int) -> None:
    """Though convergence is not looked at after every step: one step in a hundred may be too many."""
    diagonal = 3 / np.arange(1.0, 6001.0) * np.where(np.arange(6000) % 7 == 3, -1, 1)
    spectrum = lanczos(large(diagonal), k)
    assert spectrum.converged.all()
    spent = spectrum.products - spectrum.certificate_products
    assert spent <= 1.02 * fewest_steps(diagonal, k, 0.95e-3, seed=0) + 1
    assert 0 < spectrum.certificate_products <= 10


def test_copies_of_large_operators_are_cut_where_they_take_too_much_and_found_where_more_is_allowed() -> None:
    """Two multiple eigenvalues close to each other, the second across the cut of k = 20, over a bulk that comes near them."""
    k, bulk = 20, np.minimum(3 / np.arange(8.0, 6008.0) ** 0.8, 0.38)
    diagonal = np.concatenate([[3.0, 2.0, 1.0], [0.400] * 12, [0.396] * 12, bulk])
    short = lanczos(large(diagonal), k, seed=1)
    assert short.cut
    assert not short.searched
    assert short.products <= 5 * k + 3  # and those that verify
    assert short.converged.all()  # smaller ones before larger ones that are not known yet
    # each stated value has an eigenvalue within its residual, and each bound holds for the space of its eigenvalue
    distances = np.abs(short.eigenvalues.numpy()[:, None] - diagonal).min(axis=1)
    assert (distances <= short.residuals.numpy() + 1e-6).all()
    assert (short.residuals <= 1e-3 * short.eigenvalues).all()
    for value, vector, bound in zip(short.eigenvalues.numpy(), short.eigenvectors.numpy(), short.bounds.numpy(), strict=True):
        nearest = diagonal[np.abs(diagonal - value).argmin()]
        assert np.isnan(bound) or np.linalg.norm(vector[diagonal != nearest]) <= bound + 1e-4
    whole = lanczos(large(diagonal), k, seed=1, max_products=20 * k)
    assert whole.converged.all()
    assert whole.products > 1.5 * short.products
    assert whole.cut
    np.testing.assert_allclose(whole.eigenvalues, diagonal[:k], rtol=1e-5)


def test_where_copies_are_given_up_converged_pairs_go_first_but_the_ends_stay_extreme() -> None:
    values, unknown = torch.tensor([-5.0, -4.0, 1.0, 2.0, 3.0, 6.0]).double(), torch.tensor([0.125, 0, 0, 0.25, 0, 0.5]).double()
    krylov = Krylov(MatrixOperator(torch.eye(9, dtype=torch.float64)), 9, seed=0, memory="1MiB")
    krylov.multiplied, krylov.count, krylov.coefficients[6, :6] = 6, 7, unknown
    iteration = Iteration(krylov, 5, "LM", 1e-3, block=1, widest=1, longest=9, pool=1, max_products=9, seed=0)
    iteration.values, iteration.weights = values, torch.eye(6, dtype=torch.float64)
    iteration._prefer_converged()
    assert iteration.wanted_values.tolist() == [6, -5, -4, 3, 1]
    assert iteration.others().tolist() == [2]
    assert iteration.doubts.tolist() == [0.25]


@pytest.mark.parametrize("which", ["LA", "SA", "LM", "BE"])
@pytest.mark.parametrize("size", [6, 30, 400])
def test_a_start_that_is_another_eigenvector_does_not_hide_the_wanted_one(which: str, size: int) -> None:
    """All that is known of the spectrum then is one value within it."""
    values = torch.linspace(-1, 1.5, size, dtype=torch.float64)
    for seed in range(4):
        start = torch.eye(size, dtype=torch.float64)[(seed + 2) * size // 8]
        found = lanczos(MatrixOperator(torch.diag(values)), 1, which=which, tolerance=1e-6, seed=seed, start=start)
        wanted = -1.0 if which == "SA" else 1.5
        assert float(found.eigenvalues) == pytest.approx(wanted, abs=1e-6) or not found.searched


@pytest.mark.parametrize(("size", "k"), [(300, 298), (40, 37), (3, 2)])
def test_a_search_that_has_multiplied_all_there_is_ends_with_its_certificate(size: int, k: int) -> None:
    assert all(lanczos(MatrixOperator(torch.eye(size)), k, seed=seed).searched for seed in range(4))


def test_values_that_have_converged_are_no_noise_beside_one_that_is_lost() -> None:
    rng, eps = np.random.default_rng(767), torch.finfo(torch.float32).eps
    values = torch.tensor(np.concatenate([[1.0], rng.uniform(-1, 1, 199) * eps * 20])).float()
    for seed in range(6):
        found = lanczos(MatrixOperator(torch.diag(values)), 28, which="LA", tolerance=0.01, seed=seed)
        good = found.residuals <= 0.01 * found.eigenvalues.abs()
        assert not (good & found.noise & (found.eigenvalues.abs() > 1.5 * eps)).any()


def test_copies_that_stand_alone_are_found_at_once_within_the_budget() -> None:
    """As at a collapsed network: nine large eigenvalues, ten small ones of either sign, and zeros."""
    k, steps = 29, 5
    diagonal = np.concatenate([np.linspace(3.3, 3.29, 9), np.full(10, 0.3), np.full(10, -0.3), np.zeros(6000)])
    spectrum = lanczos(large(diagonal), k)
    assert spectrum.products <= steps * k
    assert spectrum.converged.all()
    assert not spectrum.cut
    np.testing.assert_allclose(spectrum.eigenvalues, np.sort(diagonal[:k])[::-1], atol=1e-5)


@pytest.mark.slow
@settings(max_examples=8)
@given(seed=st.integers(0, 10**6), shift=st.floats(-5, 5))
def test_eigenvalues_follow_a_shift_and_ignore_a_rotation(seed: int, shift: float) -> None:
    diagonal = np.random.default_rng(seed).normal(size=40)
    plain = lanczos(MatrixOperator(turned(diagonal)), 4, which="LA", tolerance=1e-9)
    moved = lanczos(MatrixOperator(turned(diagonal, seed=1)).shifted(shift), 4, which="LA", tolerance=1e-9)
    torch.testing.assert_close(moved.eigenvalues, plain.eigenvalues + shift, atol=1e-9, rtol=0)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"k": 0}, "`k` 0 must be at least 1 and below P = 30"),
        ({"k": 30}, "`k` 30 must be at least 1 and below P = 30"),
        ({"k": 2, "which": "LR"}, "which"),
        ({"k": 2, "tolerance": 0.0}, "tolerance"),
        ({"k": 2, "block": 0}, "block"),
        ({"k": 2, "verification": "none"}, "verification"),
        ({"k": 2, "max_products": 0}, "`max_products` 0 must be at least 1"),
        ({"k": 2, "start": torch.zeros(30, dtype=torch.float64)}, "`start` must be a finite vector"),
    ],
)
def test_what_cannot_be_asked_is_refused(arguments: dict, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        inspect.unwrap(lanczos)(MatrixOperator(torch.eye(30)), **arguments)


def test_a_product_that_is_not_finite_is_refused() -> None:
    matrix = torch.eye(50)
    matrix[3, 3] = torch.nan
    with pytest.raises(DataError, match="not finite"):
        lanczos(MatrixOperator(matrix), 3)


@pytest.mark.parametrize("which", ["LM", "LA", "SA", "BE"])
@pytest.mark.parametrize("value", [-3.0, 0.0, 2.0])
def test_of_one_parameter_there_is_one_pair(which: Any, value: float) -> None:
    operator = MatrixOperator(torch.tensor([[value]]))
    found = lanczos(operator, 1, which=which)
    assert found.eigenvalues.tolist() == [value]
    assert found.eigenvectors.tolist() == [[1.0]]
    with pytest.raises(ConfigurationError, match="no more than P = 1"):
        lanczos(operator, 2)


def test_pairs_of_a_small_operator_are_found_where_the_basis_is_the_whole_space() -> None:
    values = torch.tensor([0.1, 0.7, 2.5, 3.1], dtype=torch.float64).repeat_interleave(3)
    turned = torch.linalg.qr(torch.randn(12, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64))[0]
    found = lanczos(MatrixOperator(turned * values @ turned.T), 10, which="SA")
    torch.testing.assert_close(found.eigenvalues.flip(0), values[:10])


@pytest.mark.parametrize("seed", range(3))
def test_a_copy_is_found_beside_a_level_that_nearly_every_direction_lies_in(seed: int) -> None:
    # A random direction has 1/20 along the second copy: after a step its residual is below the tolerance, and shows nothing.
    values = torch.full((400,), 0.9, dtype=torch.float64)
    values[:2] = 1.0
    axes = torch.linalg.qr(torch.randn(400, 400, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)))[0]
    found = lanczos(MatrixOperator(axes @ torch.diag(values) @ axes.T), k=2, which="LA", tolerance=1e-2, seed=seed)
    assert torch.allclose(found.eigenvalues, torch.ones(2, dtype=torch.float64), rtol=1e-10)
    assert found.searched
