"""JSON against Python's own reader, and numbers of other libraries against Python's."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from orograph.errors import RunError
from orograph.store.encoding import decode, encode, plain, with_floats


@given(st.dictionaries(st.text(), st.floats(allow_nan=False)))
def test_every_number_comes_back_to_the_last_bit(values: dict[str, float]) -> None:
    assert with_floats(json.loads(encode(values))) == values


def test_nan_is_null_and_comes_back_as_nan() -> None:
    assert json.loads(encode({"a": math.nan})) == {"a": None}
    assert math.isnan(with_floats(json.loads(encode([math.nan])))[0])


def test_the_order_of_keys_does_not_matter() -> None:
    assert encode({"a": 1, "b": [0.1]}) == encode({"b": [0.1], "a": 1})


def test_numbers_of_other_libraries_are_pythons() -> None:
    values = {"a": np.float64(0.1), "b": torch.tensor([1, 2]), "c": np.bool_(True), "d": (np.int64(3), Path("x"))}
    assert plain(values) == {"a": 0.1, "b": [1, 2], "c": True, "d": [3, "x"]}
    with pytest.raises(TypeError, match="cannot be recorded"):
        plain({"a": object()})


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"a": ')
    with pytest.raises(RunError, match=r"a\.json is damaged"):
        decode(tmp_path / "a.json")
    with pytest.raises(RunError, match="cannot read"):
        decode(tmp_path / "b.json")
