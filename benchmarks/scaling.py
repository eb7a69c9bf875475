"""How time and memory grow with the samples N, the parameters P, the pairs k, the layers and the vocabulary.

    .venv/bin/python benchmarks/scaling.py --markdown docs/benchmarks.md

Each is doubled some times while the rest stays; a cell is one size, measured in processes of its own, so that its peak memory is
its own. Beside it stands the floor: the bare matrix products of a perceptron, measured (`floors.ProductFloor`), and for the GPT
block those that PyTorch counts, at the rate of a large square product. The exponent a of time ∝ sizeᵃ is the slope of a straight
line through the logarithms, with its standard error. Every finished cell is a file under `build/scaling`, and is not measured
again: a run that was stopped goes on. θ is the initialisation, which costs what any other does, but for pairs.
"""

import argparse
import json
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import linregress

from contest import Contest, Entry
from floors import ProductFloor, counted_flops, gemm_rate
from orograph.memory import format_bytes
from ours import Orograph
from quiet import LIMIT, Watch, require_quiet
from report import Report, Table, chosen, gflops, parser, ratio, seconds, set_threads
from subjects import GROWING, Case, growing

OURS, FLOOR = "orograph", "bare matrix products"
FEW = 4  # samples whose FLOPs are counted; they are proportional to the samples
WORDS = {"samples": "samples N", "width": "parameters P, by width", "pairs": "pairs k", "layers": "hidden layers"}
WORDS |= {"vocabulary": "vocabulary V, of a GPT block"}


def main() -> None:
    """Measures the cells that are not there, then writes the table of all that are."""
    options = _options()
    set_threads(options.threads)
    quiet = require_quiet(force=options.force)
    folder = options.folder / ("quick" if options.quick else options.device)
    folder.mkdir(parents=True, exist_ok=True)
    given = {name: getattr(options, name) for name in ("rounds", "threads", "memory")}
    cells = [(series, size) for series in chosen(list(GROWING), options.only) for size in GROWING[series][options.quick]]
    missing = [cell for cell in cells if _known(folder, *cell, given) is None]
    rate, watch, began = gemm_rate(options.device, 0.1 if options.quick else 1.0), Watch(), time.monotonic()
    for number, (series, size) in enumerate(missing):
        record = measured(series, size, rate, options, watch)
        record |= {"given": given, "quiet": quiet and watch.cores <= LIMIT}
        _file(folder, series, size).write_text(json.dumps(record, indent=1), encoding="utf-8")
        left = (time.monotonic() - began) / (number + 1) * (len(missing) - number - 1)
        shown = record["failure"] or seconds(record["seconds"])
        print(f"[{number + 1}/{len(missing)}, {left:.0f} s left] {series} {size}: {shown}", flush=True)
    report = Report("Scaling: how time and memory grow")
    known = {(series, size): _known(folder, series, size, given) for series, size in cells}
    tables(report, {cell: record for cell, record in known.items() if record})
    if options.quick:
        report.say("The smallest networks and a few samples: these numbers show that everything works, and nothing else.")
    report.finish(options, watch, quiet=quiet)


def _options() -> argparse.Namespace:
    options = parser("Growth of time and memory with samples, parameters, pairs, layers and vocabulary.", rounds=5)
    options.add_argument("--quick", action="store_true", help="the smallest of everything, to see that it works")
    options.add_argument("--folder", type=Path, default=Path("build") / "scaling", help="of finished cells")
    options.set_defaults(dataset=None)
    return options.parse_args()


def _file(folder: Path, series: str, size: int) -> Path:
    return folder / f"{series}-{size}.json"


def _known(folder: Path, series: str, size: int, given: dict[str, Any]) -> dict[str, Any] | None:
    """What was measured there with the same options."""
    file = _file(folder, series, size)
    record = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    return record if record.get("given") == given else None


def measured(series: str, size: int, rate: float, options: argparse.Namespace, watch: Watch) -> dict[str, Any]:
    """One cell: the least seconds of the rounds, of the floor too, the peak memory, and the work that both do."""
    make = partial(growing, series, size, options.quick)
    case = make()
    few = _few(case)
    record = {"parameters": case.size, "samples": case.count, "products": 1, "failure": ""}
    with Contest(make, threads=options.threads, device=options.device, watch=watch) as contest:
        contest.enter([Entry(OURS, Orograph, {"memory": options.memory})])
        if series == "pairs":
            timing = contest.rounds([OURS], "pairs", size, 1e-3, count=min(2, options.rounds))[OURS]
        else:
            timing = contest.rounds([OURS], "hvp", count=options.rounds, warm=True)[OURS]
        if timing.failure:
            return record | {"failure": timing.failure[:80]}
        record |= {"seconds": timing.best, "memory": max(0, timing.memory), "plan": contest.call(OURS, "plan").result}
        if series == "pairs":
            record["products"] = timing.result.products
            if timing.result.details["converged"] < size:
                record["failure"] = f"only {timing.result.details['converged']} of {size} pairs converged"
        contest.leave(OURS)
        record["flops"] = counted_flops(few.module, few.inputs, few.targets)[0] * record["samples"] / few.count
        record["floor"] = record["flops"] / rate
        if series != "vocabulary":
            contest.enter([Entry(FLOOR, ProductFloor)])
            record["floor"] = contest.rounds([FLOOR], "hvp", count=options.rounds, warm=True)[FLOOR].best
    return record


def _few(case: Case) -> Case:
    """The case on some of its samples."""
    return Case(case.name, case.module, case.inputs[:FEW], case.targets[:FEW], case.unit)


def tables(report: Report, cells: dict[tuple[str, int], dict[str, Any]]) -> None:
    """The growth of every series in one table, and all cells in another."""
    growth = Table(
        "Growth",
        ("with", "from … to", "time", "∝ size to the", "floor", "∝ size to the", "× floor", "peak memory", "∝ size to the"),
    )
    every = Table("Every size", ("", "parameters", "products", "GFLOP", "time", "floor", "× floor", "rate", "peak memory"))
    for series in dict.fromkeys(series for series, _ in cells):
        mine = {size: record for (name, size), record in cells.items() if name == series}
        good = {size: record for size, record in mine.items() if not record["failure"]}
        if len(good) > 2:
            sizes = [record["parameters"] if series == "width" else size for size, record in good.items()]
            growth.row(WORDS[series], f"{sizes[0]:,} … {sizes[-1]:,}", *_grown(sizes, list(good.values())))
        for size, record in mine.items():
            every.row(f"{series} {size:,}{'' if record['quiet'] else ' †'}", *_cell(record))
    report.add(growth)
    report.say(
        "Time is that of one product, or of k pairs from module, loss and data on. An exponent is the slope of the logarithms "
        "over all sizes, ± its standard error; where something constant is left, it is below that of large sizes. The floor is "
        "that of the bare matrix products of a perceptron, of the GPT block what PyTorch counts at the rate of a large square "
        "one; of pairs, that of as many products as were made. Memory is the peak meanwhile, above what torch, data and model "
        "take."
    )
    report.add(every)
    report.say("Rates are those of the matrix products. † measured beside other load.")
    plans = Table("What the engine chose at the largest size", ("", "plan"))
    for series, size in {series: size for (series, size), record in cells.items() if record.get("plan")}.items():
        plans.row(f"{series} {size:,}", cells[series, size]["plan"].partition(", tested")[0])
    report.add(plans)


def exponent(sizes: Sequence[float], values: Sequence[float]) -> str:
    """The slope of log(value) in log(size), and its standard error."""
    if min(values) <= 0:
        return "–"
    line = linregress(np.log(sizes), np.log(values))
    return f"{line.slope:.2f} ± {line.stderr:.2f}"


def _grown(sizes: Sequence[float], records: Sequence[dict[str, Any]]) -> list[str]:
    times, memories = [record["seconds"] for record in records], [record["memory"] for record in records]
    floors = [record["products"] * record["floor"] for record in records]
    cells = [f"{seconds(times[0])} … {seconds(times[-1])}", exponent(sizes, times)]
    cells += [f"{seconds(floors[0])} … {seconds(floors[-1])}", exponent(sizes, floors)]
    cells += [f"{ratio(times[0], floors[0])} … {ratio(times[-1], floors[-1])}"]
    return [*cells, f"{format_bytes(memories[0])} … {format_bytes(memories[-1])}", exponent(sizes, memories)]


def _cell(record: dict[str, Any]) -> list[str]:
    parameters, products = f"{record['parameters']:,}", record["products"]
    if record["failure"]:
        return [parameters, str(products), "–", record["failure"], *["–"] * 4]
    time, floor, flops = record["seconds"], products * record["floor"], products * record["flops"]
    cells = [parameters, str(products), f"{flops / 1e9:.3g}", seconds(time), seconds(floor), ratio(time, floor)]
    return [*cells, gflops(flops / time), format_bytes(record["memory"])]


if __name__ == "__main__":
    main()
