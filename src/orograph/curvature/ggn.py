"""The Gauss–Newton matrix of the mean loss (Schraudolph, 2002); positive where the loss is convex in the outputs."""

from orograph.curvature.formulas import GAUSS_NEWTON
from orograph.curvature.matrix import CurvatureOperator


class GaussNewtonOperator(CurvatureOperator):
    """G = (1/N) Σ_n J_nᵀ (∂²ℓ_n/∂z_n²) J_n with outputs z_n and J_n = ∂z_n/∂θ, plus 2λI for a strength λ > 0."""

    formula = GAUSS_NEWTON
