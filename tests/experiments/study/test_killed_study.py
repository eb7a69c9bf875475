"""A study that is killed again and again ends with the bytes of one that was left alone; only its timings differ."""

import hashlib
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

KILLS = 3
BASE = "--dataset digits --subset-size 300 --model MLP1 --epochs 3 --fast --threads 1 --quiet --curve-points 5 --cohort 2"
STUDIES = {
    "everything": "--hidden-size 4 --num-seeds 3 --lr 0.01 --path-epochs 1 --2d-slice --slice-points 5 --track-curvature 2 "
    "--instability 1 --plot --paths linear,bezier,aligned --slice-directions eigenvector --keep-eigenvectors",
    "compared": "--hidden-size 4 --num-seeds 2 --compare-optimizers --batch-norm --paths linear --epochs 1",
}


def command(out: Path, flags: str) -> list[str]:
    return [sys.executable, "-m", "orograph", "study", *BASE.split(), *flags.split(), "--out", str(out)]


def bytes_of(out: Path) -> dict[str, str]:
    """A digest of every file but the timings, by path."""
    return {
        path.relative_to(out).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(out.rglob("*"))
        if path.is_file() and "timings" not in path.relative_to(out).parts
    }


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
