"""What only a machine with a CUDA device can tell: the tests that need one, then the benchmarks at full size, piece by piece.

`make gpu` runs the pieces that are not done yet, in their order, and is back after the minutes that it was given: the next call
goes on. What a piece wrote stays under `build/gpu`, by the device's name. When all are done, or with `--write`, the
tables go between this script's markers in `docs/benchmarks.md`. Without a device nothing is run, and one sentence says so.

`--toy --device cpu` runs every piece at once on almost nothing, anywhere, and writes a page of its own: that the pieces work is
known before there is a device.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "benchmarks.md"
STOPPED = 124  # the exit code of a command whose time was up
MARKER, END = "<!-- gpu.py -->", "<!-- end -->"
SWEEP = ("-m", "orograph", "sweep", "--dataset", "mnist", "--points", "501", "--max", "0.1", "--end", "train")
SWEEP += ("--eigenvectors", "none", "--device", "{device}", "--quiet")
FEW = ("--dataset", "mnist-5k", "--images", "60", "--rounds", "1", "--threads", "1", "--force")
LITTLE = ("--toy", "--rounds", "1", "--threads", "1", "--force")
SHORT = ("--dataset", "digits", "--points", "3", "--epochs", "2", "--widths", "4", "--k", "2")


@dataclass(frozen=True)
class Piece:
    """A command of this interpreter.

    Attributes:
        name: also of its files.
        title: what it shows.
        words: after the interpreter; `{page}` and `{runs}` are where its tables and runs go, `{device}` is where it computes.
        minutes: that it may take; it is stopped then.
        goes_on: whether it has a next call go on where it was stopped, as a sweep does.
        toy: words after those that make almost nothing of it; of an option that is given twice, the last counts.
    """

    name: str
    title: str
    words: tuple[str, ...]
    minutes: float
    goes_on: bool = False
    toy: tuple[str, ...] = ()


def script(name: str, *options: str) -> tuple[str, ...]:
    """A benchmark of this folder on the device."""
    return (f"benchmarks/{name}", "--device", "{device}", "--markdown", "{page}", *options)


def tests() -> tuple[str, ...]:
    """The files with tests that need a device: to import all others would take longer, and more packages."""
    files = sorted((ROOT / "tests").rglob("test_*.py"))
    return tuple(str(file) for file in files if "mark.gpu" in file.read_text(encoding="utf-8"))


PIECES = (
    Piece(
        "tests", "Tests that need a device", ("-m", "pytest", "-q", "-m", "gpu", "-o", "addopts=--strict-markers", *tests()), 4
    ),
    Piece(
        "spectrum",
        "Products and pairs against other programs",
        script("spectrum.py"),
        8,
        toy=(*FEW, "--epochs", "1", "--pairs", "2", "--products", "1", "--parts", "pairs"),
    ),
    Piece("gradients", "A product in gradients", script("gradients.py", "--memory", "16GiB"), 6, toy=LITTLE),
    Piece("precision", "TF32 and BF16", script("precision.py", "--memory", "24GiB"), 6, toy=LITTLE),
    Piece("training", "Training one by one and in cohorts", script("training.py"), 3, toy=(*FEW, "--models", "2")),
    Piece(
        "together", "Spectra in step", script("together.py"), 3, toy=(*FEW, "--models", "2", "--pairs", "2", "--cases", "60x8")
    ),
    Piece(
        "fresh",
        "501 points, each from the initialisation",
        (*SWEEP, "--start", "fresh", "--out", "{runs}/fresh"),
        8,
        goes_on=True,
        toy=SHORT,
    ),
    Piece(
        "billion", "A language model of a thousand million parameters", script("large.py", "--model", "billion"), 8, toy=LITTLE
    ),
    Piece(
        "previous",
        "501 points, each from its neighbour",
        (*SWEEP, "--start", "previous", "--out", "{runs}/previous"),
        18,
        goes_on=True,
        toy=SHORT,
    ),
)


def main(arguments: Sequence[str] | None = None, pieces: Sequence[Piece] = PIECES, page: Path = PAGE) -> int:
    """Works for some minutes; 0 where every piece that was run ended well."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--minutes", type=float, default=19.0, help="be back then")
    options.add_argument("--write", action="store_true", help="write the page with what there is")
    options.add_argument("--folder", type=Path, default=ROOT / "build" / "gpu", help="of what pieces wrote")
    options.add_argument("--toy", action="store_true", help="run every piece on almost nothing, into a page of its own")
    options.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu: with --toy only")
    given = options.parse_args(arguments)
    if given.device == "cpu" and not given.toy:
        options.error("--device cpu is for --toy: the full size is for a CUDA device.")
    if given.device == "cuda" and not torch.cuda.is_available():
        print("There is no CUDA device here, so nothing was run and docs/benchmarks.md stays as it is.")
        return 0
    device = "CPU" if given.device == "cpu" else torch.cuda.get_device_name()
    folder = given.folder / (device.replace(" ", "-").replace("/", "-") + "-toy" * given.toy)
    folder.mkdir(parents=True, exist_ok=True)
    if given.toy:
        pieces, page = [replace(piece, words=(*piece.words, *piece.toy)) for piece in pieces], folder / "page.md"
        page.write_text("# Everything on almost nothing: no number here means anything\n", encoding="utf-8")
    done = work(pieces, folder, given.device, time.monotonic() + 60 * given.minutes)
    left = [piece.name for piece in pieces if piece.name not in done]
    if given.write or not left:
        write(page, section(device, pieces, done, folder))
        print(f"{page} has what {device} gave.")
    if left:
        print(f"left for the next call: {', '.join(left)}.")
    return 1 if any(each["code"] for each in done.values()) else 0


def work(pieces: Sequence[Piece], folder: Path, device: str, end: float) -> dict[str, dict]:
    """What is known of the pieces that are done: their exit codes and the seconds of all their calls."""
    done = {}
    for piece in pieces:
        known = folder / f"{piece.name}.json"
        before = json.loads(known.read_text(encoding="utf-8")) if known.exists() else {"code": None, "seconds": 0.0}
        if before["code"] is None and end - time.monotonic() >= 60 * (1 if piece.goes_on else piece.minutes):
            code, seconds = run(piece, folder, device, min(60 * piece.minutes, end - time.monotonic()))
            if code is None and not piece.goes_on:
                code = STOPPED
            before = {"code": code, "seconds": before["seconds"] + seconds}
            known.write_text(json.dumps(before), encoding="utf-8")
            print(f"{piece.name}: {'stopped' if code is None else f'exit code {code}'} after {seconds:.0f} s", flush=True)
        if before["code"] is not None:
            done[piece.name] = before
    return done


def run(piece: Piece, folder: Path, device: str, limit: float) -> tuple[int | None, float]:
    """The exit code, None where time was up, and the seconds that it took."""
    words = [word.format(page=folder / f"{piece.name}.md", runs=folder, device=device) for word in piece.words]
    source = os.pathsep.join(filter(None, [str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]))
    began = time.monotonic()
    with open(folder / f"{piece.name}.log", "ab") as log:
        try:
            code: int | None = subprocess.run(
                [sys.executable, *words],
                cwd=ROOT,
                stdout=log,
                stderr=subprocess.STDOUT,
                timeout=limit,
                env={**os.environ, "PYTHONPATH": source},
            ).returncode
        except subprocess.TimeoutExpired:
            code = None
    return code, time.monotonic() - began


def section(device: str, pieces: Sequence[Piece], done: dict[str, dict], folder: Path) -> str:
    """Everything measured, under the device's name."""
    rows = []
    for piece in pieces:
        state = "not run" if piece.name not in done else "done" if done[piece.name]["code"] == 0 else "FAILED"
        took = f"{done[piece.name]['seconds']:.0f} s" if piece.name in done else "–"
        rows.append(f"| {piece.title} | {state} | {took} |")
    parts = [f"## On a {device}", "\n".join(["| | | time |", "| --- | --- | ---: |", *rows])]
    for piece in pieces:
        table = folder / f"{piece.name}.md"
        if piece.name in done and table.exists():
            parts.append(table.read_text(encoding="utf-8").strip().replace("\n## ", "\n### ").replace("## ", "### ", 1))
    return "\n\n".join(parts)


def write(page: Path, text: str) -> None:
    """Puts the section between this script's markers, at the end of the page where there are none yet."""
    old = page.read_text(encoding="utf-8")
    if f"{MARKER}\n" not in old:
        old = f"{old.rstrip()}\n\n{MARKER}\n{END}\n"
    before, _, rest = old.partition(f"{MARKER}\n")
    page.write_text(f"{before}{MARKER}\n\n{text}\n\n{END}{rest.partition(END)[2]}", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
