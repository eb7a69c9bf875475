"""Curves against the textbook's formulas, written out point by point."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from orograph.connectivity.curves import bezier, chain, displaced, line, through
from orograph.errors import ConfigurationError

FIRST, SECOND = torch.tensor([0.0, 1.0, 2.0]).double(), torch.tensor([4.0, -1.0, 0.0]).double()
POSITIONS = torch.linspace(0, 1, 9, dtype=torch.float64)


def points(curve) -> torch.Tensor:
    return curve.at(POSITIONS)[slice(0, 9)]


@pytest.mark.parametrize("curve", [line(FIRST, SECOND), chain(FIRST, SECOND, bends=3), bezier(FIRST, SECOND, bends=2)])
def test_new_curves_are_straight_and_run_at_constant_speed(curve) -> None:
    expected = (1 - POSITIONS[:, None]) * FIRST + POSITIONS[:, None] * SECOND
    torch.testing.assert_close(points(curve), expected)
    assert torch.equal(points(curve)[0], FIRST)
    assert torch.equal(points(curve)[-1], SECOND)


def test_a_quadratic_bezier_curve_follows_its_formula() -> None:
    bend = torch.tensor([1.0, 5.0, -2.0]).double()
    curve = bezier(FIRST, SECOND).with_controls(torch.stack([FIRST, bend, SECOND]))
    t = POSITIONS[:, None]
    torch.testing.assert_close(points(curve), (1 - t) ** 2 * FIRST + 2 * t * (1 - t) * bend + t**2 * SECOND)


def test_a_chain_passes_through_its_points_at_their_distances() -> None:
    corner = torch.tensor([4.0, 1.0, 2.0]).double()  # 4 from the first, √(4 + 4) from the second
    curve = through(torch.stack([FIRST, corner, SECOND]))
    knot = 4 / (4 + 8**0.5)
    assert curve.knots[1].item() == pytest.approx(knot)
    torch.testing.assert_close(curve.at(curve.knots)[slice(0, 3)], curve.controls)
    torch.testing.assert_close(curve.at(torch.tensor([knot / 2]))[slice(0, 1)][0], (FIRST + corner) / 2, rtol=1e-6, atol=1e-6)


@settings(max_examples=40)
@given(st.integers(1, 6), st.lists(st.floats(0, 1), min_size=1, max_size=5), st.booleans())
def test_weights_are_a_partition_of_one(bends, positions, round_) -> None:
    curve = (bezier if round_ else chain)(FIRST, SECOND, bends=bends)
    weights = curve.weights(torch.tensor(positions, dtype=torch.float64))
    assert (weights >= 0).all()
    torch.testing.assert_close(weights.sum(1), torch.ones(len(positions), dtype=torch.float64))


def test_displacement_is_small_and_leaves_the_ends() -> None:
    curve = bezier(FIRST, SECOND, bends=2)
    moved = displaced(curve.controls, torch.Generator().manual_seed(0)) - curve.controls[1:-1]
    torch.testing.assert_close(moved.norm(dim=1), torch.full((2,), 1e-3 * (SECOND - FIRST).norm().item()).double())


def test_curves_that_are_none_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="bends"):
        bezier(FIRST, SECOND, bends=0)
    with pytest.raises(ConfigurationError, match="apart"):
        through(torch.stack([FIRST, FIRST]))


def test_the_length_of_a_curve_is_that_of_many_short_chords() -> None:
    generator = torch.Generator().manual_seed(0)
    controls = torch.randn(3, 5, generator=generator, dtype=torch.float64)
    parabola = bezier(controls[0], controls[2]).with_controls(controls)
    chords = torch.linalg.vector_norm(parabola.at(torch.linspace(0, 1, 20_001, dtype=torch.float64))[:].diff(dim=0), dim=1)
    assert parabola.length == pytest.approx(chords.sum().item(), rel=1e-8)  # chords are short by a share of 1/24n²
    there_and_back = parabola.with_controls(torch.tensor([[0.0], [1.0], [0.0]], dtype=torch.float64))
    assert there_and_back.length == pytest.approx(1.0, rel=1e-8)  # 2t(1 − t) rises to ½ and falls again: the speed has a kink
    assert through(controls).length == pytest.approx(torch.linalg.vector_norm(controls.diff(dim=0), dim=1).sum().item())
    assert line(torch.zeros(4), torch.ones(4)).length == 2.0
