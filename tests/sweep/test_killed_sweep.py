"""A sweep that is killed again and again ends with the bytes of one that was left alone; only its timings differ."""

from pathlib import Path

import pytest
from small_sweeps import words

from forked import finish_despite_kills, lasting, start, wait_until
from orograph.cli import main
from run_bytes import bytes_of


@pytest.mark.slow
def test_kills_leave_no_trace(tmp_path: Path) -> None:
    args = ("--direction", "both", "--points", "2", "--polish", "--polish-products", "50")
    whole = lasting(words(tmp_path / "whole", *args))
    finish_despite_kills(words(tmp_path / "killed", *args), 4, whole)
    assert bytes_of(tmp_path / "killed") == bytes_of(tmp_path / "whole")


@pytest.mark.slow
def test_a_second_process_on_a_live_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    long = words(out, "--epochs", "50", "--points", "40")
    first = start(long)
    try:
        wait_until((out / "run.json").exists, first)
        assert main(long) == 2
    finally:
        first.kill()
        first.join()
    assert str(first.pid) in capsys.readouterr().err
