"""MINRES against dense solutions: definite, indefinite and singular systems."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from orograph.continuation.minres import minres


def system(seed: int, size: int, zeros: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    turn = torch.linalg.qr(torch.randn(size, size, generator=generator, dtype=torch.float64)).Q
    values = torch.randn(size, generator=generator, dtype=torch.float64)
    values += 0.2 * values.sign()
    values[:zeros] = 0
    return turn @ torch.diag(values) @ turn.T


@settings(max_examples=30)
@given(st.integers(0, 10_000), st.integers(2, 12), st.integers(0, 3))
def test_it_solves_what_can_be_solved_with_the_shortest_solution(seed: int, size: int, zeros: int) -> None:
    matrix = system(seed, size, min(zeros, size - 1))
    right = matrix @ torch.randn(size, generator=torch.Generator().manual_seed(seed + 1), dtype=torch.float64)
    found = minres(lambda vector: matrix @ vector, right, tolerance=1e-11, max_products=20 * size)
    expected = torch.linalg.pinv(matrix, rtol=1e-9) @ right
    assert (matrix @ found.vector - right).norm() <= 1e-9  # the recursion's residual drifts by rounding of many steps
    assert (found.vector - expected).norm() <= 1e-7 * max(1.0, expected.norm())  # condition numbers stay below some 30


def test_of_an_inconsistent_system_the_residual_is_what_no_solution_takes_away() -> None:
    matrix = torch.diag(torch.tensor([2.0, -1.0, 0.0], dtype=torch.float64))
    found = minres(lambda vector: matrix @ vector, torch.ones(3, dtype=torch.float64), tolerance=1e-12, max_products=50)
    assert found.products <= 5
    assert abs((torch.ones(3, dtype=torch.float64) - matrix @ found.vector).norm().item() - 1) <= 1e-9


def test_products_stop_at_the_budget() -> None:
    matrix = system(3, 12, 0)
    found = minres(lambda vector: matrix @ vector, torch.ones(12, dtype=torch.float64), tolerance=1e-14, max_products=4)
    assert found.products == 4
    true = (torch.ones(12, dtype=torch.float64) - matrix @ found.vector).norm()
    assert abs(true.item() - found.residual) <= 1e-10
