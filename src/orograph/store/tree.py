"""A study as labelled arrays: an `xarray.DataTree` with one node a configuration.

The node of a configuration holds what was measured at its minima, along `seed`, and the course of their training, along `seed`
and `epoch`. Its child `pairs` holds what lies between two minima, along `pair`; each slice, plane and instability is a child of
its own in `slice`, `plane` and `instability`.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from orograph.store.findings import Finding, FindingKey
from orograph.store.lookup import quantity
from orograph.store.quantities import COORDINATES
from orograph.store.run import Run

LARGEST = 10**6  # arrays of more numbers are left in their files: eigenvectors of large networks
_LISTS = ("history", "curvature")  # fields of a record that are one mapping an epoch


def open_study(run: Run) -> xr.DataTree:
    """The tree; fields that are no numbers, texts or arrays of one shape are left out. NaN where something was not measured."""
    nodes: dict[str, xr.Dataset] = {"/": xr.Dataset(attrs={"kind": run.kind, "path": str(run.path)})}
    for name in dict.fromkeys(cell.configuration for cell in run.plan.cells):
        nodes[name] = _minima(run, name)
        pairs = _named(run, "pair", name)
        if pairs:
            nodes[f"{name}/pairs"] = stacked("pair", list(pairs), list(pairs.values()), run)
        for kind in ("slice", "plane", "instability"):
            for key, finding in _named(run, kind, name).items():
                nodes[f"{name}/{kind}/{key}"] = _single(run, finding)
    return xr.DataTree.from_dict(nodes)


def _named(run: Run, kind: str, configuration: str) -> dict[str, Finding]:
    return {key.name: found for key, found in run.findings.items() if (key.kind, key.configuration) == (kind, configuration)}


def _minima(run: Run, configuration: str) -> xr.Dataset:
    cells = [cell for cell in run.plan.cells if cell.configuration == configuration]
    seeds = [cell.seed for cell in cells]
    measured = [run.findings.get(FindingKey("minimum", configuration, str(seed))) for seed in seeds]
    records = [run.records.get(cell) for cell in cells]
    found = stacked("seed", seeds, measured, run)
    found["status"] = ("seed", np.array([record.status if record else "missing" for record in records], dtype=object))
    rows = [{} if record is None else record.scalars for record in records]
    for name, values in _columns([{k: v for k, v in row.items() if k not in _LISTS} for row in rows]).items():
        if name not in found:  # what was measured at the minimum comes before what its training said of the same quantity
            found[name] = _variable(("seed",), values, name)
    for field, dim in zip(_LISTS, ("epoch", "tracked_epoch"), strict=True):
        courses = [list(row.get(field) or []) for row in rows]
        epochs = sorted({int(each["epoch"]) for course in courses for each in course})
        names = dict.fromkeys(name for course in courses for each in course for name in each if name != "epoch")
        for name in names:
            grid = np.full((len(seeds), len(epochs)), np.nan)
            for place, course in enumerate(courses):
                for each in course:
                    grid[place, epochs.index(int(each["epoch"]))] = each.get(name, math.nan)
            found[f"{name}_by_epoch"] = _variable(("seed", dim), grid, name)
        if epochs:
            found = found.assign_coords({dim: epochs})
    return found


def stacked(dim: str, labels: Sequence[Any], findings: Sequence[Finding | None], run: Run) -> xr.Dataset:
    """Findings of one kind along a new dimension."""
    variables = {
        name: _variable((dim,), values, name)
        for name, values in _columns([{} if each is None else each.scalars for each in findings]).items()
    }
    arrays = [{} if each is None else each.arrays(run.path, _fits) for each in findings]
    for name in dict.fromkeys(name for each in arrays for name in each):
        shapes = {each[name].shape for each in arrays if name in each}
        if len(shapes) != 1:
            continue
        shape = next(iter(shapes))
        filled = np.stack([np.asarray(each.get(name, np.full(shape, np.nan)), dtype=np.float64) for each in arrays])
        variables[name] = _variable((dim, *_dims(name, len(shape))), filled, name)
    label = COORDINATES.get(dim)
    attributes = {"long_name": label.long_name} if label else {}
    return xr.Dataset(variables, {dim: (dim, list(labels), attributes)})


def _single(run: Run, finding: Finding) -> xr.Dataset:
    arrays = finding.arrays(run.path, _fits)
    variables = {name: _variable(_dims(name, array.ndim), array, name) for name, array in arrays.items()}
    plain = {name: value for name, value in finding.scalars.items() if isinstance(value, str | bool | int | float)}
    return xr.Dataset(variables, attrs={name: int(value) if isinstance(value, bool) else value for name, value in plain.items()})


def _fits(name: str, shape: tuple[int, ...]) -> bool:
    return math.prod(shape) <= LARGEST


def _dims(name: str, count: int) -> tuple[str, ...]:
    """The dimensions that an array is known to have; else ones of its own."""
    known = quantity(name).dims
    return known if len(known) == count else tuple(f"{name}_{axis}" for axis in range(count))


def _columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """Numbers and texts by field; flags and whole numbers are floats, so that NaN can say what is missing."""
    columns: dict[str, np.ndarray] = {}
    for name in sorted({name for row in rows for name in row}):
        values = [row.get(name, math.nan) for row in rows]
        given = [value for value in values if value == value]
        if any(isinstance(value, str) for value in given) and all(isinstance(value, str) for value in given):
            columns[name] = np.array([value if isinstance(value, str) else "" for value in values], dtype=object)
        elif all(isinstance(value, int | float) for value in given):
            columns[name] = np.array(values, dtype=np.float64)
    return columns


def _variable(dims: tuple[str, ...], values: np.ndarray, name: str) -> xr.Variable:
    label = quantity(name)
    return xr.Variable(dims, values, {"long_name": label.long_name, "units": label.units})
