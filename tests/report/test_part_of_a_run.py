"""A report, an export of some seeds and some strengths: what is in it is theirs, and what is not there is said."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from studies import write_study

import made_up_sweep
from orograph.cli import main
from orograph.commands.rows import table
from orograph.errors import ConfigurationError
from orograph.report.report import render
from orograph.store.dataset import open_sweep
from orograph.store.part import chosen_of, part_of
from orograph.store.run import Run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    path = tmp_path_factory.mktemp("runs") / "both"
    made_up_sweep.write(path, 11, k=2, directions=("up", "down"))
    change = {"kind": "jump", "jump": 1.0}

    def transition(at: float) -> dict[str, Any]:
        step = {"low": at - 0.005, "high": at + 0.005}
        return {"change": {**change, **step, "strength": at}, "judgement": {**step, "order": "first"}}

    chains = [
        {
            "seed": 0,
            "direction": direction,
            "meetings": [{"kind": "crossing", "strength": s, "value": 1.0} for s in (0.015, 0.085)],
            "transitions": [transition(s) for s in (0.015, 0.085)],
            "changes": {"trace": [{**change, "strength": 0.05, "low": 0.04, "high": 0.06}]},
            "coincidences": [{"counts": [1, 1]}],
            "class_relations": [{"name": "a"}],
        }
        for direction in ("up", "down")
    ]
    content = {"chains": chains, "loops": [], "loop_areas": [{"seed": 0, "area": 1.0}], "commands": {"rate": "orograph sweep"}}
    (path / "analysis.json").write_text(json.dumps(content))
    return Run.open(path)


def page_data(html: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


def test_a_report_of_a_part_shows_its_points_alone(run: Run, tmp_path: Path) -> None:
    whole = page_data(render(run))
    assert whole["part"] == ""
    assert len(whole["chains"][0]["strengths"]) == 11
    out = tmp_path / "part.html"
    assert main(["report", str(run.path), "--seeds", "0", "--points", "0.01:0.03,0", "--out", str(out), "--quiet"]) == 0
    data = page_data(out.read_text())
    assert [chain["strengths"] for chain in data["chains"]] == [[0.0, 0.01, 0.02, 0.03]] * 2
    assert data["recorded"] == data["planned"] == 8
    assert "4 of 11 strengths, from λ = 0 to 0.03" in data["part"]
    for chain in data["analysis"]["chains"]:
        assert [each["strength"] for each in chain["meetings"]] == [0.015]
        assert [each["change"]["strength"] for each in chain["transitions"]] == [0.015]
        assert chain["changes"] == {"trace": []}
        assert chain["coincidences"] == chain["class_relations"] == []
    assert data["analysis"]["loop_areas"] == []


def test_a_part_has_a_file_of_its_own(run: Run) -> None:
    assert main(["report", str(run.path), "--points", "0.05", "--quiet"]) == 0
    assert (run.path / "report-part.html").is_file()
    assert not (run.path / "report.html").exists()


def test_a_part_is_the_same_in_tables_and_arrays(run: Run) -> None:
    part = part_of(run, points=["0.02:0.04"])
    assert sorted({row["L2_strength"] for row in table(run, part)}) == [0.02, 0.03, 0.04]
    assert chosen_of(open_sweep(run), part).strength.values.tolist() == [0.02, 0.03, 0.04]
    assert len(table(run, part_of(run, points=["0.05:"]))) == 12
    assert part_of(run).whole


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--seeds", "3"], "has 0"),
        (["--points", "0.011"], "nearest is 0.01"),
        (["--points", "0.2:0.3"], "from 0 to 0.1"),
        (["--points", "nan"], "neither"),
        (["--points", "one"], "neither a strength"),
    ],
)
def test_a_part_that_is_not_there_is_a_sentence(args: list[str], said: str, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(run.path), *args]) == 2
    error = capsys.readouterr().err.strip()
    assert len(error.splitlines()) == 1
    assert said in error


def test_some_seeds_of_a_study_have_their_minima_and_no_pairs_with_others(tmp_path: Path) -> None:
    write_study(tmp_path / "study")
    run = Run.open(tmp_path / "study")
    whole = page_data(render(run))
    data = page_data(render(run, part_of(run, seeds=[0])))
    assert {row["seed"] for row in whole["metrics"]} == {0, 1}
    for part in ("metrics", "histories"):
        assert {row["seed"] for row in data[part]} == {0}
        assert len(data[part]) == len(whole[part]) / 2
    assert whole["curves"]
    assert not [each for each in data["curves"] if "1" in each["name"]]
    assert data["correlations"] == {}
    assert "seed 0 of 2" in data["left_out"][0]
    with pytest.raises(ConfigurationError, match="is a study"):
        part_of(run, points=["0.1"])
