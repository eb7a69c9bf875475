"""A small sweep as a command of its own."""

import sys
from pathlib import Path


def command(out: Path, *args: str) -> list[str]:
    small = ["--dataset", "digits", "--widths", "6,5", "--epochs", "4", "--k", "4", "--threads", "1", "--quiet"]
    ladder = ["--points", "4", "--max", "0.01"]
    return [sys.executable, "-m", "orograph", "sweep", *small, *ladder, *args, "--out", str(out)]
