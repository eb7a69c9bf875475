"""Small sweeps that grow, and how two runs are held against each other."""

import json
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from orograph.cli import main
from run_bytes import bytes_of

SMALL = ["--dataset", "digits", "--subset-size", "200", "--widths", "5", "--epochs", "2", "--threads", "1", "--quiet"]


KEPT = tempfile.TemporaryDirectory(prefix="growing-runs-")  # for as long as the process


def make(out: Path, *args: str) -> Path:
    """A sweep of two strengths and two pairs, where nothing else is said: a copy of one that is made once."""
    shutil.copytree(_made(args), out)
    return out


@cache
def _made(args: tuple[str, ...]) -> Path:
    usual = {"--k": "2", "--strengths": "0.01,0.02"}
    rest = [word for name, value in usual.items() if name not in args for word in (name, value)]
    out = Path(tempfile.mkdtemp(dir=KEPT.name)) / "run"
    assert main(["sweep", *SMALL, *rest, *args, "--out", str(out)]) == 0
    return out


def grow(out: Path, *args: str) -> None:
    assert main(["extend", str(out), *args, "--quiet"]) == 0


def contents(out: Path) -> dict[str, Any]:
    """Every file of a run but its timings: a digest of each, of records what they say.

    Left out is what tells one run from another, or when something was asked: identities, and `run.json`.
    """
    found: dict[str, Any] = {name: digest for name, digest in bytes_of(out).items() if not name.endswith(("run.json", ".lock"))}
    for name in found:
        if name.startswith("points/"):
            record = json.loads((out / name).read_text())
            found[name] = {key: value for key, value in record.items() if key not in ("of", "sha256")}
    return found


def of_points(out: Path, *stems: str) -> dict[str, Any]:
    """What belongs to some points."""
    return {name: each for name, each in contents(out).items() if any(stem in name for stem in stems)}
