"""Products of the Hessian where a loss can be differentiated once alone: central differences of its gradients.

    H v = ‖v‖ [∇L(θ + hu) − ∇L(θ − hu)]/2h + O(h²) + O(ε‖∇L‖/h),    u = v/‖v‖

With h = ε^⅓ both errors are of the order ε^⅔, ε being the rounding of a gradient: six to seven digits fewer than exact products
have in float64, three in float32. They are not linear in v, and that is how a decomposition measures them: what it finds below
that defect it marks as noise and claims no sign of (`spectral/noise.py`).
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from orograph.arguments import checked
from orograph.curvature.operator import TrustedOperator
from orograph.errors import ConfigurationError


class DifferenceOperator(TrustedOperator):
    """The Hessian at θ out of gradients: for kernels without a second derivative, sharded parameters, weights in half precision.

    Args:
        gradient: `θ ↦ ∇L(θ)`, the same whenever it is called.
        theta: θ, `(P,)`, float32 or float64; in it products are made, whatever the gradient computes in.
        rounding: ε of the gradient, relative to its size; of θ's dtype when None. `torch.finfo(torch.bfloat16).eps` for
            weights in bfloat16.

    Attributes:
        step: h, the length by which θ is moved.

    Raises:
        ConfigurationError: θ is in half precision, or ε is no number between 0 and 1.

    Examples:
        >>> import torch, orograph as og
        >>> op = og.curvature.DifferenceOperator(lambda theta: theta**3, torch.tensor([1.0, 2.0], dtype=torch.float64))
        >>> (op @ torch.tensor([1.0, 0.0], dtype=torch.float64)).round(decimals=6)
        tensor([3., 0.], dtype=torch.float64)
    """

    theta: Tensor
    step: float

    exact_products = False

    @checked
    def __init__(
        self, gradient: Callable[[Tensor], Tensor], theta: Float[Tensor, " P"], *, rounding: float | None = None
    ) -> None:
        if theta.dtype not in (torch.float32, torch.float64):
            kind = str(theta.dtype).removeprefix("torch.")
            raise ConfigurationError(f"`theta` in {kind} cannot be moved by small steps; give it in float32 or float64.")
        epsilon = torch.finfo(theta.dtype).eps if rounding is None else rounding
        if not 0 < epsilon < 1:
            raise ConfigurationError(f"`rounding` {rounding} must lie between 0 and 1.")
        self.theta, self._gradient = theta.detach().clone(), gradient
        self.step = epsilon ** (1 / 3) * max(1.0, torch.linalg.vector_norm(self.theta, dtype=torch.float64).item()) ** 0.5
        super().__init__(self._difference, len(theta), dtype=theta.dtype, device=theta.device)

    def _difference(self, vector: Tensor) -> Tensor:
        norm = torch.linalg.vector_norm(vector, dtype=torch.float64).to(vector)
        aside = vector * (self.step / torch.where(norm > 0, norm, 1))
        after, before = (self._slope(self.theta + moved).to(vector, copy=True) for moved in (aside, -aside))
        return (after - before) * (norm / (2 * self.step))

    def _slope(self, theta: Tensor) -> Tensor:
        result = self._gradient(theta)
        if not isinstance(result, Tensor) or result.shape != theta.shape:
            found = f"of shape {tuple(result.shape)}" if isinstance(result, Tensor) else type(result).__name__
            raise ConfigurationError(f"`gradient` must give a tensor of the shape of θ, {tuple(theta.shape)}, not {found}.")
        return result.detach()
