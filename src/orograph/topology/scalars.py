"""The topology of a surface in a few numbers, by the names under which they are recorded."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from orograph.arguments import checked
from orograph.errors import ConfigurationError
from orograph.topology.grids import grid_of
from orograph.topology.merging import merge_tree
from orograph.topology.smoothness import smad

_COARSER = {"smad_half": 2, "smad_third": 3}  # by the stride of their grids


@checked
def surface_topology(surface: Any, *, fraction: float = 0.01, null: Iterable[Any] = ()) -> dict[str, float]:
    """How many minima a surface has, how deep they are, and what its SMAD is worth.

    Minima count whose persistence exceeds `fraction` of the difference of the highest and the lowest height. Takes any surface
    that the program computes: of `surface`, `plane`, `volume` and `profile` as they are, of a study a variable of its opened run.

    Args:
        surface: a `Surface`, whose losses are taken, or an array or a tensor of heights with one axis or more.
        fraction: which minima count, 0 for all.
        null: planes to compare the SMAD with, those of `orograph.connectivity.random_planes`.

    Returns:
        `surface_minima`, `surface_minima_inside` (not at the border of the grid), `largest_persistence` (0 for a single minimum),
        `persistence_threshold`, `smad`, `relative_smad`; `smad_half` and `smad_third`, the mean of the SMADs of the grids of
        every second and of every third point, where these have three points along each axis; with planes `smad_null_low`,
        `smad_null_high`, `smad_p_value`.

    Raises:
        ConfigurationError: it is no grid of real numbers, or a fraction outside [0, 1).

    Examples:
        >>> import orograph as og
        >>> found = og.surface_topology([0.0, 3.0, 1.0, 5.0, 2.0])
        >>> found["surface_minima"], found["surface_minima_inside"], found["largest_persistence"]
        (3, 1, 3.0)
    """
    if not 0 <= fraction < 1:
        raise ConfigurationError(f"`fraction` {fraction:g} must be at least 0 and below 1.")
    heights = grid_of(surface).heights
    finite = heights[np.isfinite(heights)]
    threshold = float(fraction * (finite.max() - finite.min()))
    tree = merge_tree(heights, threshold=threshold)
    lasting = tree.persistence[np.isfinite(tree.persistence)]
    found = smad(heights, threshold=threshold, null=null, strides=tuple(_COARSER.values()))
    numbers = {
        "surface_minima": len(tree.heights),
        "surface_minima_inside": int((~tree.at_border).sum()),
        "largest_persistence": float(lasting.max(initial=0.0)),
        "persistence_threshold": threshold,
        "smad": found.value,
        "relative_smad": found.relative,
    }
    numbers |= {name: float(found.coarser[each].mean()) for name, each in _COARSER.items() if each in found.coarser}
    if len(found.null):
        low, high = found.null_interval
        numbers |= {"smad_null_low": low, "smad_null_high": high, "smad_p_value": found.p_value}
    return numbers
