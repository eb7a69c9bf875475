"""Results that are valid JSON and wrong, as older runs without seals may hold: the page has its data, or there is a sentence."""

import contextlib
import json
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orograph.commands.repairing import inspect
from orograph.errors import RunError
from orograph.report.packing import script_json
from orograph.report.shapes import Analysis, Results, require
from orograph.report.study import study_data
from orograph.report.sweep import sweep_data
from orograph.store.encoding import decode, sealed
from orograph.store.run import Run
from wrong_json import LONG, QUICK, changed

OLD = Path(__file__).parents[1] / "old_runs"
FILES = {"sweep": "analysis.json", "study": "landscape_analysis_results.json"}
SHAPES = {"sweep": Analysis, "study": Results}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("old")
    for kind in FILES:
        with tarfile.open(OLD / f"{kind}.tar.xz") as archive:
            archive.extractall(where, filter="data")
    return where


def data_of(run: Run) -> dict:
    return study_data(run) if run.kind == "study" else sweep_data(run)


@st.composite
def changes(draw: st.DrawFn, content: dict) -> dict:
    return changed(content, draw)


def is_a_sentence_or_data(runs: Path, kind: str, draws: st.DataObject, *, whole: bool) -> None:
    path = runs / kind / FILES[kind]
    before = path.read_bytes()
    try:
        path.write_bytes(json.dumps(draws.draw(changes(json.loads(before)))).encode())
        with contextlib.suppress(RunError):
            script_json(data_of(Run.open(path.parent)) if whole else require(SHAPES[kind], decode(path), path, "the command"))
    finally:
        path.write_bytes(before)


@pytest.mark.parametrize("kind", FILES)
def test_results_of_another_run_are_no_data_of_this_one(runs: Path, kind: str) -> None:
    path = runs / kind / FILES[kind]
    before = path.read_bytes()
    try:
        path.write_bytes(sealed(decode(path) | {"of": "another"}))
        with pytest.raises(RunError, match=f"{path.name} was found in another run; have it made anew by"):
            data_of(Run.open(path.parent))
        assert [(damage.path, damage.why) for damage in inspect(path.parent)] == [(path.name, "was found in another run")]
    finally:
        path.write_bytes(before)


@pytest.mark.slow
@pytest.mark.parametrize("kind", FILES)
@QUICK
@given(st.data())
def test_results_that_are_wrong_are_a_sentence_or_can_be_shown(runs: Path, kind: str, data: st.DataObject) -> None:
    is_a_sentence_or_data(runs, kind, data, whole=False)


@pytest.mark.slow
@pytest.mark.parametrize("kind", FILES)
@LONG
@given(st.data())
def test_a_page_of_results_that_are_wrong_is_a_sentence_or_has_its_data(runs: Path, kind: str, data: st.DataObject) -> None:
    is_a_sentence_or_data(runs, kind, data, whole=True)


@pytest.mark.parametrize(
    ("kind", "place"),
    [
        ("sweep", ["chains"]),
        ("sweep", ["chains", 0, "transitions"]),
        ("sweep", ["loops", 0, "spinodal_up", "estimate"]),
        ("sweep", ["loops", 0, "barrier"]),
        ("sweep", ["commands"]),
        ("study", ["data", "train_images"]),
        ("study", ["metrics", 0, "configuration"]),
        ("study", ["curves", 0, "paths", "linear", "positions"]),
        ("study", ["learning_rates"]),
        ("study", ["correlations", "table", 0, "spearman"]),
    ],
)
@pytest.mark.parametrize("wrong", ["missing", "text", "list"])
def test_what_the_page_takes_apart_is_asked_for_by_its_place(runs: Path, kind: str, place: list, wrong: str) -> None:
    path = runs / kind / FILES[kind]
    content = parent = json.loads(path.read_bytes())
    for key in place[:-1]:
        parent = parent[key]
    if wrong == "missing":
        del parent[place[-1]]
    else:
        parent[place[-1]] = "text" if wrong == "text" else [["list"]]
    optional = wrong == "missing" and place == ["learning_rates"]
    text = wrong == "text" and place[-1] == "configuration"
    if optional or text:
        assert require(SHAPES[kind], content, path, "again") is content
        return
    with pytest.raises(RunError, match=r"is missing or of the wrong kind; write it again by: again\.$") as error:
        require(SHAPES[kind], content, path, "again")
    assert ".".join(map(str, place)) in str(error.value)
