"""The Hessian of the mean loss: H = ∇²L(θ), by exact products over all data (Pearlmutter, 1994)."""

from orograph.curvature.formulas import HESSIAN
from orograph.curvature.matrix import CurvatureOperator


class HessianOperator(CurvatureOperator):
    """H = (1/N) Σ_n ∇²ℓ_n(θ), plus 2λI for a strength λ > 0."""

    formula = HESSIAN
