"""Shares of all classes and samples in the eigenpairs of the published network, against as many Hessian-vector products.

OROGRAPH_DATA=… .venv/bin/python benchmarks/classes.py --markdown docs/benchmarks.md
"""

import argparse

import torch

from contest import Contest, Entry, Timing
from floors import product_flops
from orograph.curvature import HessianOperator
from orograph.geometry import class_gradients, class_shares
from orograph.memory import format_bytes
from orograph.parameters import layout_of
from orograph.spectral import Spectrum
from quiet import Watch, require_quiet
from report import Report, Table, chosen, gflops, parser, ratio, seconds, set_threads, verdict
from trainers import PlainLoop
from workload import CLASSES, Workload, initial_workload, read_data

PRODUCTS = "Hessian-vector products, one a turn"
SHARES = "shares of classes and samples, with the Gauss–Newton part"
GRADIENTS = "gradients of the classes"
PER_PAIR = 2.0  # products that one pair's shares may cost


class Shares:
    """All shares in orthonormal directions, as many as there are pairs: what they are does not change the arithmetic.

    Args:
        workload: gives model, data and θ.
        pairs: directions.
        memory: budget given to Orograph.
    """

    def __init__(self, workload: Workload, pairs: int, memory: str) -> None:
        self.objective = workload.objective(memory=memory)
        self.operator = HessianOperator.of(self.objective)
        draw = torch.randn(len(workload.theta), pairs, generator=torch.Generator().manual_seed(0))
        vectors = torch.linalg.qr(draw)[0].T.contiguous().to(workload.theta)
        images = torch.stack([self.operator @ vector for vector in vectors])
        self.spectrum = _pairs(vectors, (images * vectors).sum(1).double().cpu())
        self.vector = vectors[0].clone()

    def product(self) -> None:
        self.operator @ self.vector

    def shares(self) -> float:
        """The largest defect of the sums, relative to the largest quadratic form."""
        found = class_shares(self.objective, self.objective.theta, self.spectrum, classes=CLASSES)
        return (found.defect.abs().max() / self.spectrum.eigenvalues.abs().max()).item()

    def gradients(self) -> None:
        class_gradients(self.objective, self.objective.theta, classes=CLASSES)


def main() -> None:
    options = _options()
    set_threads(options.threads)
    quiet = require_quiet(force=options.force)
    workload = _trained(initial_workload(read_data(options.dataset, options.data_dir, options.images))).to(options.device)
    report = Report(f"Class shares: {workload.count:,} images, {len(workload.theta):,} parameters, {options.pairs} pairs")
    watch = Watch()
    with Contest(workload, threads=options.threads, device=options.device, watch=watch) as contest:
        _measure(contest, workload, options, report)
    report.finish(options, watch, quiet=quiet)


def _options() -> argparse.Namespace:
    options = parser("What shares of classes and samples cost, in Hessian-vector products.", rounds=5)
    options.add_argument("--pairs", type=int, default=30, help="eigenpairs")
    return options.parse_args()


def _trained(workload: Workload) -> Workload:
    """The workload after one plain epoch: at the initialisation all samples are alike."""
    loop = PlainLoop(workload)
    loop.epoch()
    theta = layout_of(loop.model).flatten(dict(loop.model.named_parameters()))
    return Workload(workload.inputs, workload.targets, workload.widths, theta)


def _measure(contest: Contest, workload: Workload, options: argparse.Namespace, report: Report) -> None:
    methods = {PRODUCTS: "product", SHARES: "shares", GRADIENTS: "gradients"}
    names = [PRODUCTS, *(name for name in chosen(list(methods), options.only) if name != PRODUCTS)]
    build = {"pairs": options.pairs, "memory": options.memory}
    contest.enter(Entry(name, Shares, build) for name in names)
    timings: dict[str, Timing] = {name: Timing() for name in names}
    for name in names:
        contest.rounds([name], methods[name], count=1)  # traces
    for _ in range(options.rounds):  # in turns, though each has a method of its own
        for name in names:
            timing = contest.rounds([name], methods[name], count=1)[name]
            timings[name].turns += timing.turns
            timings[name].failure = timing.failure
    flops = product_flops(workload.sizes, workload.count)
    product = timings[PRODUCTS].best
    table = Table(
        f"One product is {flops / 1e9:.1f} GFLOP in matrix products; {options.rounds} rounds",
        ("", "minimum", "median", "in products", "memory", "defect of the sums"),
    )
    for name, timing in timings.items():
        if timing.failure:
            table.row(f"{name}: {timing.failure}", *["–"] * 5)
            continue
        table.row(
            name,
            seconds(timing.best),
            seconds(timing.median),
            ratio(timing.best, product).removesuffix("×"),
            format_bytes(max(0, timing.memory)),
            "–" if timing.result is None else f"{timing.result:.1e}",
        )
    report.add(table)
    report.say(f"A product ran at {gflops(flops / product)}. The first, untimed turn of each traces.")
    if SHARES in timings and timings[SHARES].turns:
        cost = timings[SHARES].best / product
        report.say(
            verdict(f"shares in {options.pairs} pairs, in products", cost, PER_PAIR * options.pairs, at_least=False, unit="")
        )


def _pairs(vectors: torch.Tensor, values: torch.Tensor) -> Spectrum:
    """Directions with their quadratic forms, in the form of a spectrum."""
    order = values.argsort(descending=True)
    none, true = torch.zeros(len(values), dtype=torch.float64), torch.ones(len(values), dtype=torch.bool)
    return Spectrum(
        eigenvalues=values[order],
        eigenvectors=vectors[order.to(vectors.device)],
        residuals=none,
        noise_level=float("nan"),
        converged=true,
        noise=~true,
        clusters=(),
        cut=False,
        bounds=none,
        signs=values[order].sign().long(),
        products=0,
        which="LM",
        tolerance=1e-3,
    )


if __name__ == "__main__":
    main()
