"""Trained curves on landscapes whose valley is known: a ring and a tilted double well; then between two trained networks."""

import copy

import pytest
import torch
from networks import clusters, mlp, objective_of, trained
from torch import Tensor

from landscapes import landscape
from orograph.connectivity.band import _tangents, nudged_elastic_band
from orograph.connectivity.barriers import curve_profile
from orograph.connectivity.curves import bezier, chain, line
from orograph.connectivity.minibatches import minibatches, value_and_gradient
from orograph.connectivity.paths import train_curve
from orograph.errors import ConfigurationError
from orograph.objective import Objective

LEFT = torch.tensor([-1.0, 0.0, 0.0], dtype=torch.float64)


def ring() -> Objective:
    """Two minima on a circle of minima in a plane; the straight line climbs its middle, 1 high."""
    return landscape(lambda p: (p[0] ** 2 + p[1] ** 2 - 1) ** 2 + p[2] ** 2, LEFT)


def curved_valley() -> Objective:
    """A double well whose pass lies aside: wells at (±1, 0), the valley floor at y = 1 − x², 0.1 high in its middle."""
    return landscape(lambda p: 0.1 * (p[0] ** 2 - 1) ** 2 + 3 * (p[1] - 1 + p[0] ** 2) ** 2 + p[2] ** 2, LEFT)


@pytest.mark.slow
@pytest.mark.parametrize("curve", [bezier(LEFT, -LEFT), bezier(LEFT, -LEFT, bends=2), chain(LEFT, -LEFT, bends=3)])
def test_a_trained_curve_finds_its_way_round_the_ring(curve) -> None:
    straight = curve_profile(ring(), line(LEFT, -LEFT), points=41).barriers.train_loss
    found = train_curve(ring(), curve, steps=600, learning_rate=0.1)
    assert straight == pytest.approx(1.0)
    # A quadratic Bézier curve cannot be a semicircle: its own lowest mean leaves a barrier of 0.1; a chain cuts the corners.
    assert curve_profile(ring(), found.curve, points=41).barriers.train_loss < 0.15
    assert torch.equal(found.curve.controls[0], LEFT)
    assert torch.equal(found.curve.controls[-1], -LEFT)


@pytest.mark.slow
def test_a_bezier_curve_finds_the_valley_of_a_double_well() -> None:
    objective = curved_valley()
    straight = curve_profile(objective, line(LEFT, -LEFT), points=41).barriers.train_loss
    found = train_curve(objective, bezier(LEFT, -LEFT), steps=900, learning_rate=0.1)
    # The parabola of the valley floor is itself a quadratic Bézier curve, with its bend at (0, 2).
    torch.testing.assert_close(found.curve.controls[1], torch.tensor([0.0, 2.0, 0.0]).double(), rtol=0, atol=0.05)
    assert straight > 3
    assert curve_profile(objective, found.curve, points=41).barriers.train_loss == pytest.approx(0.1, abs=0.01)


@pytest.mark.slow
def test_the_band_finds_the_pass_of_a_double_well() -> None:
    objective = curved_valley()
    found = nudged_elastic_band(objective, LEFT, -LEFT, pivots=1, cycles=3, steps=150, learning_rate=0.1)
    along = curve_profile(objective, found.curve, points=81)
    assert along.barriers.train_loss == pytest.approx(0.1, abs=0.02)
    assert len(found.curve.controls) > 3  # one pivot cuts the parabola: more were inserted
    x, y, _ = found.curve.controls.T
    assert (y - 1 + x**2).abs().max() < 0.02
    lengths = found.curve.controls.diff(dim=0).norm(dim=1)
    assert lengths.max() / lengths.min() < 1.2


@pytest.mark.slow
def test_a_band_on_a_ridge_leaves_it() -> None:
    found = nudged_elastic_band(ring(), LEFT, -LEFT, pivots=7, cycles=1, steps=200, learning_rate=0.05)
    assert curve_profile(ring(), found.curve, points=81).barriers.train_loss < 0.05


def test_tangents_point_uphill_and_mix_at_extrema() -> None:
    band = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]], dtype=torch.float64)
    up, right = torch.tensor([0.0, 1.0]).double(), torch.tensor([1.0, 0.0]).double()
    torch.testing.assert_close(_tangents(band, torch.tensor([0.0, 1.0, 2.0]).double())[0], up)
    torch.testing.assert_close(_tangents(band, torch.tensor([2.0, 1.0, 0.0]).double())[0], right)
    torch.testing.assert_close(_tangents(band, torch.tensor([0.0, 3.0, 1.0]).double())[0], (3 * up + 2 * right) / 13**0.5)
    torch.testing.assert_close(_tangents(band, torch.tensor([1.0, 1.0, 1.0]).double())[0], (up + right) / 2**0.5)


@pytest.mark.slow
@pytest.mark.parametrize("normalised", [False, True])
def test_trained_paths_lower_the_barrier_between_two_networks(normalised: bool) -> None:
    torch.manual_seed(0)
    objective = objective_of(mlp(normalised=normalised), clusters(120, dtype=torch.float32))
    first, second = trained(objective, 1), trained(objective, 2)
    straight = curve_profile(objective, line(first, second)).barriers.train_loss
    found = train_curve(objective, bezier(first, second), steps=250, batch_size=60, learning_rate=0.05)
    band = nudged_elastic_band(objective, first, second, pivots=4, cycles=2, steps=30, batch_size=60, learning_rate=0.04)
    assert straight > 0.1
    assert curve_profile(objective, found.curve).barriers.train_loss < straight / 4
    assert curve_profile(objective, band.curve).barriers.train_loss < straight / 2
    assert (found.gradients, len(found.history)) == (250, 250)


def test_the_same_seed_gives_the_same_path() -> None:
    torch.manual_seed(0)
    objective = objective_of(mlp(), clusters(30))
    second = objective.theta.flip(0)
    one, same, other = (
        train_curve(objective, bezier(objective.theta, second), steps=5, batch_size=8, seed=seed).curve.controls[1]
        for seed in (1, 1, 2)
    )
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_batches_cover_an_epoch_without_repetition() -> None:
    torch.manual_seed(0)
    objective = objective_of(mlp(), clusters(20))
    drawn = minibatches(objective, 5, torch.Generator().manual_seed(0))
    seen = torch.cat([next(drawn)[0] for _ in range(4)])
    assert len(seen.unique(dim=0)) == 20
    assert not torch.equal(seen, torch.cat([next(drawn)[0] for _ in range(4)]))
    whole = minibatches(objective, None, torch.Generator())
    assert len(next(whole)[1]) == 20


def test_the_gradient_of_a_batch_is_that_of_the_penalised_objective() -> None:
    torch.manual_seed(0)
    objective = objective_of(mlp(), clusters(20), strength=0.2)
    whole = next(minibatches(objective, None, torch.Generator()))
    value, gradient = value_and_gradient(objective, objective.theta, whole)
    assert value == pytest.approx(objective.value(objective.theta), rel=1e-12)
    torch.testing.assert_close(gradient, objective.value_gradient(objective.theta))


def test_batch_normalisation_uses_the_batch_while_a_path_is_trained_and_keeps_its_buffers() -> None:
    torch.manual_seed(0)
    objective = objective_of(mlp(normalised=True), clusters(20))
    batch = next(minibatches(objective, None, torch.Generator()))
    before = {name: value.clone() for name, value in objective.constants.items()}
    value, _ = value_and_gradient(objective, objective.theta, batch)
    outputs: Tensor = copy.deepcopy(objective.model).train()(batch[0])
    assert value == pytest.approx(torch.nn.functional.cross_entropy(outputs, batch[1]).item(), rel=1e-12)
    assert all(torch.equal(before[name], value) for name, value in objective.constants.items())


def test_a_line_has_nothing_to_train() -> None:
    with pytest.raises(ConfigurationError, match="bend"):
        train_curve(ring(), line(LEFT, -LEFT))
    with pytest.raises(ConfigurationError, match="pivot"):
        nudged_elastic_band(ring(), LEFT, -LEFT, pivots=0)
