"""What the page of a study draws of the topology of its surfaces: merge tree, barcode, and what a SMAD is held against."""

import math
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

import numpy as np

from orograph.errors import OrographError
from orograph.study.topologies import heights_of, shape_of
from orograph.topology.diagrams import Diagram
from orograph.topology.merging import MergeTree, left_to_right
from orograph.topology.smoothness import smad

MOST = 40  # minima, and bars of a dimension
_KINDS = ("components", "loops", "voids")


def topology_data(entry: Mapping[str, Any]) -> dict[str, Any] | None:
    """Of one surface of the results, in numbers that the page turns into lines; None where its topology was not measured."""
    if not isinstance(entry.get("surface_minima"), int | float):
        return None
    try:
        tree, diagram = shape_of(entry)
        coarser = smad(heights_of(entry), threshold=float(entry["persistence_threshold"])).coarser
    except OrographError:  # of results that somebody else wrote
        return None
    return {
        "minima": len(tree.heights),
        "loops": find_spec("gudhi") is not None,  # without it components alone are known
        "tree": _lines(tree),
        "bars": [_bars(diagram, dimension) for dimension in np.unique(diagram.dimensions).tolist()],
        "coarser": {str(stride): values.tolist() for stride, values in coarser.items()},
    }


def _lines(tree: MergeTree) -> list[dict[str, Any]]:
    """The minima that last longest, from left to right: heights, and where in this row the one is in which each ends."""
    shown = np.argsort(-tree.persistence, kind="stable")[:MOST].tolist()
    row = left_to_right(tree, shown)
    return [
        {
            "low": tree.heights[each],
            "high": _finite(tree.saddle_heights[each]),
            "into": row.index(parent) if (parent := int(tree.parents[each])) >= 0 else None,
            "border": bool(tree.at_border[each]),
        }
        for each in row
    ]


def _bars(diagram: Diagram, dimension: int) -> dict[str, Any]:
    """Of one dimension those that last longest, by birth; null for what stays."""
    of = np.flatnonzero(diagram.dimensions == dimension)
    first = of[:MOST][np.argsort(diagram.births[of[:MOST]], kind="stable")]
    pairs = [[diagram.births[each], _finite(diagram.deaths[each])] for each in first]
    return {"kind": _KINDS[dimension], "count": len(of), "bars": pairs}


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
