"""The empirical Fisher matrix: the mean outer product of per-sample gradients (see Kunstner, Hennig & Balles, 2019)."""

from torch import Tensor

from orograph.curvature.formulas import FISHER
from orograph.curvature.matrix import CurvatureOperator
from orograph.curvature.precision import Precision
from orograph.errors import ConfigurationError
from orograph.objective import Objective


class EmpiricalFisherOperator(CurvatureOperator):
    """F = (1/N) Σ_n g_n g_nᵀ with g_n = ∇ℓ_n(θ), plus 2λI for a strength λ > 0.

    A product costs one tangent of the losses and one weighted gradient; the `N × P` matrix of gradients is never formed. It
    needs a loss with one value per sample.
    """

    formula = FISHER

    def _begin(self, objective: Objective, samples: Tensor | None, shift: float, precision: Precision) -> None:
        if not objective.per_sample:
            raise ConfigurationError("this loss gives only a mean; the empirical Fisher matrix needs one value per sample.")
        super()._begin(objective, samples, shift, precision)
