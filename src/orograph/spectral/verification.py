"""Residuals that can be trusted, for fewer products than pairs.

Every Ritz vector is x = Qᵀs, and every A q_j was computed by a true product, so that A x = Σ s_j A q_j and the residual vector Ax − θx is known
from the measured coefficients (`Krylov.residual_weights`) up to a *defect* e: rounding of products and of orthogonalisation, and whatever else
went wrong. One more product per pair would show e; k more products would cost a third of the whole computation. Instead the defects are
sampled: for Gaussian ω, z = Σ ω_i x_i/|θ_i| has one true product, and Az less its prediction is Σ ω_i e_i/|θ_i| = Eω. From r such samples (Halko, Martinsson &
Tropp 2011, lemma 4.1)

    max_i ‖e_i‖/|θ_i| ≤ ‖E‖₂ ≤ 5 √(2/π) max_r ‖E ω_r‖    with probability ≥ 1 − 5⁻ʳ,

whatever E is, one wrong pair included (r = 3: 0.992; far surer where defects are spread over the pairs, as rounding is). A pair whose predicted residual
plus this bound keeps the tolerance is certified; its stated residual is the prediction plus the sampled defect of a typical pair. Any other pair
gets a true product of its own, and what that shows is stated.
"""

import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from orograph.spectral.krylov import Krylov

_SAMPLES = 3
_FACTOR = 5 * (2 / torch.pi) ** 0.5
_COLUMNS = 8  # multiplied at once


def verified_residuals(
    krylov: Krylov,
    values: Float64[Tensor, " k"],
    weights: Float64[Tensor, "m k"],
    vectors: Float[Tensor, "k P"],
    *,
    tolerance: float,
    exempt: Bool[Tensor, " k"],
    full: bool,
    seed: int,
) -> Float64[Tensor, " k"]:
    """‖Av − θv‖ of each pair, by products of the operator's own `verification`.

    Args:
        krylov: the decomposition that the pairs come from.
        values: θ.
        weights: s, one pair a column.
        vectors: x = Qᵀs, unit rows.
        tolerance: of ‖r‖/|θ|.
        exempt: pairs that are noise: no tolerance is asked of them.
        full: a product for every pair instead of samples.
        seed: of ω.
    """
    predicted = krylov.residual_weights(values, weights)
    residuals, sizes = predicted.norm(dim=0), values.abs()
    unsure = ~exempt
    sampled = (unsure & (sizes > 0)).nonzero()[:, 0]
    if not full and len(sampled) > _SAMPLES:
        defect = _sampled_defect(krylov, values[sampled], weights[:, sampled], predicted[:, sampled], vectors[sampled], seed)
        unsure &= residuals + _FACTOR * defect * sizes > tolerance * sizes
        residuals += defect / len(sampled) ** 0.5 * sizes
    elif full:
        unsure = torch.ones_like(exempt)
    for part in unsure.nonzero()[:, 0].split(_COLUMNS) if unsure.any() else []:
        chosen = vectors[part.to(vectors.device)]
        product = krylov.product(chosen, krylov.operator.verification).to(vectors.device).double()
        theta = values[part].to(vectors.device)[:, None]
        residuals[part] = torch.linalg.vector_norm(product - theta * chosen.double(), dim=1).cpu()
    return residuals


def _sampled_defect(
    krylov: Krylov,
    values: Float64[Tensor, " k"],
    weights: Float64[Tensor, "m k"],
    predicted: Float64[Tensor, "n k"],
    vectors: Float[Tensor, "k P"],
    seed: int,
) -> float:
    """max_r ‖E ω_r‖, the columns of E being the relative defects e_i/|θ_i|."""
    generator = torch.Generator().manual_seed(seed)
    omega = torch.randn(len(values), _SAMPLES, generator=generator, dtype=torch.float64) / values.abs()[:, None]
    lengths = omega.norm(dim=0)
    omega /= lengths
    combined = omega.T.to(vectors) @ vectors
    product = krylov.product(combined, krylov.operator.verification).to(vectors.device).double()
    expected = predicted @ omega
    expected[: krylov.multiplied] += weights @ (values[:, None] * omega)
    defects = torch.linalg.vector_norm(product - krylov.basis.combine(expected).double(), dim=1).cpu()
    return float((defects * lengths).max())
