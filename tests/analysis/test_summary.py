"""What an analysis prints fits a screen, however much was found: the findings first, and no cell of a table cut."""

import io
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

import made_up_sweep
from orograph.analysis.chain import Chain
from orograph.analysis.comparisons import LoopAreas
from orograph.analysis.loops import MeasuredLoop
from orograph.analysis.series import ORDER, Changes
from orograph.analysis.summary import headlines, print_summary
from orograph.analysis.survey import Survey, Transition
from orograph.ladder.changes import ChangePoint
from orograph.ladder.hysteresis import Loop, Spinodal
from orograph.ladder.thermodynamics import Envelope
from orograph.ladder.trajectories import Trajectory
from orograph.ladder.transitions import Coincidence, Judgement
from orograph.store.cells import Cell
from orograph.store.run import Run

LADDER = np.linspace(0, 0.1, 501)
SCREEN = 46  # lines


def change(at: float) -> ChangePoint:
    return ChangePoint(at, at - 1e-4, at + 1e-4, "jump", -1.0, 0.5, 0.001, 0.02)


def judged(at: float, size: float) -> Transition:
    judgement = Judgement("first", at - 1e-4, at + 1e-4, 2e-4, 32.0, -size, 40.0, 0.0, (-1.0, -2.0))
    return Transition(change(at), judgement, 5, {"a class of a long name": (31.5, 0.2)})


def surveyed(seed: int, direction: str, transitions: int) -> Survey:
    rows = tuple({"certificate": "saddle" if i % 9 == 0 else "minimum", "share_defect_largest": 1e-6} for i in range(len(LADDER)))
    cells = tuple(Cell(seed, direction, float(strength)) for strength in LADDER)
    way = Trajectory(np.zeros((1, 1)), np.zeros(1), np.zeros(1), np.zeros(1))
    places = np.linspace(0.01, 0.09, transitions)
    found = {ORDER: tuple(map(change, places)), **{f"accuracy of class {c}": tuple(map(change, places)) for c in range(20)}}
    return Survey(
        chain=Chain(seed, direction, cells, rows, frozenset(LADDER.tolist())),
        branches=None,
        meetings=(),
        way=way,
        gradients=way,
        envelopes=tuple(envelope(i) for i in range(500)),
        relations=(),
        changes=Changes(found, "", {}, {}),
        transitions=tuple(judged(at, 1 + place) for place, at in enumerate(places)),
        coincidences=tuple(Coincidence(f"series {i}", "order parameter", (3, 3), 2, 0.01, 0.02 + i) for i in range(40)),
    )


def envelope(number: int) -> Envelope:
    numbers = dict.fromkeys(("low", "high", "slope", "trapezoid", "corrected", "defect", "error", "rounding"), 1e-5)
    return Envelope(**numbers, outside=float(number % 100 == 0), rises=False, critical=True, minima=True)


def loop(number: int) -> MeasuredLoop:
    spinodal = Spinodal(0.02, 0.1, "minimum", 0.021, "fold", 0.02, 0.022)
    steps = ((0.02, 0.021), (0.01, 0.011))
    found = Loop(0.01, 0.02, 0.015, (0.0149, 0.0151), "both", spinodal, spinodal, *steps, 0.01, 0.011, 1.0 + number, 2.0)
    return MeasuredLoop(number, found, 0.015, {"barrier_best": 0.1, "barrier_linear": 0.3})


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    path: Path = tmp_path_factory.mktemp("runs") / "long"
    made_up_sweep.write(path, 2, k=1)
    return Run.open(path)


def printed(run: Run, width: int, seeds: int, transitions: int) -> str:
    found = [surveyed(seed, direction, transitions) for seed in range(seeds) for direction in ("up", "down")]
    areas = [LoopAreas(0, 1.0, None, None)]
    missing = {"rate": "orograph sweep " + "--option value " * 40, "null": "orograph sweep"}
    text = io.StringIO()
    print_summary(run, found, [loop(number) for number in range(seeds)], areas, missing, Console(file=text, width=width))
    return text.getvalue()


@pytest.mark.parametrize(("seeds", "transitions"), [(1, 1), (1, 60), (9, 60)])
def test_it_fits_a_screen(run: Run, seeds: int, transitions: int) -> None:
    text = printed(run, 80, seeds, transitions)
    lines = text.splitlines()
    assert len(lines) <= SCREEN, text
    assert max(map(len, lines)) <= 80 or lines[-1].startswith("all of it")
    assert lines[0].startswith(f"• {2 * seeds * transitions:,} changes of the order parameter")
    assert "orograph report" in text


def test_no_number_is_cut_at_sixty_columns(run: Run) -> None:
    text = printed(run, 60, 2, 7)
    assert max(len(line) for line in text.splitlines() if not line.startswith("all of it")) <= 60
    words = text.replace("\n", " ")
    assert "… and 24 more transitions" in words
    for value in ("1.0e-05", "20 of 2,000", "-7"):
        assert value in words


def test_the_largest_transitions_are_shown_in_their_order(run: Run) -> None:
    text = printed(run, 120, 1, 9)
    shown = [line.split() for line in text.splitlines() if "first" in line and line.startswith("seed")]
    sizes = [next(word for word in words if word.startswith("-")) for words in shown]
    assert sorted(sizes) == ["-8", "-8", "-9", "-9"]


def test_nothing_found_is_said() -> None:
    found = surveyed(0, "up", 0)
    assert headlines([found], [])[0] == "no transition of the order parameter on this ladder"
