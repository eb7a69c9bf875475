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

import torch
from jaxtyping import Float
from torch import Tensor

from orograph.curvature.operator import LinearOperator
from orograph.spectral.cg import conjugate_gradient
from orograph.spectral.spectrum import Spectrum

_TOLERANCE = 1e-4  # of conjugate gradients: χ enters the identity as a correction


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
        offset: θ − θ_ref.
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
        rounding: what the rounding of F alone may make of the defect.
        outside: by how much the slope leaves [q_high, q_low] beyond rounding, relative to the trapezoid; 0 within.
        rises: whether q rises with λ, which no branch of minima allows: there is a jump between, or a point is not critical.
        critical: whether both points are critical points of L_eff at λ > 0; the identity is claimed of no others.
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


def envelope(
    strengths: Sequence[float],
    energies: Sequence[float],
    order_parameters: Sequence[float],
    susceptibilities: Sequence[float] | None = None,
    *,
    critical: Sequence[bool] | None = None,
    rounding: float = 0.0,
) -> tuple[Envelope, ...]:
    """The identity for each pair of neighbours of an ascending ladder.

    Args:
        strengths: λ, ascending.
        energies: F(λ) = L_eff.
        order_parameters: q = ‖θ − θ_ref‖².
        susceptibilities: χ, NaN where unknown.
        critical: which points are critical; all when None.
        rounding: of F, relative.

    Returns:
        One entry for each pair of neighbours, in order.
    """
    chi = [math.nan] * len(strengths) if susceptibilities is None else [float(value) for value in susceptibilities]
    holds = [True] * len(strengths) if critical is None else list(critical)
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
        noise = rounding * (abs(energy[a]) + abs(energy[b])) / step
        found.append(
            Envelope(
                low=lambdas[a],
                high=lambdas[b],
                slope=slope,
                trapezoid=trapezoid,
                corrected=corrected,
                defect=abs(slope - best) / scale,
                error=abs(corrected - trapezoid) / scale,
                rounding=noise / scale,
                outside=max(0.0, slope - most - noise, least - slope - noise) / scale,
                rises=order[b] > order[a],
                critical=holds[a] and holds[b],
            )
        )
    return tuple(found)
