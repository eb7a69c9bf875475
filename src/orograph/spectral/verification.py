"""Residuals that can be trusted, for a handful of products in place of one a pair.

Every Ritz vector is x = Qᵀs, and every A q_j was computed by a true product, so that Ax = Σ s_j A q_j and the residual
vector Ax − θx is known from the measured coefficients (`residual_weights`) up to a *defect* e: rounding of products
and of orthogonalisation, and whatever else went wrong. A product per pair would show e, and would cost a third of the whole
computation. But A is symmetric: for random u one product Au tells u·Ax = (Au)·x, hence u·e, of *every* pair. For Gaussian
u, u·e is normal of deviation ‖e‖, and from r of them

    ‖e‖ ≤ 5 √(2/π) max_r |u_r·e|    with probability ≥ 1 − 5⁻ʳ    (Halko, Martinsson & Tropp 2011, lemma 4.1; r = 3: 0.992).

The stated residual is what the coefficients predict plus this bound. Where that breaks the tolerance, the pair gets a
product of its own, and what it shows is stated. (The random vectors in which copies were sought are no such u: they are
orthogonal to the wanted pairs, and do not see what a defect has along these.)
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from orograph.spectral.krylov import Krylov

SAMPLES = 3
_FACTOR = 5 * (2 / torch.pi) ** 0.5
_COLUMNS = 8  # multiplied at once
_SPAN = 1 << 14  # entries widened to float64 at once; as many as a cache holds (measured)


@dataclass(frozen=True)
class Pairs:
    """Ritz pairs in descending order: values θ, weights s in the basis, one pair a column, and vectors x = Qᵀs, unit rows."""

    values: Float64[Tensor, " k"]
    weights: Float64[Tensor, "m k"]
    vectors: Float[Tensor, "k W"]


def verified_residuals(
    krylov: Krylov,
    pairs: Pairs,
    *,
    tolerance: float,
    exempt: Bool[Tensor, " k"],
    full: bool,
    seed: int,
) -> Float64[Tensor, " k"]:
    """‖Av − θv‖ of each pair.

    Args:
        krylov: the decomposition that the pairs come from.
        pairs: whose residuals these are.
        tolerance: of ‖r‖/|θ|.
        exempt: pairs that are noise: no tolerance is asked of them.
        full: a product for every pair instead of samples.
        seed: of u.
    """
    values, vectors = pairs.values, pairs.vectors
    predicted = residual_weights(krylov, values, pairs.weights)
    residuals, sizes = predicted.norm(dim=0), values.abs()
    unsure = torch.ones_like(exempt)
    if not full and len(values) > SAMPLES:
        defects = _defects(krylov, pairs, predicted, seed)
        residuals += _FACTOR * defects.abs().amax(0)
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


def _defects(krylov: Krylov, pairs: Pairs, predicted: Float64[Tensor, "n k"], seed: int) -> Float64[Tensor, "r k"]:
    """u·e for Gaussian u, by products of the operator's own `verification`, out of the residuals' weights."""
    vectors = pairs.vectors
    random = krylov.shards.random(SAMPLES, torch.Generator().manual_seed(seed), vectors.dtype).to(vectors.device)
    product = krylov.product(random, krylov.operator.verification).to(vectors)
    expected = predicted.clone()
    expected[: len(pairs.weights)] += pairs.weights * pairs.values
    inside = krylov.basis.components(random, krylov.count)
    return krylov.shards.total(_dots(product, vectors)).cpu() - inside.T @ expected


def _dots(left: Float[Tensor, "r P"], right: Float[Tensor, "k P"]) -> Float64[Tensor, "r k"]:
    """Dot products in float64, a span of columns at a time."""
    spans = zip(left.split(_SPAN, dim=1), right.split(_SPAN, dim=1), strict=True)
    return torch.stack([a.double() @ b.double().T for a, b in spans]).sum(0)
