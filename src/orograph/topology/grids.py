"""A surface as a grid of heights in one strict order, which is what its topology depends on.

Points of a grid are neighbours along its axes (4 in the plane, 6 in space). Heights that are equal are ordered by their places in
the array, row by row, as if each were higher by less than any number than the one before (Edelsbrunner & Mücke 1990, "simulation
of simplicity"): so a plateau has one minimum, its first point, and every result is the same each time. A height that is NaN or
+inf is a wall, which no sublevel set holds.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from scipy import ndimage

from orograph.connectivity.surfaces import Profile, Surface, Volume
from orograph.errors import ConfigurationError


@dataclass(frozen=True)
class Grid:
    """Heights, and their order.

    Attributes:
        heights: `(…)` float64, walls +inf.
        order: `(N,)`, flat places by height, the lowest first.
        rank: `(…)`, which of them each is, from 0.
        open: how many are finite; walls have the ranks from here on.
    """

    heights: Float[ndarray, "..."]
    order: Int[ndarray, " N"]
    rank: Int[ndarray, "..."]
    open: int

    def points(self, ranks: Int[ndarray, " k"]) -> Int[ndarray, "k d"]:
        """Indices into the array of heights; −1 where a rank is."""
        places = np.stack(np.unravel_index(self.order[ranks], self.heights.shape), 1)
        return np.where(ranks[:, None] < 0, -1, places)

    def at(self, ranks: Int[ndarray, " k"]) -> Float[ndarray, " k"]:
        """Heights; +inf where a rank is −1."""
        return np.where(ranks < 0, np.inf, self.heights.flat[self.order[ranks]])


def grid_of(surface: Any, name: str = "surface") -> Grid:
    """The heights of a surface, ordered.

    Args:
        surface: a `Surface`, a `Volume` or a `Profile`, of which the losses are taken; else heights as an array, a tensor, nested
            lists or one variable of an opened run, with one axis or more.
        name: of the argument, for messages.

    Returns:
        A copy in float64.

    Raises:
        ConfigurationError: it is no grid of real numbers, it has a −inf, nothing but walls, or a range beyond float64.
    """
    values = surface.losses if isinstance(surface, Surface | Profile | Volume) else surface
    try:
        if isinstance(values, torch.Tensor):
            values = values.detach().cpu()
            values = (values.double() if values.is_floating_point() else values).numpy()
        given = np.asarray(values)
    except (TypeError, ValueError, RuntimeError):  # ragged, sparse, without values
        raise ConfigurationError(
            f"`{name}` must be a surface or a full array of heights, not a {type(values).__name__}."
        ) from None
    if given.dtype.kind not in "fiu" or given.ndim == 0:
        kind = f"{given.dtype} with {given.ndim} axes"
        raise ConfigurationError(f"`{name}` must be a surface or an array of real heights with one axis or more, not {kind}.")
    heights = np.where(np.isnan(given), np.inf, given).astype(np.float64)
    if (heights == -np.inf).any():
        place = tuple(int(each) for each in np.argwhere(heights == -np.inf)[0])
        raise ConfigurationError(f"`{name}` is −inf at {place}, below every level; set such points to NaN to leave them out.")
    finite = heights[np.isfinite(heights)]
    if not finite.size:
        raise ConfigurationError(f"`{name}` of shape {given.shape} has no finite height.")
    with np.errstate(over="ignore"):
        if np.isinf(finite.max() - finite.min()):
            raise ConfigurationError(
                f"`{name}` has heights from {finite.min():g} to {finite.max():g}, too far apart for float64."
            )
    order = np.argsort(heights, axis=None, kind="stable")
    rank = np.empty(heights.size, dtype=np.int64)
    rank[order] = np.arange(heights.size)
    return Grid(heights, order, rank.reshape(heights.shape), finite.size)


def require_threshold(threshold: float) -> None:
    """Refuses a persistence that none can be held against.

    Raises:
        ConfigurationError: it is no finite number from 0.
    """
    if not 0 <= threshold < np.inf:
        raise ConfigurationError(f"`threshold` {threshold:g} must be at least 0, and finite.")


def neighbours(axes: int) -> ndarray:
    """Which points a sublevel set joins: those along an axis, as SciPy writes it."""
    return ndimage.generate_binary_structure(axes, 1)


def nearest_points(surface: Surface, coordinates: Any) -> Int[ndarray, "p 2"]:
    """The grid points nearest to coordinates on a surface, such as its `marks`.

    Args:
        surface: with its axes x and y.
        coordinates: `(p, 2)`, x and y of each.

    Returns:
        `(p, 2)`, indices into `surface.losses`.

    Raises:
        ConfigurationError: coordinates of another shape, or more than half a step beyond the grid.
    """
    wanted = np.asarray(coordinates, dtype=np.float64)
    if wanted.ndim != 2 or wanted.shape[1] != 2:
        raise ConfigurationError(f"`coordinates` must be of shape (p, 2), not {wanted.shape}.")
    found = []
    for name, axis, column in zip("xy", (surface.x.numpy(), surface.y.numpy()), wanted.T, strict=True):
        away = np.abs(column[:, None] - axis)
        half = np.abs(np.diff(axis)).max() / 2 * (1 + 1e-9)  # rounding does not put a mark outside
        if not (away.min(1) <= half).all():
            far = column[~(away.min(1) <= half)][0]
            raise ConfigurationError(f"`coordinates` have {name} = {far:g}, and the grid goes from {axis[0]:g} to {axis[-1]:g}.")
        found.append(away.argmin(1))
    return np.stack(found, 1)
