"""The figures as functions of the library: called by name from `orograph.figures`, they return matplotlib figures."""

from pathlib import Path

import pytest
from matplotlib.figure import Figure

import made_up_sweep
from orograph import figures
from orograph.store.dataset import open_run


def test_names_are_functions_even_after_their_modules_are_imported() -> None:

    assert callable(figures.sweep)
    assert callable(figures.spectrum)
    assert all(callable(getattr(figures, name)) for name in figures.__all__)


@pytest.mark.parametrize("directions", [("up",), ("up", "down")])
def test_a_run_becomes_a_figure(tmp_path: Path, directions: tuple[str, ...]) -> None:
    made_up_sweep.write(tmp_path / "run", 4, k=2, directions=directions)
    ds = open_run(tmp_path / "run")
    figure = figures.sweep(ds, title="made up")
    assert isinstance(figure, Figure)
    lines = {line.get_label(): line for line in figure.axes[0].get_lines()}
    label = "test L" if len(directions) == 1 else "test L, up"
    assert lines[label].get_ydata().tolist() == pytest.approx([made_up_sweep.expected_loss(s) for s in ds.strength.values])
