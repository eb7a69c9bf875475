"""Data of a linear teacher, held against their definition: white inputs, a correlation of the singular values that were given."""

import pytest
import torch

from orograph.data import linear_teacher
from orograph.errors import ConfigurationError

SIGMA = torch.tensor([1.5, 0.9, 0.5, 0.0], dtype=torch.float64)


def test_inputs_are_white_and_the_correlation_has_the_singular_values_to_rounding() -> None:
    teacher = linear_teacher((1.5, 0.9, 0.5, 0.0), samples=7, seed=3)
    x, y = teacher.train
    assert x.dtype == y.dtype == torch.float64
    # rounding of sums of seven products of numbers of order 1
    torch.testing.assert_close(x.T @ x / 7, torch.eye(4).double(), atol=1e-14, rtol=0)
    torch.testing.assert_close(x.mean(0), torch.zeros(4).double(), atol=1e-14, rtol=0)
    correlation = y.T @ x / 7
    torch.testing.assert_close(torch.linalg.svdvals(correlation), SIGMA, atol=1e-14, rtol=0)
    diagonal = teacher.outputs.T @ correlation @ teacher.inputs
    torch.testing.assert_close(diagonal, torch.diag(SIGMA), atol=1e-14, rtol=0)
    for inputs, outputs in (teacher.train, teacher.test):
        torch.testing.assert_close(outputs, inputs @ correlation.T, atol=1e-13, rtol=0)


def test_a_seed_gives_the_same_data_and_another_seed_others() -> None:
    one, same, other = (linear_teacher([1.0, 0.5], 10, seed) for seed in (0, 0, 1))
    assert torch.equal(one.train[0], same.train[0])
    assert torch.equal(one.test[1], same.test[1])
    assert not torch.allclose(one.train[0], other.train[0])
    assert len(one.test[0]) == 2


@pytest.mark.parametrize(
    ("values", "samples", "words"),
    [
        ([], 10, "one at least"),
        ([1.0, -1.0], 10, "numbers ≥ 0"),
        ([float("inf")], 10, "numbers ≥ 0"),
        ([1.0, 2.0], 2, "of 3 at least"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(values: list[float], samples: int, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        linear_teacher(values, samples)
