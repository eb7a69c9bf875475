"""Where in the network a direction lies: its weight on each tensor, how many parameters carry it, and what it points at."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from orograph.arguments import checked
from orograph.brief import brief
from orograph.parameters import Layout


@brief
@dataclass(frozen=True, eq=False)
class Localisation:
    """How k unit vectors spread; all float64.

    Attributes:
        tensor_weights: `(k, T)`, each row sums to 1.
        inverse_participation: `(k,)`, Σ v_p⁴.
        gradient_overlaps: `(k,)`, squared cosines with ∇L; NaN where it is zero.
        offset_overlaps: `(k,)`, squared cosines with θ − θ_ref; NaN where it is zero.
    """

    tensor_weights: Float[Tensor, "k T"]
    inverse_participation: Float[Tensor, " k"]
    gradient_overlaps: Float[Tensor, " k"]
    offset_overlaps: Float[Tensor, " k"]


@checked
def localise(
    vectors: Float[Tensor, "k P"], layout: Layout, gradient: Float[Tensor, " P"], offset: Float[Tensor, " P"]
) -> Localisation:
    """The spread of unit vectors, one a row.

    Args:
        vectors: `(k, P)`, unit rows.
        layout: of θ, which says where each tensor lies.
        gradient: `(P,)`, ∇L.
        offset: `(P,)`, θ − θ_ref.

    Returns:
        The weight of each vector on each tensor `(k, T)`, its inverse participation ratio, and its overlaps `(k,)`.
    """
    squares = vectors.double().square()
    weights = torch.stack([part.sum(1) for part in squares.split(layout.sizes, dim=1)], dim=1)
    return Localisation(weights, squares.square().sum(1), squared_cosines(vectors, gradient), squared_cosines(vectors, offset))


def squared_cosines(vectors: Float[Tensor, "k P"], other: Float[Tensor, " P"]) -> Float[Tensor, " k"]:
    """(vᵀu)²/‖u‖² of unit vectors, float64."""
    direction = other.double()
    return (vectors.double() @ direction).square() / direction.square().sum()
