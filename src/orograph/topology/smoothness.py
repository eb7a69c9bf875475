"""The saddle-minimum average distance of a surface (SMAD), beside that of random planes and of coarser grids.

SMAD is the mean height, over all minima of the merge tree, of the first saddle at which a minimum's component meets another above
the minimum; 0 where there is one minimum (Chen et al. 2026, "Landscaper"). Alone it means little: rounding and noise make shallow
minima, which pull the mean down; a finer grid finds others; and a plane at random has some. So it stands here beside the SMAD of
every coarser grid within its own, and beside those of random planes, among which its rank is a p-value (Phipson & Smyth 2010):

    p = (1 + #{planes with a SMAD at least as large}) / (1 + #planes)
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from orograph.arguments import checked
from orograph.brief import brief
from orograph.errors import ConfigurationError
from orograph.topology.grids import grid_of
from orograph.topology.merging import merge_tree


@brief
@dataclass(frozen=True)
class Smad:
    """The saddle-minimum average distance, and what it is to be held against.

    Attributes:
        value: in the units of the heights.
        relative: by the difference of the highest and the lowest height of the grid; 0 where these are equal.
        minima: over how many it is the mean.
        coarser: by stride s, the `(s^d,)` values of the grids of every s-th point.
        null: `(n,)`, those of the planes to compare with.
        p_value: how often a plane has at least this one, itself counted; NaN without planes.
    """

    value: float
    relative: float
    minima: int
    coarser: dict[int, Float[ndarray, " s"]]
    null: Float[ndarray, " n"]
    p_value: float

    @property
    def null_interval(self) -> tuple[float, float]:
        """Where 95 % of the planes lie: quantiles at 2.5 and 97.5 %; NaN without planes."""
        low, high = np.quantile(self.null, (0.025, 0.975)) if len(self.null) else (np.nan, np.nan)
        return float(low), float(high)


@checked
def smad(surface: Any, *, threshold: float = 0.0, null: Iterable[Any] = (), strides: Sequence[int] = (2, 3)) -> Smad:
    """The saddle-minimum average distance of a surface, of the coarser grids within it, and its rank among other planes.

    Args:
        surface: a `Surface`, whose losses are taken, or an array or a tensor of heights with one axis or more.
        threshold: minima of no more persistence are left out, in the units of the heights; the published number takes all.
        null: the planes to compare with, of the same shape: those of `orograph.connectivity.random_planes`.
        strides: of the coarser grids; one that would leave fewer than 3 points along an axis is left out.

    Returns:
        The distance, with all that it is held against.

    Raises:
        ConfigurationError: it is no grid of real numbers, a plane has another shape, or a stride below 2.

    Examples:
        >>> import orograph as og
        >>> found = og.smad([0.0, 3.0, 1.0, 3.0, 1.0], null=[[0.0, 1.0, 2.0, 3.0, 4.0]])
        >>> found.value, found.relative, found.null.tolist(), found.p_value
        (2.3333333333333335, 0.7777777777777778, [0.0], 0.5)
    """
    heights = grid_of(surface).heights
    planes = [grid_of(each, f"null[{place}]").heights for place, each in enumerate(null)]
    if odd := [each.shape for each in planes if each.shape != heights.shape]:
        raise ConfigurationError(
            f"`null` has a plane of shape {odd[0]}, the surface is {heights.shape}: only equal grids compare."
        )
    if wrong := [each for each in strides if each < 2]:
        raise ConfigurationError(f"`strides` {wrong[0]} must be at least 2.")
    value, minima = _mean(heights, threshold)
    finite = heights[np.isfinite(heights)]
    others = np.array([_mean(each, threshold)[0] for each in planes])
    return Smad(
        value,
        value / float(finite.max() - finite.min()) if value else 0.0,
        minima,
        {each: _coarser(heights, each, threshold) for each in strides if min(heights.shape) // each >= 3},
        others,
        float((1 + (others >= value).sum()) / (1 + len(others))) if planes else np.nan,
    )


def _mean(heights: ndarray, threshold: float) -> tuple[float, int]:
    """SMAD, and the number of minima; one that walls keep from meeting any other has no distance."""
    tree = merge_tree(heights, threshold=threshold)
    distances = tree.first_saddle_heights - tree.heights
    met = np.isfinite(distances)
    return (float(distances[met].mean()) if met.any() else 0.0), len(distances)


def _coarser(heights: ndarray, stride: int, threshold: float) -> ndarray:
    shifts = product(range(stride), repeat=heights.ndim)
    grids = [heights[tuple(slice(shift, None, stride) for shift in each)] for each in shifts]
    return np.array([_mean(each, threshold)[0] for each in grids if np.isfinite(each).any()])
