"""A study that is killed again and again ends with the bytes of one that was left alone; only its timings differ."""

import hashlib
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

KILLS = 8
FLAGS = (
    "--dataset digits --subset-size 300 --model MLP1 --hidden-size 4,6 --epochs 3 --num-seeds 3 --lr 0.01 --fast --threads 1 "
    "--quiet --path-epochs 1 --curve-points 5 --2d-slice --slice-points 5 --track-curvature 2 --instability 1 --plot "
    "--paths linear,bezier,aligned --slice-directions eigenvector --keep-eigenvectors --cohort 2"
)


def command(out: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "orograph", "study", *FLAGS.split(), *more, "--out", str(out)]


def bytes_of(out: Path) -> dict[str, str]:
    """A digest of every file but the timings, by path."""
    return {
        path.relative_to(out).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(out.rglob("*"))
        if path.is_file() and "timings" not in path.relative_to(out).parts
    }


@pytest.mark.slow
@pytest.mark.parametrize("more", [(), ("--compare-optimizers", "--batch-norm", "--paths", "linear")])
def test_kills_leave_no_trace(tmp_path: Path, more: tuple[str, ...]) -> None:
    began = time.monotonic()
    subprocess.run(command(tmp_path / "whole", *more), check=True, timeout=900)
    whole = time.monotonic() - began
    dice, kills = random.Random(0), 0
    for _ in range(KILLS):
        process = subprocess.Popen(command(tmp_path / "killed", *more))
        try:
            process.wait(dice.uniform(0.3, 0.9) * whole)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            kills += 1
    subprocess.run(command(tmp_path / "killed", *more), check=True, timeout=900)
    assert kills > 0
    assert bytes_of(tmp_path / "killed") == bytes_of(tmp_path / "whole")
