"""The density by quadrature against all eigenvalues of explicit matrices, exact moments, and a closed form (the semicircle)."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from orograph.curvature.operator import FunctionOperator, MatrixOperator
from orograph.errors import ConfigurationError, DataError
from orograph.spectral.densities import density


def with_eigenvalues(values: np.ndarray, seed: int) -> torch.Tensor:
    rotation, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((len(values), len(values))))
    return torch.from_numpy((rotation * values) @ rotation.T)


VALUES = np.r_[[8.0, 5.0, -2.0], np.random.default_rng(0).normal(0, 0.5, 77)]
MATRIX = with_eigenvalues(VALUES, 0)


@settings(max_examples=25)
@given(size=st.integers(2, 25), steps=st.integers(1, 12), seed=st.integers(0, 10**6))
def test_every_probe_has_the_first_moments_of_its_measure(size: int, steps: int, seed: int) -> None:
    matrix = with_eigenvalues(np.random.default_rng(seed).normal(0, 1, size), seed)
    result = density(MatrixOperator(matrix), probes=2, steps=steps, seed=seed)
    signs = 2 * torch.randint(0, 2, (2, size), generator=torch.Generator().manual_seed(seed), dtype=torch.int8).double() - 1
    vectors = signs / size**0.5
    for degree in range(min(2 * steps, 6)):
        exact = (signs / size**0.5 * vectors).sum(1)
        computed = (result.weights * result.nodes**degree).sum(1)
        torch.testing.assert_close(computed, exact, rtol=1e-8, atol=1e-8 * float(matrix.norm()) ** degree)
        vectors = vectors @ matrix


@settings(max_examples=25)
@given(
    width=st.one_of(st.none(), st.floats(1e-6, 10)),
    points=st.integers(2, 300),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_it_integrates_to_one(width: float | None, points: int, dtype: torch.dtype) -> None:
    result = density(MatrixOperator(MATRIX.to(dtype)), probes=2, steps=15, width=width, points=points)
    spacing = float(result.grid[1] - result.grid[0])
    assert float(result.values.sum()) * spacing == pytest.approx(1, abs=1e-5)  # the rounding of a float32 start of unit length
    assert (result.values >= 0).all()


def test_all_steps_and_many_probes_give_the_density_of_all_eigenvalues() -> None:
    result = density(MatrixOperator(MATRIX), probes=64, steps=80, width=0.3, points=200)
    exact = np.exp(-((result.grid.numpy()[:, None] - VALUES) ** 2) / (2 * 0.3**2)).mean(1) / (0.3 * math.sqrt(2 * math.pi))
    pulls = (result.values.numpy() - exact) / np.maximum(result.errors.numpy(), 1e-6)
    # neighbouring cells err together, so that one run is only held to four standard errors nearly everywhere
    assert np.mean(np.abs(pulls) < 4) > 0.97
    assert np.abs(result.values.numpy() - exact).max() < 0.05 * exact.max()


@pytest.mark.slow
def test_error_bars_cover_the_truth_at_their_rate() -> None:
    """One standard error from 12 probes covers 66 % (Student); three standard deviations of a binomial share of 200 are 10 %."""
    exact = np.exp(-((0.4 - VALUES) ** 2) / (2 * 0.3**2)).mean() / (0.3 * math.sqrt(2 * math.pi))
    truths = np.array([VALUES.sum(), (VALUES**2).sum(), exact])
    covered = np.zeros(3)
    for seed in range(200):
        result = density(MatrixOperator(MATRIX), probes=12, steps=12, width=0.3, points=200, seed=seed)
        cell = int((result.grid - 0.4).abs().argmin())
        values = np.array([result.trace.value, result.frobenius.value, result.values[cell].item()])
        errors = np.array([result.trace.error, result.frobenius.error, result.errors[cell].item()])
        covered += np.abs(values - truths) <= errors
    assert np.all(covered / 200 > 0.56)
    assert np.all(covered / 200 < 0.78)


def test_a_random_symmetric_matrix_has_the_semicircle() -> None:
    noise = np.random.default_rng(5).standard_normal((400, 400))
    result = density(MatrixOperator(torch.from_numpy((noise + noise.T) / math.sqrt(800))), probes=8, steps=60)
    assert result.mass(-1, 1) == pytest.approx(1 / 3 + math.sqrt(3) / (2 * math.pi), abs=0.02)
    assert result.quantile(0.5) == pytest.approx(0, abs=0.1)
    assert result.quantile(0.999) == pytest.approx(2, abs=0.1)


def test_outliers_are_counted_by_mass_and_bounded_by_quantiles() -> None:
    result = density(MatrixOperator(MATRIX), probes=64, steps=60)
    assert 80 * result.mass(4, 10) == pytest.approx(2, abs=0.5)
    assert result.quantile(1.0) == pytest.approx(8, abs=1e-8)
    assert result.quantile(1.0, below=7) == pytest.approx(5, abs=1e-8)
    assert result.quantile(0.0) == pytest.approx(-2, abs=1e-8)


def test_multiples_of_the_identity_end_their_chain_after_one_step() -> None:
    operator = FunctionOperator(lambda v: 3 * v, 50)
    result = density(operator, probes=3, steps=20)
    assert result.products == 3
    torch.testing.assert_close(result.trace.samples, torch.full((3,), 150.0, dtype=torch.float64), rtol=1e-6, atol=0)
    assert result.mass(2.99, 3.01) == pytest.approx(1, abs=1e-6)


def test_memory_changes_the_grouping_of_probes_but_not_the_result() -> None:
    together = density(MatrixOperator(MATRIX), probes=4, steps=10)
    apart = density(MatrixOperator(MATRIX), probes=4, steps=10, memory=100)  # mapped as well
    torch.testing.assert_close(apart.nodes, together.nodes, rtol=1e-9, atol=1e-9)
    assert apart.products == together.products == 40


def test_probes_double_until_the_tolerance() -> None:
    result = density(MatrixOperator(MATRIX), probes=2, steps=10, width=0.5, tolerance=0.2)
    assert float(result.errors.sum() * (result.grid[1] - result.grid[0])) <= 0.2
    limited = density(MatrixOperator(MATRIX), probes=2, steps=10, tolerance=1e-9, max_products=50)
    assert limited.products == 40


def test_bad_input_is_refused() -> None:
    operator = MatrixOperator(torch.eye(3))
    with pytest.raises(ConfigurationError, match="`probes` 1 must"):
        density(operator, probes=1)
    with pytest.raises(ConfigurationError, match="fewer than two probes"):
        density(MatrixOperator(MATRIX), products=39, steps=20)
    with pytest.raises(ConfigurationError, match="twice"):
        density(MatrixOperator(MATRIX), products=40, probes=2, steps=20)
    with pytest.raises(ConfigurationError, match="`max_products` 50 ends rounds that a `tolerance` asks for"):
        density(operator, max_products=50)
    with pytest.raises(ConfigurationError, match="`max_products` 39 are fewer than the 40 of the first round"):
        density(MatrixOperator(MATRIX), probes=2, steps=20, tolerance=0.1, max_products=39)
    with pytest.raises(ConfigurationError, match="`width` -1"):
        density(operator, width=-1.0)
    with pytest.raises(ConfigurationError, match="`steps` 0"):
        density(operator, steps=0)
    with pytest.raises(ConfigurationError, match=r"quantile 1\.5"):
        density(operator).quantile(1.5)
    with pytest.raises(DataError, match="not finite"):
        density(FunctionOperator(lambda v: v * torch.nan, 3))


def test_a_cost_in_products_buys_whole_probes() -> None:
    told: list[tuple[str, int]] = []
    result = density(MatrixOperator(MATRIX), products=49, steps=12, on_product=lambda *facts: told.append(facts))
    assert (result.products, len(result.nodes)) == (48, 4)
    assert torch.equal(result.nodes, density(MatrixOperator(MATRIX), probes=4, steps=12).nodes)
    assert told[-1] == ("density", 48)
