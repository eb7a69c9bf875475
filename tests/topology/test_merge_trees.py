"""Merge trees, diagrams and passes against functions with known critical points, and against slow definitions on small grids.

Independent of the code: critical points are found by root-finding of the gradient or known in closed form; components are counted
level by level with SciPy's labels, loops by duality, minimax heights by Floyd & Warshall.
"""

import sys
from functools import lru_cache

import networkx as nx
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from known_surfaces import components, loops, minimax, muller_brown, sampled, six_hump_camel
from numpy import ndarray
from scipy.integrate import solve_ivp
from scipy.optimize import minimize_scalar, root

from orograph.connectivity.surfaces import Surface
from orograph.errors import ConfigurationError
from orograph.topology import merge_tree, nearest_points, persistence, saddle_barrier

WALLED = st.one_of(st.integers(-4, 4).map(float), st.sampled_from([np.nan, np.inf]))  # few heights, so that many are equal


def few(axes: int, side: int, elements: st.SearchStrategy) -> st.SearchStrategy[ndarray]:
    return arrays(np.float64, array_shapes(min_dims=axes, max_dims=axes, max_side=side), elements=elements)


def any_grid(elements: st.SearchStrategy) -> st.SearchStrategy[ndarray]:
    return st.one_of(few(1, 12, elements), few(2, 6, elements), few(3, 4, elements))


def pairs(births: ndarray, deaths: ndarray) -> list[tuple[float, float]]:
    return sorted(zip(births.tolist(), deaths.tolist(), strict=True))


@pytest.mark.slow
@given(any_grid(WALLED).filter(lambda heights: np.isfinite(heights).any()))
@settings(max_examples=100)
def test_components_are_those_counted_level_by_level(heights: ndarray) -> None:
    walled = np.where(np.isnan(heights), np.inf, heights)
    tree = merge_tree(heights)
    assert pairs(tree.heights, tree.saddle_heights) == components(walled)
    found = persistence(heights)
    assert pairs(found.births[found.dimensions == 0], found.deaths[found.dimensions == 0]) == components(walled)
    # and both name the same points, though one counts by a spanning tree and the other by homology
    named = {(*low, *saddle) for low, saddle in zip(tree.minima.tolist(), tree.saddles.tolist(), strict=True)}
    of = found.dimensions == 0
    assert named == {(*a, *b) for a, b in zip(found.birth_points[of].tolist(), found.death_points[of].tolist(), strict=True)}


@given(few(2, 6, WALLED).filter(lambda heights: np.isfinite(heights).any()))
@settings(max_examples=100)
def test_loops_are_what_a_level_surrounds(heights: ndarray) -> None:
    found = persistence(heights)
    of = found.dimensions == 1
    assert pairs(found.births[of], found.deaths[of]) == loops(np.where(np.isnan(heights), np.inf, heights))


@pytest.mark.slow
@given(any_grid(WALLED).filter(lambda heights: np.isfinite(heights).any()), st.data())
@settings(max_examples=100)
def test_the_pass_between_two_points_is_their_minimax_height(heights: ndarray, data: st.DataObject) -> None:
    places = np.argwhere(np.isfinite(heights)).tolist()
    first, second = (data.draw(st.sampled_from(places)) for _ in range(2))
    walled = np.where(np.isfinite(heights), heights, np.inf)
    one, other = (np.ravel_multi_index(tuple(place), heights.shape) for place in (first, second))
    expected = heights[tuple(first)] if one == other else minimax(walled)[one, other]
    found = saddle_barrier(heights, first, second)
    assert found.height == expected
    assert found.height == saddle_barrier(heights, second, first).height
    assert (found.from_first, found.from_second) == (expected - heights[tuple(first)], expected - heights[tuple(second)])
    assert found.saddle is None if expected == np.inf else heights[found.saddle] == expected


@given(any_grid(WALLED).filter(lambda heights: np.isfinite(heights).any()))
@settings(max_examples=100)
def test_a_minimum_merges_where_the_pass_to_its_parent_is_and_leaves_meet_at_the_lowest_pass(heights: ndarray) -> None:
    tree = merge_tree(heights)
    between = minimax(np.where(np.isfinite(heights), heights, np.inf))
    flat = [int(np.ravel_multi_index(tuple(each), heights.shape)) for each in tree.minima]
    for place, (parent, saddle) in enumerate(zip(tree.parents, tree.saddle_heights, strict=True)):
        assert heights.flat[flat[place]] == tree.heights[place]
        if parent < 0:
            assert saddle == np.inf
            continue
        assert between[flat[place], flat[parent]] == saddle
        assert parent < place
        assert tree.saddle_heights[parent] >= saddle
    alone = [np.min([between[one, other] for other in flat if other != one], initial=np.inf) for one in flat]
    assert tree.first_saddle_heights.tolist() == alone


@pytest.mark.slow
@given(any_grid(st.integers(-9, 9).map(float)))
@settings(max_examples=100)
def test_a_monotone_map_of_the_heights_moves_no_point(heights: ndarray) -> None:
    mapped = np.exp(heights / 3)  # of whole numbers: no two become equal
    one, other = merge_tree(heights), merge_tree(mapped)
    for name in ("minima", "saddles", "parents", "at_border"):
        assert np.array_equal(getattr(one, name), getattr(other, name))
    assert np.array_equal(np.exp(one.heights / 3), other.heights)
    assert np.array_equal(np.exp(one.saddle_heights / 3), other.saddle_heights)
    both = persistence(heights), persistence(mapped)
    points = ("dimensions", "birth_points", "death_points")
    same = [{tuple(np.hstack(row)) for row in zip(*(getattr(each, name) for name in points), strict=True)} for each in both]
    assert same[0] == same[1]


@given(any_grid(st.integers(-4, 4).map(float)), st.integers(0, 5))
@settings(max_examples=60)
def test_a_threshold_leaves_out_what_lasts_no_longer(heights: ndarray, threshold: int) -> None:
    whole, cut = merge_tree(heights), merge_tree(heights, threshold=float(threshold))
    kept = whole.persistence > threshold
    assert np.array_equal(cut.minima, whole.minima[kept])
    assert np.array_equal(cut.saddle_heights, whole.saddle_heights[kept])
    inside = cut.parents >= 0
    assert np.array_equal(cut.minima[cut.parents[inside]], whole.minima[whole.parents[kept][inside]])
    diagram = persistence(heights, threshold=float(threshold))
    assert (diagram.persistence > threshold).all()
    assert len(diagram.births) == (persistence(heights).persistence > threshold).sum()


def camel_gradient(point: ndarray) -> ndarray:
    x, y = point
    return np.array([8 * x - 8.4 * x**3 + 2 * x**5 + y, x - 8 * y + 16 * y**3])


def camel_hessian(point: ndarray) -> ndarray:
    x, y = point
    return np.array([[8 - 25.2 * x**2 + 10 * x**4, 1], [1, 48 * y**2 - 8]])


CAMEL = ((-1.93, 1.91), (-1.13, 1.17))  # not symmetric, so that no critical point lies on the grid


@lru_cache
def camel_tree() -> tuple[list[float], list[float]]:
    """Heights of its minima, and of the saddles at which they merge: critical points as roots of the gradient, from each saddle
    the flow down on both sides, and a spanning tree of the minima.
    """
    solved = [root(camel_gradient, start, jac=camel_hessian) for start in np.argwhere(np.ones((25, 25))) / 12 * 1.9 - 1.9]
    points = {tuple(np.round(each.x, 6)) for each in solved if each.success and np.abs(each.x).max() < 1.9}
    values = {point: np.linalg.eigvalsh(camel_hessian(np.array(point))) for point in points}
    minima = [np.array(point) for point in points if values[point][0] > 0]
    graph = nx.Graph()
    for point in points:
        if values[point][0] * values[point][1] >= 0:
            continue
        down = np.linalg.eigh(camel_hessian(np.array(point))).eigenvectors[:, 0]
        ways = [solve_ivp(lambda _, x: -camel_gradient(x), (0, 40), np.array(point) + side * down) for side in (-1e-3, 1e-3)]
        ends = [int(np.argmin([np.abs(way.y[:, -1] - each).max() for each in minima])) for way in ways]
        graph.add_edge(*ends, weight=min(six_hump_camel(*point), graph.get_edge_data(*ends, {"weight": np.inf})["weight"]))
    merged = [edge["weight"] for *_, edge in nx.minimum_spanning_edges(graph)]
    return sorted(six_hump_camel(*each) for each in minima), sorted(merged)


@pytest.mark.parametrize("points", [101, 401])
def test_the_six_hump_camel_has_its_minima_and_saddles(points: int) -> None:
    lowest, merged = camel_tree()
    assert (len(lowest), len(merged)) == (6, 5)
    assert lowest[:2] == pytest.approx([-1.0316284535] * 2, abs=1e-9)  # Dixon & Szegö (1978)
    assert merged[0] == pytest.approx(0, abs=1e-9)  # the origin
    heights, axes = sampled(six_hump_camel, CAMEL, (points, points))
    tree = merge_tree(heights, threshold=1e-3)
    # The nearest grid point is within half a step along both axes, where f differs by less than half of the largest second
    # derivative (58 below) times the square of that distance; a path on the grid passes a saddle as near, on either side.
    steps = [axis[1] - axis[0] for axis in axes]
    tolerance = 58 / 2 * (steps[0] ** 2 + steps[1] ** 2) / 4
    inside = ~tree.at_border
    assert tree.heights[inside] == pytest.approx(lowest, abs=tolerance)
    assert np.sort(tree.saddle_heights[inside])[:-1] == pytest.approx(merged, abs=tolerance)


@pytest.mark.parametrize("points", [151, 301])
def test_muller_and_brown_have_their_three_minima_and_two_passes(points: int) -> None:
    heights, axes = sampled(muller_brown, ((-1.5, 1.2), (-0.25, 2.05)), (points, points))
    tree = merge_tree(heights, threshold=1.0)
    steps = [axis[1] - axis[0] for axis in axes]
    tolerance = 4100 / 2 * (steps[0] ** 2 + steps[1] ** 2) / 4  # as above: second derivatives at the five points are below 4100
    # Müller & Brown (1979), with the digits that later work gives
    assert tree.heights == pytest.approx([-146.69952, -108.16673, -80.76782], abs=tolerance)
    assert tree.saddle_heights == pytest.approx([np.inf, -40.66484, -72.24894], abs=tolerance)
    assert tree.parents.tolist() == [-1, 0, 1]
    places = np.array([[axis[i] for axis, i in zip(axes, each, strict=True)] for each in tree.minima])
    assert places == pytest.approx(np.array([[-0.5582, 1.4417], [0.6235, 0.0280], [-0.0500, 0.4667]]), abs=3 * max(steps))
    assert not tree.at_border.any()
    found = saddle_barrier(heights, tree.minima[0], tree.minima[2])
    assert (found.height, found.saddle) == (tree.saddle_heights[1], tuple(tree.saddles[1]))


def test_a_double_well_in_space_has_one_pass_at_its_origin() -> None:
    heights, _ = sampled(
        lambda x, y, z: (x**2 - 1) ** 2 + 0.1 * x + 2 * y**2 + z**2, ((-1.5, 1.5), (-1, 1), (-1, 1)), (61, 21, 21)
    )
    tree = merge_tree(heights)
    # y and z are 0 at a point of the grid, so that these are those of the line there, of whose step of 0.05 the error is
    at = [
        minimize_scalar(lambda x: (x**2 - 1) ** 2 + 0.1 * x, bounds=b, method="bounded").fun for b in ((-1.5, -0.5), (0.5, 1.5))
    ]
    top = -minimize_scalar(lambda x: -((x**2 - 1) ** 2 + 0.1 * x), bounds=(-0.5, 0.5), method="bounded").fun
    tolerance = 10 / 2 * 0.025**2  # second derivatives along x are below 10 there, and a point is within half a step
    assert tree.heights == pytest.approx(at, abs=tolerance)
    assert tree.saddle_heights[1] == pytest.approx(top, abs=tolerance)
    assert tree.saddles[1].tolist()[1:] == [10, 10]
    found = persistence(heights)
    assert pairs(found.births, found.deaths) == pairs(tree.heights, tree.saddle_heights)  # no loops, no voids


@pytest.mark.parametrize(("axes", "dimension"), [(2, 1), (3, 2)])
def test_a_sphere_of_minima_has_a_void_as_high_as_its_centre(axes: int, dimension: int) -> None:
    heights, _ = sampled(lambda *x: (np.sqrt(sum(each**2 for each in x)) - 1) ** 2, ((-1.6, 1.6),) * axes, (33,) * axes)
    found = persistence(heights, threshold=0.1)
    assert found.dimensions.tolist() == [0, dimension]
    assert found.deaths[1] == 1.0  # at the centre, which is a point of the grid
    assert found.death_points[1].tolist() == [16] * axes
    assert 0 <= found.births[1] <= 0.1**2  # a grid of steps of 0.1 has a closed surface of points this near to the sphere


def test_a_torus_of_minima_has_two_loops_and_a_void() -> None:
    def torus(x: ndarray, y: ndarray, z: ndarray) -> ndarray:
        return (np.sqrt(x**2 + y**2) - 1) ** 2 + z**2 - 0.5 * np.sqrt((np.sqrt(x**2 + y**2) - 1) ** 2 + z**2)

    heights, _ = sampled(torus, ((-1.6, 1.6), (-1.6, 1.6), (-0.6, 0.6)), (65, 65, 25))
    found = persistence(heights, threshold=0.04)  # f is (d − ¼)² − 1/16 at a distance of d from the circle
    assert np.bincount(found.dimensions).tolist() == [1, 2, 1]
    assert found.deaths[found.dimensions == 2] == pytest.approx([0.0], abs=0)  # on the circle, which the grid hits


def test_a_wall_parts_what_it_divides_and_a_loop_around_one_stays() -> None:
    heights = np.zeros((5, 5))
    heights[:, 2] = np.nan
    tree = merge_tree(heights)
    assert tree.minima.tolist() == [[0, 0], [0, 3]]
    assert tree.parents.tolist() == [-1, -1]
    assert np.isinf(tree.saddle_heights).all()
    assert saddle_barrier(heights, (0, 0), (0, 4)).saddle is None
    heights = np.ones((5, 5))
    heights[2, 2] = np.inf
    found = persistence(heights)
    assert found.dimensions.tolist() == [0, 1]
    assert found.deaths.tolist() == [np.inf, np.inf]
    assert found.death_points.tolist() == [[-1, -1], [-1, -1]]


def test_where_three_meet_at_one_point_all_meet_the_deepest() -> None:
    heights = np.array([[9.0, 1.0, 9.0], [2.0, 5.0, 0.0], [9.0, 3.0, 9.0]])
    tree = merge_tree(heights)
    assert tree.heights.tolist() == [0, 1, 2, 3]
    assert tree.parents.tolist() == [-1, 0, 0, 0]
    assert tree.saddles.tolist() == [[-1, -1], [1, 1], [1, 1], [1, 1]]
    assert tree.first_saddle_heights.tolist() == [5, 5, 5, 5]


def test_losses_of_a_surface_are_taken_and_left_as_they_are() -> None:
    x, y = torch.linspace(-1, 1, 5).double(), torch.linspace(0, 3, 4).double()
    losses = torch.rand(5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    marks = torch.tensor([[-1.0, 0.4], [0.9, 3.0]], dtype=torch.float64)
    made = Surface(x, y, losses, losses * np.nan, torch.zeros(3), torch.eye(2, 3), marks)
    before = losses.clone()
    tree = merge_tree(made)
    assert torch.equal(losses, before)
    assert np.array_equal(tree.minima, merge_tree(losses.numpy()).minima)
    assert np.array_equal(tree.heights, losses.numpy()[tuple(tree.minima.T)])
    assert nearest_points(made, made.marks).tolist() == [[0, 0], [4, 3]]
    found = saddle_barrier(made, *nearest_points(made, made.marks))
    assert found.height == minimax(losses.numpy())[0, 19]
    with pytest.raises(ConfigurationError, match=r"x = 1\.3, and the grid goes from -1 to 1"):
        nearest_points(made, [[1.3, 0.0]])
    with pytest.raises(ConfigurationError, match=r"shape \(p, 2\), not \(3,\)"):
        nearest_points(made, [1.0, 2.0, 3.0])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.int32])
def test_any_real_dtype_will_do(dtype: torch.dtype) -> None:
    heights = torch.tensor([0, 3, 1, 5, 2]).to(dtype)
    assert merge_tree(heights).heights.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (1.0, "0 axes"),
        ("abc", "0 axes"),
        (np.array([1j, 2.0]), "complex128"),
        ([True, False], "bool"),
        ([[1.0, 2.0], [1.0]], "not a list"),
        (torch.eye(3).to_sparse(), "not a Tensor"),
        (np.empty((0, 3)), "no finite height"),
        ([np.nan, np.inf], "no finite height"),
        ([1e308, -1e308], "too far apart for float64"),
        ([[1.0, -np.inf], [0.0, 0.0]], r"−inf at \(0, 1\)"),
    ],
)
def test_what_is_no_grid_of_heights_is_refused(given: object, said: str) -> None:
    for function in (merge_tree, persistence, lambda grid: saddle_barrier(grid, (0,), (0,))):
        with pytest.raises(ConfigurationError, match=said):
            function(given)


@pytest.mark.parametrize("place", [(0,), (0, 3), (-1, 0), (0.5, 1), "ab", None, (1, 1)])
def test_a_point_that_is_none_of_the_grid_is_refused(place: object) -> None:
    with pytest.raises(ConfigurationError, match="`second`"):
        saddle_barrier([[0.0, 1.0], [2.0, np.nan]], (0, 0), place)


@pytest.mark.parametrize("threshold", [-1.0, np.nan, np.inf])
def test_thresholds_that_none_can_be_held_against_are_refused(threshold: float) -> None:
    for function in (merge_tree, persistence):
        with pytest.raises(ConfigurationError, match="at least 0, and finite"):
            function([1.0, 2.0], threshold=threshold)


def test_without_gudhi_the_way_out_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gudhi", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'orograph\[topology\]'"):
        persistence([1.0, 0.0, 1.0])
    assert merge_tree([1.0, 0.0, 1.0]).heights.tolist() == [0.0]
