"""A writer killed by SIGKILL at random moments, resumed each time, against one that was never interrupted: byte for byte.

The writer is a separate process that knows nothing of being killed; the comparison is by plain file contents.
"""

import multiprocessing
import os
import random
import signal
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
from test_run_directory import files
from writing import write

from orograph.store.run import Run

SERVER = multiprocessing.get_context("forkserver")  # imports once what every writer needs
SERVER.set_forkserver_preload(["orograph.store.run"])


def start(path: Path) -> BaseProcess:
    """A writer that has just opened the run."""
    before = sessions(path)
    process = SERVER.Process(target=write, args=(path,))
    process.start()
    while process.is_alive() and sessions(path) == before:
        time.sleep(0.001)
    return process


def sessions(path: Path) -> int:
    folder = path / "timings" / "sessions"
    return len(list(folder.iterdir())) if folder.exists() else 0


@pytest.mark.slow
def test_killed_at_random_moments_and_resumed_the_bytes_are_the_same(tmp_path: Path) -> None:
    write(tmp_path / "whole")
    draw = random.Random(0)
    kills = 0
    broken = tmp_path / "broken"
    while True:
        process = start(broken)
        if kills < 10:
            process.join(draw.uniform(0, 0.06))
        else:
            process.join()
        if not process.is_alive():
            assert process.exitcode == 0
            break
        assert process.pid
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        kills += 1
        Run.open(broken)  # what is recorded is whole at any moment
    assert kills >= 5, "the writer ended before it could be killed often enough"
    assert files(broken) == files(tmp_path / "whole")
    assert Run.open(broken).damaged() == ()
