"""The persistence diagram of a surface: at which levels components, loops and voids of its sublevel sets appear and vanish.

Homology of {f ≤ level} in a cubical complex whose vertices are the points of the grid and whose cubes are as high as the highest
of their corners (Kaczynski, Mischaikow & Mrozek 2004), over the field of two elements, by GUDHI. It is computed of the ranks
of the heights, which are all different: every pair of levels belongs to two points and depends on the order of heights alone.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from orograph.arguments import checked
from orograph.brief import brief
from orograph.errors import ConfigurationError
from orograph.topology.grids import grid_of, require_threshold
from orograph.topology.merging import MergeTree


@brief
@dataclass(frozen=True)
class Diagram:
    """What appears and vanishes, by dimension, what lasts longest first.

    Attributes:
        dimensions: `(n,)`, 0 for components, 1 for loops, 2 for voids.
        births: `(n,)` float64, levels at which they appear.
        deaths: `(n,)` float64, levels at which they vanish; +inf for what stays.
        birth_points: `(n, d)`, indices into the grid: the minimum of a component, the saddle that closes a loop.
        death_points: `(n, d)`: the saddle at which a component meets an older one, the maximum that fills a loop; −1 for none.
    """

    dimensions: Int[ndarray, " n"]
    births: Float[ndarray, " n"]
    deaths: Float[ndarray, " n"]
    birth_points: Int[ndarray, "n d"]
    death_points: Int[ndarray, "n d"]

    @property
    def persistence(self) -> Float[ndarray, " n"]:
        """deaths − births, `(n,)`."""
        return self.deaths - self.births


@checked
def persistence(surface: Any, *, threshold: float = 0.0) -> Diagram:
    """Births and deaths of the components, loops and voids of the sublevel sets of a surface.

    Needs GUDHI: `pip install 'orograph[topology]'`; `merge_tree` has the components without it. Neighbours are those along the
    axes, and a loop is filled by its highest point; NaN and +inf are walls, and what runs around one stays.

    Args:
        surface: a `Surface`, whose losses are taken, or an array or a tensor of heights with one axis or more.
        threshold: what lasts no longer is left out, in the units of the heights.

    Returns:
        Births, deaths and the points of both.

    Raises:
        ConfigurationError: GUDHI is missing, it is no grid of real numbers, or a threshold that is no finite number from 0.

    Examples:
        >>> import orograph as og
        >>> found = og.persistence([[1.0, 2.0, 2.0], [2.0, 9.0, 3.0], [0.0, 4.0, 2.0]])
        >>> list(zip(found.dimensions.tolist(), found.births.tolist(), found.deaths.tolist()))
        [(0, 0.0, inf), (0, 1.0, 2.0), (0, 2.0, 3.0), (1, 4.0, 9.0)]
    """
    require_threshold(threshold)
    grid = grid_of(surface)
    try:
        from gudhi import CubicalComplex
    except ImportError:
        raise ConfigurationError("persistence needs the package gudhi: pip install 'orograph[topology]'.") from None
    made = CubicalComplex(vertices=np.where(np.isfinite(grid.heights), grid.rank, np.inf))
    made.compute_persistence(homology_coeff_field=2)
    pairs = [np.empty((0, 3))]
    for dimension in range(grid.heights.ndim):
        found = made.persistence_intervals_in_dimension(dimension).reshape(-1, 2)
        pairs.append(np.insert(found[np.isfinite(found[:, 0])], 0, dimension, axis=1))
    dimensions, born, died = np.concatenate(pairs).T
    births_at, deaths_at = born.astype(np.int64), np.where(np.isfinite(died), died, -1).astype(np.int64)
    births, deaths = grid.at(births_at), grid.at(deaths_at)
    kept = np.flatnonzero(deaths - births > threshold)
    chosen = kept[np.lexsort((births_at[kept], births[kept] - deaths[kept], dimensions[kept]))]
    return Diagram(
        dimensions[chosen].astype(np.int64),
        births[chosen],
        deaths[chosen],
        grid.points(births_at[chosen]),
        grid.points(deaths_at[chosen]),
    )


def components(tree: MergeTree) -> Diagram:
    """The part of the diagram that a merge tree holds: births and deaths of components, which needs no GUDHI.

    Args:
        tree: of a surface.

    Returns:
        What `persistence` gives of dimension 0, at the same threshold.

    Examples:
        >>> import orograph as og
        >>> heights = [[1.0, 2.0, 2.0], [2.0, 9.0, 3.0], [0.0, 4.0, 2.0]]
        >>> found = og.topology.components(og.merge_tree(heights))
        >>> found.deaths.tolist() == og.persistence(heights).deaths[:3].tolist()
        True
    """
    longest = np.argsort(-tree.persistence, kind="stable")
    return Diagram(
        np.zeros(len(longest), dtype=np.int64),
        tree.heights[longest],
        tree.saddle_heights[longest],
        tree.minima[longest],
        tree.saddles[longest],
    )
