"""What a scan of learning coefficients shows: numbers put in by hand, what diverged and what has not mixed."""

import math
from pathlib import Path

import numpy as np
import pytest

from orograph import figures

ROW = {"error": 0.5, "quadratic": 8.0, "step_bias": 0.25, "effective_size": 100.0}
ROWS = [
    {**ROW, "nbeta": 100.0, "step": 0.002, "coefficient": 9.0, "rhat": 1.2},
    {**ROW, "nbeta": 100.0, "step": 0.001, "coefficient": 7.0, "rhat": 1.01},
    {**ROW, "nbeta": 10.0, "step": 0.01, "coefficient": 3.0, "rhat": 1.0},
    {**dict.fromkeys(ROW, math.nan), "nbeta": 10.0, "step": 0.05, "coefficient": math.nan, "rhat": math.nan},
]


@pytest.mark.slow
def test_each_temperature_is_a_line_against_the_step(tmp_path: Path) -> None:
    figure = figures.coefficient_scan(ROWS, "a point")
    left, right = figure.axes
    lines = [bars.lines[0] for bars in left.containers]
    assert [each.get_xdata().tolist() for each in lines] == [pytest.approx([0.1, 0.2]), pytest.approx([0.1, 0.5])]
    assert lines[0].get_ydata().tolist() == [7.0, 9.0]
    assert right.containers[0].lines[0].get_ydata().tolist() == [-1.0, 1.0]  # less the quadratic's
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        *("nβ = 100", "nβ = 10", "quadratic, at this step", "not mixed", "diverged")
    ]
    hollow = [each.get_xdata().tolist() for each in left.lines if each.get_mfc() == "white" and each.get_marker() != "None"]
    assert pytest.approx([0.2]) in hollow
    assert [path.suffix for path in figures.save(figure, tmp_path / "scan")] == [".png", ".pdf"]
    assert np.isfinite(left.get_ylim()).all()
