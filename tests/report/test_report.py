"""The report as a file: what is in it and what is not, read as text. What it looks like is for `test_browser`."""

import base64
import json
import re
from pathlib import Path

import numpy as np
import pytest
from studies import write_study

import made_up_sweep
from orograph.cli import main
from orograph.report.packing import packed, script_json
from orograph.report.report import render
from orograph.store.run import Run


def data_of(html: str) -> dict:
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL)[1])


def test_a_report_holds_what_the_run_recorded(small: Path) -> None:
    data = data_of(render(Run.open(small)))
    up, down = data["chains"]
    assert (up["direction"], down["direction"]) == ("up", "down")
    assert down["scalars"]["test_loss"] == pytest.approx([made_up_sweep.expected_loss(s, "down") for s in down["strengths"]])
    assert up["scalars"]["test_loss"][4] is None
    assert up["texts"]["status"][4] == "failed"
    eigenvalue = up["arrays"]["eigenvalue"]
    values = np.frombuffer(base64.b64decode(eigenvalue["data"]), "<f8").reshape(eigenvalue["shape"])
    np.testing.assert_array_equal(values[3], made_up_sweep.eigenvalues(up["strengths"][3], 5))


def test_the_gradient_is_summed_up_by_tensor_and_by_magnitude(small: Path) -> None:
    run = Run.open(small)
    up = data_of(render(run))["chains"][0]
    norms = np.frombuffer(base64.b64decode(up["arrays"]["tensor_gradient_norm"]["data"]), "<f4").reshape(9, 4)
    counts = np.frombuffer(base64.b64decode(up["arrays"]["gradient_counts"]["data"]), "<f4").reshape(9, -1)
    gradient = np.array(run.array(next(iter(run.records)), "gradient"))
    assert norms[0] ** 2 @ np.ones(4) == pytest.approx(gradient @ gradient, rel=1e-5)
    assert counts.sum(1).tolist() == [0 if i == 4 else made_up_sweep.P for i in range(9)]


def test_an_object_in_memory_goes_by_its_own_name_and_a_list_of_strengths_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(made_up_sweep.CONFIGURATION, "model", {"model": "object:Net"})
    monkeypatch.setitem(made_up_sweep.CONFIGURATION, "ladder", {"points": 11, "max": 0.1, "strengths": [0.0, 0.1]})
    made_up_sweep.write(tmp_path / "run", 2, k=2)
    data = data_of(render(Run.open(tmp_path / "run")))
    facts = {section["name"]: dict(section["facts"]) for section in data["about"]}
    assert data["title"] == "Net on digits: run"
    assert facts["model"]["model"] == "Net (in memory)"
    assert facts["ladder"] == {"strengths": "0, 0.1"}


def test_the_same_run_gives_the_same_report(small: Path) -> None:
    assert render(Run.open(small)) == render(Run.open(small))


def test_nothing_in_a_report_names_a_network_address_to_load(small: Path) -> None:
    html = render(Run.open(small))
    assert not re.search(r"<(?:script|img|iframe)[^>]*\ssrc=|<link[^>]*href=\"(?!data:)|@import", html.split("<script>")[0])
    assert "default-src 'none'" in html


def test_texts_cannot_end_the_script_that_holds_them() -> None:
    hostile = {"a": "</script><script>alert(1)</script>\u2028", "b": [float("nan"), float("inf")]}
    text = script_json(hostile)
    assert "<" not in text
    assert "\u2028" not in text
    assert json.loads(text) == {"a": hostile["a"], "b": [None, "Infinity"]}


def test_arrays_come_back_from_their_packing() -> None:
    values = np.array([[1.5, np.nan], [1e-300, -2.0]])
    exact = packed(values, exact=True)
    np.testing.assert_array_equal(np.frombuffer(base64.b64decode(exact["data"]), "<f8").reshape(exact["shape"]), values)
    short = packed(values)
    np.testing.assert_array_equal(np.frombuffer(base64.b64decode(short["data"]), "<f4").reshape(2, 2), values.astype(np.float32))


def test_the_command_writes_beside_the_run_or_where_it_is_told(small: Path, tmp_path: Path) -> None:
    assert main(["report", str(small), "--quiet"]) == 0
    assert main(["report", str(small), "--out", str(tmp_path / "here.html"), "--quiet"]) == 0
    assert (small / "report.html").read_bytes() == (tmp_path / "here.html").read_bytes()


def test_a_study_becomes_a_report(tmp_path: Path) -> None:
    write_study(tmp_path / "study")
    assert main(["report", str(tmp_path / "study"), "--quiet"]) == 0
    data = data_of((tmp_path / "study" / "report.html").read_text(encoding="utf-8"))
    assert [row["status"] for row in data["metrics"]] == ["done", "done", "done", "failed"]


@pytest.mark.parametrize(
    ("args", "sentence"),
    [([], "needs a run"), (["{empty}"], "is not a run"), (["{run}", "--out", "{empty}"], "is a directory")],
)
def test_bad_input_is_one_sentence_and_exit_code_2(
    args: list[str], sentence: str, small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", *(arg.format(empty=tmp_path, run=small) for arg in args)]) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert "Traceback" not in error


def test_a_study_that_is_not_finished_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_study(tmp_path / "study")
    (tmp_path / "study" / "landscape_analysis_results.json").unlink()
    assert main(["report", str(tmp_path / "study")]) == 2
    assert "finishes it" in capsys.readouterr().err
