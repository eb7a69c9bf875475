"""Curvatures and asymmetries at finite radii against quadratics, where they are exact, quartics with all terms written out,
kinks whose places are known, second differences in float64 of the same float32 network, and Hessians of torch.func.
"""

import pytest
import torch
from torch import Tensor, nn
from torch.func import hessian
from torch.nn import functional as F

import orograph as og
from landscapes import classifier, landscape, quadratic, symmetric
from orograph.errors import ConfigurationError
from orograph.geometry.finite_radius import rounding

RADII = (0.05, 0.1, 0.2, 0.4)


def units(count: int, size: int, seed: int = 0) -> Tensor:
    drawn = torch.randn(count, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return drawn / drawn.norm(dim=1, keepdim=True)


def polynomial(slope: float, curvature: float, third: float, fourth: float) -> og.Objective:
    """L(x) = slope·x + ½·curvature·x² + third·x³/6 + fourth·x⁴/24, at 0."""
    theta = torch.zeros(1, dtype=torch.float64)
    return landscape(lambda x: (slope * x + curvature * x**2 / 2 + third * x**3 / 6 + fourth * x**4 / 24)[0], theta)


@pytest.mark.slow
def test_of_a_quadratic_the_curvature_is_the_same_at_every_radius() -> None:
    matrix, theta, directions = symmetric(6), units(1, 6, 3)[0], units(3, 6)
    found = og.finite_radius_curvature(quadratic(matrix, theta, theta - 0.3), theta, directions, radii=RADII)
    truth = (directions @ matrix * directions).sum(1)
    assert (found.curvatures - truth[:, None]).abs().max() < 1e-11  # 1e-16 by r² of 0.05²
    assert ((found.curvatures - truth[:, None]).abs() <= 5 * found.errors).all()
    assert torch.allclose(found.exact, truth, rtol=1e-12)
    assert ((found.limits - truth).abs() <= 5 * found.limit_errors).all()
    scaled = og.finite_radius_curvature(quadratic(matrix, theta), theta, 2 * directions, radii=RADII)
    assert torch.allclose(scaled.exact, 4 * truth)  # in units of the direction that was given


def test_the_fourth_order_term_is_taken_out_of_the_limit() -> None:
    found = og.finite_radius_curvature(
        polynomial(0.3, 2.0, 5.0, 24.0), torch.zeros(1).double(), torch.ones(1, 1).double(), radii=RADII
    )
    expected = torch.tensor([2.0 + 2 * radius**2 for radius in RADII], dtype=torch.float64)  # c + fourth·r²/12
    assert torch.allclose(found.curvatures[0], expected, rtol=1e-12)
    assert found.limits.item() == pytest.approx(2.0, rel=1e-11)
    assert found.exact.item() == pytest.approx(2.0, rel=1e-14)


def test_limits_of_a_smooth_network_agree_with_its_dense_hessian() -> None:
    objective, directions = classifier(), units(4, classifier().layout.size)
    dense = hessian(lambda point: objective.losses(point, *next(objective.batches(objective.count))).mean())(objective.theta)
    truth = (directions @ dense * directions).sum(1)
    found = og.finite_radius_curvature(objective, objective.theta, directions)
    assert found.smooth
    assert torch.allclose(found.exact, truth, rtol=1e-10, atol=1e-12)
    assert ((found.limits - truth).abs() <= 3 * found.limit_errors).all()
    assert (found.limit_errors < 1e-3 * truth.abs().max()).all()


def test_errors_are_those_of_float32_losses() -> None:
    """The same network in float64 knows the differences; of 240 the scaled deviations must spread as the errors say."""
    single = classifier(dtype=torch.float32)
    directions = units(60, len(single.theta), 7).float()
    radii = (0.003, 0.006, 0.012, 0.024)
    found = og.finite_radius_curvature(single, single.theta, directions, radii=radii, products=False)
    exact = og.finite_radius_curvature(
        single.to(torch.float64), single.theta.double(), directions.double(), radii=radii, products=False
    )
    deviations = (found.curvatures - exact.curvatures) / found.errors
    # σ is measured from 16 draws with moves twice as large as what θ ± rd is rounded by: no less than a third, no more than 1.5
    assert 0.3 < deviations.square().mean().sqrt() < 1.5
    assert (deviations.abs() < 5).all()


def test_a_kink_gives_a_curvature_by_its_radius_and_no_limit() -> None:
    theta = torch.tensor([0.0, 1.0], dtype=torch.float64)
    found = og.finite_radius_curvature(
        landscape(lambda x: x[0].abs() + x[1] ** 2, theta), theta, torch.eye(2).double(), radii=RADII
    )
    assert not found.smooth
    assert torch.allclose(found.curvatures[0], 2 / torch.tensor(RADII, dtype=torch.float64))
    assert torch.allclose(found.curvatures[1], torch.full((4,), 2.0, dtype=torch.float64), rtol=1e-12)
    assert found.limits.isnan().all()
    assert found.exact.isnan().all()
    assert found.resolved.all()


def test_a_relu_network_curves_where_its_hessian_does_not() -> None:
    """A ReLU of each of many samples, kinks spread evenly: the mean of relu(w + xₙ) has L'' = density of −x, autograd's is 0."""
    places = torch.linspace(-1, 1, 2001, dtype=torch.float64)[:, None]

    class Shifted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.full((1,), 3e-4, dtype=torch.float64))  # at no kink itself

        def forward(self, x: Tensor) -> Tensor:
            return F.relu(self.w + x)

    objective = og.Objective(Shifted(), lambda z, y: z[:, 0], [(places, torch.zeros(2001).double())])
    found = og.finite_radius_curvature(objective, objective.theta, torch.ones(1, 1).double(), radii=(0.1, 0.2, 0.4))
    assert found.curvatures[0].tolist() == pytest.approx([0.5] * 3, rel=1e-2)  # 2001 places within a length of 2
    assert (og.HessianOperator.of(objective) @ torch.ones(1).double()).item() == 0


def test_asymmetry_is_the_cubic_term() -> None:
    zero, one = torch.zeros(1).double(), torch.ones(1, 1).double()
    found = og.valley_asymmetry(polynomial(0.0, 2.0, 3.0, 0.0), zero, one, radii=RADII)
    radii = torch.tensor(RADII, dtype=torch.float64)
    assert torch.allclose(found.asymmetries[0], radii * 3.0 / (3 * 2.0), rtol=1e-12)
    assert torch.allclose(found.rises[0, 0], radii**2 + radii**3 / 2)
    assert torch.allclose(found.rises[1, 0], radii**2 - radii**3 / 2)
    steeper, flatter = found.rises[:, 0, 0]
    share = found.asymmetries[0, 0]
    assert (steeper / flatter).item() == pytest.approx(((1 + share) / (1 - share)).item())
    tilted = og.valley_asymmetry(polynomial(0.7, 2.0, 3.0, 0.0), zero, one, radii=RADII)
    assert torch.allclose(tilted.without_slope, found.asymmetries, rtol=1e-11)
    assert torch.allclose(tilted.asymmetries, found.asymmetries + 0.7 / radii, rtol=1e-11)  # 2rg by r²c
    assert tilted.slopes.item() == pytest.approx(0.7)
    mirrored = og.valley_asymmetry(polynomial(0.0, 2.0, 3.0, 0.0), zero, -one, radii=RADII)
    assert torch.equal(mirrored.asymmetries, -found.asymmetries)


def test_one_flat_side_has_the_asymmetry_one() -> None:
    theta = torch.zeros(1, dtype=torch.float64)
    found = og.valley_asymmetry(landscape(lambda x: F.relu(x)[0] ** 2, theta), theta, torch.ones(1, 1).double(), radii=RADII)
    assert found.asymmetries[0].tolist() == [1.0] * 4


def test_errors_of_asymmetries_are_those_of_float32_losses() -> None:
    single, radii = classifier(dtype=torch.float32), (0.01, 0.02)
    directions = units(60, len(single.theta), 7).float()
    found = og.valley_asymmetry(single, single.theta, directions, radii=radii)
    exact = og.valley_asymmetry(single.to(torch.float64), single.theta.double(), directions.double(), radii=radii)
    small = found.errors < 0.2 * (1 + found.asymmetries.abs())  # to first order: where the error is small
    deviations = ((found.asymmetries - exact.asymmetries) / found.errors)[small]
    assert small.sum() > 60
    assert 0.3 < deviations.square().mean().sqrt() < 1.6


@pytest.mark.slow
def test_errors_without_the_slope_are_those_of_float32_losses_however_steep_it_is() -> None:
    """On a slope 30 times the curvature's rise, where an error by the whole asymmetry would be 30 times too large."""
    theta, one, radii = torch.full((1,), 0.3).double(), torch.ones(1, 1).double(), (0.02, 0.04)

    def valley(x: Tensor) -> Tensor:
        return (2 * x + x.square() + 0.4 * x**3 + (x / 3).sin())[0]

    found, deviations = [], []
    for place in torch.linspace(0.3, 0.5, 60).tolist():
        at = torch.full_like(theta, place)
        single = og.valley_asymmetry(landscape(valley, at.float()), at.float(), one.float(), radii=radii)
        exact = og.valley_asymmetry(landscape(valley, at.float().double()), at.float().double(), one, radii=radii)
        deviations.append((single.without_slope - exact.without_slope) / single.without_slope_errors)
        found.append(single)
    assert all((each.asymmetries > 20).all() for each in found)
    assert 0.3 < torch.cat(deviations).square().mean().sqrt() < 1.6
    assert all((each.errors > 20 * each.without_slope_errors).all() for each in found)


def test_errors_of_ratios_are_those_of_drawn_losses() -> None:
    """Losses with the noise that is stated drawn onto them, 20,000 times; the even part is 0.5, of which this is 2 %."""
    generator = torch.Generator().manual_seed(0)
    noise, slope, radius, zero, one = 0.005, 4.0, 0.5, torch.zeros(1).double(), torch.ones(1, 1).double()
    objective = landscape(lambda x: (1 + slope * x + x**2 + x**3 / 2)[0], zero)
    clean, unit = og.valley_asymmetry(objective, zero, one, radii=(radius,)), noise / rounding(objective, zero)
    plus, minus, centre = noise * torch.randn(3, 20_000, generator=generator, dtype=torch.float64)
    plus, minus = plus + clean.rises[0, 0, 0], minus + clean.rises[1, 0, 0]
    even, odd = plus + minus - 2 * centre, plus - minus
    assert (odd / even).std().item() == pytest.approx(unit * clean.errors.item(), rel=0.05)
    assert ((odd - 2 * radius * slope) / even).std().item() == pytest.approx(unit * clean.without_slope_errors.item(), rel=0.05)


def test_rounding_is_that_of_the_arithmetic() -> None:
    single, double = classifier(dtype=torch.float32), classifier()
    ratio = rounding(single, single.theta) / rounding(double, double.theta)
    assert 2**29 / 4 < ratio < 2**29 * 4  # 29 bits less; both known to 18 %


def test_nothing_of_ones_own_is_changed_and_wrong_radii_are_refused() -> None:
    objective = classifier()
    before = objective.theta.clone()
    og.valley_asymmetry(objective, objective.theta, units(1, len(before)))
    assert torch.equal(objective.theta, before)
    for radii in ((0.0,), (-1.0,), (float("nan"),), (float("inf"),)):
        with pytest.raises(ConfigurationError, match="positive and finite"):
            og.finite_radius_curvature(objective, objective.theta, units(1, len(before)), radii=radii)
    with pytest.raises(ConfigurationError, match="θ is zero, so give them"):
        og.finite_radius_curvature(objective, torch.zeros_like(before), units(1, len(before)))
    nan = torch.full_like(before, torch.nan)
    with pytest.raises(ConfigurationError, match="`theta` has the norm nan"):
        og.finite_radius_curvature(objective, nan, units(1, len(before)))
    for directions in (units(1, len(before))[:0], nan[None], torch.zeros_like(nan)[None]):
        with pytest.raises(ConfigurationError, match="`directions` must be one row or more of finite numbers"):
            og.valley_asymmetry(objective, objective.theta, directions)
