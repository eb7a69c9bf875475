"""A sweep whose operators share kept traces writes what one that traces for each writes: the truth is the other run's bytes."""

from pathlib import Path

import pytest
from small_sweeps import words

from orograph.cli import main
from orograph.curvature import known
from run_bytes import bytes_of


@pytest.mark.slow
def test_the_bytes_of_a_run_are_those_without_kept_traces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, most in (("first", known.MOST), ("kept", known.MOST), ("traced", 0)):
        if name != "kept":
            known.clear()
        monkeypatch.setattr(known, "MOST", most)
        assert main(words(tmp_path / name)) == 0
        assert bool(known._KEPT) == bool(most)
    assert bytes_of(tmp_path / "first") == bytes_of(tmp_path / "kept") == bytes_of(tmp_path / "traced")
