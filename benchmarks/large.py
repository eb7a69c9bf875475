"""λ_max and trace of a large transformer in one process.

    .venv/bin/python benchmarks/large.py --markdown docs/benchmarks.md
    .venv/bin/python benchmarks/large.py --device cuda --model billion --markdown billion.md

GPT-2's shape (Radford et al., 2019: 12 layers, width 768, 12 heads, 50,257 tokens, tied embeddings), or a decoder of a thousand
million parameters; random weights, one short text. On a processor the Lanczos basis lies in a memory-mapped file where it exceeds
the budget. On a device it lies there, beside the network; where it does not fit, λ_max comes from conjugate gradients over
Orograph's products, which need six vectors. Peak memory is resident, pages of the mapped file included; on a device, what was
allocated there.
"""

import time

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

import orograph as og
from contest import peak_resident
from judge import double_backward
from orograph.curvature import LinearOperator
from orograph.memory import format_bytes
from orograph.spectral.eigenpairs import least_rows
from quiet import Watch, require_quiet
from report import Report, Table, parser, seconds, set_threads, verdict
from subjects import Case, large

TOLERANCE = 1e-2
BESIDE = 8  # vectors that a product and a step of Lanczos hold at once besides the basis


def next_token(logits: Tensor, text: Tensor) -> Tensor:
    """The mean cross-entropy over the places of each text."""
    return F.cross_entropy(logits, text, reduction="none").mean(1)


def main() -> None:
    """Builds, multiplies, decomposes, estimates."""
    options = parser("λ_max and trace of a large transformer.", rounds=1)
    options.add_argument("--model", choices=("gpt2", "billion"), default="gpt2", help="124 million parameters, or a thousand")
    options.add_argument("--probes", type=int, default=4, help="random vectors of the trace")
    options.add_argument("--toy", action="store_true", help="a model of a few parameters, to see that everything works")
    options.set_defaults(dataset=None)
    chosen = options.parse_args()
    set_threads(chosen.threads)
    quiet = require_quiet(force=chosen.force)
    case = large(chosen.model, chosen.toy, chosen.device)
    report, watch = (
        Report(f"Large: a transformer of {case.size:,} parameters, one text of {case.inputs.shape[1]} tokens"),
        Watch(),
    )
    table = Table(f"Memory budget {chosen.memory}", ("", "value", "products", "time", "peak memory so far"))

    began = time.perf_counter()
    operator = og.HessianOperator(case.module, next_token, [(case.inputs, case.targets)], memory=chosen.memory)
    table.row("tracing and its check", operator.method, "–", seconds(time.perf_counter() - began), peak(chosen.device))
    began = time.perf_counter()
    table.row("loss", f"{operator.loss:.4f}", "–", seconds(time.perf_counter() - began), peak(chosen.device))
    began = time.perf_counter()
    how, value, vector, residual, products = top(operator, chosen.memory, room(operator))
    shown = f"λ_max = {value:.4g} ± {residual:.1g}"
    table.row(how, shown, str(products), seconds(time.perf_counter() - began), peak(chosen.device))
    began = time.perf_counter()
    verified = residual_of(case, value, vector)
    table.row("its residual, verified", f"{verified:.1g}", "1", seconds(time.perf_counter() - began), peak(chosen.device))
    del vector
    began = time.perf_counter()
    total = og.trace(Afar(operator), method="hutchinson", probes=chosen.probes)
    shown = f"{total.value:.4g} ± {total.error:.1g}"
    table.row("trace, Hutchinson", shown, str(total.products), seconds(time.perf_counter() - began), peak(chosen.device))
    report.add(table)
    report.say(f"{operator.plan}.")
    report.say(verdict("the verified residual, relative", verified / abs(value), TOLERANCE, at_least=False, unit=""))
    if chosen.model == "gpt2" and chosen.device == "cpu":
        report.say(verdict("peak resident memory", peak_resident() / 1e9, 16, at_least=False, unit=" GB"))
    report.finish(chosen, watch, quiet=quiet)


class Afar(LinearOperator):
    """An operator whose vectors lie in the host's memory and go to its device one by one: an estimate holds many of them."""

    def __init__(self, inner: LinearOperator) -> None:
        self.inner, self.size, self.dtype, self.device = inner, inner.size, inner.dtype, torch.device("cpu")

    def product(self, vector: Tensor) -> Tensor:
        return (self.inner @ vector.to(self.inner.device)).cpu()


def room(operator: LinearOperator) -> int | None:
    """Bytes that a basis may take on the device, beside what a step needs; None where it may lie in a file."""
    if operator.device.type != "cuda":
        return None
    torch.cuda.empty_cache()
    return torch.cuda.mem_get_info(operator.device)[0] - BESIDE * operator.size * operator.dtype.itemsize


def top(operator: LinearOperator, memory: str, room: int | None) -> tuple[str, float, Tensor, float, int]:
    """How λ_max was found, it, a unit vector `(P,)`, the residual stated and the products."""
    basis = least_rows(1) * operator.size * operator.dtype.itemsize
    if room is not None and basis > room:
        how = f"conjugate gradients: a Lanczos basis of {format_bytes(basis)} is more than the device holds"
        return how, *climb(operator, TOLERANCE)
    pair = og.lanczos(operator, 1, which="LA", tolerance=TOLERANCE, memory=memory if room is None else room)
    how = f"Lanczos, basis {format_bytes(pair.basis_bytes)}"
    return how, float(pair.eigenvalues[0]), pair.eigenvectors[0], float(pair.residuals[0]), pair.products


def climb(operator: LinearOperator, tolerance: float, most: int = 200) -> tuple[float, Tensor, float, int]:
    """λ_max, a unit vector, the residual and the products, by locally optimal conjugate gradients (Knyazev, 2001).

    Each step takes the best of the span of the vector, its residual and the last step, and multiplies once.
    """
    generator = torch.Generator(operator.device).manual_seed(0)
    start = torch.randn(operator.size, generator=generator, device=operator.device, dtype=operator.dtype)
    spanned = [start.div_(start.norm())]
    images = [operator @ start]
    for products in range(1, most + 1):
        value = float(spanned[0] @ images[0])
        fresh = torch.sub(images[0], spanned[0], alpha=value)
        residual = float(fresh.norm())
        if residual <= tolerance * abs(value) or products == most:
            break
        for _ in range(2):
            for other in spanned:
                fresh.sub_(other, alpha=float(other @ fresh))
        spanned.append(fresh.div_(fresh.norm()))
        images.append(operator @ fresh)
        small = torch.tensor([[float(left @ right) for right in images] for left in spanned], dtype=torch.float64)
        best = torch.linalg.eigh((small + small.T) / 2).eigenvectors[:, -1].tolist()
        # The new vector, and the step that was taken: what is orthogonal to the new one in the plane of it and the old one.
        along = sum(weight**2 for weight in best[1:]) ** 0.5
        step = [-along, *(weight * best[0] / along for weight in best[1:])]
        spanned = [combined(spanned, weights) for weights in (best, step)]
        images = [combined(images, weights) for weights in (best, step)]
        length = float(spanned[0].norm())
        spanned[0] /= length
        images[0] /= length
    return value, spanned[0], residual, products


def combined(rows: list[Tensor], weights: list[float]) -> Tensor:
    """Σ weights[i] rows[i]."""
    total = weights[0] * rows[0]
    for row, weight in zip(rows[1:], weights[1:], strict=True):
        total.add_(row, alpha=weight)
    return total


def residual_of(case: Case, value: float, vector: Tensor) -> float:
    """‖Hv − λv‖ by plain double backward."""
    with sdpa_kernel(SDPBackend.MATH):
        parameters = list(case.module.parameters())
        vector = vector.to(case.inputs.device)
        product = double_backward(case.module, parameters, case.batches(case.count), case.count, vector)
    return float((product - value * vector).norm())


def peak(device: str) -> str:
    """The most memory of this process until now: resident, or on the device."""
    return format_bytes(torch.cuda.max_memory_allocated(device) if device != "cpu" else peak_resident())


if __name__ == "__main__":
    main()
