"""Curves between two minima on the disk: a finding for each curve, whose record has its course and whose arrays the curve itself.

A curve that cannot be had is a finding that failed, with the reason.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from orograph.store.connection_quantities import WAYS
from orograph.store.findings import Finding, FindingKey
from orograph.store.grid import attributes
from orograph.store.lookup import quantity
from orograph.store.run import Run

CONNECTION = "connection"  # the kind of run
CONNECTION_FILE = "connection.json"
CONTROLS, KNOTS = "path_controls", "path_knots"  # arrays of a finding
ALONG = ("train_loss", "test_loss", "train_accuracy", "test_accuracy")  # what has a value at each position
BY_CLASS = ("train_class_accuracy", "test_class_accuracy")  # and a row of them
CHANGES = ("lost", "found")  # of classes, on the way
_KIND, _CONFIGURATION = "curve", "between"


def curve_key(name: str) -> FindingKey:
    """The key of a curve, by its name."""
    return FindingKey(_KIND, _CONFIGURATION, name)


def curves(run: Run) -> dict[str, Finding]:
    """The curves that were computed, by name, in the order in which they are always told."""
    return {name: run.findings[key] for name in WAYS if (key := curve_key(name)) in run.findings}


def paths(run: Run) -> dict[str, dict[str, Any]]:
    """The course of every curve that could be had, by its name."""
    return {name: found.scalars["paths"][name] for name, found in curves(run).items() if found.status == "done"}


def row(name: str, path: Mapping[str, Any]) -> dict[str, Any]:
    """A curve as a row of a table, its barriers by the last part of their names."""
    told = {part: ", ".join(f"{each['class']} at {each['position']:.3g}" for each in path.get(part, ())) for part in CHANGES}
    spent = {each: path[each] for each in ("spent_products",) if each in path}
    return {"path_name": WAYS[name], "length": path["length"], **path["barriers"], **spent, **told}


def planned(run: Run) -> int:
    """How many curves the run has when it is done."""
    return len(run.configuration["curves"]["paths"])


def by_position(run: Run) -> list[dict[str, Any]]:
    """One row a position of a curve, for tables."""
    return [
        {
            "path_name": name,
            "positions": position,
            **{each: path[each][place] for each in ALONG if each in path},
            **{
                f"{each}_{label}": value
                for each in BY_CLASS
                if each in path
                for label, value in zip(run.classes, path[each][place], strict=True)
            },
        }
        for name, path in paths(run).items()
        for place, position in enumerate(path["positions"])
    ]


def open_connection(run: Run) -> xr.Dataset:
    """Losses and accuracies along `path_name`, `position` and `class`, barriers and lengths along `path_name`."""
    known = paths(run)
    variables: dict[str, Any] = {}
    for names, dims in ((ALONG, ("path_name", "position")), (BY_CLASS, ("path_name", "position", "class"))):
        for name in names:
            if known and all(name in path for path in known.values()):
                values = np.array([path[name] for path in known.values()], dtype=np.float64)
                variables[name] = (dims, values, attributes(quantity(name)))
    for name, own in _single(known).items():
        variables[name] = (
            "path_name",
            np.array(own, dtype=np.float64),
            attributes(quantity(name.replace("barrier_", "barriers."))),
        )
    coordinates: dict[str, Any] = {"path_name": ("path_name", list(known), attributes(quantity("path_name")))}
    if known:
        coordinates["position"] = ("position", next(iter(known.values()))["positions"], attributes(quantity("positions")))
    if any("class" in each[0] for each in variables.values()):
        coordinates["class"] = ("class", list(run.classes), attributes(run.wording.of("class", quantity("class"))))
    return xr.Dataset(variables, coordinates, {"kind": run.kind, "path": str(run.path)})


def _single(known: Mapping[str, Mapping[str, Any]]) -> dict[str, list[float]]:
    """What is one number of each curve."""
    lengths = {"length": [path["length"] for path in known.values()]}
    names = dict.fromkeys(name for path in known.values() for name in path["barriers"])
    return lengths | {f"barrier_{name}": [path["barriers"][name] for path in known.values()] for name in names}
