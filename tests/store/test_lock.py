"""The lock against a real second process, alive, ended and killed."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from writing import create

from orograph.errors import RunError
from orograph.store.lock import LOCK_NAME, RunLock

HOLDER = "import sys; from pathlib import Path; from orograph.store.lock import RunLock; "
HOLDER += "lock = RunLock(Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()"


def holder(folder: Path) -> subprocess.Popen:
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    return process


def test_a_second_process_is_refused_and_told_who_writes(tmp_path: Path) -> None:
    create(tmp_path).close()
    process = holder(tmp_path)
    try:
        before = sorted(tmp_path.rglob("*"))
        with pytest.raises(RunError, match=f"being written by process {process.pid} on "):
            create(tmp_path)
        assert sorted(tmp_path.rglob("*")) == before
    finally:
        process.communicate(b"")
    create(tmp_path).close()


def test_a_killed_process_leaves_no_stale_lock(tmp_path: Path) -> None:
    process = holder(tmp_path)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert (tmp_path / LOCK_NAME).read_text()
    lock = RunLock(tmp_path)
    assert f"process {os.getpid()} " in (tmp_path / LOCK_NAME).read_text()
    lock.release()
    lock.release()
    assert (tmp_path / LOCK_NAME).read_bytes() == b""


def test_one_process_cannot_open_a_run_twice_for_writing(tmp_path: Path) -> None:
    with create(tmp_path), pytest.raises(RunError, match="being written"):
        create(tmp_path)


def test_a_run_that_fails_to_open_is_not_left_locked(tmp_path: Path) -> None:
    create(tmp_path).close()
    (tmp_path / "plan.json").write_text("[")
    for _ in range(2):
        with pytest.raises(RunError, match="damaged"):
            create(tmp_path)
