"""A sweep that is killed again and again ends with the bytes of one that was left alone; only its timings differ."""

import subprocess
import time
from pathlib import Path

import pytest
from small_sweeps import command, words

from forked import finish_despite_kills, lasting
from run_bytes import bytes_of


@pytest.mark.slow
def test_kills_leave_no_trace(tmp_path: Path) -> None:
    args = ("--direction", "both", "--points", "2", "--polish", "--polish-products", "50")
    whole = lasting(words(tmp_path / "whole", *args))
    finish_despite_kills(words(tmp_path / "killed", *args), 10, whole)
    assert bytes_of(tmp_path / "killed") == bytes_of(tmp_path / "whole")


@pytest.mark.slow
def test_a_second_process_on_a_live_run_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "run"
    first = subprocess.Popen(command(out, "--epochs", "50", "--points", "40"))
    try:
        while not (out / "run.json").exists():
            assert first.poll() is None
            time.sleep(0.05)
        second = subprocess.run(command(out, "--epochs", "50", "--points", "40"), capture_output=True, text=True, timeout=300)
    finally:
        first.kill()
        first.wait()
    assert second.returncode == 2
    assert str(first.pid) in second.stderr
