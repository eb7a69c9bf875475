"""The merge tree of a surface: its minima, and the saddles at which what lies below a level comes together.

As the level rises, a component of {f ≤ level} is born at every minimum; where two meet, the one with the higher minimum ends (the
elder rule; Edelsbrunner, Letscher & Zomorodian 2002). Every point runs down to a minimum along lowest neighbours, and two basins
meet at the lowest of max(f_i, f_j) over the neighbours i, j on both sides: the saddles are the edges of the minimum spanning tree
of that graph of basins, in which minimax paths run (Hu 1961).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import minimum_spanning_tree

from orograph.arguments import checked
from orograph.brief import brief
from orograph.topology.grids import Grid, grid_of, neighbours, require_threshold


@brief
@dataclass(frozen=True)
class MergeTree:
    """Minima by height, the lowest first, and where each merges into a deeper one.

    Attributes:
        minima: `(k, d)`, indices into the grid; of a plateau its first point.
        heights: `(k,)` float64.
        saddles: `(k, d)`, indices of the point at which the component of a minimum meets one with a deeper minimum; −1 for none.
        saddle_heights: `(k,)` float64, +inf where it meets none: for the deepest, and where walls divide the grid.
        parents: `(k,)`, the deepest minimum of the component that it meets there; −1 for none.
        at_border: `(k,)`, whether a minimum lies on the border of the grid, where the surface may fall further beyond.
    """

    minima: Int[ndarray, "k d"]
    heights: Float[ndarray, " k"]
    saddles: Int[ndarray, "k d"]
    saddle_heights: Float[ndarray, " k"]
    parents: Int[ndarray, " k"]
    at_border: Bool[ndarray, " k"]

    @property
    def persistence(self) -> Float[ndarray, " k"]:
        """Heights of the saddles above the minima, `(k,)`: how far one has to climb before a deeper minimum can be reached."""
        return self.saddle_heights - self.heights

    @property
    def first_saddle_heights(self) -> Float[ndarray, " k"]:
        """Heights at which the component of each minimum first meets another, deeper or not, `(k,)`: where its leaf ends."""
        first = self.saddle_heights.copy()
        merging = self.parents >= 0
        np.minimum.at(first, self.parents[merging], self.saddle_heights[merging])
        return first


@checked
def merge_tree(surface: Any, *, threshold: float = 0.0) -> MergeTree:
    """Minima of a surface and the saddles at which their basins merge.

    Of the grid that was computed, not of the function behind it: what lies between its points is not seen. Neighbours are those
    along the axes; NaN and +inf are walls.

    Args:
        surface: a `Surface`, whose losses are taken, or an array or a tensor of heights with one axis or more.
        threshold: minima of no more persistence are left out, in the units of the heights; 0 leaves out what a plateau has
            beside its first point.

    Returns:
        The tree, with persistences.

    Raises:
        ConfigurationError: it is no grid of real numbers, or a threshold that is no finite number from 0.

    Examples:
        >>> import orograph as og
        >>> tree = og.merge_tree([[2.0, 9.0, 9.0], [5.0, 4.0, 1.0], [9.0, 9.0, 9.0]])
        >>> tree.heights.tolist(), tree.saddle_heights.tolist(), tree.persistence.tolist()
        ([1.0, 2.0], [inf, 5.0], [inf, 3.0])
    """
    require_threshold(threshold)
    grid = grid_of(surface)
    lowest, saddles, parents = _merged(grid)
    heights, saddle_heights = grid.at(lowest), grid.at(saddles)
    kept = saddle_heights - heights > threshold  # and so the one into which a kept one merges, which lives longer
    minima = grid.points(lowest[kept])
    place = np.append(np.cumsum(kept) - 1, -1)  # the last is that of −1
    return MergeTree(
        minima,
        heights[kept],
        grid.points(saddles[kept]),
        saddle_heights[kept],
        place[parents[kept]],
        ((minima == 0) | (minima == np.array(grid.heights.shape) - 1)).any(1),
    )


def left_to_right(tree: MergeTree, shown: Iterable[int]) -> list[int]:
    """Minima in a row in which no two lines of the tree cross: right of each one those that end in it, the lowest saddles first.

    Args:
        tree: of a surface.
        shown: minima, by their place in the tree; with each one that in which it ends.

    Returns:
        The same minima, from left to right.
    """
    inside: dict[int, list[int]] = {}
    for minimum in sorted(set(shown), key=lambda each: float(tree.saddle_heights[each])):
        inside.setdefault(int(tree.parents[minimum]), []).append(minimum)
    row, waiting = list[int](), inside.get(-1, [])[::-1]
    while waiting:
        row.append(waiting.pop())
        waiting += inside.get(row[-1], [])[::-1]
    return row


def _merged(grid: Grid) -> tuple[ndarray, ndarray, ndarray]:
    """Ranks of all minima, ranks of the saddles at which they end, and the minima in which they do; −1 for none."""
    lowest, basins = _basins(grid)
    parents, saddles = np.full((2, len(lowest)), -1)
    tree = minimum_spanning_tree(_meetings(grid, basins, len(lowest))).tocoo()
    for rank, *ends in sorted(zip(tree.data.tolist(), tree.row.tolist(), tree.col.tolist(), strict=True)):
        elder, younger = sorted(_root(parents, each) for each in ends)
        parents[younger], saddles[younger] = elder, rank - 1
    while (same := (parents >= 0) & (saddles[parents] == saddles)).any():  # where several meet, all meet the deepest
        parents[same] = parents[parents[same]]
    return lowest, saddles, parents


def _root(parents: ndarray, minimum: int) -> int:
    """The deepest minimum of the component, as merged so far."""
    while parents[minimum] >= 0:
        minimum = parents[minimum]
    return int(minimum)


def _basins(grid: Grid) -> tuple[ndarray, ndarray]:
    """Ranks of the minima, and for every point the number of the minimum to which lowest neighbours lead."""
    below = ndimage.minimum_filter(grid.rank, footprint=neighbours(grid.rank.ndim), mode="nearest")
    lower = below.flat[grid.order]  # by rank: the rank of the lowest neighbour, or its own
    while ((further := lower[lower]) != lower).any():
        lower = further
    lowest, number = np.unique(lower[: grid.open], return_inverse=True)
    basins = np.full(grid.rank.size, -1)
    basins[grid.order[: grid.open]] = number
    return lowest, basins.reshape(grid.rank.shape)


def _meetings(grid: Grid, basins: ndarray, count: int) -> coo_array:
    """For basins that touch, the lowest rank at which they do, plus 1: a weight of 0 would be no edge."""
    ends, ranks = [], []
    for axis in range(basins.ndim):
        one, other = (np.take(basins, range(shift, basins.shape[axis] - 1 + shift), axis) for shift in (0, 1))
        rank = np.maximum(*(np.take(grid.rank, range(shift, basins.shape[axis] - 1 + shift), axis) for shift in (0, 1)))
        meet = (one != other) & (one >= 0) & (other >= 0)
        ends.append(np.sort(np.stack([one[meet], other[meet]]), axis=0))
        ranks.append(rank[meet])
    (low, high), rank = np.concatenate(ends, 1), np.concatenate(ranks)
    by_rank = np.argsort(rank, kind="stable")
    _, first = np.unique((low * count + high)[by_rank], return_index=True)
    chosen = by_rank[first]
    places = low[chosen].astype(np.int32), high[chosen].astype(np.int32)  # older trees of SciPy take no other
    return coo_array((rank[chosen] + 1.0, places), shape=(count, count))
