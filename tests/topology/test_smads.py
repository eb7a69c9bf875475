"""Saddle-minimum average distances against sums by hand, planes against surfaces laid by hand, p-values against their law.

Independent of the code: leaves of small trees are read off by eye; surfaces of random directions are evaluated point by point.
"""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from known_surfaces import minimax
from numpy import ndarray

import orograph as og
from landscapes import landscape
from orograph.connectivity.surfaces import random_planes
from orograph.errors import ConfigurationError
from orograph.store.lookup import ENTRIES
from orograph.topology import smad, surface_topology

LINE = [0.0, 3.0, 1.0, 5.0, 2.0]  # leaves end at 3, 3 and 5


def test_the_distance_is_the_mean_height_of_the_first_saddle_above_each_minimum() -> None:
    found = smad(LINE)
    assert found.value == pytest.approx((3 + 2 + 3) / 3, rel=1e-15)
    assert found.relative == pytest.approx(8 / 3 / 5, rel=1e-15)
    assert found.minima == 3
    assert smad([3.0, 2.0, 1.0]).value == 0.0  # one minimum
    assert smad([1.0, 1.0]).relative == 0.0  # a plateau
    assert smad(LINE, threshold=2.0).value == pytest.approx((5 + 3) / 2, rel=1e-15)  # that at 1 lasts 2 and is gone


@pytest.mark.slow
@given(arrays(np.float64, array_shapes(min_dims=2, max_dims=2, max_side=6), elements=st.integers(-4, 4).map(float)))
def test_it_is_that_of_minimax_heights_between_minima(heights: ndarray) -> None:
    tree = og.merge_tree(heights)
    flat = np.ravel_multi_index(tuple(tree.minima.T), heights.shape)
    between = minimax(heights)[np.ix_(flat, flat)]
    np.fill_diagonal(between, np.inf)
    expected = (between.min(1) - tree.heights).mean() if len(flat) > 1 else 0.0
    assert smad(heights, strides=()).value == pytest.approx(expected, rel=1e-12)


@given(arrays(np.float64, (6, 7), elements=st.integers(-20, 20).map(float)), st.floats(0.01, 100), st.floats(-10, 10))
@settings(max_examples=40)
def test_it_scales_with_the_heights_and_does_not_see_where_zero_is(heights: ndarray, scale: float, shift: float) -> None:
    one, other = (smad(each, strides=()) for each in (heights, scale * heights + shift))
    rounding = 1e-14 * (20 * scale + 10)  # of heights
    assert other.value == pytest.approx(scale * one.value, abs=rounding)
    assert other.relative == pytest.approx(one.relative, rel=1e-9)


def test_coarser_grids_are_those_of_every_second_point() -> None:
    heights = np.random.default_rng(0).normal(size=(13, 9))
    found = smad(heights, strides=(2, 3, 5))
    assert set(found.coarser) == {2, 3}  # every fifth of 9 points would be one or two
    assert found.coarser[2].tolist() == [smad(heights[i::2, j::2]).value for i in (0, 1) for j in (0, 1)]
    assert len(found.coarser[3]) == 9


def test_a_wall_between_minima_leaves_out_those_that_meet_no_other() -> None:
    assert smad([0.0, np.nan, *LINE]).value == smad(LINE).value
    assert smad([0.0, np.nan, 1.0]).value == 0.0


@pytest.mark.slow
def test_the_rank_among_planes_is_a_p_value() -> None:
    # A surface from the same law as its planes: among 10, each rank is as likely. Over 100 draws, the counts at p ≤ 0.1, 0.5
    # are binomial; four standard deviations fail a right program less than once in 10^4 times.
    draw = np.random.default_rng(1)
    values = []
    for _ in range(100):
        planes = draw.normal(size=(10, 4, 4))
        values.append(smad(planes[0], null=planes[1:], strides=()).p_value)
    for level in (0.1, 0.5):
        share = (np.array(values) <= level + 1e-12).mean()
        assert abs(share - level) < 4 * np.sqrt(level * (1 - level) / 100)
    assert min(values) == pytest.approx(1 / 10)


def test_its_interval_is_that_of_the_planes() -> None:
    planes = np.random.default_rng(2).normal(size=(40, 5, 5))
    found = smad(planes[0], null=planes)
    assert found.null_interval == pytest.approx(np.quantile(found.null, [0.025, 0.975]))
    assert np.isnan(smad(planes[0]).null_interval).all()
    assert np.isnan(smad(planes[0]).p_value)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"null": [[0.0, 1.0]]}, r"`null` has a plane of shape \(2,\), the surface is \(5,\)"),
        ({"null": [LINE, ["a"]]}, r"`null\[1\]`"),
        ({"strides": (2, 1)}, "`strides` 1 must be at least 2"),
        ({"threshold": -1.0}, "at least 0"),
    ],
)
def test_what_cannot_be_compared_is_refused(arguments: dict, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        smad(LINE, **arguments)


def bumpy(point: torch.Tensor) -> torch.Tensor:
    """Minima along every axis."""
    return (point**2).sum() / 2 + 0.3 * torch.cos(8 * point).sum()


@pytest.fixture
def theta() -> torch.Tensor:
    return torch.linspace(-1, 1, 6, dtype=torch.float64)


def test_random_planes_have_the_span_and_the_coordinates_of_the_surface(theta: torch.Tensor) -> None:
    objective = landscape(bumpy, theta)
    made = og.surface(objective, theta, 2 * og.random_orthonormal(theta), radius=0.5, points=6)
    before = [made.losses.clone(), objective.theta.clone()]
    found = random_planes(objective, made, 3, seed=5)
    assert len({tuple(each.losses.flatten().tolist()) for each in found}) == 3
    for each in found:
        assert torch.equal(each.x, made.x)
        assert torch.equal(each.y, made.y)
        torch.testing.assert_close(each.directions @ each.directions.T, 4 * torch.eye(2, dtype=torch.float64))
        u, v = each.directions
        expected = [[bumpy(theta + x * u + y * v) for y in made.y] for x in made.x]
        torch.testing.assert_close(each.losses, torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=1e-12)
    assert torch.equal(found[1].losses, random_planes(objective, made, 3, seed=5)[1].losses)
    assert not torch.equal(found[0].losses, random_planes(objective, made, 3, seed=6)[0].losses)
    assert all(torch.equal(one, other) for one, other in zip(before, [made.losses, objective.theta], strict=True))
    with pytest.raises(ConfigurationError, match="`count` 0"):
        random_planes(objective, made, 0)


def test_a_plane_along_the_only_bumps_stands_out_among_random_ones(theta: torch.Tensor) -> None:
    wide = torch.cat([theta, torch.ones(60, dtype=torch.float64)])
    objective = landscape(
        lambda point: (point[:2] ** 2).sum() / 2 + torch.cos(6 * point[:2]).sum() + (point[2:] ** 2).sum(), wide
    )
    axes = torch.eye(66, dtype=torch.float64)[:2]
    made = og.surface(objective, wide, axes, radius=0.3, points=15)
    found = surface_topology(made, null=random_planes(objective, made, 19))
    assert found["surface_minima"] > 3
    assert found["smad_p_value"] == pytest.approx(1 / 20)
    assert found["smad"] > found["smad_null_high"]


def test_the_numbers_of_a_surface_are_those_of_its_tree_and_named_in_the_registry() -> None:
    found = surface_topology(LINE, fraction=0.3, null=[LINE, sorted(LINE)])
    assert set(found) <= set(ENTRIES)
    assert found == {
        "surface_minima": 3,
        "surface_minima_inside": 1,
        "largest_persistence": 3.0,
        "persistence_threshold": 1.5,
        "smad": smad(LINE).value,
        "relative_smad": smad(LINE).relative,
        "smad_null_low": pytest.approx(0.025 * smad(LINE).value),
        "smad_null_high": pytest.approx(0.975 * smad(LINE).value),
        "smad_p_value": pytest.approx(2 / 3),
    }
    assert surface_topology(LINE, fraction=0.5)["surface_minima"] == 2
    assert surface_topology([1.0, 0.0, 1.0])["largest_persistence"] == 0.0
    for fraction in (-0.1, 1.0, float("nan")):
        with pytest.raises(ConfigurationError, match="`fraction`"):
            surface_topology(LINE, fraction=fraction)


def test_the_numbers_of_coarser_grids_are_means_over_where_they_begin() -> None:
    heights = np.random.default_rng(1).normal(size=(13, 9))
    found = surface_topology(heights, fraction=0.0)
    assert found["smad_half"] == pytest.approx(np.mean([smad(heights[i::2, j::2]).value for i in (0, 1) for j in (0, 1)]))
    assert found["smad_third"] == pytest.approx(np.mean([smad(heights[i::3, j::3]).value for i in range(3) for j in range(3)]))
    assert "smad_third" not in surface_topology(heights[:8])
