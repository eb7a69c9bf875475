"""Estimators of the trace against the sum of the diagonal, and against their definitions written out one vector at a time."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from orograph.curvature.operator import FunctionOperator, MatrixOperator
from orograph.curvature.shards import Shards
from orograph.errors import ConfigurationError, DataError
from orograph.spectral.traces import METHODS, EntryVariances, Method, rademacher, trace

SEEDS = 200
# a standard error from 16 samples covers 67 % (Student), give or take three standard deviations, 3.3 % each, of a share of 200;
# that of XTrace lies between a bound that is too small and one that is too large, and errs to the safe side
COVERAGE = {"hutchinson": (0.57, 0.78), "hutch++": (0.57, 0.78), "xtrace": (0.57, 0.88)}


def with_eigenvalues(values: np.ndarray, seed: int) -> torch.Tensor:
    rotation, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((len(values), len(values))))
    return torch.from_numpy((rotation * values) @ rotation.T)


SPECTRA = {
    "decaying": with_eigenvalues(1 / np.arange(1, 81) ** 1.5, 0),
    "flat": with_eigenvalues(np.linspace(-1, 2, 80), 1),
    "outliers": with_eigenvalues(np.r_[[30.0, 20, 10], np.random.default_rng(0).uniform(-0.5, 1, 77)], 2),
}


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("spectrum", SPECTRA)
def test_error_bars_cover_the_trace_at_their_rate(method: Method, spectrum: str) -> None:
    matrix = SPECTRA[spectrum]
    truth = float(matrix.trace())
    results = [
        trace(MatrixOperator(matrix), method=method, probes={"hutch++": 32, "hutchinson": 16, "xtrace": 10}[method], seed=seed)
        for seed in range(SEEDS)
    ]
    misses = np.array([(result.value - truth) / result.error for result in results])
    assert COVERAGE[method][0] <= np.mean(np.abs(misses) <= 1) <= COVERAGE[method][1]
    values = np.array([result.value for result in results])
    assert abs(values.mean() - truth) <= 4 * values.std() / SEEDS**0.5  # unbiased


def test_the_leave_one_out_estimates_are_those_of_the_definition() -> None:
    """Every vector is left out in turn, its basis orthonormalised anew, and the remainder's form evaluated on the matrix."""
    matrix = SPECTRA["flat"]
    result = trace(MatrixOperator(matrix), probes=6, seed=3)
    vectors = torch.randn(6, 80, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    for i, sample in enumerate(result.samples):
        others = vectors[[j for j in range(6) if j != i]].T
        basis, _ = torch.linalg.qr(matrix @ others)
        left = vectors[i] - basis @ (basis.T @ vectors[i])
        remainder = (80 - 5) * (left @ matrix @ left) / (left @ left)
        assert float(sample) == pytest.approx(float((basis.T @ matrix @ basis).trace() + remainder), rel=1e-9)


def test_few_large_eigenvalues_are_no_error_to_xtrace_and_little_to_hutch_plus_plus() -> None:
    operator = MatrixOperator(SPECTRA["outliers"])
    errors = {method: trace(operator, method=method, probes=16).error for method in METHODS}
    assert errors["xtrace"] < errors["hutch++"] < errors["hutchinson"] / 3


@settings(max_examples=30)
@given(
    rank=st.integers(0, 5),
    size=st.integers(8, 30),
    seed=st.integers(0, 10**6),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_a_matrix_of_low_rank_has_an_exact_trace(rank: int, size: int, seed: int, dtype: torch.dtype) -> None:
    generator = np.random.default_rng(seed)
    matrix = with_eigenvalues(np.r_[generator.uniform(1, 2, rank), np.zeros(size - rank)], seed)
    result = trace(MatrixOperator(matrix.to(dtype)), probes=7, seed=seed)
    # rounding of P-long vectors, enlarged where random vectors happen to be nearly dependent
    slack = 1e-3 if dtype == torch.float32 else 1e-9
    assert abs(result.value - float(matrix.trace())) <= slack * size


@pytest.mark.parametrize("method", ["xtrace", "hutch++"])
def test_as_many_vectors_as_dimensions_make_the_trace_exact(method: Method) -> None:
    matrix = SPECTRA["flat"][:20, :20]
    result = trace(MatrixOperator(matrix), method=method, probes=50)
    assert result.value == pytest.approx(float(matrix.trace()), abs=1e-9)
    assert result.error < 1e-9


def test_signs_give_the_trace_of_a_diagonal_matrix_exactly() -> None:
    result = trace(MatrixOperator(torch.diag(torch.arange(5.0))), method="hutchinson", probes=3)
    assert (result.value, result.error) == (10.0, 0.0)


def test_all_signs_together_tell_the_variance_of_their_quadratic_form() -> None:
    """2⁸ vectors are all that there are, so that their mean is the expectation."""
    matrix = SPECTRA["flat"][:8, :8]
    signs = torch.tensor(list(itertools.product((-1.0, 1), repeat=8)), dtype=torch.float64).T
    entries = EntryVariances()
    entries.add(signs, matrix @ signs)
    truth = 2 * (matrix.square().sum() - matrix.diagonal().square().sum())
    assert float(entries.variances().sum() / 256) == pytest.approx(float(truth), rel=1e-12)
    assert float(((signs * (matrix @ signs)).sum(0)).var(correction=0)) == pytest.approx(float(truth), rel=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_the_variances_of_few_signs_are_those_of_the_entries(seed: int) -> None:
    matrix = SPECTRA["outliers"]
    signs = rademacher(Shards(80), 6, matrix, torch.Generator().manual_seed(seed))
    entries = EntryVariances()
    for columns in signs.split(4, dim=1):
        entries.add(columns, matrix @ columns)
    assert float(entries.variances().mean()) == pytest.approx(2 * float((signs * (matrix @ signs)).var(1).sum()), rel=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["hutchinson", "hutch++"])
def test_intervals_of_few_signs_hold_the_trace_where_one_direction_holds_most(method: Method) -> None:
    """Student's interval of the samples' own spread held it in 85 % of cases."""
    matrix = with_eigenvalues(np.r_[10.0, np.random.default_rng(0).uniform(-0.1, 0.1, 79)], 3)
    found = [trace(MatrixOperator(matrix), method=method, probes=8, seed=seed) for seed in range(600)]
    # four standard deviations of a share of 600 below 95 %
    assert np.mean([abs(each.value - float(matrix.trace())) <= each.margin for each in found]) >= 0.915


@pytest.mark.parametrize(("method", "expected"), [("hutchinson", 12), ("hutch++", 18), ("xtrace", 24)])
def test_products_are_counted(method: Method, expected: int) -> None:
    operator, seen = MatrixOperator(SPECTRA["flat"]), list[int]()
    result = trace(operator, method=method, probes=12, on_product=lambda stage, count: seen.append(count))
    assert result.products == operator.products == seen[-1] == expected


@pytest.mark.parametrize("method", METHODS)
def test_it_stops_at_the_tolerance_and_growing_wastes_nothing(method: Method) -> None:
    matrix = SPECTRA["outliers"]
    grown = trace(MatrixOperator(matrix), method=method, probes=4, tolerance=0.02, max_products=10_000)
    assert grown.error <= 0.02 * abs(grown.value)
    assert abs(grown.value - float(matrix.trace())) <= 4 * 0.02 * abs(grown.value)
    if method != "hutch++":  # whose two kinds of vectors are drawn in turns
        once = trace(MatrixOperator(matrix), method=method, probes=len(grown.samples))
        assert (once.value, once.products) == (pytest.approx(grown.value, rel=1e-9), grown.products)


def test_it_stops_before_the_limit_of_products() -> None:
    result = trace(MatrixOperator(SPECTRA["flat"]), method="hutchinson", probes=10, tolerance=1e-9, max_products=100)
    assert result.products == 80
    assert result.error > 1e-9 * abs(result.value)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("products", [4, 5, 6, 7, 8, 20])
def test_a_cost_in_products_buys_as_many_probes_as_it_affords(method: Method, products: int) -> None:
    operator = MatrixOperator(SPECTRA["flat"])
    affordable = [
        found for probes in range(2, 22) if (found := trace(operator, method=method, probes=probes)).products <= products
    ]
    result = trace(operator, method=method, products=products)
    assert (result.value, result.products) == (affordable[-1].value, affordable[-1].products)


def test_bad_input_is_refused() -> None:
    operator = MatrixOperator(torch.eye(3))
    with pytest.raises(ConfigurationError, match="`probes` 1 must"):
        trace(operator, probes=1)
    with pytest.raises(ConfigurationError, match="`tolerance` 0"):
        trace(operator, tolerance=0.0)
    with pytest.raises(ConfigurationError, match="`products` 3 must be at least 4"):
        trace(operator, products=3)
    with pytest.raises(ConfigurationError, match="twice"):
        trace(operator, products=8, probes=4)
    with pytest.raises(ConfigurationError, match="`max_products` 50 ends rounds that a `tolerance` asks for"):
        trace(operator, max_products=50)
    with pytest.raises(ConfigurationError, match="`max_products` 7 are fewer than the 8 of the first round"):
        trace(MatrixOperator(torch.eye(30)), products=9, tolerance=0.1, max_products=7)
    with pytest.raises(DataError, match="not finite"):
        trace(FunctionOperator(lambda v: v * torch.nan, 3))


def test_the_trace_is_exact_where_nothing_is_left_to_estimate_however_ill_conditioned_the_matrix() -> None:
    # In float32 the products of forty vectors span what rounding leaves of a matrix of rank three.
    generator = torch.Generator().manual_seed(0)
    basis = torch.linalg.qr(torch.randn(40, 40, generator=generator, dtype=torch.float64)).Q
    matrix = (basis[:, :3] * torch.tensor([100.0, 10.0, 1.0])) @ basis[:, :3].T + 1e-6 * torch.eye(40)
    for seed in range(20):
        found = trace(MatrixOperator(matrix.float()), probes=40, seed=seed)
        assert found.error == 0
        assert found.value == pytest.approx(matrix.trace().item(), rel=1e-5)  # 40 roundings of float32
