"""Fields of records are of the kinds that the registry of quantities gives them, when they are written and when they are read."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from writing import CELLS, commit, create

from orograph.errors import ConfigurationError, RunError
from orograph.store.encoding import decode, encode, sealed
from orograph.store.findings import FindingKey, write_finding
from orograph.store.kinds import kind_of, wrong_field
from orograph.store.run import Run

RECORD = "points/0-0.00000.json"
GOOD = {
    "train_loss": [0.5, 3, True, math.nan, math.inf],
    "effective_rank_top_10": [2.5],
    "trace_error": [0.1],
    "stopped": ["patience", math.nan],
    "class_accuracy": [[1.0, 2], [], [math.nan]],
    "clusters": [[], [[0, 2], [2, 5]]],
    "history": [[], [{"epoch": 1, "lr": 0.1}, {"epoch": 2.0, "lr": math.nan}]],
    "products": [5, {"spent": 3}],
    "nobody_entered_this": [None, {"a": ["b"]}],
}
WRONG = {
    "train_loss": ["x", [1.0], {}],
    "effective_rank_top_10": ["x"],
    "trace_error": [[]],
    "stopped": [1, ["patience"], {}],
    "class_accuracy": [1.0, "x", ["x"], [[1.0]], [{}]],
    "clusters": [1, [1], [[1]], [[1, 2.5]], [["a", "b"]], math.nan],
    "history": [{}, [1], [{}], [{"lr": 1.0}], [{"epoch": "x"}], [{"epoch": 1.5}], [{"epoch": math.nan}], [{"epoch": math.inf}]],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in GOOD.items() for value in values])
def test_what_may_stand_in_a_field_is_taken(name: str, value: object) -> None:
    assert wrong_field({"test_loss": 1.0, name: value}) is None


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_what_may_not_is_named_with_what_is_due(name: str, value: object) -> None:
    assert wrong_field({"test_loss": 1.0, name: value}) == (name, kind_of(name))


@pytest.mark.parametrize(("name", "value"), [("train_loss", "x"), ("history", [1]), ("error", 3), ("class_accuracy", {"a": 1})])
@pytest.mark.parametrize("seal", [True, False])
def test_a_record_with_a_field_of_another_kind_is_damaged(tmp_path: Path, name: str, value: object, seal: bool) -> None:
    with create(tmp_path) as run:
        commit(run, CELLS[0])
    content = decode(tmp_path / RECORD)
    content["scalars"][name] = value
    (tmp_path / RECORD).write_bytes(sealed(content) if seal else encode(content))
    with pytest.raises(RunError, match=rf"0-0\.00000\.json is damaged: its field '{name}' is not a .*; restore it, or"):
        Run.open(tmp_path)


def test_no_field_is_written_that_could_not_be_read(tmp_path: Path) -> None:
    with create(tmp_path) as run:
        with pytest.raises(ConfigurationError, match=r"field 'certificate' of 0-0\.00000 is 3, but is to be a text"):
            run.commit(CELLS[0], scalars={"certificate": 3})
        assert not run.records
    with pytest.raises(ConfigurationError, match="'trace' of findings/curvature/0/a is 'much'"):
        write_finding(tmp_path, FindingKey("curvature", "0", "a"), "done", {"trace": "much"}, {"branch": np.arange(3)})
    assert not list(tmp_path.rglob("*.safetensors"))


@pytest.mark.parametrize("text", ['"\\ud800"', '["\\udc00x"]', '{"\\uDBFF": 1}', '{"a": "\\ud83d \\ude00"}'])
def test_half_a_character_is_no_text(tmp_path: Path, text: str) -> None:
    file = tmp_path / "a.json"
    file.write_text(text)
    assert json.loads(text)
    with pytest.raises(RunError, match="no JSON"):
        decode(file)


def test_whole_characters_are_however_they_are_written(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text('["\\ud83d\\ude00", "\\u00e9", "😀é", "\\\\ud800"]')
    assert decode(file) == ["😀", "é", "😀é", "\\ud800"]
    file.write_bytes(b'["\xed\xa0\x80"]')  # half of one, as no UTF-8 has it
    with pytest.raises(RunError, match="no JSON"):
        decode(file)
