"""Residuals that can be trusted, for a handful of products in place of one a pair.

Every Ritz vector is x = Qᵀs, and every A q_j was computed by a true product, so that Ax = Σ s_j A q_j and the residual
vector Ax − θx is known from the measured coefficients (`residual_weights`) up to a *defect* e: rounding of products
and of orthogonalisation, and whatever else went wrong. A product per pair would show e, and would cost a third of the whole
computation. But A is symmetric: for random u one product Au tells u·Ax = (Au)·x, hence u·e, of *every* pair. For Gaussian
u, u·e is normal of deviation ‖e‖, and from r of them

    ‖e‖ ≤ 5 √(2/π) max_r |u_r·e|    with probability ≥ 1 − 5⁻ʳ    (Halko, Martinsson & Tropp 2011, lemma 4.1; r = 3: 0.992).

The stated residual is what the coefficients predict plus this bound. Where that breaks the tolerance, the pair gets a
product of its own, and what it shows is stated. The products Au are mostly there already: the random directions in which
copies were sought (`copies`) are such u, and (Au)·x − u·(predicted Ax) is the asymmetry of the coefficients in their rows.
Where no search was made, or another operator is to judge (fast products of reduced precision), three products are made for
it.
"""

import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from orograph.spectral.krylov import Krylov

SAMPLES = 3
_FACTOR = 5 * (2 / torch.pi) ** 0.5
_COLUMNS = 8  # multiplied at once
_SPAN = 1 << 16  # entries widened to float64 at once


def verified_residuals(
    krylov: Krylov,
    values: Float64[Tensor, " k"],
    weights: Float64[Tensor, "m k"],
    vectors: Float[Tensor, "k P"],
    *,
    probes: list[int],
    tolerance: float,
    exempt: Bool[Tensor, " k"],
    full: bool,
    seed: int,
) -> Float64[Tensor, " k"]:
    """‖Av − θv‖ of each pair.

    Args:
        krylov: the decomposition that the pairs come from.
        values: θ.
        weights: s, one pair a column.
        vectors: x = Qᵀs, unit rows.
        probes: multiplied rows that were random directions when they were.
        tolerance: of ‖r‖/|θ|.
        exempt: pairs that are noise: no tolerance is asked of them.
        full: a product for every pair instead of samples.
        seed: of u.
    """
    predicted = residual_weights(krylov, values, weights)
    residuals, sizes = predicted.norm(dim=0), values.abs()
    unsure = torch.ones_like(exempt)
    probes = [row for row in probes if row < krylov.multiplied]  # the last is none where the basis is the whole space
    if not full and len(values) > SAMPLES:
        if len(probes) < SAMPLES or krylov.operator.verification is not krylov.operator:
            samples = _fresh_samples(krylov, values, weights, predicted, vectors, seed)
        else:
            samples = _known_samples(krylov, weights, probes)
        residuals += _FACTOR * samples.abs().amax(0)
        unsure = ~exempt & (residuals > tolerance * sizes) & (predicted.norm(dim=0) <= tolerance * sizes)
    for part in unsure.nonzero()[:, 0].split(_COLUMNS) if unsure.any() else []:
        chosen = vectors[part.to(vectors.device)]
        product = krylov.product(chosen, krylov.operator.verification).to(vectors.device).double()
        theta = values[part].to(vectors.device)[:, None]
        residuals[part] = krylov.shards.norms(product - theta * chosen.double()).cpu()
    return residuals


def residual_weights(krylov: Krylov, values: Float64[Tensor, " k"], weights: Float64[Tensor, "m k"]) -> Float64[Tensor, "n k"]:
    """The residual vectors Ax − θx as weights of all rows; their norms are the columns' norms."""
    residuals = krylov.coefficients[: krylov.count, : krylov.multiplied] @ weights
    residuals[: krylov.multiplied] -= weights * values
    return residuals


def _known_samples(krylov: Krylov, weights: Float64[Tensor, "m k"], probes: list[int]) -> Float64[Tensor, "r k"]:
    """u·e for the probes u, unit rows of the basis scaled to the length of Gaussian vectors."""
    known = krylov.coefficients[: krylov.multiplied, : krylov.multiplied]
    return krylov.operator.size**0.5 * (known[:, probes].T - known[probes]) @ weights


def _fresh_samples(
    krylov: Krylov,
    values: Float64[Tensor, " k"],
    weights: Float64[Tensor, "m k"],
    predicted: Float64[Tensor, "n k"],
    vectors: Float[Tensor, "k P"],
    seed: int,
) -> Float64[Tensor, "r k"]:
    """u·e for new Gaussian u, by products of the operator's own `verification`."""
    generator = torch.Generator().manual_seed(seed)
    random = krylov.shards.random(SAMPLES, generator, vectors.dtype).to(vectors.device)
    product = krylov.product(random, krylov.operator.verification).to(vectors)
    expected = predicted.clone()
    expected[: krylov.multiplied] += weights * values
    return krylov.shards.total(_dots(product, vectors) - _dots(random, krylov.basis.combine(expected))).cpu()


def _dots(left: Float[Tensor, "r P"], right: Float[Tensor, "k P"]) -> Float64[Tensor, "r k"]:
    """Dot products in float64, a span of columns at a time."""
    spans = zip(left.split(_SPAN, dim=1), right.split(_SPAN, dim=1), strict=True)
    return torch.stack([a.double() @ b.double().T for a, b in spans]).sum(0)
