"""The page of transitions is filled from what an analysis wrote, between its markers, and nothing else on it changes."""

import json
from pathlib import Path

import pytest

import transitions as page

CHANGE = {"strength": 0.5, "low": 0.4, "high": 0.6, "kind": "jump", "jump": -1.0, "kink": 0.0, "p_value": 0.005}
JUDGEMENT = {"order": "first", "low": 0.5, "high": 0.51, "width": 0.01, "shrinkage": 10.0, "change": -1.0, "steepness": 40.0}
CHAIN = {
    "seed": 0,
    "direction": "up",
    "points": 31,
    "inserted": 5,
    "certificates": {"0.1": "minimum", "0.2": "saddle"},
    "envelope": [{"critical": True, "rounding": 1e-9, "defect": 1e-5, "outside": 0.0}],
    "transitions": [
        {
            "change": CHANGE,
            "judgement": {**JUDGEMENT, "exponent": 0.1, "slopes": [-1.0, -1.0]},
            "inserted": 5,
            "class_changes": {"seven": {"accuracy_lost": 30.0, "share_moved": 0.1}},
        }
    ],
    "changes": {"order parameter": [CHANGE], "trace": []},
    "changes_not_searched": "",
    "coincidences": [
        {"first": "order parameter", "second": "trace", "counts": [1, 1], "together": 1, "p_value": 0.1, "adjusted": 0.2}
    ],
    "class_relations": [{"name": "seven", "correlation": -0.5, "p_value": 0.01, "lost_at": 0.5, "lost": 30.0}],
}
ENDS = {"estimate": None, "law": "none", "last": 0.5, "objective_lambda_min": 0.1, "certificate": "minimum"}
LOOP = {
    "seed": 0,
    "low": 0.1,
    "high": 0.5,
    "maxwell": 0.3,
    "escape_up": [0.5, 0.6],
    "escape_down": ["-Infinity", 0.1],
    "spinodal_up": {**ENDS, "estimate": 0.55, "law": "fold"},
    "spinodal_down": ENDS,
    "width": None,
    "spinodal_width": None,
    "area": 1.5,
    "barrier_at": 0.3,
    "barrier": {"barrier_best": 0.1, "barrier_linear": 0.2},
}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "two-layers"
    (folder / "figures").mkdir(parents=True)
    (folder / "figures" / "hysteresis-0.png").write_bytes(b"picture")
    results = {
        "chains": [CHAIN],
        "loops": [LOOP],
        "loop_areas": [{"seed": 0, "area": 1.5, "rate": {"other": 0.75, "ratio": 0.5}, "null": None}],
        "hardware": {"processor": "a processor"},
        "versions": {"torch": "2.13"},
    }
    configuration = {
        "data": {"dataset": "mnist", "subset_size": 10000},
        "model": {"model": "mlp", "widths": [128, 128], "activation": "sigmoid"},
        "ladder": {"points": 31, "min": 0.0, "max": 0.05, "direction": "both"},
        "anchor": {"start": "previous", "anchor": "origin"},
        "training": {"optimizer": "Adam", "lr": 0.0015, "epochs": 50, "polish": True},
    }
    (folder / "analysis.json").write_text(json.dumps(results))
    (folder / "run.json").write_text(json.dumps({"configuration": configuration}))
    return folder


def test_tables_stand_between_the_markers_and_the_text_around_them_stays(run: Path, tmp_path: Path) -> None:
    target = tmp_path / "docs" / "transitions.md"
    target.parent.mkdir()
    target.write_text("# Transitions\n\nBefore.\n\n<!-- two-layers -->\nobsolete\n<!-- end -->\n\nAfter.\n")
    for _ in range(2):
        assert page.main([str(run), "--page", str(target)]) == 0
    text = target.read_text()
    assert text.startswith("# Transitions\n\nBefore.\n")
    assert text.rstrip().endswith("After.")
    assert "obsolete" not in text
    assert text.count("| 0.5 to 0.51 | jump | first |") == 1
    for words in (
        "10,000 training images",
        "1 minimum, 1 saddle",
        "seven (30)",
        "beyond the ladder",
        "0.75 (0.50)",
        "0.55 (fold)",
    ):
        assert words in text
    assert (target.parent / "images" / "two-layers-hysteresis-0.png").read_bytes() == b"picture"
    assert "images/two-layers-hysteresis-0.png" in text


def test_a_new_run_is_appended(run: Path, tmp_path: Path) -> None:
    target = tmp_path / "transitions.md"
    assert page.main([str(run), "--page", str(target)]) == 0
    assert "## two-layers" in target.read_text()


def test_a_run_that_is_not_analysed_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert page.main([str(tmp_path), "--page", str(tmp_path / "page.md")]) == 2
    assert "orograph analyze" in capsys.readouterr().err
