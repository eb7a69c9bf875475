"""The invertible matrix that brings two pairs of matrices nearest, beside SciPy's minimiser from many starts and closed forms."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch import Tensor

from orograph.connectivity.elements import CONDITION
from orograph.connectivity.mixing import Tables, best_mixing, gained, most

Pair = tuple[Tensor, Tensor, Tensor, Tensor]  # a, b, c, d of ‖a − A b‖² + ‖c − A⁻ᵀ d‖²


def tables(parts: Pair) -> Tables:
    a, b, c, d = parts
    return Tables(a @ b.mT, c @ d.mT, a @ a.mT, c @ c.mT, b @ b.mT, d @ d.mT)


def distance(parts: Pair, matrix: Tensor) -> Tensor:
    a, b, c, d = parts
    first, second = a - matrix @ b, c - torch.linalg.inv(matrix).mT @ d
    return first.square().sum((-2, -1)) + second.square().sum((-2, -1))


def size(parts: Pair) -> Tensor:
    return sum((each.square().sum((-2, -1)) for each in parts), torch.zeros(()))


def drawn(n: int, wide: int, seed: int, count: int = 1) -> Pair:
    shape = (4, count, n, wide)
    return tuple(torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64))


def invertible(n: int, seed: int, condition: float) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    left, right = (torch.linalg.qr(torch.randn(n, n, generator=generator, dtype=torch.float64)).Q for _ in range(2))
    return (left * torch.logspace(0, np.log10(condition), n, dtype=torch.float64) / condition**0.5) @ right


def lowest(parts: Pair, starts: int = 12) -> float:
    """By BFGS, from many starts at random: both signs of the determinant."""
    n = parts[0].shape[-2]
    generator = np.random.default_rng(0)

    def value(flat: np.ndarray) -> tuple[float, np.ndarray]:
        matrix = torch.tensor(flat.reshape(n, n), requires_grad=True)
        found = distance(parts, matrix).sum()
        (gradient,) = torch.autograd.grad(found, matrix)
        return found.item(), gradient.numpy().ravel()

    return min(minimize(value, generator.standard_normal(n * n), jac=True, options={"gtol": 1e-9}).fun for _ in range(starts))


@pytest.mark.parametrize(("n", "wide"), [(2, 3), (4, 8), (16, 64), (8, 8)])
def test_a_planted_matrix_is_found(n: int, wide: int) -> None:
    for seed in range(10):
        _, b, _, d = drawn(n, wide, seed)
        planted = invertible(n, seed, 30)
        parts = planted @ b, b, torch.linalg.inv(planted).mT @ d, d
        found, gain = best_mixing(tables(parts))
        # Grams square the condition numbers of b and d, of some tens here.
        torch.testing.assert_close(found[0], planted, rtol=0, atol=1e-9)
        assert gain.item() == pytest.approx(size(parts).item() / 2, rel=1e-12)


@pytest.mark.parametrize("side", [0, 1])
def test_of_one_side_alone_it_is_the_least_squares(side: int) -> None:
    a, b, c, d = drawn(3, 7, 1)
    nothing = torch.zeros_like(a)
    parts = (a, b, nothing, nothing) if side == 0 else (nothing, nothing, c, d)
    found, gain = best_mixing(tables(parts))
    one, other = parts[2 * side], parts[2 * side + 1]
    expected = torch.linalg.lstsq(other.mT, one.mT).solution.mT
    expected = expected if side == 0 else torch.linalg.inv(expected).mT
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-8)
    assert gain.item() == pytest.approx(most(tables(parts)).item(), rel=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("n", [1, 2, 3])
def test_it_is_as_low_as_a_general_minimiser_from_many_starts_finds(n: int) -> None:
    for seed in range(8):
        parts = drawn(n, 5, seed)
        found, gain = best_mixing(tables(parts))
        assert torch.linalg.cond(found).item() <= CONDITION
        assert gain.item() == pytest.approx(((size(parts) - distance(parts, found)) / 2).item(), rel=1e-10)
        assert distance(parts, found).item() == pytest.approx(lowest(parts), rel=1e-6)


def test_what_is_gained_is_half_of_what_the_squares_fall_short_and_never_more_than_the_bound() -> None:
    parts = drawn(4, 6, 3, count=50)
    matrices = torch.randn(50, 4, 4, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    gain, bound = gained(tables(parts), matrices), most(tables(parts))
    usable = torch.linalg.cond(matrices) <= CONDITION
    torch.testing.assert_close(gain[usable], ((size(parts) - distance(parts, matrices)) / 2)[usable], rtol=1e-9, atol=1e-9)
    assert (gain <= bound).all()
    assert (best_mixing(tables(parts))[1] <= bound + 1e-9).all()


def test_what_is_ill_conditioned_is_not_taken() -> None:
    matrix = torch.diag(torch.tensor([1.0, 1.01 / CONDITION, 0.99 / CONDITION], dtype=torch.float64))
    parts = drawn(2, 5, 0)
    for place, taken in ((1, True), (2, False)):
        chosen = matrix[[0, place]][:, [0, place]]
        assert gained(tables(parts), chosen[None]).isfinite().item() == taken


def test_zeros_are_left_as_they_are() -> None:
    nothing = torch.zeros(2, 3, 3, dtype=torch.float64)
    found, gain = best_mixing(Tables(*[nothing] * 6))
    assert torch.equal(found, torch.eye(3, dtype=torch.float64).expand(2, 3, 3))
    assert gain.tolist() == [0, 0]
