"""Where in the network a direction lies: its weight on each tensor, how many parameters carry it, and what it points at.

With a unit vector v: the weight of a tensor is Σ v_p² over its parameters; the inverse participation ratio Σ v_p⁴ is 1 for a
single parameter and 1/P for all alike (Bell & Dean 1970), so that 1/Σ v_p⁴ counts parameters; the overlap with a vector u is
(vᵀu)²/‖u‖². Within a cluster of eigenvalues single vectors are arbitrary: there sums over the cluster mean something for
weights and overlaps, and the participation of one vector does not.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from orograph.experiments.analysis.visit import Found, Visit
from orograph.parameters import Layout


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


def localise(
    vectors: Float[Tensor, "k P"], layout: Layout, gradient: Float[Tensor, " P"], offset: Float[Tensor, " P"]
) -> Localisation:
    """The spread of unit vectors, one a row."""
    squares = vectors.double().square()
    weights = torch.stack([part.sum(1) for part in squares.split(layout.sizes, dim=1)], dim=1)
    return Localisation(weights, squares.square().sum(1), squared_cosines(vectors, gradient), squared_cosines(vectors, offset))


def squared_cosines(vectors: Float[Tensor, "k P"], other: Float[Tensor, " P"]) -> Float[Tensor, " k"]:
    """(vᵀu)²/‖u‖² of unit vectors, float64."""
    direction = other.double()
    return (vectors.double() @ direction).square() / direction.square().sum()


def localisation_part(visit: Visit) -> Found:
    """Every recorded pair's localisation."""
    found = localise(visit.pairs().eigenvectors, visit.objective.layout, visit.gradient, visit.offset)
    return Found(
        {},
        {
            "tensor_weight": found.tensor_weights.cpu().numpy(),
            "inverse_participation": found.inverse_participation.cpu().numpy(),
            "gradient_overlap": found.gradient_overlaps.cpu().numpy(),
            "anchor_overlap": found.offset_overlaps.cpu().numpy(),
        },
    )
