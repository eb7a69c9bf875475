"""What a Hessian-vector product and a new θ cost in time and memory, against the number of images and the width of the network.

    OROGRAPH_DATA=… .venv/bin/python benchmarks/scaling.py --markdown scaling.md

Two hidden layers of equal width; each case runs in a process of its own, so that its peak memory is its own. θ is the
initialisation, which costs what any other does. Cases whose estimated time is above `--limit` are left out, and the table says
so.
"""

import argparse
import itertools
import math

from contest import Contest, Entry, Timing
from floors import gemm_rate, gradient_flops, product_flops
from orograph.data import Dataset
from orograph.memory import format_bytes
from ours import Orograph
from quiet import Watch, require_quiet
from report import Report, Table, gflops, parser, seconds, set_threads
from workload import CLASSES, initial_workload, read_data

CASE = "orograph"
_SLOWER = 1.5  # than a large matrix product: what estimates allow for


def main() -> None:
    options = _options()
    set_threads(options.threads)
    quiet = require_quiet(force=options.force)
    report = Report(f"Scaling: one Hessian-vector product and a new θ, two hidden layers, memory budget {options.memory}")
    rate, watch = gemm_rate(options.device), Watch()
    table = Table(
        f"Minimum of {options.rounds} rounds; a large square matrix product runs at {gflops(rate)}",
        (
            "images × width",
            "parameters",
            "a product needs",
            "one product",
            "rate",
            "of GEMM",
            "a primal pass needs",
            "new θ",
            "rate",
            "peak memory",
        ),
    )
    plans = []
    for images in [options.images] if options.images else _integers(options.sizes):
        data = read_data(options.dataset, options.data_dir, images)
        for width in _integers(options.widths):
            plans.append(_case(data, width, rate, options, watch, table))
    report.add(table)
    report.say(
        "Needs are those of the matrix products alone. A new θ is one pass over the data, no product. Memory is the peak "
        "above what torch, data and model take, reached while products or primal passes run."
    )
    report.add(_plans(plans))
    report.finish(options, watch, quiet=quiet)


def _options() -> argparse.Namespace:
    options = parser("Cost of a product against the number of images and the width.", rounds=3)
    options.add_argument("--sizes", default="6000,60000", help="numbers of images; --images gives a single one")
    options.add_argument("--widths", default="128,512,2048,4096", help="widths of the two hidden layers")
    options.add_argument("--limit", type=float, default=1500.0, help="leave out cases estimated to take more seconds than this")
    return options.parse_args()


def _integers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def _case(data: Dataset, width: int, rate: float, options: argparse.Namespace, watch: Watch, table: Table) -> tuple[str, str]:
    """Measures one case into a row of the table; its name, and how its operator multiplied."""
    count, sizes = len(data.train_targets), (math.prod(data.input_shape), width, width, CLASSES)
    parameters = sum(inner * outer + outer for inner, outer in itertools.pairwise(sizes))
    product, primal = product_flops(sizes, count), gradient_flops(sizes, count)
    name = f"{count:,} × {width}"
    head = (name, f"{parameters:,}", _flops(product))
    # Building checks the trace by double backward; every round has one product, and a new θ with one more.
    once = _SLOWER * (3 * primal + 2 * product) / rate
    each = _SLOWER * (primal + 2 * product) / rate
    rounds = min(options.rounds, int((options.limit - once) / each))
    if rounds < 1:
        left_out = f"left out: estimated {seconds(once + each)}, above the limit of {seconds(options.limit)}"
        table.row(*head, left_out, "–", "–", _flops(primal), "–", "–", "–")
        return name, left_out
    workload = initial_workload(data, (width, width)).to(options.device)
    entry = Entry(CASE, Orograph, {"memory": options.memory})
    with Contest(workload, threads=options.threads, device=options.device, watch=watch) as contest:
        contest.enter([entry])
        first = contest.rounds([CASE], "first_product", count=1)[CASE]
        timing = contest.rounds([CASE], "hvp", count=rounds)[CASE]
        moved = contest.rounds([CASE], "new_theta", count=rounds)[CASE]
        failure = first.failure or timing.failure or moved.failure
        if failure:
            table.row(*head, failure[:80], "–", "–", _flops(primal), "–", "–", "–")
            return name, failure
        plan = contest.call(CASE, "plan").result
    _row(table, head, (product, primal), rate, (timing, moved))
    fewer = f" ({rounds} round{'s' if rounds > 1 else ''} within the limit)" if rounds < options.rounds else ""
    return name, f"{plan}; to the first product {seconds(first.best)}{fewer}"


def _row(table: Table, head: tuple[str, ...], flops: tuple[int, int], rate: float, timings: tuple[Timing, Timing]) -> None:
    (product, primal), (timing, moved) = flops, timings
    best, fresh = timing.best, min(turn.result[0] for turn in moved.turns)
    memory = format_bytes(max(0, timing.memory, moved.memory))
    share = f"{100 * product / best / rate:.0f} %"
    table.row(*head, seconds(best), gflops(product / best), share, _flops(primal), seconds(fresh), gflops(primal / fresh), memory)


def _plans(plans: list[tuple[str, str]]) -> Table:
    table = Table("What the engine chose", ("images × width", "plan"))
    for name, plan in plans:
        table.row(name, plan)
    return table


def _flops(count: int) -> str:
    return f"{count / 1e9:.3g} GFLOP" if count < 1e12 else f"{count / 1e12:.3g} TFLOP"


if __name__ == "__main__":
    main()
