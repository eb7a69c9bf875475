"""A small sweep as a command."""

from pathlib import Path


def words(out: Path, *args: str) -> list[str]:
    """After the word `orograph`."""
    small = ["--dataset", "digits", "--widths", "6,5", "--epochs", "4", "--k", "4", "--threads", "1", "--quiet"]
    ladder = ["--points", "4", "--max", "0.01"]
    return ["sweep", *small, *ladder, *args, "--out", str(out)]
