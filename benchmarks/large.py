"""λ_max and trace of a 124-million-parameter transformer in one process, with the Lanczos basis in a memory-mapped file.

    .venv/bin/python benchmarks/large.py --markdown docs/benchmarks.md

GPT-2's shape (Radford et al., 2019: 12 layers, width 768, 12 heads, 50,257 tokens, tied embeddings), random weights,
one short batch of random tokens. Peak resident memory is the process's own, pages of the mapped file included.
"""

import time

import torch
from torch import Tensor
from torch.nn import functional as F

import orograph as og
from contest import peak_resident
from orograph.memory import format_bytes
from quiet import Watch, require_quiet
from report import Report, Table, parser, seconds, set_threads, verdict
from subjects import GPT, VOCABULARY

LAYERS = 12


def next_token(logits: Tensor, text: Tensor) -> Tensor:
    """The mean cross-entropy over the places of each text."""
    return F.cross_entropy(logits, text, reduction="none").mean(1)


def main() -> None:
    """Builds, multiplies, decomposes, estimates."""
    options = parser("λ_max and trace of a 124-million-parameter transformer.", rounds=1)
    options.add_argument("--length", type=int, default=64, help="tokens of the text")
    options.add_argument("--layers", type=int, default=LAYERS, help="layers; fewer for a smaller model")
    options.add_argument("--probes", type=int, default=4, help="random vectors of the trace")
    chosen = options.parse_args()
    set_threads(chosen.threads)
    quiet = require_quiet(force=chosen.force)
    torch.manual_seed(0)
    model = GPT(layers=chosen.layers).to(chosen.device)
    text = torch.randint(VOCABULARY, (1, chosen.length + 1)).to(chosen.device)
    count = sum(parameter.numel() for parameter in model.parameters())
    report, watch = Report(f"Large: a transformer of {count:,} parameters, one text of {chosen.length} tokens"), Watch()
    table = Table(f"Memory budget {chosen.memory}", ("", "value", "products", "time", "peak resident so far"))

    began = time.perf_counter()
    operator = og.HessianOperator(model, next_token, [(text[:, :-1], text[:, 1:])], memory=chosen.memory)
    table.row("tracing and its check", operator.method, "–", seconds(time.perf_counter() - began), peak())
    began = time.perf_counter()
    table.row("loss", f"{operator.loss:.4f}", "–", seconds(time.perf_counter() - began), peak())
    began = time.perf_counter()
    found = og.lanczos(operator, 1, which="LA", tolerance=1e-2, memory=chosen.memory)
    top = f"λ_max = {found.eigenvalues[0]:.4g} ± {found.residuals[0]:.1g}"
    table.row(f"Lanczos, basis {format_bytes(found.basis_bytes)}", top, str(found.products), elapsed(began), peak())
    began = time.perf_counter()
    total = og.trace(operator, method="hutchinson", probes=chosen.probes)
    table.row("trace, Hutchinson", f"{total.value:.4g} ± {total.error:.1g}", str(total.products), elapsed(began), peak())
    report.add(table)
    report.say(f"{operator.plan}.")
    report.say(verdict("peak resident memory", peak_resident() / 1e9, 16, at_least=False, unit=" GB"))
    report.finish(chosen, watch, quiet=quiet)


def elapsed(began: float) -> str:
    """Seconds since then."""
    return seconds(time.perf_counter() - began)


def peak() -> str:
    """The largest resident size of this process until now."""
    return format_bytes(peak_resident())


if __name__ == "__main__":
    main()
