"""The certificate of a search for copies: its bound against the frequency with which random starts really miss, by dense
Lanczos in numpy."""

import numpy as np
import pytest
from designed import turned

from orograph.curvature.operator import MatrixOperator
from orograph.spectral.copies import Limits, Search, escape_probability, judge
from orograph.spectral.krylov import Krylov


def chain(eigenvalues: np.ndarray, steps: int, seed: int) -> Krylov:
    krylov = Krylov(MatrixOperator(turned(eigenvalues)), steps + 1, seed=seed, memory="1GiB")
    krylov.add_random(1)
    for _ in range(steps):
        krylov.expand()
    return krylov


def test_the_escape_probability_is_an_upper_bound() -> None:
    """A missed eigenvalue 1 above a bulk in [−1, 0.8]: how often is no Ritz value above the limit of 0.9 seen?"""
    rng = np.random.default_rng(0)
    eigenvalues = np.concatenate([rng.uniform(-1, 0.8, 299), [1.0]])
    for steps in (6, 10, 14):
        missed, bounds = 0, []
        for _ in range(200):
            weights = rng.normal(size=300) ** 2
            largest = largest_ritz_value(eigenvalues, weights / weights.sum(), steps)
            if largest <= 0.9:
                missed += 1
                bounds.append(escape_probability(steps, largest, 0.9, -1.0, 300))
        if missed > 5:
            assert missed / 200 <= max(bounds)


def largest_ritz_value(eigenvalues: np.ndarray, weights: np.ndarray, steps: int) -> float:
    """By the Gram–Schmidt orthogonalised Krylov matrix of a diagonal operator."""
    vector, basis = np.sqrt(weights), []
    for _ in range(steps):
        for other in basis + basis:
            vector = vector - other * (other @ vector)
        basis.append(vector / np.linalg.norm(vector))
        vector = eigenvalues * basis[-1]
    rows = np.array(basis)
    return float(np.linalg.eigvalsh(rows @ (eigenvalues * rows).T)[-1])


@pytest.mark.parametrize(
    ("lower", "upper", "verdict"), [(-9.0, 2.0, Search.FOUND), (-2.0, 9.0, Search.FOUND), (-9.0, 9.0, Search.CLEAR)]
)
def test_the_verdict_looks_at_both_sides(lower: float, upper: float, verdict: Search) -> None:
    eigenvalues = np.concatenate([[3.0, -3.0], np.linspace(-1, 1, 200)])
    assert judge(chain(eigenvalues, 12, 0), 0, 12, Limits(lower, upper, 1e-6), (-9.0, 9.0)) is verdict


def test_one_step_decides_nothing() -> None:
    krylov = chain(np.linspace(-1, 1, 200), 1, 0)
    assert judge(krylov, 0, 1, Limits(-1.5, 1.5, 1e-6), (-2.0, 2.0)) is Search.UNSURE
