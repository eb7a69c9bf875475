"""The Gauss–Newton matrix of the mean loss (Schraudolph, 2002); positive where the loss is convex in the outputs."""

from orograph.curvature.formulas import GAUSS_NEWTON
from orograph.curvature.matrix import CurvatureOperator


class GaussNewtonOperator(CurvatureOperator):
    """G = (1/N) Σ_n J_nᵀ (∂²ℓ_n/∂z_n²) J_n with outputs z_n and J_n = ∂z_n/∂θ.

    Examples:
        >>> import torch, orograph as og
        >>> data = [(torch.eye(4), torch.arange(4) % 2)]
        >>> operator = og.GaussNewtonOperator(torch.nn.Linear(4, 2), torch.nn.CrossEntropyLoss(), data)
        >>> operator.shape, (operator @ torch.ones(10)).shape
        ((10, 10), torch.Size([10]))
    """

    formula = GAUSS_NEWTON
