"""A sweep that is killed again and again ends with the bytes of one that was left alone; only its timings differ."""

import random
import subprocess
import time
from pathlib import Path

import pytest
from small_sweeps import command, words

from forked import finish, lasting, start
from run_bytes import bytes_of


@pytest.mark.slow
def test_kills_leave_no_trace(tmp_path: Path) -> None:
    args = ("--direction", "both", "--points", "3", "--polish", "--polish-products", "50")
    whole = lasting(words(tmp_path / "whole", *args))
    dice, kills = random.Random(0), 0
    for _ in range(10):
        process = start(words(tmp_path / "killed", *args))
        process.join(dice.uniform(0.05, 0.9) * whole)
        kills += process.is_alive()
        process.kill()
        process.join()
    finish(words(tmp_path / "killed", *args))
    assert kills > 0
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
