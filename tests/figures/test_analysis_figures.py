"""Figures of an analysed run from made-up datasets: they draw, say what they show, and cope with what may be missing."""

import io
import math

import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure

from orograph.figures.curvatures import curvature
from orograph.figures.eigenvalue_branches import branches
from orograph.figures.free_energy import thermodynamics
from orograph.figures.loops import LoopMarks, hysteresis
from orograph.figures.pictures import images
from orograph.figures.shares import class_shares
from orograph.figures.turning import angles

T, K, C = 12, 4, 10
BANDS = [(0.4, 0.45, "order parameter"), (0.5, 0.6, "curvature")]


def line(direction: str = "up") -> xr.Dataset:
    draw = np.random.default_rng(0)
    x = np.linspace(0, 1, T)
    along, pairs, classes = ("strength",), ("strength", "eigen"), ("strength", "class")
    return xr.Dataset(
        {
            "eigenvalue": (pairs, np.sort(draw.normal(size=(T, K)))[:, ::-1]),
            "branch": (pairs, np.tile([0.0, 1, 2, -1], (T, 1))),
            "principal_angle": (pairs, np.concatenate([np.full((1, K), np.nan), 90 * draw.random((T - 1, K))])),
            "class_share": (("strength", "class", "eigen"), draw.normal(size=(T, C, K))),
            "class_gauss_newton": (("strength", "class", "eigen"), draw.random((T, C, K))),
            "cluster": (pairs, np.tile([0.0, 0, 2, 3], (T, 1))),
            "class_accuracy": (classes, 100 * draw.random((T, C))),
            "scalar_curvature": (along, draw.normal(size=T) * 1e3),
            "scalar_curvature_error": (along, np.full(T, 10.0)),
            "scalar_curvature_top_k": (along, draw.normal(size=T) * 1e3),
            "trace": (along, 1 + draw.random(T)),
            "trace_error": (along, np.full(T, 0.1)),
            "test_accuracy": (along, 100 - 90 * x),
            "objective": (along, x),
            "order_parameter": (along, 2 - x),
            "susceptibility": (along, 1 + x),
            "susceptibility_converged": (along, np.append(np.ones(T - 1), 0)),
            "envelope_defect": (along, np.append(np.nan, np.full(T - 1, 1e-6))),
            "objective_lambda_min": (along, 1 - x),
        },
        {"strength": x, "class": [str(c) for c in range(C)], "direction": direction},
    )


def drawn(figure: Figure) -> list[str]:
    """The titles of a figure that could be rendered."""
    figure.savefig(io.BytesIO(), format="png")
    return [axes.get_title(loc="left") for axes in figure.axes]


@pytest.mark.slow
def test_every_figure_draws_and_names_its_parts() -> None:
    one, other = line(), line("down")
    met = [("crossing", 0.5, 0.0), ("avoided", 0.7, 0.5)]
    assert "Directions followed along λ" in drawn(branches(one, met, BANDS, "a run"))
    assert any("Gauss–Newton" in title for title in drawn(class_shares(one, BANDS)))
    assert any("Scalar curvature" in title for title in drawn(curvature(one, BANDS)))
    assert any("envelope" in title for title in drawn(thermodynamics([one, other], BANDS)))
    marks = LoopMarks(0.5, math.nan, 0.2, (0.8, math.inf), (0.1, 0.2))
    assert any("up less down" in title for title in drawn(hysteresis(one, other, [marks])))
    assert any("eigenspace" in title for title in drawn(angles(one)))


@pytest.mark.slow
def test_an_error_that_all_points_share_says_so() -> None:
    figure = curvature(line(), BANDS)
    texts = [text for axes in figure.axes for text in axes.get_legend_handles_labels()[1]]
    assert sum("common" in text for text in texts) == 2


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(2, 3, 8, 8), (12, 5, 8, 8, 3)])
def test_images_have_their_class_and_share(shape: tuple[int, ...]) -> None:
    k, m = shape[:2]
    figure = images(np.zeros(shape), np.full((k, m), 0.5), [["seven"] * m] * k, np.full(k, 10.0))
    figure.savefig(io.BytesIO(), format="png")
    assert len(figure.axes) == min(k, 10) * m
    assert "seven" in figure.axes[0].get_title()
    assert "5 %" in figure.axes[0].get_title()


@pytest.mark.slow
def test_parts_that_were_left_out_leave_their_panel_empty() -> None:
    bare = line().drop_vars(["susceptibility", "susceptibility_converged", "objective_lambda_min", "scalar_curvature_top_k"])
    for figure in (thermodynamics([bare]), curvature(bare), hysteresis(bare, line("down").drop_vars("objective_lambda_min"))):
        assert drawn(figure)
