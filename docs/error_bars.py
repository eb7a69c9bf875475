"""How often stated 95 % intervals hold the truth, measured on matrices of known spectrum, for `docs/error-bars.md`.

.venv/bin/python docs/error_bars.py --seeds 300 --page docs/error-bars.md

Each spectrum is turned by one random rotation; only the random vectors of the estimates differ from seed to seed. Of `seeds`
independent intervals that hold the truth with 95 %, the share that does varies by √(0.95·0.05/seeds), 1.3 % for 300.
"""

import argparse
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from orograph.curvature import MatrixOperator
from orograph.geometry import loss_increase, noise_robustness, relative_flatness, scalar_curvature, sharpness
from orograph.objective import Objective
from orograph.parameters import Layout
from orograph.spectral import Spectrum, density, full_entropy_rank, participation_ratio, trace
from orograph.spectral.intervals import Uncertain
from orograph.spectral.spectrum import certified
from orograph.spectral.traces import Method
from sections import insert, table

SIZE = 200
STEPS = 40
RANDOM = np.random.default_rng(0)
SPECTRA: dict[str, np.ndarray] = {
    "power law": 1 / np.arange(1, SIZE + 1) ** 1.5,
    "flat, both signs": np.linspace(-1, 2, SIZE),
    "bulk and 8 outliers": np.r_[np.linspace(30, 10, 8), RANDOM.normal(0, 0.5, SIZE - 8)],
    "network": np.r_[
        10 * 0.7 ** np.arange(30),
        np.abs(RANDOM.standard_normal(SIZE - 60)) ** 3 * 0.01,
        -np.abs(RANDOM.standard_normal(30)) * 0.02,
    ],
    "one direction": np.r_[10, RANDOM.uniform(-0.1, 0.1, SIZE - 1)],
}
Truths = Mapping[str, float]
Draw = Callable[[int], Mapping[str, Uncertain]]  # the estimates of one seed, by name


@cache
def matrix(name: str) -> tuple[Tensor, Tensor]:
    """A matrix of a spectrum and its eigenvectors in columns."""
    rotation = np.linalg.qr(np.random.default_rng(1).standard_normal((SIZE, SIZE)))[0]
    return torch.from_numpy((rotation * SPECTRA[name]) @ rotation.T), torch.from_numpy(rotation)


def pairs(name: str, k: int) -> Spectrum | None:
    """The k exact pairs of largest magnitude; none of none."""
    if k == 0:
        return None
    values, (_, vectors) = torch.from_numpy(SPECTRA[name]), matrix(name)
    chosen = values.abs().argsort(descending=True)[:k]
    chosen = chosen[values[chosen].argsort(descending=True)]
    rows = vectors.T[chosen].contiguous()
    return certified(values[chosen], rows, torch.zeros(k).double(), tolerance=1e-3, which="LM", products=0)


def truths(name: str) -> dict[str, float]:
    """tr H, tr H², (tr H)²/tr H² and the entropy rank, and R at ∇L = 0, by their definitions."""
    values = SPECTRA[name]
    total, square, shares = values.sum(), (values**2).sum(), np.abs(values) / np.abs(values).sum()
    entropy = -(shares[shares > 0] * np.log(shares[shares > 0])).sum()
    return {
        "tr H": total,
        "tr H²": square,
        "participation ratio": total**2 / square,
        "entropy rank": math.exp(entropy),
        "R": total**2 - square,
    }


def of_density(name: str, probes: int, k: int, steps: int = STEPS) -> Draw:
    """What `measure` states, and `density` without pairs."""
    operator, known = MatrixOperator(matrix(name)[0]), pairs(name, k)

    def draw(seed: int) -> dict[str, Uncertain]:
        found = density(operator, probes=probes, steps=steps, seed=seed, spectrum=known, points=2)
        ranks = {"participation ratio": participation_ratio(found), "entropy rank": full_entropy_rank(found)}
        return {"tr H²": found.frobenius, **ranks} | ({} if k else {"tr H": found.trace})

    return draw


def of_trace(name: str, probes: int, method: Method = "xtrace") -> Draw:
    operator = MatrixOperator(matrix(name)[0])
    return lambda seed: {"tr H": trace(operator, method=method, probes=probes, seed=seed)}


def of_curvature(name: str, probes: int, k: int) -> Draw:
    """What studies and analyses state: probes confined to what is orthogonal to k pairs; without pairs what the function does."""
    operator, known, flat = MatrixOperator(matrix(name)[0]), pairs(name, k), torch.zeros(SIZE).double()

    def draw(seed: int) -> dict[str, Uncertain]:
        found = scalar_curvature(operator, flat, probes=probes, seed=seed, spectrum=known)
        ratio = found.participation_ratio
        return {"R": found, "tr H": found.trace, "tr H²": found.frobenius_square, "participation ratio": ratio}

    return draw


class _Quadratic(nn.Module):
    """½θᵀHθ at every sample."""

    def __init__(self, hessian: Tensor) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.ones(len(hessian)).double())
        self.hessian = hessian

    def forward(self, inputs: Tensor) -> Tensor:
        return (self.theta @ self.hessian @ self.theta / 2).expand(len(inputs))


@cache
def quadratic(name: str) -> tuple[Objective, Tensor]:
    """½θᵀHθ and where it is measured."""
    data = [(torch.zeros(2, 1).double(), torch.zeros(2).double())]
    return Objective(_Quadratic(matrix(name)[0]), lambda output, target: output, data), torch.ones(SIZE).double()


def of_rise(name: str, samples: int, k: int) -> Draw:
    """The mean rise of the loss around a minimum."""
    known = pairs(name, k)
    return lambda seed: {
        "loss increase": loss_increase(*quadratic(name), samples=samples, seed=seed, spectrum=known).loss_increase
    }


def of_noise(name: str, samples: int) -> Draw:
    """What a study states of the loss of the test set."""
    return lambda seed: {"loss rise": noise_robustness(*quadratic(name), samples=samples, seed=seed).loss_rise}


def of_finite_radius(name: str, perturbations: int, k: int) -> Draw:
    """The trace at a finite radius, over P, from so many ±u."""
    known = pairs(name, k)
    return lambda seed: {
        "curvature at a finite radius": sharpness(*quadratic(name), pairs=perturbations, seed=seed, spectrum=known).curvature
    }


def surroundings_truths(name: str) -> dict[str, float]:
    """Of ½θᵀHθ on spheres of radius r‖θ‖: r²‖θ‖² tr H/2P on average, about any θ."""
    mean = SPECTRA[name].sum() / SIZE
    radii = np.array([0.01, 0.02, 0.03, 0.04, 0.05])
    rises = radii**2 * SIZE * mean / 2
    return {"loss increase": rises.mean(), "loss rise": rises[0], "curvature at a finite radius": mean}


def of_last_layer(classes: int, width: int, spread: float, probes: int) -> tuple[Draw, float]:
    """Relative flatness of a softmax regression on random features, and its truth by the dense blocks."""
    draws = np.random.default_rng(2)
    features = np.maximum(draws.standard_normal((20 * classes, width)), 0) + 0.1
    weight = draws.standard_normal((classes, width)) * spread
    logits = features @ weight.T
    chances = np.exp(logits - logits.max(1, keepdims=True))
    chances /= chances.sum(1, keepdims=True)
    curved = np.einsum("nc,ck->nck", chances, np.eye(classes)) - chances[:, :, None] * chances[:, None]
    blocks = np.einsum("nck,ni,nj->cikj", curved, features, features) / len(features)
    truth = float(np.einsum("ck,cikj,ij->", weight @ weight.T, blocks, np.eye(width)))
    operator = MatrixOperator(torch.from_numpy(blocks.reshape(classes * width, -1)))
    theta = torch.from_numpy(weight.reshape(-1))
    layout = Layout(("weight",), (torch.Size((classes, width)),))
    return lambda seed: {"κ": relative_flatness(operator, theta, layout, "weight", probes=probes, seed=seed)}, truth


def coverage(draw: Draw, truth: Truths, seeds: range) -> dict[str, tuple[float, float]]:
    """For each quantity the share of seeds whose 95 % interval holds the truth, and the median of its half width over |truth|."""
    found: dict[str, list[tuple[bool, float]]] = {}
    for seed in seeds:
        for name, each in draw(seed).items():
            rounding = 1e-9 * abs(truth[name])  # of an estimate that is exact
            hit = abs(each.value - truth[name]) <= each.margin + rounding
            found.setdefault(name, []).append((hit, each.margin / abs(truth[name])))
    return {
        name: (float(np.mean([hit for hit, _ in rows])), float(np.median([w for _, w in rows]))) for name, rows in found.items()
    }


def cases() -> Iterator[tuple[str, str, Draw, Truths]]:
    """What is stated where, of which spectrum, how it is drawn and what is true."""
    for name in SPECTRA:
        known = truths(name)
        yield "`measure`, XTrace, 16 vectors", name, of_trace(name, 16), known
        for probes in (8, 16):
            yield f"`trace`, Hutchinson, {probes} vectors", name, of_trace(name, probes, "hutchinson"), known
            yield f"`trace`, Hutch++, {probes} vectors", name, of_trace(name, probes, "hutch++"), known
        for k in (5, 30):
            yield f"`measure`, density, 6 probes, {k} pairs", name, of_density(name, 6, k), known
        yield "`density`, 8 probes, no pairs", name, of_density(name, 8, 0, steps=20), known
        for probes in (16, 30):
            yield f"`scalar_curvature`, {probes} probes, no pairs", name, of_curvature(name, probes, 0), known
        around = surroundings_truths(name)
        yield "`loss_increase`, 10 samples a radius, no pairs", name, of_rise(name, 10, 0), around
        yield "`noise_robustness`, 10 samples, no pairs", name, of_noise(name, 10), around
        yield "`sharpness`, 50 ±u, no pairs", name, of_finite_radius(name, 50, 0), around
        yield "`measure` and sweeps of ReLU networks, 15 ±u, no pairs", name, of_finite_radius(name, 15, 0), around
        for level, probes in (("fast", 8), ("standard", 16), ("comprehensive", 30)):
            yield f"study, {level}, {probes} probes, 10 pairs", name, of_curvature(name, probes, 10), known
        for level, samples, perturbations in (("fast", 4, 5), ("standard", 10, 15)):
            yield f"study, {level}, {samples} samples a radius, 10 pairs", name, of_rise(name, samples, 10), around
            yield f"study, {level}, {perturbations} ±u, 10 pairs", name, of_finite_radius(name, perturbations, 10), around
    for label, classes, width, spread in (
        ("10 classes", 10, 20, 0.1),
        ("10 classes, confident", 10, 20, 0.5),
        ("3 classes", 3, 8, 0.3),
    ):
        for level, probes in (("fast", 10), ("standard", 20), ("comprehensive", 30)):
            draw, truth = of_last_layer(classes, width, spread, probes)
            yield f"study, {level}, {probes} products with a layer", label, draw, {"κ": truth}


def rows(seeds: int, more: int = 1) -> list[tuple[str, str, str, float, float]]:
    """Where, quantity, spectrum, coverage and relative half width, of every case; `more` times the seeds for the `unaided`."""
    return [
        (where, quantity, spectrum, share, width)
        for where, spectrum, draw, truth in cases()
        for quantity, (share, width) in coverage(draw, truth, seeds_of(spectrum, seeds * (more if unaided(where) else 1))).items()
    ]


def unaided(where: str) -> bool:
    """Where skewness puts intervals to the test: few or no pairs are known, or losses alone."""
    return where.endswith("no pairs") or "Hutchinson" in where or "±u" in where


def seeds_of(spectrum: str, seeds: int) -> range:
    """Seeds of its own for each spectrum: all have the same eigenvectors, and would have the same luck."""
    first = seeds * list(SPECTRA).index(spectrum) if spectrum in SPECTRA else 0
    return range(first, first + seeds)


def section(found: Sequence[tuple[str, str, str, float, float]], seeds: int, more: int) -> str:
    """One row for each place and quantity: the coverage over all spectra, and at the worst and the best of them."""
    by_place: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for where, quantity, _, share, width in found:
        by_place.setdefault((where, quantity), []).append((share, width))
    lines = []
    for (where, quantity), values in sorted(by_place.items()):
        shares, widths = zip(*values, strict=True)
        ends = f"{100 * min(shares):.1f} to {100 * max(shares):.1f}"
        lines.append([where, quantity, f"{100 * np.mean(shares):.1f}", ends, f"{min(widths):.2g} to {max(widths):.2g}"])
    chance, fewer = (200 * math.sqrt(0.95 * 0.05 / count) for count in (seeds, seeds * more))
    note = (
        f"{seeds} seeds a spectrum, {seeds * more} without pairs, by Hutchinson and by ±u: a share of 95 % comes out within "
        f"± {chance:.1f} % and ± {fewer:.1f} % (two standard deviations)."
    )
    return table(["where", "quantity", "held, %", "by spectrum, %", "half width / truth"], lines) + f"\n\n{note}\n"


def main(arguments: Sequence[str] | None = None) -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seeds", type=int, default=300, help="intervals for each number")
    options.add_argument("--more", type=int, default=3, help="times as many without pairs, by Hutchinson and by ±u")
    options.add_argument("--page", type=Path, default=Path("docs/error-bars.md"), help="the page to write into")
    chosen = options.parse_args(arguments)
    insert(chosen.page, "coverage", section(rows(chosen.seeds, chosen.more), chosen.seeds, chosen.more), title="Error bars")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
