"""What the lines of a merge tree and the bars of a barcode hold: heights put in by hand, and no two lines that cross."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from matplotlib.figure import Figure

import orograph as og
from orograph import figures

WELLS = [[9.0, 1.0, 9.0], [2.0, 5.0, 0.0], [9.0, 3.0, 9.0]]
RING = [[1.0, 2.0, 2.0], [2.0, 9.0, 3.0], [0.0, 4.0, 2.0]]


def segments(figure: Figure) -> list[tuple[tuple[float, float], tuple[float, float]]]:
    """(x from, x to), (y from, y to) of each line."""
    lines = [line for line in figure.axes[0].get_lines() if line.get_linestyle() == "-" and len(line.get_xdata()) == 2]
    return [(tuple(np.sort(line.get_xdata()).tolist()), tuple(np.sort(line.get_ydata()).tolist())) for line in lines]


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_each_minimum_is_a_line_up_to_its_saddle() -> None:
    figure = figures.merge_tree(og.merge_tree(WELLS), title="wells")
    upright = sorted(y for x, y in segments(figure) if x[0] == x[1])
    assert upright == [(0.0, 5.4), (1.0, 5.0), (2.0, 5.0), (3.0, 5.0)]  # and the deepest on, by 8 % of what is drawn
    level = [y for x, y in segments(figure) if x[0] != x[1]]
    assert level == [(5.0, 5.0)] * 3
    assert figure.axes[0].get_ylabel() == "training loss L (nat)"
    assert legend(figure) == ["minimum", "at the border of the grid", "saddle"]
    assert figures.merge_tree(og.merge_tree(WELLS), quantity="test_loss").axes[0].get_ylabel() == "test loss (nat)"


@pytest.mark.slow
@given(arrays(np.float64, array_shapes(min_dims=2, max_dims=2, min_side=2, max_side=7), elements=st.integers(0, 8).map(float)))
@settings(max_examples=25)
def test_no_two_lines_of_a_tree_cross(heights: np.ndarray) -> None:
    found = segments(figures.merge_tree(og.merge_tree(heights)))
    upright, level = ([each for each in found if (each[0][0] == each[0][1]) == kind] for kind in (True, False))
    for x, y in level:
        assert not [line for line in upright if x[0] < line[0][0] < x[1] and line[1][0] < y[0] < line[1][1]]
    assert len({x for x, _ in upright}) == len(upright)


def test_each_bar_goes_from_birth_to_death() -> None:
    figure = figures.barcode(og.persistence(RING))
    bars = {each.get_label(): [segment[:, 0].tolist() for segment in each.get_segments()] for each in figure.axes[0].collections}
    assert bars == {"components": [[0.0, 9.72], [1.0, 2.0], [2.0, 3.0]], "loops": [[4.0, 9.0]]}
    rows = [segment[0, 1] for each in figure.axes[0].collections for segment in each.get_segments()]
    assert len(set(rows)) == 4
    assert legend(figure) == ["components", "loops"]


def test_of_many_the_forty_that_last_longest_are_drawn_and_said() -> None:
    heights = np.exp(np.random.default_rng(0).normal(size=(30, 30)))
    tree, diagram = og.merge_tree(heights), og.persistence(heights)
    figure = figures.merge_tree(tree)
    assert figure.axes[0].get_title("left") == f"Merge tree, 40 of {len(tree.heights)} minima"
    drawn = sorted(y[0] for x, y in segments(figure) if x[0] == x[1])
    assert drawn == sorted(tree.heights[np.argsort(-tree.persistence)[:40]])
    assert figure.axes[0].get_yscale() == "log"
    assert legend(figures.barcode(diagram))[0] == f"components, 40 of {(diagram.dimensions == 0).sum()}"


@pytest.mark.parametrize("heights", [[[1.0, 1.0], [1.0, 1.0]], RING, [[0.0, np.nan], [np.nan, 0.0]], [-1.0, 4.0, -2.0]])
def test_any_tree_and_any_diagram_can_be_drawn(heights: list, tmp_path: Path) -> None:
    for name, figure in (
        ("tree", figures.merge_tree(og.merge_tree(heights))),
        ("bars", figures.barcode(og.persistence(heights))),
    ):
        assert [path.stat().st_size > 500 for path in figures.save(figure, tmp_path / name)] == [True, True]


@pytest.mark.slow
def test_a_surface_of_a_space_is_drawn_as_users_see_it(tmp_path: Path) -> None:
    heights = np.random.default_rng(0).normal(size=(6, 6, 6))
    diagram = og.persistence(heights)
    assert legend(figures.barcode(diagram))[-1].startswith("voids")
    for name, figure in (("tree", figures.merge_tree(og.merge_tree(heights))), ("bars", figures.barcode(diagram))):
        assert len(figures.save(figure, tmp_path / name)) == 2
