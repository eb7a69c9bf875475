"""A study that is killed again and again ends with the bytes of one that was left alone; only its timings differ."""

import random
import subprocess
import time
from pathlib import Path

import pytest
from small_studies import STUDIES, command

from run_bytes import bytes_of

KILLS = 3


@pytest.mark.slow
@pytest.mark.parametrize("name", STUDIES)
def test_kills_leave_no_trace(tmp_path: Path, name: str) -> None:
    flags = STUDIES[name]
    began = time.monotonic()
    subprocess.run(command(tmp_path / "whole", flags), check=True, timeout=900)
    whole = time.monotonic() - began
    dice, kills = random.Random(0), 0
    for _ in range(KILLS):
        process = subprocess.Popen(command(tmp_path / "killed", flags))
        try:
            process.wait(dice.uniform(0.3, 0.9) * whole)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            kills += 1
    subprocess.run(command(tmp_path / "killed", flags), check=True, timeout=900)
    assert kills > 0
    assert bytes_of(tmp_path / "killed") == bytes_of(tmp_path / "whole")
