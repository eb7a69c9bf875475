"""A small sweep as a command."""

from pathlib import Path


def words(out: Path, *args: str) -> list[str]:
    """After the word `orograph`."""
    small = ["--dataset", "digits", "--widths", "6,5", "--epochs", "3", "--k", "2", "--threads", "1", "--quiet"]
    ladder = ["--points", "3", "--max", "0.01", "--subset-size", "400"]
    return ["sweep", *small, *ladder, *args, "--out", str(out)]
