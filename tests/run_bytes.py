"""What runs are compared by, and the workers of one in progress."""

import hashlib
import time
from contextlib import suppress
from multiprocessing.process import BaseProcess
from pathlib import Path

import psutil


def bytes_of(out: Path) -> dict[str, str]:
    """A digest of every file but the timings, by path."""
    return {
        path.relative_to(out).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(out.rglob("*"))
        if path.is_file() and "timings" not in path.relative_to(out).parts
    }


def wait_for_worker(driver: BaseProcess) -> psutil.Process:
    """The first process that was forked to work, by the process that the driver has for that."""
    for _ in range(1200):
        assert driver.is_alive()
        for child in psutil.Process(driver.pid).children():
            with suppress(psutil.NoSuchProcess):  # a child that asked the machine something may have ended since it was listed
                for worker in child.children():
                    return worker
        time.sleep(0.05)
    raise AssertionError("no worker was started")
