"""Branches and atlases in one call: of a problem in memory, the same bytes again, and what the commands would make."""

from pathlib import Path

import numpy as np
import pytest
import torch
from teacher import checkpoint, half_squared, one_mode, three_factors

import orograph as og
from orograph.cli import main
from orograph.errors import ConfigurationError
from orograph.figures import atlases, courses
from run_bytes import bytes_of


@pytest.mark.slow
def test_a_problem_in_memory_is_followed_and_joined_and_the_same_call_resumes(tmp_path: Path) -> None:
    problem = og.Problem(lambda: three_factors(), half_squared, one_mode()["train"], metrics=["r2"])
    start = checkpoint(str(tmp_path / "start.pth"), [0.75] * 3)
    chosen = {"strength": 0.05, "pairs": 2, "min": 0.04, "quiet": True}
    found = og.follow_run(start, problem, out=tmp_path / "run", **chosen)
    assert found["up/events"].strength.item() == pytest.approx(0.09375, abs=1e-10)
    before = bytes_of(tmp_path / "run")
    og.follow_run(start, problem, out=tmp_path / "run", **chosen)
    assert bytes_of(tmp_path / "run") == before
    graph = og.make_atlas([found], problem, out=tmp_path / "atlas", quiet=True)
    assert [each["height"] > 0 for each in graph.graph["descents"]] == [True, True]
    with pytest.raises(ConfigurationError, match="was an object in memory"):
        og.make_atlas([found], out=tmp_path / "other", quiet=True)


class Loop(torch.nn.Module):
    """A function of two parameters whose critical points at all λ lie on a closed curve."""

    def __init__(self) -> None:
        super().__init__()
        self.place = torch.nn.Parameter(torch.tensor([1.5, 0.0], dtype=torch.float64))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        x, y = self.place
        square = x**2 + y**2
        return ((square + 3.75) * torch.atan2(y, x) - 4 * y - square).expand(len(inputs), 1)


@pytest.mark.slow
def test_a_closed_branch_ends_where_it_began(tmp_path: Path) -> None:
    data = [(torch.ones(1, 1, dtype=torch.float64), torch.zeros(1, 1, dtype=torch.float64))]
    problem = og.Problem(Loop, lambda out, _: out.squeeze(1), data)
    torch.save(Loop().state_dict(), tmp_path / "start.pth")
    quick = {"step": 0.1, "longest_step": 0.4, "threads": 1, "quiet": True}
    found = og.follow_run(tmp_path / "start.pth", problem, out=tmp_path / "run", strength=1.0, pairs=1, points=60, **quick)
    assert found["up"].attrs["ended"] == "the branch closed"
    np.testing.assert_array_equal(found["up"].theta[-1], found["up"].theta[0])
    assert found["up/events"].sizes["event"] == 6  # four folds, and q turns twice


@pytest.mark.slow
def test_the_command_goes_on_with_what_a_call_began(tmp_path: Path) -> None:
    solved = {"dataset": "linear-teacher", "singular_values": [0.5], "loss": "squared", "model": "deep-linear", "widths": [1, 1]}
    ladder = og.sweep(**solved, strengths=[0.05], k=1, dtype="float64", lr=0.05, threads=1, out=tmp_path / "sweep", quiet=True)
    og.follow_run(ladder, points=6, threads=1, out=tmp_path / "run", quiet=True)
    before = bytes_of(tmp_path / "run")
    words = ["follow", str(tmp_path / "sweep"), "--points", "6", "--threads", "1", "--out", str(tmp_path / "run"), "--quiet"]
    assert main(words) == 0
    assert bytes_of(tmp_path / "run") == before


def test_an_unknown_setting_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="did you mean 'points'"):
        og.follow_run(tmp_path / "start.pth", poinst=3)
    with pytest.raises(ConfigurationError, match="a part of the problem"):
        og.follow_run(
            tmp_path / "start.pth", og.Problem(lambda: three_factors(), half_squared, one_mode()["train"]), loss="squared"
        )


def test_heights_are_above_the_deepest_branch_and_break_where_one_begins() -> None:
    # Two parabolas in λ with slopes q, the second known from λ = 1 on only, and deeper there.
    def row(strength: float, arclength: float, deep: float) -> dict[str, float]:
        return {"strength": strength, "arclength": arclength, "objective": strength**2 - deep, "order_parameter": 2 * strength}

    first, second = ([row(at, at, deep) for at in places] for places, deep in (((0.0, 2.0), 0.0), ((1.0, 2.0), 0.5)))
    deepest = courses.deepest_of([(first, []), (second, [])])
    values, jumps = deepest(np.array([0.5, 0.9, 1.1, 1.5]))
    assert np.allclose(values, [0.25, 0.81, 0.71, 1.75], rtol=1e-14)  # cubics with exact slopes are exact of parabolas
    assert jumps.tolist() == [False, False, True, False]
    assert courses.height_above(deepest)(first[1]) == pytest.approx(0.5)
    assert courses.deepest_of([])(np.array([1.0]))[0].tolist() == [np.inf]


def test_a_lost_class_is_marked_on_the_branch_that_loses_it() -> None:
    def row(strength: float, order: float) -> dict[str, float]:
        # L_eff with the slope q, so that q is the same all along
        return {"strength": strength, "arclength": strength, "objective": order * strength, "order_parameter": order}

    runs = [
        {"name": name, "points": [row(0.0, q), row(1.0, q)], "events": [], "ended": ""} for name, q in (("a", 3.0), ("b", 1.0))
    ]
    empty: dict[str, list[object]] = {name: [] for name in ("ladders", "maxwell", "edges", "barriers")}
    lost = [{"stretch": "run/b/0", "class": "seven", "strength": 0.5}]
    figure = atlases.atlas({"branches": [{"run": "run", "branches": runs}], "lost_classes": lost, **empty})
    (marker,) = (line for line in figure.axes[0].lines if line.get_marker() == "v")
    assert (float(marker.get_xdata()[0]), float(marker.get_ydata()[0])) == (0.5, pytest.approx(1.0))
