"""The lowest pass between two points of a surface: the minimax height over all paths on its grid.

height(a, b) = min over paths of the largest f on the path: the lowest level at which a and b lie in one component of
{f ≤ level}, which is found by bisection.
"""

from bisect import bisect_left
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage

from orograph.arguments import checked
from orograph.brief import brief
from orograph.errors import ConfigurationError
from orograph.topology.grids import Grid, grid_of, neighbours


@brief
@dataclass(frozen=True)
class Pass:
    """The lowest pass between two points.

    Attributes:
        height: of the pass; +inf where walls part the two.
        saddle: its indices into the grid, those of an end where one need not climb from there; None where there is no pass.
        from_first: how far one has to climb from the first, at least 0.
        from_second: and from the second.
    """

    height: float
    saddle: tuple[int, ...] | None
    from_first: float
    from_second: float


@checked
def saddle_barrier(surface: Any, first: Any, second: Any) -> Pass:
    """How high the lowest path on a surface has to climb between two of its points.

    Within the surface, so at least as high as a path through all of parameter space has to; on its grid, whose points need not
    hit the pass itself. Neighbours are those along the axes; NaN and +inf are walls.

    Args:
        surface: a `Surface`, whose losses are taken, or an array or a tensor of heights with one axis or more.
        first: indices into the grid, one an axis; `orograph.topology.nearest_points` has those of marks.
        second: of the other point.

    Returns:
        The height of the pass, where it is, and how far above both ends.

    Raises:
        ConfigurationError: it is no grid of real numbers, or a point is a wall or outside.

    Examples:
        >>> import orograph as og
        >>> og.saddle_barrier([[0.0, 7.0, 1.0], [3.0, 4.0, 2.0]], (0, 0), (0, 2))
        Pass(height=4.0, saddle=(1, 1), from_first=4.0, from_second=3.0)
    """
    grid = grid_of(surface)
    ends = [_inside(grid, name, point) for name, point in (("first", first), ("second", second))]

    def joined(level: int) -> bool:
        parts, _ = ndimage.label(grid.rank <= level, neighbours(grid.rank.ndim))
        return bool(parts[ends[0]] == parts[ends[1]])

    start = max(int(grid.rank[end]) for end in ends)
    levels = range(start, grid.open)
    level = start + bisect_left(levels, x=True, key=joined)
    low, high = (float(grid.heights[end]) for end in ends)
    if level == grid.open:
        return Pass(np.inf, None, np.inf, np.inf)
    (saddle,) = grid.points(np.array([level])).tolist()
    height = float(grid.heights[tuple(saddle)])
    return Pass(height, tuple(saddle), height - low, height - high)


def _inside(grid: Grid, name: str, point: Any) -> tuple[int, ...]:
    """Indices as plain numbers, of a point with a finite height."""
    try:
        place = tuple(int(each) for each in point)
        same = all(number == each for number, each in zip(place, point, strict=True))
    except (TypeError, ValueError):
        raise ConfigurationError(f"`{name}` must be whole numbers, one an axis, not {point!r}.") from None
    shape = grid.heights.shape
    if not same or len(place) != len(shape) or not all(0 <= each < size for each, size in zip(place, shape, strict=True)):
        raise ConfigurationError(f"`{name}` {tuple(point)} must be indices into a grid of shape {shape}.")
    if not np.isfinite(grid.heights[place]):
        raise ConfigurationError(f"`{name}` {place} is a point where the surface has no finite height; take another.")
    return place
