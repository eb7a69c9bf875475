"""Hessian-vector products and the 30 eigenpairs of largest magnitude of the published MNIST network, against what else there is.

    .venv/bin/pip install --no-deps -r benchmarks/requirements.txt
    OROGRAPH_DATA=… .venv/bin/python benchmarks/spectrum.py --markdown spectrum.md

θ is trained for a few epochs first, with a fixed seed. Three tables follow: one product, beside its bare matrix products; all
pairs, their residuals verified by products that belong to nobody, outside the timing; and one epoch of the published training.
"""

import argparse
import dataclasses
import statistics
import sys

import numpy as np

from contest import CompetitorFailed, Contest, Entry, Timing
from floors import ProductFloor, ROperator, gemm_rate, product_flops
from judge import Judge
from orograph.memory import format_bytes
from orograph.training import TrainingSettings, train
from ours import Orograph
from peers import Curvlinops, DoubleBackward, HessianEigenthings, Pairs, Published, PyHessian
from quiet import Watch, require_quiet
from report import Report, Table, chosen, gflops, parser, ratio, seconds, set_threads, verdict
from trainers import Chain, PlainLoop
from workload import Workload, initial_workload, read_data

OURS = "orograph"
PUBLISHED = "published: double backward, batches of 64 from a DataLoader, ARPACK"
SCIPY = "double backward, batches of 1,000, SciPy eigsh"
CURVLINOPS = "curvlinops, SciPy eigsh"
EIGENTHINGS = "hessian-eigenthings, lanczos"
PYHESSIAN = "PyHessian, eigenvalues"
WHOLE_FLOOR = "bare matrix products, whole batch"
FLOOR = "bare matrix products, best chunk"
BY_HAND = "R-operator by hand"
SOLVERS = (OURS, EIGENTHINGS, CURVLINOPS, SCIPY, PYHESSIAN, PUBLISHED)
JUDGE = "judge"
LOOP = "plain DataLoader loop"
CHAIN = "orograph, single chain"


def main() -> None:
    options = _options()
    set_threads(options.threads)
    quiet = require_quiet(force=options.force)
    workload = _trained(options)
    report = Report(f"Spectrum: {workload.count:,} images, {len(workload.theta):,} parameters")
    watch = Watch()
    rate = gemm_rate(options.device)
    with Contest(workload, threads=options.threads, device=options.device, watch=watch) as contest:
        floor = _products(contest, workload, options, report, rate)
        if "pairs" in options.parts:
            _pairs(contest, options, report)
    if "training" in options.parts:
        with Contest(workload, threads=options.threads, device=options.device, watch=watch) as contest:
            _training(contest, options, report)
    after = gemm_rate(options.device)
    report.say(
        f"A large square matrix product ran at {gflops(rate)} before and {gflops(after)} after all this; the bare products "
        f"of a Hessian-vector product at {gflops(product_flops(workload.sizes, workload.count) / floor)}."
    )
    report.finish(options, watch, quiet=quiet)


def _options() -> argparse.Namespace:
    options = parser("Products, eigenpairs and an epoch of training on the published MNIST network.", rounds=3)
    options.add_argument("--parts", default="pairs,training", help="what is measured besides single products: pairs, training")
    options.add_argument("--products", type=int, default=None, help="rounds of single products; five times --rounds if not given")
    options.add_argument("--pairs", type=int, default=30, help="how many eigenpairs")
    options.add_argument("--tolerance", type=float, default=1e-3, help="residual of each pair, relative to its eigenvalue")
    options.add_argument("--epochs", type=int, default=5, help="epochs of training before θ is measured")
    options.add_argument("--pyhessian-pairs", type=int, default=3, help="pairs asked of PyHessian, whose power iteration is slow")
    options.add_argument("--verify", choices=("float32", "float64"), default="float32", help="dtype of the products that verify")
    return options.parse_args()


def _trained(options: argparse.Namespace) -> Workload:
    start = initial_workload(read_data(options.dataset, options.data_dir, options.images)).to(options.device)
    settings = TrainingSettings(epochs=options.epochs)
    trained = train(start.objective(), start.theta, settings, order_seed=0)
    return dataclasses.replace(start, theta=trained.theta)


def _products(contest: Contest, workload: Workload, options: argparse.Namespace, report: Report, rate: float) -> float:
    """One product of each, and what a new θ costs; the time of the bare matrix products."""
    solvers = {
        OURS: Entry(OURS, Orograph, {"memory": options.memory}),
        EIGENTHINGS: Entry(EIGENTHINGS, HessianEigenthings),
        CURVLINOPS: Entry(CURVLINOPS, Curvlinops),
        SCIPY: Entry(SCIPY, DoubleBackward),
        PYHESSIAN: Entry(PYHESSIAN, PyHessian),
        PUBLISHED: Entry(PUBLISHED, Published),
    }
    wanted = chosen(SOLVERS, options.only)
    contest.enter(
        [
            Entry(JUDGE, Judge, {"dtype": options.verify}),
            Entry(WHOLE_FLOOR, ProductFloor, {"length": workload.count}),
            Entry(FLOOR, ProductFloor),
            Entry(BY_HAND, ROperator),
            *(solvers[name] for name in wanted),
        ]
    )
    count = options.products or 5 * options.rounds
    names = [WHOLE_FLOOR, FLOOR, BY_HAND, *wanted]
    timings = contest.rounds(names, "hvp", count=count, once=[PUBLISHED], warm=True)
    truth = contest.call(JUDGE, "product").result
    floor = min(timings[FLOOR].best, timings[WHOLE_FLOOR].best)
    flops = product_flops(workload.sizes, workload.count)
    table = Table(
        f"One Hessian-vector product ({flops / 1e9:.1f} GFLOP in matrix products), minimum and median of {count} rounds",
        ("", "minimum", "median", "× floor", "rate", "memory", "difference"),
    )
    for name, timing in timings.items():
        if timing.failure:
            table.row(f"{name}: {timing.failure}", *["–"] * 6)
            continue
        difference = "–"
        if name not in (WHOLE_FLOOR, FLOOR):
            difference = f"{_difference(contest, name, truth):.1e}"
        best = timing.best
        once = " (once)" if len(timing.turns) < count else ""
        memory = format_bytes(max(0, timing.memory))
        table.row(
            name + once, seconds(best), seconds(timing.median), ratio(best, floor), gflops(flops / best), memory, difference
        )
    report.add(table)
    report.say(
        "The bare matrix products are those that a Hessian-vector product needs when all primal intermediates are given, with "
        "nothing between them; the faster of the two is the floor. Memory is the peak during a product, above what torch, data "
        f"and model take. Differences are from plain double backward ({options.verify} products in batches of 1,000, accumulated "
        "in float64)."
    )
    for name in (WHOLE_FLOOR, FLOOR, BY_HAND):
        contest.leave(name)
    if OURS in wanted and not timings[OURS].failure:
        report.say(verdict("one product, against the faster floor", timings[OURS].best / floor, 1.3, at_least=False))
        _new_theta(contest, options, report, timings[OURS])
    return floor


def _difference(contest: Contest, name: str, truth: np.ndarray) -> float:
    found = contest.call(name, "product").result
    return float(np.linalg.norm(found - truth) / np.linalg.norm(truth))


def _new_theta(contest: Contest, options: argparse.Namespace, report: Report, products: Timing) -> None:
    first = contest.rounds([OURS], "first_product", count=options.rounds)[OURS]
    before = contest.call(OURS, "traces").result
    moved = contest.rounds([OURS], "new_theta", count=2 * options.rounds)[OURS]
    recorded = contest.call(OURS, "traces").result - before
    primal = contest.rounds([OURS], "primal_pass", count=2 * options.rounds, warm=True)[OURS]
    move, after = ([turn.result[part] for turn in moved.turns] for part in (0, 1))
    table = Table("What surrounds the products", ("", "minimum", "median"))
    table.row("from module, loss and data to the first product done", seconds(first.best), seconds(first.median))
    table.row("a new θ", seconds(min(move)), seconds(statistics.median(move)))
    table.row("the first product there", seconds(min(after)), seconds(statistics.median(after)))
    table.row("any other product", seconds(products.best), seconds(products.median))
    table.row("one plain forward and backward pass (autograd)", seconds(primal.best), seconds(primal.median))
    report.add(table)
    report.say(f"Orograph's plan: {contest.call(OURS, 'plan').result}.")
    report.say(
        f"A new θ costs {ratio(min(move), primal.best)} a plain forward and backward pass, and recorded {recorded} new traces: "
        "besides the gradient, its pass prepares what all products there share."
    )


def _pairs(contest: Contest, options: argparse.Namespace, report: Report) -> None:
    """All pairs of everyone, verified."""
    wanted = chosen(SOLVERS, options.only)
    k, tolerance = options.pairs, options.tolerance
    steps = ""
    if EIGENTHINGS in wanted:
        try:
            found = contest.call(EIGENTHINGS, "tune", k, 0.9 * tolerance).result
            steps = f" hessian-eigenthings was given {found} steps, the fewest (to 5) that suffice; finding them is not timed."
        except CompetitorFailed as error:
            print(f"{EIGENTHINGS}: {error}", file=sys.stderr)
    quick = [name for name in wanted if name not in (PUBLISHED, PYHESSIAN)]
    timings = contest.rounds(quick, "pairs", k, tolerance, count=options.rounds)
    if PUBLISHED in wanted:
        timings |= contest.rounds([PUBLISHED], "pairs", k, tolerance, count=1)
    if PYHESSIAN in wanted:
        timings |= contest.rounds([PYHESSIAN], "pairs", min(options.pyhessian_pairs, k), tolerance, count=1)
    table = Table(
        f"{k} pairs of largest magnitude, residual ≤ {tolerance:g}, minimum and median of {options.rounds} rounds",
        ("", "pairs", "minimum", "median", "products", "memory", "largest residual", "within", "÷ orograph"),
    )
    ours = timings.get(OURS, Timing())
    spectra = {}
    for name, timing in timings.items():
        if timing.failure:
            table.row(f"{name}: {timing.failure}", *["–"] * 8)
            continue
        pairs: Pairs = timing.result
        asked = len(pairs.eigenvalues)
        residuals = contest.call(JUDGE, "residuals", pairs.eigenvalues, pairs.eigenvectors).result
        spectra[name] = np.sort(pairs.eigenvalues)[::-1]
        table.row(
            name + (" (once)" if len(timing.turns) < options.rounds else ""),
            str(asked),
            seconds(timing.best),
            seconds(timing.median),
            str(pairs.products),
            format_bytes(max(0, timing.memory)),
            f"{residuals.max():.1e}",
            f"{(residuals <= tolerance).sum()} of {asked}",
            ratio(timing.best, ours.best) if asked == k else f"≥ {ratio(timing.best, ours.best)}",
        )
    report.add(table)
    report.say(
        f"Residuals ‖Hv − λv‖/|λ| are verified by plain double backward, outside the timing.{steps} PyHessian's power iteration "
        f"is asked for {min(options.pyhessian_pairs, k)} pairs only, each until its eigenvalue changes by less than "
        f"{tolerance**2:g} or 100 products are spent."
    )
    if ours.turns:
        _own_parts(report, ours)
        _verdicts(report, timings, ours)
        apart = _largest_gap(spectra)
        if apart:
            report.say(apart)


def _own_parts(report: Report, ours: Timing) -> None:
    """Where Orograph's time goes: the whole of it, and at a further θ, where nothing is traced."""
    table = Table(
        "Orograph's time, each round",
        ("round", "tracing and check", "primal pass", "products", "all else", "not products", "after the first θ"),
    )
    shares = []
    for number, turn in enumerate(ours.turns, start=1):
        parts = turn.result.details
        total, building, primal, multiplying = (parts[part] for part in ("total", "building", "primal", "multiplying"))
        rest = total - building - primal - multiplying
        shares.append(1 - multiplying / (total - building))
        times = (seconds(part) for part in (building, primal, multiplying, rest))
        table.row(str(number), *times, f"{100 * (1 - multiplying / total):.1f} %", f"{100 * shares[-1]:.1f} %")
    report.add(table)
    parts = ours.result.details
    report.say(
        f"Products counted: {ours.result.products} ({parts['claimed']} by the library's own count), of which "
        f"{parts['certifying']} verify residuals, search for missed copies or measure noise. The last column leaves out "
        "tracing, which only the first θ needs."
    )
    whole = min(1 - turn.result.details["multiplying"] / turn.result.details["total"] for turn in ours.turns)
    report.say(verdict("all that is not products, tracing and primal pass included", whole, 0.10, at_least=False, unit="%"))
    report.say(
        verdict("all that is not products at a further θ, primal pass included", min(shares), 0.10, at_least=False, unit="%")
    )


def _verdicts(report: Report, timings: dict[str, Timing], ours: Timing) -> None:
    for name, target in ((PUBLISHED, 6.0), (CURVLINOPS, 2.2), (EIGENTHINGS, 1.6)):
        if name in timings and timings[name].turns:
            medians = ratio(timings[name].median, ours.median)
            met = verdict(f"{name}, against orograph", timings[name].best / ours.best, target, at_least=True)
            report.say(f"{met} By medians {medians}.")
    if SCIPY in timings and timings[SCIPY].turns:
        share = ours.best / timings[SCIPY].best
        report.say(verdict(f"orograph's share of the time of: {SCIPY}", share, 0.6, at_least=False, unit="%"))


def _largest_gap(spectra: dict[str, np.ndarray]) -> str:
    """How far the eigenvalues of the others are from ours."""
    mine = spectra[OURS]
    gaps = [
        f"{name} {np.max(np.abs(values - mine) / np.abs(mine)):.1e}"
        for name, values in spectra.items()
        if name != OURS and len(values) == len(mine)
    ]
    return f"Largest relative difference of an eigenvalue from orograph's: {'; '.join(gaps)}." if gaps else ""


def _training(contest: Contest, options: argparse.Namespace, report: Report) -> None:
    """One epoch of the published training."""
    contest.enter([Entry(CHAIN, Chain), Entry(LOOP, PlainLoop)])
    timings = contest.rounds([CHAIN, LOOP], "epoch", count=options.rounds, warm=True)
    table = Table(
        f"One epoch of the published training, batches of 64, {options.rounds} rounds",
        ("", "minimum", "median", "memory", "share"),
    )
    loop = timings[LOOP]
    for name, timing in timings.items():
        if timing.failure:
            table.row(f"{name}: {timing.failure}", *["–"] * 4)
            continue
        share = f"{100 * timing.best / loop.best:.0f} %"
        table.row(name, seconds(timing.best), seconds(timing.median), format_bytes(max(0, timing.memory)), share)
    report.add(table)
    report.say(verdict("an epoch, against the loop's", timings[CHAIN].best / loop.best, 0.6, at_least=False, unit="%"))


if __name__ == "__main__":
    main()
