"""A two-dimensional slice of the landscape: what 25 × 25 evaluations of the loss cost, beside the arithmetic that they need.

OROGRAPH_DATA=… .venv/bin/python benchmarks/surface.py --markdown docs/benchmarks.md
"""

import argparse

import numpy as np

from contest import Contest, Entry, Timing
from evaluations import ForwardFloor, Loop, Orograph, SharedFloor, forward_flops
from floors import gemm_rate
from orograph.memory import format_bytes
from quiet import Watch, require_quiet
from report import Report, Table, chosen, gflops, parser, ratio, seconds, set_threads, verdict
from workload import initial_workload, read_data

OROGRAPH = "orograph"
LOOP = "loop over points"
FLOOR = "bare matrix products of as many forward passes"
SHARED = "bare matrix products, first layer shared"
TARGET = 1.5


def main() -> None:
    options = _options()
    set_threads(options.threads)
    quiet = require_quiet(force=options.force)
    workload = initial_workload(read_data(options.dataset, options.data_dir, options.images)).to(options.device)
    points, count = options.points, options.points**2
    report = Report(
        f"Surfaces: {count} evaluations ({points} × {points}) on {workload.count:,} images, {len(workload.theta):,} parameters"
    )
    watch = Watch()
    rate = gemm_rate(options.device)
    entries = {
        OROGRAPH: Entry(OROGRAPH, Orograph, {"points": points, "memory": options.memory}),
        FLOOR: Entry(FLOOR, ForwardFloor, {"points": points}),
        SHARED: Entry(SHARED, SharedFloor, {"points": points}),
        LOOP: Entry(LOOP, Loop, {"points": points}),
    }
    names = chosen(list(entries), options.only)
    with Contest(workload, threads=options.threads, device=options.device, watch=watch) as contest:
        contest.enter(entries[name] for name in names)
        timings = contest.rounds(names, "evaluate", count=options.rounds, once=[LOOP])
    _table(report, timings, forward_flops(workload.sizes, workload.count) * count, options.rounds)
    _verdicts(report, timings)
    after = gemm_rate(options.device)
    report.say(f"A large square matrix product ran at {gflops(rate)} before and {gflops(after)} after all this.")
    report.finish(options, watch, quiet=quiet)


def _options() -> argparse.Namespace:
    options = parser("Cost of a two-dimensional slice of the published MNIST network.", rounds=3)
    options.add_argument("--points", type=int, default=25, help="points along each axis")
    return options.parse_args()


def _table(report: Report, timings: dict[str, Timing], flops: int, rounds: int) -> None:
    floor = timings[FLOOR].best if FLOOR in timings else float("nan")
    table = Table(
        f"One slice ({flops / 1e12:.2f} TFLOP in the matrix products of its forward passes); {rounds} rounds, the loop once",
        ("", "minimum", "median", "of the products", "forward passes at", "memory"),
    )
    for name, timing in timings.items():
        if timing.failure:
            table.row(f"{name}: {timing.failure}", *["–"] * 5)
            continue
        times = (seconds(timing.best), seconds(timing.median), ratio(timing.best, floor))
        table.row(name, *times, gflops(flops / timing.best), format_bytes(max(0, timing.memory)))
    report.add(table)
    report.say(
        "Points of a slice lie in a plane, and the first layer reads the same data at each: its outputs are combined from three. "
        "So a slice can take less than the products of its forward passes; what is then left to multiply is the last floor."
    )


def _verdicts(report: Report, timings: dict[str, Timing]) -> None:
    def best(name: str) -> float:
        return timings[name].best if name in timings else float("nan")

    what = "a slice against the matrix products of its forward passes"
    report.say(verdict(what, best(OROGRAPH) / best(FLOOR), TARGET, at_least=False))
    report.say(f"Against the products that are left when the first layer is shared: {ratio(best(OROGRAPH), best(SHARED))}.")
    ours, loops = (timings[name].result if name in timings else None for name in (OROGRAPH, LOOP))
    if ours is not None and loops is not None:
        difference = float(np.abs(ours - loops).max() / np.abs(loops).max())
        report.say(f"Largest difference from the loop's losses, relative to the largest loss: {difference:.1e}.")


if __name__ == "__main__":
    main()
