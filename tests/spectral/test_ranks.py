"""Ranks against their definitions on all eigenvalues of explicit matrices, and closed forms."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from orograph.curvature.operator import MatrixOperator
from orograph.spectral.densities import density
from orograph.spectral.effective_ranks import effective_rank, entropy_rank, full_entropy_rank, participation_ratio, ranks
from orograph.spectral.eigenpairs import lanczos

VALUES = np.r_[[6.0, 4.0, 2.0], np.random.default_rng(1).uniform(-0.2, 0.5, 57)]
ROTATION, _ = np.linalg.qr(np.random.default_rng(2).standard_normal((60, 60)))
OPERATOR = MatrixOperator(torch.from_numpy((ROTATION * VALUES) @ ROTATION.T))


def test_equal_eigenvalues_count_themselves() -> None:
    values = torch.full((7,), 0.3, dtype=torch.float64)
    assert effective_rank(values) == pytest.approx(7)
    assert entropy_rank(values) == pytest.approx(7)


def test_negative_eigenvalues_count_in_the_entropy_only() -> None:
    values = torch.tensor([2.0, 1.0, -1.0], dtype=torch.float64)
    assert effective_rank(values) == pytest.approx(1.5)
    assert entropy_rank(values) == pytest.approx(math.exp(1.5 * math.log(2)))  # shares ½, ¼, ¼


def test_without_a_positive_eigenvalue_there_is_no_effective_rank() -> None:
    assert math.isnan(effective_rank(torch.tensor([-1.0, -2.0], dtype=torch.float64)))
    assert math.isnan(entropy_rank(torch.zeros(2, dtype=torch.float64)))


def test_the_names_of_what_k_pairs_give_carry_k() -> None:
    result = ranks(lanczos(OPERATOR, 5, which="LA"), density(OPERATOR, probes=4, steps=20))
    fields = result.fields()
    assert {"effective_rank_top_5", "entropy_rank_top_5", "participation_ratio"} <= set(fields)
    top = np.sort(VALUES)[:-6:-1]
    assert fields["effective_rank_top_5"] == pytest.approx(top.sum() / 6, rel=1e-4)


def test_the_entropy_rank_of_the_whole_spectrum_comes_from_its_density() -> None:
    shares = np.abs(VALUES) / np.abs(VALUES).sum()
    exact = math.exp(-(shares * np.log(shares)).sum())
    assert full_entropy_rank(density(OPERATOR, probes=200, steps=30)).value == pytest.approx(exact, rel=0.05)


def test_the_error_of_the_entropy_rank_is_the_larger_of_the_jackknifes_and_that_of_its_derivatives() -> None:
    """The derivatives by autograd, of sums that vary by 2(‖f(A)‖² − (tr f(A))²/P)."""
    small, large = [], []
    for seed in range(6):
        found = density(OPERATOR, probes=4, steps=20, seed=seed, points=2)
        sizes = found.nodes.abs()
        parts = (sizes, torch.special.xlogy(sizes, sizes))
        sums = [(60 * (found.weights * part).sum(1)).mean().requires_grad_() for part in parts]
        slopes = torch.autograd.grad(sums[0] * (-sums[1] / sums[0]).exp(), sums)
        values = slopes[0] * parts[0] + slopes[1] * parts[1]
        mean = 60 * (found.weights * values).sum(1).mean()
        variances = 2 * (60 * (found.weights * values**2).sum(1) - mean**2 / 60).clamp(min=0)
        error, rank = float((variances.mean() / 4).sqrt()), full_entropy_rank(found)
        assert rank.error >= error * (1 - 1e-9)
        (small if rank.error == pytest.approx(error) else large).append(rank.error)
    assert small  # either is the larger now and then
    assert large


@pytest.mark.slow
def test_the_participation_ratio_and_its_error_bar() -> None:
    """A jackknife error from 16 probes covers about two thirds; three standard deviations of a share of 200 are 10 %."""
    exact = VALUES.sum() ** 2 / (VALUES**2).sum()
    runs = density(OPERATOR, probes=16 * 200, steps=3)  # exact for λ⁴, by which λ² varies
    parts = zip(runs.nodes.split(16), runs.weights.split(16), strict=True)
    results = [participation_ratio(dataclasses.replace(runs, nodes=nodes, weights=weights)) for nodes, weights in parts]
    values, errors = np.array([r.value for r in results]), np.array([r.error for r in results])
    assert abs(values.mean() - exact) < 4 * values.std() / 200**0.5 + 0.01 * exact
    assert 0.56 < np.mean(np.abs(values - exact) <= errors) < 0.78
