"""The low end of the spectrum of H + 2λI on a branch, continuous symmetries left out."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from orograph.continuation.equation import State
from orograph.spectral import lanczos


@dataclass(frozen=True, eq=False)
class Lowest:
    """The k lowest eigenpairs.

    Attributes:
        values: `(k,)`, ascending, float64 on the CPU.
        vectors: `(k, P)`, unit, a row each.
        index: how many are negative, beyond residual and rounding.
    """

    values: Float64[Tensor, " k"]
    vectors: Float[Tensor, "k P"]
    index: int

    @property
    def noise(self) -> float:
        """What rounding can make of an eigenvalue that is zero."""
        rounding = torch.finfo(self.vectors.dtype).eps * self.vectors.shape[1] ** 0.5
        return rounding * max(1.0, self.values.abs().max().item())


def lowest(state: State, k: int, deflated: Float[Tensor, "m P"] | None, *, tolerance: float, seed: int) -> Lowest:
    """The k lowest eigenpairs of A = H + 2λI on what is orthogonal to the rows of `deflated`.

    Args:
        state: where.
        k: how many.
        deflated: `(m, P)`, orthonormal; None for none.
        tolerance: of residuals, relative.
        seed: of the random start.

    Returns:
        The pairs, ascending, and how many are negative for certain.
    """
    away = 0 if deflated is None else len(deflated)
    k = max(1, min(k, len(state.theta) - away - 1))
    found = lanczos(state.operator(deflated), k, which="SA", tolerance=tolerance, seed=seed)
    rounding = torch.finfo(state.theta.dtype).eps * len(state.theta) ** 0.5
    flat = found.residuals + rounding * found.eigenvalues.abs().max().clamp_min(1.0)
    return Lowest(found.eigenvalues.flip(0), found.eigenvectors.flip(0), int((found.eigenvalues < -flat).sum()))
