"""What a point is: a minimum, a saddle, or no critical point at all, with the numbers that say so.

A critical point has ‖∇L_eff‖ ≤ τ·max(1, 2λ‖θ − θ_ref‖). It is a minimum when λ_min(H + 2λI) exceeds its residual and the noise of
the products, a saddle when some eigenvalue lies below zero by as much, and undecided between. At λ = 0 cross-entropy has no
finite minimum, whatever the gradient says.
"""

import math
from typing import Literal

from orograph.analysis.visit import Visit
from orograph.geometry.smoothness import finite_companions
from orograph.spectral.eigenpairs import lanczos
from orograph.spectral.morse_index import Index, index
from orograph.store.findings import Result

Verdict = Literal["minimum", "saddle", "undecided", "not converged", "no penalty"]

_PAIRS = 3  # of the lower end: λ_min, and whether the index goes on
_TOLERANCE = 1e-2  # of a residual, relative to λ_min of L_eff: its sign is what matters


def verdict(gradient_norm: float, limit: float, lowest: Index, noise: float, strength: float) -> Verdict:
    """What a point is.

    Args:
        gradient_norm: ‖∇L_eff‖.
        limit: the largest norm of a critical point.
        lowest: the lower end of the spectrum of H + 2λI.
        noise: below it rounding decides what an eigenvalue is; NaN where it was not measured.
        strength: λ.
    """
    if strength == 0:
        return "no penalty"
    if not gradient_norm <= limit:
        return "not converged"
    if lowest.count:
        return "saddle"
    margin = lowest.residual + (0.0 if math.isnan(noise) else noise)
    return "minimum" if lowest.lowest > margin and not lowest.undecided else "undecided"


def certificate_part(visit: Visit, *, max_products: int, tolerance: float, seed: int) -> Result:
    """‖∇L_eff‖, λ_min of L_eff with its residual, its negative eigenvalues, and the verdict."""
    strength = visit.cell.strength
    offset = visit.offset.double()
    norm = (visit.gradient.double() + 2 * strength * offset).norm().item()
    limit = tolerance * max(1.0, 2 * strength * offset.norm().item())
    spectrum = lanczos(
        visit.operator.shifted(2 * strength),
        min(_PAIRS, visit.objective.layout.size - 1),
        which="SA",
        tolerance=_TOLERANCE,
        max_products=max_products,
        seed=seed,
        on_product=visit.counting("λ_min"),
    )
    lowest = index(spectrum, negative=_negative(visit, strength))
    kinks = {} if visit.smooth else {"objective_lambda_min": spectrum.eigenvectors[-1]}
    return Result(
        {
            "certificate": verdict(norm, limit, lowest, spectrum.noise_level, strength),
            "certified_gradient_norm": norm,
            "gradient_norm_limit": limit,
            "objective_lambda_min": lowest.lowest,
            "objective_lambda_min_residual": lowest.residual,
            "objective_lambda_min_noise": spectrum.noise_level,
            "objective_negative_eigenvalues": lowest.count,
            "objective_negative_eigenvalues_lower_bound": lowest.lower_bound,
            "certificate_products": spectrum.products,
            **finite_companions(visit.objective, visit.theta, kinks, shift=2 * strength),
        }
    )


def _negative(visit: Visit, strength: float) -> int:
    """How many recorded pairs of H show a negative eigenvalue of H + 2λI."""
    known = visit.spectrum
    if known is None:
        return 0
    noise = known.noise_level if known.noise_level > 0 else 0.0  # nan: never measured
    return int((known.eigenvalues + 2 * strength < -known.residuals - noise).sum())
