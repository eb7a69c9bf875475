"""One name is one number: λ_max is the largest eigenvalue whichever pairs were asked for, and what kinks add stands beside it."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import orograph as og
from landscapes import Landscape
from orograph.curvature.operator import MatrixOperator
from orograph.measures.measurement import Measurement, measure
from orograph.spectral.morse_index import index

VALUES = torch.tensor([-5.0, -4.0, -3.5, -3.0, 3.0, 1.0, 0.5, 0.2, 0.1, 0.05], dtype=torch.float64)


def measured(values: Tensor, **asked) -> Measurement:
    """Of ½ Σ dᵢθᵢ² about θ = 1, whose Hessian is diag(d)."""
    data = [(torch.zeros(3, 1).double(), torch.zeros(3).double())]
    model = Landscape(torch.ones_like(values))
    return measure(model, lambda out, target: (out**2 @ values) / 2, data, tolerance=1e-8, probes=3, steps=10, **asked)


@pytest.mark.parametrize(("which", "k"), [("LA", 2), ("SA", 3), ("LM", 2), ("LM", 5), ("BE", 1), ("BE", 4)])
def test_lambda_max_is_the_largest_eigenvalue_whichever_pairs_are_asked_for(which, k: int) -> None:
    found = measured(VALUES, k=k, which=which).fields()
    assert found["lambda_max"] == pytest.approx(3.0, abs=1e-7)
    assert found["scaled_lambda_max"] == pytest.approx(30.0, abs=1e-6)  # ‖θ‖² = 10
    assert found["lambda_max_residual"] < 1e-6


def test_lambda_max_of_a_negative_definite_hessian_is_its_largest_eigenvalue() -> None:
    assert measured(-VALUES.abs(), k=3).fields()["lambda_max"] == pytest.approx(-0.05, abs=1e-7)


@pytest.mark.parametrize(("which", "expected"), [("SA", math.nan), ("LM", math.nan), ("LA", 1 + 1 / 3)])
def test_an_effective_rank_needs_the_largest_eigenvalue_among_its_pairs(which, expected: float) -> None:
    found = measured(VALUES, k=2, which=which).fields()
    assert found["effective_rank_top_2"] == pytest.approx(expected, nan_ok=True)
    assert math.isnan(found["entropy_rank_top_2"]) == (which == "SA")


def test_negative_pairs_that_were_found_are_counted_however_few_of_the_lower_end_were_asked_for() -> None:
    """Three pairs of the lower end were computed, all negative; five of largest magnitude show a fourth."""
    found = measured(VALUES, k=5, which="LM").fields()
    assert (found["negative_eigenvalues"], found["negative_eigenvalues_lower_bound"]) == (4, True)


@pytest.mark.parametrize("known", [0, 3, 7])
def test_an_index_is_never_below_what_other_pairs_show(known: int) -> None:
    lowest = og.lanczos(MatrixOperator(torch.diag(torch.arange(-5.0, 45.0))), 3, which="SA")
    found = index(lowest, negative=known)
    assert (found.count, found.lower_bound) == (max(3, known), True)


@pytest.mark.slow
@pytest.mark.parametrize("activation", [nn.ReLU, nn.LeakyReLU, nn.Hardtanh, nn.ReLU6])
def test_what_is_not_smooth_says_so_and_carries_its_companions(activation) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), activation(), nn.Linear(6, 2)).double()
    data = [(torch.randn(40, 4).double(), torch.arange(40) % 2)]
    found = measure(model, F.cross_entropy, data, k=2, probes=3, steps=20).fields()
    assert found["smooth"] is False
    # along one direction and at so small a radius few of 40 samples meet a kink, so that both are near each other
    assert found["finite_lambda_max"] == pytest.approx(found["lambda_max"], rel=0.5)
    assert {"finite_lambda_min", "finite_radius", "finite_trace", "finite_trace_margin", "finite_trace_radius"} <= found.keys()


def test_a_kink_that_the_hessian_leaves_out_is_seen_by_the_companion() -> None:
    """|θ| has no second derivative anywhere but at its kink; half a radius from it, the slope turns within the radius."""

    def loss(out: Tensor, target: Tensor) -> Tensor:
        return (out - 0.5e-3).abs().sum(1) + (out**2).sum(1)

    data = [(torch.zeros(2, 1).double(), torch.zeros(2).double())]
    found = measure(Landscape(torch.tensor([1e-3, 1.0]).double()), loss, data, k=1, probes=3, steps=2).fields()
    assert found["lambda_max"] == pytest.approx(2.0, abs=1e-6)
    assert max(found["finite_lambda_max"], found["finite_lambda_min"]) > 100  # the jump of the slope, 2, over the radius, 1e-3


@pytest.mark.slow
def test_a_smooth_network_has_no_companions() -> None:
    assert not any(name.startswith("finite_") for name in measured(VALUES, k=2).fields())
