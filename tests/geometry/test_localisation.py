"""Weights, participation and overlaps of vectors that were made to have them."""

import pytest
import torch

from orograph.geometry.localisation import localise
from orograph.parameters import Layout

LAYOUT = Layout(("a", "b"), (torch.Size([2, 3]), torch.Size([4])))


def test_weights_of_tensors_and_participation() -> None:
    one, even = torch.zeros(10), torch.full((10,), 10**-0.5)
    one[7] = 1
    found = localise(torch.stack([one, even]), LAYOUT, torch.ones(10), one)
    assert found.tensor_weights[0].tolist() == [0, 1]
    assert found.tensor_weights[1].tolist() == pytest.approx([0.6, 0.4])
    assert found.inverse_participation.tolist() == pytest.approx([1, 0.1])
    assert found.gradient_overlaps.tolist() == pytest.approx([0.1, 1])
    assert found.offset_overlaps.tolist() == pytest.approx([1, 0.1])


def test_overlaps_with_a_basis_sum_to_one() -> None:
    basis = torch.linalg.qr(torch.randn(10, 10, generator=torch.Generator().manual_seed(0)))[0]
    other = torch.randn(10, generator=torch.Generator().manual_seed(1))
    assert localise(basis, LAYOUT, other, other).gradient_overlaps.sum().item() == pytest.approx(1, abs=1e-5)
