"""The way of θ along a ladder: step lengths, turning angles, and the few dimensions that it fills (principal components).

Components come from the Gram matrix of the centred points, so that a thousand points of a hundred million parameters need no
matrix of both sizes (Sirovich 1987).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from orograph.brief import brief

_BLOCK = 1 << 16  # parameters whose products are summed at a time, in float64


@brief
@dataclass(frozen=True, eq=False)
class Trajectory:
    """T points in the order in which the ladder was gone.

    Attributes:
        coordinates: `(T, c)`, on the first principal components, each with its largest entry positive.
        explained: `(c,)`, shares of the variance.
        lengths: `(T,)`, ‖θ_i − θ_{i−1}‖, NaN first.
        angles: `(T,)`, between the step to a point and the step from it, in degrees; NaN at the ends and beside steps of 0.
    """

    coordinates: Float[ndarray, "T c"]
    explained: Float[ndarray, " c"]
    lengths: Float[ndarray, " T"]
    angles: Float[ndarray, " T"]


def gram(read: Callable[[int], Float[ndarray, " P"]], count: int) -> Float[ndarray, "T T"]:
    """Scalar products of all pairs of vectors, which are read as often as blocks need them.

    Args:
        read: gives a vector `(P,)`, counted from 0.
        count: T.

    Returns:
        `(T, T)` float64.
    """
    first = read(0)
    total = np.zeros((count, count))
    mapped = [first, *(read(index) for index in range(1, count))]
    for start in range(0, len(first), _BLOCK):
        block = np.stack([vector[start : start + _BLOCK] for vector in mapped]).astype(np.float64)
        block -= block[0]  # neighbours are near each other: what they share would cost digits
        total += block @ block.T
    return total


def trajectory(products: Float[ndarray, "T T"], components: int = 3) -> Trajectory:
    """The way from the Gram matrix of the points relative to any one of them.

    Args:
        products: Gram matrix of the points less one of them, `(T, T)`.
        components: c, how many to keep.

    Returns:
        Coordinates `(T, c)`, step lengths in units of ‖θ‖, angles in degrees.
    """
    count = len(products)
    centring = np.eye(count) - 1 / count
    values, vectors = np.linalg.eigh(centring @ products @ centring)
    kept = min(components, count)
    values, vectors = np.maximum(values[::-1][:kept], 0), vectors[:, ::-1][:, :kept]
    signs = np.sign(vectors[np.abs(vectors).argmax(0), np.arange(kept)])
    total = np.trace(centring @ products @ centring)
    # Steps are differences of neighbours: their scalar products are second differences of the Gram matrix.
    steps = products[1:, 1:] - products[1:, :-1] - products[:-1, 1:] + products[:-1, :-1]
    lengths = np.sqrt(np.maximum(np.diag(steps), 0))
    with np.errstate(invalid="ignore", divide="ignore"):
        cosines = np.diag(steps, 1) / (lengths[:-1] * lengths[1:])
    angles = np.full(count, np.nan)
    angles[1:-1] = np.degrees(np.arccos(np.clip(cosines, -1, 1)))
    return Trajectory(
        coordinates=vectors * signs * np.sqrt(values),
        explained=values / total if total > 0 else np.full(kept, np.nan),
        lengths=np.concatenate([[np.nan], lengths]),
        angles=angles,
    )
