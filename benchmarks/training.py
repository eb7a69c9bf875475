"""An epoch of training: Orograph's chain and cohorts against the plain loop over a DataLoader, and whether they do the same.

OROGRAPH_DATA=… .venv/bin/python benchmarks/training.py --markdown training.md
"""

import argparse

from contest import CompetitorFailed, Contest, Entry
from floors import EpochFloor, gemm_rate, gradient_flops
from orograph.memory import format_bytes
from quiet import Watch, require_quiet
from report import Report, Table, chosen, gflops, parser, seconds, set_threads, verdict
from trainers import BATCH, Agreement, Chain, Cohort, Differences, PlainLoop
from workload import Workload, initial_workload, read_data

LOOP = "plain DataLoader loop"
CHAIN = "orograph, single chain"
EVALUATED = "orograph, single chain, objective evaluated at both ends"
FLOOR = "bare matrix products, one model"
ROUNDING = 32  # a loss of 64 samples and three layers may differ by so many units of float32 rounding, relative to max(1, loss)


def main() -> None:
    options = _options()
    set_threads(options.threads)
    quiet = require_quiet(force=options.force)
    workload = initial_workload(read_data(options.dataset, options.data_dir, options.images)).to(options.device)
    report = Report(f"Training: {workload.count:,} images, {len(workload.theta):,} parameters, batches of {BATCH}")
    watch = Watch()
    rate = gemm_rate(options.device)
    with Contest(workload, threads=options.threads, device=options.device, watch=watch) as contest:
        _epochs(contest, workload, options, report)
        _agreement(contest, report)
    after = gemm_rate(options.device)
    report.say(f"A large square matrix product ran at {gflops(rate)} before and {gflops(after)} after all this.")
    report.finish(options, watch, quiet=quiet)


def _options() -> argparse.Namespace:
    options = parser("An epoch of training of the published MNIST network.", rounds=5)
    options.add_argument("--models", type=int, default=16, help="models of a cohort")
    return options.parse_args()


def _epochs(contest: Contest, workload: Workload, options: argparse.Namespace, report: Report) -> None:
    models = options.models
    strengths, seeds = f"orograph, cohort of {models} strengths", f"orograph, cohort of {models} seeds"
    wide_floor = f"bare matrix products, {models} models on shared batches"
    entries = {
        LOOP: Entry(LOOP, PlainLoop),
        CHAIN: Entry(CHAIN, Chain),
        EVALUATED: Entry(EVALUATED, Chain, {"published": False}),
        strengths: Entry(strengths, Cohort, {"models": models, "kind": "strengths"}),
        seeds: Entry(seeds, Cohort, {"models": models, "kind": "seeds"}),
        FLOOR: Entry(FLOOR, EpochFloor),
        wide_floor: Entry(wide_floor, EpochFloor, {"models": models}),
    }
    sizes = dict.fromkeys(entries, 1) | dict.fromkeys((strengths, seeds, wide_floor), models)
    names = [LOOP, *(name for name in chosen(list(entries), options.only) if name != LOOP)]
    contest.enter(entries[name] for name in names)
    timings = contest.rounds(names, "epoch", count=options.rounds, warm=True)
    flops = gradient_flops(workload.sizes, workload.count)
    table = Table(
        f"One epoch ({flops / 1e9:.1f} GFLOP a model in matrix products), per model; {options.rounds} rounds",
        ("", "models", "minimum", "median", "of the loop", "rate", "memory", "mean loss"),
    )
    loop = timings[LOOP].best
    for name, timing in timings.items():
        if timing.failure:
            table.row(f"{name}: {timing.failure}", *["–"] * 7)
            continue
        each = timing.best / sizes[name]
        loss = "–" if timing.result is None else f"{timing.result:.4f}"
        table.row(
            name,
            str(sizes[name]),
            seconds(each),
            seconds(timing.median / sizes[name]),
            f"{100 * each / loop:.0f} %",
            gflops(flops / each),
            format_bytes(max(0, timing.memory)),
            loss,
        )
    report.add(table)
    report.say(
        "Every chain and cohort starts anew in each round, as the loop does; the first, untimed round traces. Memory is the "
        "peak of all models together, above what torch, data and model take. The mean loss is the running average over the "
        "epoch, except where the objective is evaluated at its end; the order of the mini-batches and, in the cohorts, the "
        "strengths or starts differ, so it agrees roughly."
    )
    for name, target in ((strengths, 0.40), (seeds, 0.50), (CHAIN, 0.55)):
        if name in timings and timings[name].turns:
            share = timings[name].best / sizes[name] / loop
            report.say(verdict(f"{name}, per model, against the loop", share, target, at_least=False, unit="%"))
    for name in names:
        contest.leave(name)


def _agreement(contest: Contest, report: Report) -> None:
    """The losses of the chain and of the loop, step by step."""
    contest.enter([Entry("agreement", Agreement)])
    try:
        found: Differences = contest.call("agreement", "compare").result
    except CompetitorFailed as error:
        report.say(f"Agreement of the losses: {error}")
        return
    unit = found.unit
    table = Table(
        f"The chain against the loop on the same mini-batches, {len(found.loss)} steps: largest differences of the losses, "
        "relative to max(1, loss)",
        ("", "first 10 steps", "first 100", "all", "all, in units of rounding"),
    )
    rows = (
        ("loss at the loop's own θ", found.loss),
        ("gradient at the loop's own θ, in norm", found.gradient),
        ("loss, each on its own way", found.free),
    )
    for name, values in rows:
        cells = (f"{max(values[:length]):.1e}" for length in (10, 100, len(values)))
        table.row(name, *cells, f"{max(values) / unit:.1f}")
    report.add(table)
    report.say(verdict("losses at the same θ, in units of rounding", max(found.loss) / unit, ROUNDING, at_least=False, unit=""))
    report.say("Where each goes its own way, the rounding of every step is carried on to the next.")


if __name__ == "__main__":
    main()
