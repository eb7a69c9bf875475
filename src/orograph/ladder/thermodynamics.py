"""A sweep as thermodynamics: the free energy F(λ) = min L_eff, its slope, the order parameter, and the susceptibility.

At a critical point dF/dλ = ‖θ − θ_ref‖² =: q (the envelope theorem), which certifies every pair of neighbouring points at no
cost. Along a branch of minima F is concave, since dq/dλ = −χ ≤ 0 with

    dθ/dλ = −2(H + 2λI)⁻¹(θ − θ_ref),    χ = 4 (θ − θ_ref)ᵀ(H + 2λI)⁻¹(θ − θ_ref),

so that the slope of F between two neighbours lies between their q. The trapezoid (q_a + q_b)/2 is it to second order in the step,
and with the susceptibilities, by Euler and Maclaurin, to fourth.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from orograph.arguments import checked
from orograph.brief import brief
from orograph.curvature.operator import LinearOperator
from orograph.spectral.cg import conjugate_gradient
from orograph.spectral.spectrum import Spectrum

_TOLERANCE = 1e-4  # of conjugate gradients: χ enters the identity as a correction


@brief
@dataclass(frozen=True, eq=False)
class Response:
    """How θ answers to λ.

    Attributes:
        direction: `(P,)`, dθ/dλ.
        susceptibility: χ = −dq/dλ; NaN where conjugate gradients met negative curvature.
        residual: ‖b − (H + 2λI)x‖/‖b‖ of the linear system with b = θ − θ_ref.
        converged: the residual is small enough.
        negative_curvature: the point is no minimum, or λ_min is within rounding of zero.
        products: spent.
    """

    direction: Float[Tensor, " P"]
    susceptibility: float
    residual: float
    converged: bool
    negative_curvature: bool
    products: int


@checked
def response(
    hessian: LinearOperator,
    offset: Float[Tensor, " P"],
    strength: float,
    *,
    spectrum: Spectrum | None = None,
    tolerance: float = _TOLERANCE,
    max_products: int = 400,
) -> Response:
    """dθ/dλ and χ by conjugate gradients.

    Args:
        hessian: H of the plain loss.
        offset: θ − θ_ref, `(P,)`.
        strength: λ.
        spectrum: known pairs of H; what b holds of them is solved for at once, which removes the largest eigenvalues from the
            iteration.
        tolerance: of ‖b − (H + 2λI)x‖/‖b‖.
        max_products: at most.

    Returns:
        dθ/dλ `(P,)` and χ, with the residual of the solution.
    """
    size = offset.double().norm().item()
    if size == 0:
        return Response(torch.zeros_like(offset), 0.0, 0.0, True, False, 0)
    known, products = torch.zeros_like(offset), 0
    residual = offset
    if spectrum is not None:
        usable = spectrum.converged & ~spectrum.noise & (spectrum.eigenvalues + 2 * strength > 0)
        vectors = spectrum.eigenvectors[usable.to(spectrum.eigenvectors.device)].to(offset)
        values = spectrum.eigenvalues[usable].to(offset) + 2 * strength
        known = ((vectors @ offset) / values) @ vectors
        residual = offset - (hessian @ known) - 2 * strength * known
        products = 1
    left = residual.double().norm().item() / size
    if left <= tolerance:
        return Response(-2 * known, _susceptibility(offset, known), left, True, False, products)
    solved = conjugate_gradient(
        hessian, residual, shift=2 * strength, tolerance=min(0.5, tolerance / left), max_products=max(2, max_products - products)
    )
    solution = known + solved.solution
    relative = solved.residual * left
    value = math.nan if solved.negative_curvature else _susceptibility(offset, solution)
    return Response(-2 * solution, value, relative, relative <= tolerance, solved.negative_curvature, products + solved.products)


def _susceptibility(offset: Tensor, solution: Tensor) -> float:
    return 4 * torch.dot(offset.double(), solution.double()).item()


@brief
@dataclass(frozen=True)
class Envelope:
    """The envelope identity between two neighbouring points, the one of smaller λ first.

    Attributes:
        low: the smaller strength.
        high: the larger one.
        slope: ΔF/Δλ.
        trapezoid: (q_low + q_high)/2.
        corrected: the same with the susceptibilities; NaN where one is missing.
        defect: |slope − corrected| relative to the trapezoid, or − trapezoid where there is no correction.
        error: size of the correction relative to the trapezoid: what the defect may be by the step's length alone.
        rounding: what the rounding of F, and what is left of the gradients, may make of the defect.
        outside: by how much the slope leaves [q_high, q_low] beyond rounding and what is left of the gradients, relative to the
            trapezoid; 0 within.
        rises: whether q rises with λ by more than these, which no branch of minima allows: there is a jump between, or a point is
            not critical.
        critical: whether both points are critical points of L_eff at λ > 0; the identity is claimed of no others.
        minima: whether neither of them is known to be a saddle, on whose branches q may rise.
    """

    low: float
    high: float
    slope: float
    trapezoid: float
    corrected: float
    defect: float
    error: float
    rounding: float
    outside: float
    rises: bool
    critical: bool
    minima: bool = True


def unsettled(
    gradients: Float[ndarray, " T"],
    susceptibilities: Float[ndarray, " T"],
    lowest: Float[ndarray, " T"],
    strengths: Float[ndarray, " T"],
) -> tuple[Float[ndarray, " T"], Float[ndarray, " T"]]:
    """By how much F and q may differ from their values at the critical point nearby, whose gradient g is zero.

    With A = H + 2λI and b = 2(θ − θ_ref) to first order: |ΔF| = ½gᵀA⁻¹g ≤ ‖g‖²/2λ_min, |Δq| = |gᵀA⁻¹b| ≤ ‖g‖√(χ/λ_min).

    Args:
        gradients: ‖∇L_eff‖ that is left.
        susceptibilities: χ = bᵀA⁻¹b; where it is unknown, nothing is known of q, and 0 returned.
        lowest: λ_min of A; where it is unknown or not positive, 2λ, the penalty's own curvature, takes its place.
        strengths: λ.
    """
    stiffness = np.where(np.isfinite(lowest) & (lowest > 0), lowest, 2 * strengths)
    usable = (stiffness > 0) & np.isfinite(gradients)
    roots = np.divide(gradients, np.sqrt(np.maximum(stiffness, 0)), out=np.zeros_like(stiffness), where=usable)
    return roots**2 / 2, roots * np.sqrt(np.where(susceptibilities > 0, susceptibilities, 0.0))


def envelope(
    strengths: Sequence[float],
    energies: Sequence[float],
    order_parameters: Sequence[float],
    susceptibilities: Sequence[float] | None = None,
    *,
    critical: Sequence[bool] | None = None,
    saddles: Sequence[bool] | None = None,
    rounding: float = 0.0,
    uncertainties: tuple[Sequence[float], Sequence[float]] | None = None,
) -> tuple[Envelope, ...]:
    """The identity for each pair of neighbours of an ascending ladder.

    Args:
        strengths: λ, ascending.
        energies: F(λ) = L_eff.
        order_parameters: q = ‖θ − θ_ref‖².
        susceptibilities: χ, NaN where unknown.
        critical: which points are critical; all when None.
        saddles: which of them are known to be no minima; none when None.
        rounding: of F and q, relative.
        uncertainties: of F and of q besides, as `unsettled` bounds them; 0 when None.

    Returns:
        One entry for each pair of neighbours, in order.
    """
    chi = [math.nan] * len(strengths) if susceptibilities is None else [float(value) for value in susceptibilities]
    holds = [True] * len(strengths) if critical is None else list(critical)
    unstable = [False] * len(strengths) if saddles is None else list(saddles)
    loose_energy, loose_order = ([0.0] * len(strengths),) * 2 if uncertainties is None else uncertainties
    lambdas, energy, order = ([float(value) for value in values] for values in (strengths, energies, order_parameters))
    found = []
    for a in range(len(lambdas) - 1):
        b, step = a + 1, lambdas[a + 1] - lambdas[a]
        slope = (energy[b] - energy[a]) / step
        trapezoid = (order[a] + order[b]) / 2
        corrected = trapezoid + step / 12 * (chi[b] - chi[a])
        scale = abs(trapezoid) or math.nan
        best = trapezoid if math.isnan(corrected) else corrected
        least, most = sorted((order[a], order[b]))
        noise = (rounding * (abs(energy[a]) + abs(energy[b])) + loose_energy[a] + loose_energy[b]) / step
        margin = rounding * (order[a] + order[b]) + loose_order[a] + loose_order[b]
        found.append(
            Envelope(
                low=lambdas[a],
                high=lambdas[b],
                slope=slope,
                trapezoid=trapezoid,
                corrected=corrected,
                defect=abs(slope - best) / scale,
                error=abs(corrected - trapezoid) / scale,
                rounding=(noise + margin) / scale,
                outside=max(0.0, slope - most - noise - margin, least - slope - noise - margin) / scale,
                rises=order[b] - order[a] > margin,
                critical=holds[a] and holds[b],
                minima=not (unstable[a] or unstable[b]),
            )
        )
    return tuple(found)
