"""Records of an older run, valid JSON and wrong: what an analysis and a report read of them is values or one sentence."""

import contextlib
import json
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orograph.analysis import survey
from orograph.analysis.command import checked_run, surveys, sweep_settings
from orograph.analysis.settings import AnalyzeSettings
from orograph.errors import OrographError, RunError
from orograph.report.packing import script_json
from orograph.report.sweep import sweep_data
from orograph.store.analysis import Analysis
from orograph.store.encoding import decode, encode, sealed
from wrong_json import LONG, changed

OLD = Path(__file__).parents[1] / "old_runs" / "sweep.tar.xz"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    where = tmp_path_factory.mktemp("old")
    with tarfile.open(OLD) as archive:
        archive.extractall(where, filter="data")
    patch = pytest.MonkeyPatch()
    patch.setattr(survey, "_keep", lambda analysis, found: None)  # what is found is not written: the run stays what it is
    yield where / "sweep"
    patch.undo()


@st.composite
def changes(draw: st.DrawFn, run: Path) -> tuple[Path, bytes]:
    names = ["run.json", "plan.json", *sorted(str(path.relative_to(run)) for path in run.glob("points/*.json"))]
    names += sorted(str(path.relative_to(run)) for path in run.glob("findings/*/*/*.json"))
    file = run / draw(st.sampled_from(names))
    content = changed(decode(file), draw)
    if isinstance(content, dict) and draw(st.booleans()):
        with contextlib.suppress(ValueError):  # halves of characters: nobody could have sealed it
            return file, sealed(content)
    with contextlib.suppress(ValueError):
        return file, encode(content)
    return file, json.dumps(content).encode()


def test_what_is_changed_below_is_read_when_it_is_whole(run: Path) -> None:
    settings = AnalyzeSettings(run=str(run), resamples=19)
    opened = checked_run(settings)
    assert len(surveys(opened, Analysis(opened), sweep_settings(opened), settings)) == 2
    assert len(list(run.glob("findings/*/*/*.json"))) > 10


def test_a_run_whose_points_all_failed_says_so(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "run")
    for path in (tmp_path / "run").glob("points/*.json"):
        path.write_bytes(sealed({**decode(path), "status": "failed"}))
    with pytest.raises(RunError, match=r"all [0-9]+ that were begun failed; `orograph watch` says why"):
        checked_run(AnalyzeSettings(run=str(tmp_path / "run")))


@pytest.mark.slow
@LONG
@given(st.data())
def test_what_an_analysis_and_a_report_read_is_values_or_a_sentence(run: Path, data: st.DataObject) -> None:
    file, content = data.draw(changes(run))
    before = file.read_bytes()
    try:
        file.write_bytes(content)
        settings = AnalyzeSettings(run=str(run), resamples=19)
        with contextlib.suppress(OrographError):
            opened = checked_run(settings)
            script_json(sweep_data(opened))
            surveys(opened, Analysis(opened), sweep_settings(opened), settings)
    finally:
        file.write_bytes(before)
