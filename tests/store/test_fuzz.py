"""Runs from elsewhere whose records are valid JSON and wrong: whatever a field holds, every reader gives values or one sentence.

A record of a made-up run is changed at a random place: a value of another kind, a field left out, one added. It is sealed again,
as somebody who makes it up would, or stands without a seal as in older runs.
"""

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from writing import CELLS, commit, create

from orograph.commands.card import card_text
from orograph.commands.exporting import csv_bytes, table
from orograph.commands.repairing import inspect
from orograph.commands.watch import look, view
from orograph.errors import OrographError
from orograph.store.analysis import Analysis
from orograph.store.arrays import _sealed
from orograph.store.dataset import open_run
from orograph.store.encoding import sealed
from orograph.store.run import Run
from wrong_json import LONG, QUICK, changed

NAMES = (
    "run.json",
    "plan.json",
    "points/0-0.00000.json",
    "findings/curvature/0/0.00000.json",
    "arrays.zarr/eigenvalue/zarr.json",
    "arrays.zarr/zarr.json",
)


def read_all(path: Path) -> None:
    """As every command reads a run."""
    run = Run.open(path)
    for cell in run.records:
        for name in run.arrays.names():
            np.array(run.array(cell, name))
        run.weights(cell)
    csv_bytes(table(run))
    card_text(run, "mit")
    view(look(path))
    open_run(path).load()


READERS: tuple[Callable[[Path], object], ...] = (read_all, inspect, lambda path: create(path).close())


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("fuzz") / "run"
    with create(path) as run:
        for cell in CELLS[:2]:
            commit(run, cell)
        Analysis(run).write("curvature", CELLS[0], {}, {"trace": 2.0}, {"branch": np.arange(3)})
    return path


@st.composite
def damages(draw: st.DrawFn, contents: dict[str, Any]) -> tuple[str, bytes]:
    name = draw(st.sampled_from(NAMES))
    content = changed(contents[name], draw)
    if draw(st.booleans()) and isinstance(content, dict):
        try:
            if name.endswith("zarr.json"):
                return name, _sealed(json.dumps(content).encode())
            return name, sealed(content)
        except (
            ValueError,
            AttributeError,
            TypeError,
        ):  # halves of characters, attributes that are none: nobody could have sealed it
            pass
    return name, json.dumps(content).encode()


def unsealed(path: Path) -> Any:
    content = json.loads(path.read_bytes())
    if path.name == "zarr.json":
        content["attributes"].pop("sha256")
    content.pop("sha256", None)
    return content


def every_reader_says_a_sentence(whole: Path, draws: st.DataObject) -> None:
    contents = {name: unsealed(whole / name) for name in NAMES}
    read_changed(whole, *draws.draw(damages(contents)))


def read_changed(run: Path, name: str, content: bytes) -> None:
    """Every reader on a run with one file changed; afterwards the run is what it was, and nothing lies beside it."""
    before, beside = files(run), set(run.parent.parent.glob("*/*"))
    try:
        (run / name).write_bytes(content)
        for read in READERS:
            with contextlib.suppress(OrographError):
                read(run)
        assert set(run.parent.parent.glob("*/*")) == beside
    finally:
        for path in files(run).keys() - before.keys():
            (run / path).unlink()
        for path, old in before.items():
            if not (run / path).is_file() or (run / path).read_bytes() != old:
                (run / path).write_bytes(old)


def files(run: Path) -> dict[str, bytes]:
    return {path.relative_to(run).as_posix(): path.read_bytes() for path in run.rglob("*") if path.is_file()}


@pytest.mark.slow
@QUICK
@given(st.data())
def test_a_record_that_is_valid_and_wrong_is_a_sentence(whole: Path, data: st.DataObject) -> None:
    every_reader_says_a_sentence(whole, data)


@pytest.mark.slow
@LONG
@given(st.data())
def test_many_records_that_are_valid_and_wrong_are_sentences(whole: Path, data: st.DataObject) -> None:
    every_reader_says_a_sentence(whole, data)


@pytest.mark.slow
@QUICK
@given(st.sampled_from(NAMES), st.binary(max_size=200))
@example("run.json", b"[" * 100_000)
@example("plan.json", b"[" * 100_000)
@example("points/0-0.00000.json", b'{"a":' * 50_000)
@example("run.json", b"1" + b"0" * 10_000)
def test_bytes_that_are_no_record_are_a_sentence(whole: Path, name: str, content: bytes) -> None:
    read_changed(whole, name, content)
