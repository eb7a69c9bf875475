"""The topology of a study's surfaces: what is recorded of one when it is made, and what is drawn of it from the results."""

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from orograph.connectivity.surfaces import Surface, random_planes
from orograph.errors import ConfigurationError
from orograph.objective import Objective
from orograph.store.findings import Result
from orograph.topology.diagrams import Diagram, components, persistence
from orograph.topology.grids import nearest_points
from orograph.topology.merging import MergeTree, merge_tree
from orograph.topology.passes import saddle_barrier
from orograph.topology.scalars import surface_topology
from orograph.topology.smoothness import smad


def with_topology(
    made: Result, train: Objective, found: Surface, planes: int, *, seed: int, statistics: Objective | None = None
) -> Result:
    """A recorded surface with its topology: minima, SMAD beside coarser grids and random planes, passes between marked minima.

    Args:
        made: the record.
        train: on the training data, with the buffers that the surface was computed with.
        found: the surface of the training loss.
        planes: random ones to hold it against, through the same origin and of as many points; 0 for none.
        seed: of their directions.
        statistics: from which BatchNorm's are estimated at each point, as for a surface by `plane`.

    Returns:
        The record, with the scalars of `surface_topology` and of marked minima `surface_barriers`: of every two the height of
        the lowest pass in the plane above the higher of both, on the grid. Arrays: `smad_null` `(n,)` of the planes.
    """
    null = random_planes(train, found, planes, seed=seed, train=statistics) if planes else []
    scalars: dict[str, Any] = surface_topology(found, null=null)
    threshold = scalars["persistence_threshold"]
    arrays = {"smad_null": smad(found, threshold=threshold, null=null, strides=()).null} if null else {}
    if len(found.marks) > 1:
        places = nearest_points(found, found.marks)
        passes = [_climb(found, *ends) for ends in itertools.combinations(places.tolist(), 2)]
        scalars["surface_barriers"] = passes
    return Result({**made.scalars, **scalars}, {**made.arrays, **arrays})


def _climb(found: Surface, first: list[int], second: list[int]) -> float:
    """NaN where an end is a wall."""
    try:
        lowest = saddle_barrier(found, first, second)
    except ConfigurationError:
        return np.nan
    return min(lowest.from_first, lowest.from_second)


def heights_of(entry: Mapping[str, Any]) -> Float[ndarray, "n m"]:
    """Training losses of a surface as the results hold them: null for NaN, infinities as words.

    Raises:
        ConfigurationError: they are no numbers in rows of one length.
    """
    try:
        rows = entry["arrays"]["train_loss"]
        return np.array([[np.nan if value is None else float(value) for value in row] for row in rows])
    except (KeyError, TypeError, ValueError):
        raise ConfigurationError("the surface has no training losses.") from None


def shape_of(entry: Mapping[str, Any]) -> tuple[MergeTree, Diagram]:
    """The merge tree of a recorded surface, and its barcode: of components alone where GUDHI is not installed.

    Raises:
        ConfigurationError: its losses or its threshold are no numbers.
    """
    heights, threshold = heights_of(entry), entry.get("persistence_threshold")
    if not isinstance(threshold, int | float):
        raise ConfigurationError("the surface has no threshold of persistence.")
    tree = merge_tree(heights, threshold=float(threshold))
    try:
        return tree, persistence(heights, threshold=float(threshold))
    except ConfigurationError:  # GUDHI is missing
        return tree, components(tree)
