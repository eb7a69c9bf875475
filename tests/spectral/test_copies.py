"""The certificate of a search for copies: its bound against the frequency with which random starts really miss, by dense
Lanczos in numpy."""

import numpy as np
import pytest
import torch
from designed import turned

from orograph.curvature.operator import MatrixOperator
from orograph.spectral.copies import Chain, Limits, Search, escape_probability
from orograph.spectral.krylov import Krylov


def search(eigenvalues: np.ndarray, steps: int, limits: Limits) -> Search:
    krylov = Krylov(MatrixOperator(turned(eigenvalues)), steps + 1, seed=0, memory="1GiB")
    chain = Chain(krylov, krylov.basis.rows[:0], steps, limits, (-9.0, 9.0), seed=0)
    for _ in range(steps):
        chain.advance()
    return chain.verdict()


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
    assert search(eigenvalues, 12, Limits(lower, upper, 1e-6)) is verdict


def test_one_step_decides_nothing() -> None:
    assert search(np.linspace(-1, 1, 200), 1, Limits(-1.5, 1.5, 1e-6)) is Search.UNSURE


def test_a_chain_is_lanczos_on_the_deflated_operator() -> None:
    """Its Ritz values are those of the deflated matrix on the Krylov space of its start, which lies anywhere beyond the wanted
    pairs, and a step takes one product. What it finds is the copy that the basis missed."""
    matrix = turned(np.concatenate([[3.0, 2.5, 2.5], np.linspace(-1, 1, 80)]))
    krylov = Krylov(MatrixOperator(matrix), 40, seed=0, memory="1GiB")
    krylov.add_random(1)
    for _ in range(30):
        krylov.expand()
    wanted, before = krylov.basis.combine(krylov.ritz()[1][:, -2:]), krylov.products
    chain = Chain(krylov, wanted, 6, Limits(-9.0, 2.0, 1e-9), (-9.0, 9.0), seed=1)
    start = chain._rows[0].clone()
    assert float((wanted @ start).norm()) < 1e-12
    deflation, vectors = torch.eye(83, dtype=torch.float64) - wanted.T @ wanted, [start]
    for _ in range(6):
        assert chain.advance()
        vectors.append(deflation @ matrix @ vectors[-1])
    assert not chain.advance()
    space = torch.linalg.qr(torch.stack(vectors[:6]).T)[0]
    truth = torch.linalg.eigvalsh(space.T @ deflation @ matrix @ deflation @ space)
    torch.testing.assert_close(chain.values(), truth, atol=1e-9, rtol=0)
    assert krylov.products == before + 6
    assert chain.verdict() is Search.FOUND
    (found,) = chain.found()
    assert float(found @ matrix @ found) == pytest.approx(float(truth[-1]), abs=1e-9)
