"""Products in TF32 and BF16: what they gain, how far they are off, and what the residuals of pairs found with them are worth.

    .venv/bin/python benchmarks/precision.py --device cuda --memory 24GiB --markdown precision.md

A wide perceptron and nanoGPT, three ways: float32; `precision="fast"`, which rounds the operands of matrix products to TF32 on
a GPU that has it and to BF16 on a processor that has it; and `ShardedHessian(compute=torch.bfloat16)`, which computes the whole
module in BF16. θ and the images are rounded to BF16 first, so that all are products of one matrix. The two largest pairs of each
are verified by plain double backward in float32, which belongs to none of them.
"""

import argparse
import gc
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

import orograph as og
from floors import random_vector, synchronise
from judge import Judge
from orograph.curvature.operator import LinearOperator
from orograph.curvature.precision import fast_kind
from quiet import Watch, require_quiet
from report import Report, Table, parser, ratio, seconds, set_threads, verdict
from subjects import Case, growing, large

PAIRS = 2
LEAST = 1e-4  # of |λ|: below it float32 products summed in other orders differ
STATED = 1.1  # times the stated residual that the verified one may reach
FULL, FAST, HALF = "float32", "fast products", "module in BF16"


def per_sample(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Cross-entropy, the mean over the places of a text."""
    return (
        F.cross_entropy(outputs, targets, reduction="none").flatten(1 if targets.ndim > 1 else 0).view(len(targets), -1).mean(1)
    )


def operator(way: str, case: Case, memory: str) -> LinearOperator:
    """The Hessian that multiplies in this way."""
    data = [(case.inputs, case.targets)]
    if way == HALF:
        return og.curvature.ShardedHessian(case.module, per_sample, data, compute=torch.bfloat16)
    return og.HessianOperator(case.module, per_sample, data, memory=memory, precision="fast" if way == FAST else "high")


def main() -> None:
    """Measures both networks in all three ways."""
    options = parser("Products in TF32 and BF16, and the residuals of their pairs.", rounds=5)
    options.add_argument("--tolerance", type=float, default=1e-2, help="residual of each pair, relative to its eigenvalue")
    options.add_argument("--toy", action="store_true", help="networks of a few parameters, to see that everything works")
    options.set_defaults(dataset=None)
    given = options.parse_args()
    set_threads(given.threads)
    quiet = require_quiet(force=given.force)
    report, watch = Report(f"Reduced precision: products, and the {PAIRS} largest pairs to {given.tolerance:g}"), Watch()
    kind = fast_kind(torch.device(given.device), torch.float32)
    wide = partial(growing, "width", 8 if given.toy else 4096, given.toy)
    for make in (wide, partial(large, "nanogpt", given.toy)):
        measured(rounded(make(given.device)), kind, given, report, watch)
    report.say(
        "Differences of products are from plain double backward in float32. Residuals ‖Hv − λv‖/|λ|: as Orograph states them, "
        "and as plain double backward in float32 finds them. " + about(kind)
    )
    if given.toy:
        report.say("Networks of a few parameters: these times show that everything works, and nothing else.")
    report.finish(given, watch, quiet=quiet)


def rounded(case: Case) -> Case:
    """The case with its parameters and images as BF16 has them, in float32 still."""
    with torch.no_grad():
        for parameter in case.module.parameters():
            parameter.copy_(parameter.bfloat16())
    inputs = case.inputs.bfloat16().float() if case.inputs.is_floating_point() else case.inputs
    return replace(case, inputs=inputs)


def about(kind: str | None) -> str:
    """What fast products are on this device."""
    if kind is None:
        return "This device has neither TF32 nor BF16 instructions: fast products are those of float32 there."
    other = "TF32 does nothing on a processor." if kind == "BF16" else "BF16 is used where the whole module computes in it."
    return f"Fast products are in {kind} on this device. {other}"


def measured(case: Case, kind: str | None, given: argparse.Namespace, report: Report, watch: Watch) -> None:
    """All ways on one network."""
    judge, vector = Judge(case), random_vector(case)
    with sdpa_kernel(SDPBackend.MATH):
        truth = torch.from_numpy(judge.product())
    heads = ("", "product", "÷ float32", "difference", "λ", "products", "converged", "stated residual", "verified")
    table, full, worst = Table(f"{case}; minimum of {given.rounds} rounds", heads), float("nan"), 0.0
    for way in (FULL, FAST, HALF):
        hessian = operator(way, case, given.memory)
        product = hessian @ vector
        difference = float((product.cpu().double() - truth).norm() / truth.norm())
        time_ = min(timed(lambda h=hessian: h @ vector, given.device) for _ in range(given.rounds))
        full = time_ if way == FULL else full
        found = og.lanczos(hessian, PAIRS, tolerance=given.tolerance, memory=given.memory)
        values, vectors = found.eigenvalues.cpu().numpy(), found.eigenvectors.cpu().numpy()
        stated = (found.residuals / found.eigenvalues.abs()).cpu().numpy()
        with sdpa_kernel(SDPBackend.MATH):
            verified = judge.residuals(values, vectors)
        worst = max(worst, float((verified / np.maximum(stated, LEAST)).max()))
        table.row(
            f"{way}{f' ({kind})' if way == FAST and kind else ''}",
            seconds(time_),
            ratio(full, time_),
            f"{difference:.1e}",
            ", ".join(f"{value:.4g}" for value in values),
            str(found.products),
            f"{int(found.converged.sum())} of {PAIRS}",
            f"{stated.max():.1e}",
            f"{verified.max():.1e}",
        )
        del hessian, found, vectors
        gc.collect()
        watch.look()
    report.add(table)
    report.say(
        verdict(f"verified residuals in units of the stated ones, or of {LEAST:g}", worst, STATED, at_least=False, unit="")
    )


def timed(run: Callable[[], object], device: str) -> float:
    """Seconds of one call."""
    synchronise(device)
    began = time.perf_counter()
    run()
    synchronise(device)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
