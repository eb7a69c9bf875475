"""A critical point with its tangent: what a step of a branch ends in, and the next starts from."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from orograph.continuation.equation import State
from orograph.continuation.stability import Lowest


@dataclass(frozen=True, eq=False)
class Reached:
    """A critical point with its tangent.

    Attributes:
        state: θ, λ and the sides of the equation.
        tangent: `(P + 1,)`, unit, of (θ, βλ).
        low: the lowest eigenpairs; None if none are asked for.
        iterations: of the corrector.
        corrected: how far the corrector went.
    """

    state: State
    tangent: Float[Tensor, " n"]
    low: Lowest | None = None
    iterations: int = 0
    corrected: float = 0.0

    @property
    def rate(self) -> float:
        """dλ/ds."""
        return self.tangent[-1].item() / self.state.scale

    @property
    def growth(self) -> float:
        """dq/ds."""
        return torch.dot(self.state.pull, self.tangent[:-1]).item()
