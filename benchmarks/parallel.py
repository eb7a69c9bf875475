"""Two workers of one thread against one process of one thread: a sweep of independent points, with the same bytes.

    .venv/bin/python benchmarks/parallel.py --markdown docs/benchmarks.md

Twelve `fresh` points of the embedded images, 30 eigenpairs each, as whole commands: starting, tracing and writing
included. The bytes of all runs are compared.
"""

import hashlib
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from quiet import Watch, require_quiet
from report import Report, Table, parser, ratio, seconds, verdict

KINDS = {
    "one process": (),
    "two processes": ("--parallel", "processes", "--jobs", "2"),
    "a local Dask cluster of two": ("--parallel", "dask", "--jobs", "2"),
    "a local Ray cluster of two": ("--parallel", "ray", "--jobs", "2"),
}
SWEEP = (
    "sweep --dataset mnist-5k --start fresh --points 12 --min 0 --max 0.011 --cohort 3 --threads 1 --eigenvectors zarr --quiet"
)


def main() -> None:
    """Runs every kind in turn, round by round."""
    options = parser("Sweeps with workers against one without.", rounds=2)
    options.add_argument("--points", type=int, default=12, help="points of the ladder")
    chosen = options.parse_args()
    quiet = require_quiet(force=chosen.force)
    report, watch = Report(f"Workers: {chosen.points} independent points, one thread each"), Watch()
    times: dict[str, list[float]] = {name: [] for name in KINDS}
    bytes_: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="orograph-benchmark-") as folder:
        for number in range(chosen.rounds):
            for name, flags in KINDS.items():
                if chosen.only and not any(part in name for part in chosen.only.split(",")):
                    continue
                out = Path(folder) / f"{number}-{name.replace(' ', '-')}"
                began = time.perf_counter()
                command = [*SWEEP.split(), "--points", str(chosen.points), *flags, "--out", str(out)]
                subprocess.run([sys.executable, "-m", "orograph", *command], check=True)
                times[name].append(time.perf_counter() - began)
                bytes_[name] = digest(out)
                watch.pause()
    alone = min(times["one process"])
    table = Table("Whole commands", ("", "minimum", "times one process", "bytes"))
    for name, found in times.items():
        if found:
            same = "the same" if bytes_[name] == bytes_["one process"] else "DIFFERENT"
            table.row(name, seconds(min(found)), ratio(alone, min(found)), same)
    report.add(table)
    for name, found in list(times.items())[1:]:
        if found:
            report.say(verdict(f"{name}, against one process", alone / min(found), 1.6, at_least=True))
    report.finish(chosen, watch, quiet=quiet)


def digest(run: Path) -> str:
    """Of every file but the timings."""
    total = hashlib.sha256()
    for path in sorted(run.rglob("*")):
        if path.is_file() and "timings" not in path.relative_to(run).parts:
            total.update(path.relative_to(run).as_posix().encode() + path.read_bytes())
    return total.hexdigest()


if __name__ == "__main__":
    main()
