"""The order stream has no formula to compare with; what must hold are properties of permutations and of independence."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from orograph.errors import ConfigurationError
from orograph.training.order import permutation


@given(seed=st.integers(0, 2**64), epoch=st.integers(0, 10**6), count=st.integers(0, 300))
def test_every_sample_is_visited_once(seed: int, epoch: int, count: int) -> None:
    assert permutation(seed, epoch, count).sort().values.tolist() == list(range(count))


def test_the_order_is_a_function_of_seed_and_epoch_alone() -> None:
    first = permutation(3, 7, 100)
    torch.manual_seed(99)
    permutation(3, 8, 100)
    assert torch.equal(first, permutation(3, 7, 100))


def test_drawing_an_order_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    permutation(0, 1, 50)
    assert torch.equal(expected, torch.rand(3))


def test_neighbouring_seeds_and_epochs_give_unrelated_orders() -> None:
    orders = torch.stack([permutation(seed, epoch, 1000) for seed in range(8) for epoch in range(1, 9)])
    agreements = (orders[:, None] == orders[None]).sum(-1).fill_diagonal_(0)
    # two random permutations agree in a Poisson(1) number of places; 2,016 pairs exceed 9 with probability 2e-4
    assert agreements.max() <= 9
    assert agreements.double().sum() / (64 * 63) == pytest.approx(1.0, abs=0.15)


def test_a_negative_seed_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="-1 must not be negative"):
        permutation(-1, 0, 10)
