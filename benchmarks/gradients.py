"""What a Hessian-vector product costs in gradients, in time and memory, on ResNet-50 and on nanoGPT, for an accelerator.

    .venv/bin/python benchmarks/gradients.py --device cuda --markdown gradients.md

Both have the batches on which curvlinops publishes its own ratios, in eval mode and float32. Each way has a process of its own,
one after the other, so that the device's memory is its own. The gradient is that of plain autograd with the quickest attention
that torch has; others than Orograph multiply with attention as matrix products, which torch can differentiate twice.
"""

from functools import partial

import numpy as np
import torch
from torch.nn import functional as F

from contest import CompetitorFailed, Contest, Entry, Timing
from judge import Judge
from orograph.memory import format_bytes
from ours import Orograph
from peers import Curvlinops, HessianEigenthings, PyHessian, plainly
from quiet import Watch, require_quiet
from report import Report, Table, chosen, parser, ratio, seconds, set_threads, verdict
from subjects import Case, large

GOAL = 2.0  # gradients
GRADIENT, PLAIN, OURS, CURVLINOPS = "a gradient", "a gradient, attention as matrix products", "orograph", "curvlinops"


class Gradient:
    """One forward and one backward pass over the batch."""

    def __init__(self, workload: Case) -> None:
        self.module, self.inputs, self.targets = workload.module, workload.inputs, workload.targets

    def hvp(self) -> None:
        torch.autograd.grad(F.cross_entropy(self.module(self.inputs), self.targets), list(self.module.parameters()))


def main() -> None:
    """Measures both networks."""
    options = parser("A product in gradients, on large networks.", rounds=5)
    options.add_argument("--toy", action="store_true", help="networks of a few parameters, to see that everything works")
    options.set_defaults(dataset=None)
    given = options.parse_args()
    set_threads(given.threads)
    quiet = require_quiet(force=given.force)
    report, watch = Report(f"A product in gradients, memory budget {given.memory}"), Watch()
    ways = {
        GRADIENT: Entry(GRADIENT, Gradient),
        PLAIN: Entry(PLAIN, partial(plainly, Gradient)),
        OURS: Entry(OURS, Orograph, {"memory": given.memory}),
        CURVLINOPS: Entry(CURVLINOPS, partial(plainly, Curvlinops)),
        "hessian-eigenthings": Entry("hessian-eigenthings", partial(plainly, HessianEigenthings)),
        "PyHessian": Entry("PyHessian", partial(plainly, PyHessian)),
    }
    wanted = [GRADIENT, *chosen([name for name in ways if name != GRADIENT], given.only)]
    for network in ("resnet50", "nanogpt"):
        make = partial(large, network, given.toy)
        title = str(make())
        names = [name for name in wanted if name != PLAIN or network == "nanogpt"]
        with Contest(make, threads=given.threads, device=given.device, watch=watch) as contest:
            contest.enter([Entry("judge", partial(plainly, Judge))])
            truth = contest.call("judge", "product").result
            contest.leave("judge")
            found = {name: measured(contest, ways[name], truth, given.rounds) for name in names}
        table(report, title, found, given.rounds)
    if given.toy:
        report.say("Networks of a few parameters: these numbers show that everything works, and nothing else.")
    report.finish(given, watch, quiet=quiet)


def measured(contest: Contest, entry: Entry, truth: np.ndarray, rounds: int) -> tuple[Timing, str]:
    """All rounds of one way, and how far its product is from the truth."""
    contest.enter([entry])
    timing, difference = contest.rounds([entry.name], "hvp", count=rounds, warm=True)[entry.name], "–"
    if not timing.failure and entry.name not in (GRADIENT, PLAIN):
        try:
            product = contest.call(entry.name, "product").result
            difference = f"{np.linalg.norm(product - truth) / np.linalg.norm(truth):.1e}"
        except CompetitorFailed as error:
            difference = str(error)[:80]
    contest.leave(entry.name)
    return timing, difference


def table(report: Report, title: str, found: dict[str, tuple[Timing, str]], rounds: int) -> None:
    """The ways on one network, and Orograph against its goals."""
    unit = found[GRADIENT][0].best
    rows = Table(f"{title}; minimum of {rounds} rounds", ("", "time", "in gradients", "memory", "difference"))
    for name, (timing, difference) in found.items():
        if timing.failure:
            rows.row(f"{name}: {timing.failure[:120]}", *["–"] * 4)
        else:
            memory = format_bytes(max(0, timing.memory))
            rows.row(name, seconds(timing.best), ratio(timing.best, unit), memory, difference)
    report.add(rows)
    ours, theirs = (found.get(name, (Timing(), ""))[0] for name in (OURS, CURVLINOPS))
    if ours.turns:
        report.say(verdict("a product of Orograph's in gradients", ours.best / unit, GOAL, at_least=False))
        if theirs.turns:
            share = ours.memory / max(theirs.memory, 1)
            report.say(verdict("its memory, against curvlinops'", share, 1.0, at_least=False))
        else:
            report.say("Its memory is held against nothing: curvlinops gave no product.")
    report.say(
        "Memory is the peak during a product, above what torch, data and model take. Differences are from plain double backward."
    )


if __name__ == "__main__":
    main()
