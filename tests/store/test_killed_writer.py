"""A writer killed by SIGKILL at random moments, resumed each time, against one that was never interrupted: byte for byte.

The writer is a separate process that knows nothing of being killed; the comparison is by plain file contents.
"""

import itertools
import multiprocessing
import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
import test_damages
from test_run_directory import files
from writing import write

from orograph.commands.repairing import inspect, repair
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


def gone_at(call: str, number: int, work: Callable[[], object]) -> int:
    """Work that is gone at its so-manyth call of a function of the system; its exit code, 9 if it got that far."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    try:
        original, count = getattr(os, call), 0

        def gone(*args: object, **options: object) -> object:
            nonlocal count
            count += 1
            if count == number:
                os._exit(9)
            return original(*args, **options)

        setattr(os, call, gone)
        work()
    except BaseException:
        os._exit(1)
    os._exit(0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("call", "first"),
    [
        pytest.param(call, first, marks=[] if (call, first) == ("replace", 0) else pytest.mark.slow)
        for call in ("replace", "fsync", "mkdir")
        for first in range(0, 9, 3 if call == "fsync" else 1)  # what lies on the disk is what lies there at a `replace` nearby
    ],
)
def test_gone_at_any_call_of_the_system_and_resumed_the_bytes_are_the_same(tmp_path: Path, call: str, first: int) -> None:
    test_damages.write(tmp_path / "whole")
    expected = files(tmp_path / "whole")
    for number in itertools.count(first + 1, 9):
        broken = tmp_path / f"broken-{number}"
        code = gone_at(call, number, partial(test_damages.write, broken))
        assert code in (0, 9)
        if code == 0:
            break
        test_damages.write(broken)
        assert files(broken) == expected
        assert not inspect(broken)
    assert number > 9 or call == "mkdir"


def repaired(run: Path) -> None:
    repair(run, inspect(run))


LATER = [pytest.param(call, marks=pytest.mark.slow) for call in ("fsync", "unlink")]


@pytest.mark.slow
@pytest.mark.parametrize("call", ["replace", "rmdir", "mkdir", *LATER])
def test_a_repair_that_is_gone_at_any_call_of_the_system_is_done_by_the_next(tmp_path: Path, call: str) -> None:
    whole, damaged = tmp_path / "whole", tmp_path / "damaged"
    test_damages.write(whole)
    shutil.copytree(whole, damaged)
    for name in ("run.json", "plan.json", "arrays.zarr/gradient/zarr.json", "analysis.json", "test_data/Model-0.csv"):
        (damaged / name).write_bytes(b"")
    for kind in ("chunk", "weights", "analysis's arrays"):
        test_damages.flip(0.5)(damaged / test_damages.KINDS[kind])
    for kind in ("anchor", "finding"):
        test_damages.to_folder(damaged / test_damages.KINDS[kind])
    for number in itertools.count(1):
        broken = tmp_path / f"broken-{number}"
        shutil.copytree(damaged, broken)
        code = gone_at(call, number, partial(repaired, broken))
        assert code in (0, 9)
        repaired(broken)
        assert not inspect(broken)
        test_damages.write(broken)
        assert files(broken) == files(whole)
        shutil.rmtree(broken)
        if code == 0:
            break
    assert number > (1 if call != "mkdir" else 0)
