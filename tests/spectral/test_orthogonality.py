"""What is foretold of lost orthogonality, beside what rows of a plain Lanczos recurrence have lost."""

import numpy as np
import pytest
import torch
from designed import turned
from torch import Tensor

import orograph as og
from orograph.spectral.orthogonality import Aside, Overlaps, size

SPECTRUM = np.concatenate([[1.0, -0.6, 0.3], np.linspace(-0.02, 0.02, 197)])
EPSILON = torch.finfo(torch.float32).eps


def recurrence(steps: int) -> tuple[Tensor, Tensor, Tensor]:
    """A matrix, rows that are orthogonal to the two before them alone, with the rounding of float32, and their coefficients."""
    matrix = turned(SPECTRUM).float()
    rows, coefficients = torch.zeros(steps + 1, len(matrix)), torch.zeros(steps + 1, steps + 1, dtype=torch.float64)
    start = torch.randn(len(matrix), generator=torch.Generator().manual_seed(1))
    rows[0] = start / start.norm()
    for j in range(steps):
        rest = matrix @ rows[j]
        if j:
            rest -= coefficients[j, j - 1].float() * rows[j - 1]
            coefficients[j - 1, j] = coefficients[j, j - 1]
        coefficients[j, j] = float(rest @ rows[j])
        rest -= coefficients[j, j].float() * rows[j]
        coefficients[j + 1, j] = float(rest.norm())
        rows[j + 1] = rest / rest.norm()
    return matrix, rows.double(), coefficients


def test_the_overlaps_of_a_row_follow_from_those_of_the_two_before_it() -> None:
    _, rows, coefficients = recurrence(30)
    gram = rows @ rows.T - torch.eye(31)
    overlaps = Overlaps(31, seed=0)
    for j in range(2, 30):
        overlaps.before[:j], overlaps.last[:j] = gram[:j, j - 1, None], gram[:j, j, None]
        overlaps.before[j - 1] = 0.0  # the row itself
        foretold = overlaps.foretell(coefficients.numpy(), j + 1, 0.0)
        true = coefficients[j + 1, j] * gram[: j + 1, j + 1, None]
        rounding = 20 * EPSILON  # of one step
        np.testing.assert_allclose(foretold[:j], true[:j].expand(j, foretold.shape[1]), atol=rounding, rtol=1e-4)


def test_what_is_foretold_is_no_less_than_what_is_lost_and_not_far_above() -> None:
    _, rows, coefficients = recurrence(40)
    overlaps, grown = Overlaps(41, seed=0), 0
    for j in range(40):
        foretold = overlaps.foretell(coefficients.numpy(), j + 1, 4 * EPSILON) / float(coefficients[j + 1, j])
        overlaps.accept(foretold)
        lost = float((rows[:j] @ rows[j + 1]).norm())
        if lost > 0.1:
            break
        assert lost <= 3 * size(foretold)
        assert size(foretold) <= 300 * lost or lost <= 20 * EPSILON / float(coefficients[j + 1, j])
        grown += lost > 1e-5
    assert grown >= 2  # there was something to foretell


@pytest.mark.parametrize(("along", "many"), [([0.0, 0.0], 0), ([0.02, 0.0], 1), ([0.0, 0.02], 0), ([0.0, 0.2], 2)])
def test_a_ritz_vector_is_due_when_the_next_product_would_have_much_along_it(along: list[float], many: int) -> None:
    weights = np.linalg.qr(np.random.default_rng(0).normal(size=(6, 2)))[0]
    aside = Aside(torch.zeros(2, 0), weights, np.array([10.0, 1.0]))
    overlaps = np.concatenate([weights @ along, np.ones(3)])[:, None]
    assert aside.due(overlaps, norm=1.0) == many
    left = aside.removed(overlaps, 2)
    np.testing.assert_allclose(left, np.concatenate([np.zeros((6, 1)), np.ones((3, 1))]), atol=1e-15, rtol=0)
    assert aside.beside(overlaps) == pytest.approx(size(left), rel=1e-14)


def test_rows_that_are_orthogonal_to_the_last_bit_do_not_end_what_is_foretold() -> None:
    overlaps = Overlaps(4, seed=0)
    overlaps.last[:2] = EPSILON
    overlaps.compare(torch.zeros(2, dtype=torch.float64))
    assert np.isfinite(overlaps.most)
    assert size(overlaps.foretell(np.eye(4), 2, EPSILON)) > 0
    for seed in range(6):  # of an outer product the rest is rounding at once
        column = torch.randn(30, generator=torch.Generator().manual_seed(seed))
        found = og.lanczos(og.as_operator(torch.outer(column, column)), 6)
        torch.testing.assert_close(found.eigenvalues[0], column.double().square().sum(), rtol=1e-5, atol=0.0)
        torch.testing.assert_close(found.eigenvectors @ found.eigenvectors.T, torch.eye(6), rtol=0.0, atol=1e-5)
