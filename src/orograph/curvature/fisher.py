"""The empirical Fisher matrix: the mean outer product of per-sample gradients (see Kunstner, Hennig & Balles, 2019)."""

from typing import Any

from torch import Tensor

from orograph.curvature.formulas import FISHER
from orograph.curvature.matrix import CurvatureOperator
from orograph.curvature.precision import Precision
from orograph.objective import Objective


class EmpiricalFisherOperator(CurvatureOperator):
    """F = (1/N) Σ_n g_n g_nᵀ with g_n = ∇ℓ_n(θ).

    A product costs one tangent of the losses and one weighted gradient; the `N × P` matrix of gradients is never formed. It
    needs a loss with one value per sample.

    Examples:
        >>> import torch, orograph as og
        >>> data = [(torch.eye(4), torch.arange(4) % 2)]
        >>> operator = og.EmpiricalFisherOperator(torch.nn.Linear(4, 2), torch.nn.CrossEntropyLoss(), data)
        >>> operator.shape, (operator @ torch.ones(10)).shape
        ((10, 10), torch.Size([10]))
    """

    formula = FISHER

    def _begin(self, objective: Objective, samples: Tensor | None, precision: Precision, group: Any) -> None:
        objective.require_samples("the empirical Fisher matrix needs")
        super()._begin(objective, samples, precision, group)
