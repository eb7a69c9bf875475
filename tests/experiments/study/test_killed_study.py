"""A study that is killed again and again ends with the bytes of one that was left alone; only its timings differ."""

import random
from pathlib import Path

import pytest
from small_studies import STUDIES, words

from forked import finish, lasting, start
from run_bytes import bytes_of

KILLS = 3


@pytest.mark.slow
@pytest.mark.parametrize("name", STUDIES)
def test_kills_leave_no_trace(tmp_path: Path, name: str) -> None:
    whole = lasting(words(tmp_path / "whole", STUDIES[name]))
    dice, kills = random.Random(0), 0
    for _ in range(KILLS):
        process = start(words(tmp_path / "killed", STUDIES[name]))
        process.join(dice.uniform(0.05, 0.9) * whole)
        kills += process.is_alive()
        process.kill()
        process.join()
    finish(words(tmp_path / "killed", STUDIES[name]))
    assert kills > 0
    assert bytes_of(tmp_path / "killed") == bytes_of(tmp_path / "whole")
