"""A small sweep as a command of its own, and the bytes that it leaves."""

import hashlib
import sys
from pathlib import Path


def command(out: Path, *args: str) -> list[str]:
    small = ["--dataset", "digits", "--widths", "6,5", "--epochs", "4", "--k", "4", "--threads", "1", "--quiet"]
    ladder = ["--points", "4", "--max", "0.01"]
    return [sys.executable, "-m", "orograph", "sweep", *small, *ladder, *args, "--out", str(out)]


def bytes_of(out: Path) -> dict[str, str]:
    """A digest of every file but the timings, by path."""
    return {
        path.relative_to(out).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(out.rglob("*"))
        if path.is_file() and "timings" not in path.relative_to(out).parts
    }
