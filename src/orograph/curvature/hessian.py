"""The Hessian of the mean loss: H = ∇²L(θ), by exact products over all data (Pearlmutter, 1994)."""

from orograph.curvature.formulas import HESSIAN
from orograph.curvature.matrix import CurvatureOperator


class HessianOperator(CurvatureOperator):
    """H = (1/N) Σ_n ∇²ℓ_n(θ).

    Examples:
        >>> import torch, orograph as og
        >>> data = [(torch.eye(4), torch.arange(4) % 2)]
        >>> operator = og.HessianOperator(torch.nn.Linear(4, 2), torch.nn.CrossEntropyLoss(), data)
        >>> operator.shape, (operator @ torch.ones(10)).shape
        ((10, 10), torch.Size([10]))
    """

    formula = HESSIAN
