"""A run as labelled arrays: `open_run` gives an `xarray.Dataset` whose large parts are read only when they are looked at."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

from orograph.store.arrays import map_chunk
from orograph.store.cells import DIRECTIONS, Cell
from orograph.store.quantities import COORDINATES, Quantity, quantity
from orograph.store.run import Run

GRID = ("seed", "direction", "strength")


def open_run(path: str | Path) -> xr.Dataset:
    """A sweep with dimensions `seed`, `direction` and `strength`, and `eigen`, `parameter`, `class` or `tensor` where a
    quantity has them.

    Scalars are in memory. Arrays are read from the disk, one point at a time, when values are asked for. A cell that was not
    measured has NaN (texts: empty) and the `status` `missing`; flags and whole numbers are floats for that reason.

    Raises:
        RunError: the directory is not a run, or a recorded file is missing.
    """
    run = Run.open(path)
    cells = run.plan.cells
    coordinates: dict[str, Any] = {
        "seed": list(dict.fromkeys(cell.seed for cell in cells)),
        "direction": [direction for direction in DIRECTIONS if any(cell.direction == direction for cell in cells)],
        "strength": sorted({cell.strength for cell in cells}),
    }
    place = {name: {value: i for i, value in enumerate(values)} for name, values in coordinates.items()}
    shape = tuple(len(values) for values in coordinates.values())
    where = {cell: tuple(place[name][getattr(cell, name)] for name in GRID) for cell in run.records}

    variables: dict[str, xr.Variable] = {}
    status = np.full(shape, "missing", dtype=object)
    for cell, record in run.records.items():
        status[where[cell]] = record.status
    variables["status"] = xr.Variable(GRID, status, {"long_name": "what became of the point"})
    by_place = {where[cell]: record.scalars for cell, record in run.records.items()}
    for name in sorted({name for scalars in by_place.values() for name in scalars}):
        found = {index: scalars[name] for index, scalars in by_place.items() if name in scalars}
        variable = _scalar(name, found, shape)
        if variable is not None:
            variables[name] = variable
    for name in run.arrays.names():
        array = _grid_array(run, name, where, shape)
        variables[name] = xr.Variable((*GRID, *array.dims), indexing.LazilyIndexedArray(array), _attributes(quantity(name)))

    sizes = {dim: size for variable in variables.values() for dim, size in variable.sizes.items()}
    labels: dict[str, Any] = {"class": list(run.classes), "tensor": list(run.tensors)}
    labels["eigen"] = list(range(1, sizes.get("eigen", 0) + 1))
    coordinates |= {dim: values for dim, values in labels.items() if dim in sizes and len(values) == sizes[dim]}
    return xr.Dataset(
        variables,
        {dim: (dim, values, _attributes(COORDINATES[dim])) for dim, values in coordinates.items()},
        {"kind": run.kind, "path": str(run.path)},
    )


def _attributes(label: Quantity) -> dict[str, str]:
    return {"long_name": label.long_name, "units": label.units}


def _scalar(name: str, found: Mapping[tuple[int, ...], Any], shape: tuple[int, ...]) -> xr.Variable | None:
    """A field of the records on the grid; None for what is neither a number, a text nor a list of known dimensions."""
    label = quantity(name)
    first = next((value for value in found.values() if value == value), math.nan)
    values: np.ndarray
    if isinstance(first, str):
        values = np.full(shape, "", dtype=object)
    elif isinstance(first, list) and len(label.dims) == 1:
        values = np.full((*shape, len(first)), np.nan)
    elif isinstance(first, int | float):
        values = np.full(shape, np.nan)
    else:
        return None
    for index, value in found.items():
        values[index] = value if value == value or not isinstance(first, str) else ""
    return xr.Variable((*GRID, *label.dims[: values.ndim - len(shape)]), values, _attributes(label))


def _grid_array(run: Run, name: str, where: Mapping[Cell, tuple[int, ...]], shape: tuple[int, ...]) -> "_GridArray":
    """The chunks of one quantity on the grid: those that the records name."""
    array = run.arrays.open(name)
    chunks = np.full(shape, None, dtype=object)
    for cell, record in run.records.items():
        path = run.arrays.chunk_path(name, record.slot, array.ndim - 1)
        if path.relative_to(run.path).as_posix() in record.files:
            chunks[where[cell]] = path
    return _GridArray(array, chunks)


class _GridArray(BackendArray):
    """The chunks of a zarr array laid out on the grid, read one at a time; NaN where a cell has none."""

    def __init__(self, array: Any, chunks: np.ndarray) -> None:
        self.array, self.chunks = array, chunks
        self.dims: tuple[str, ...] = tuple(array.metadata.dimension_names[1:])
        self.shape = chunks.shape + array.shape[1:]
        self.dtype = array.dtype if array.dtype.kind == "f" else np.dtype(np.float64)

    def __getitem__(self, key: indexing.ExplicitIndexer) -> np.ndarray:
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.OUTER, self._read)

    def _read(self, key: tuple[Any, ...]) -> np.ndarray:
        chosen = [np.atleast_1d(np.arange(size)[part]) for size, part in zip(self.shape, key, strict=True)]
        result = np.full([len(part) for part in chosen], np.nan, dtype=self.dtype)
        chunks = self.chunks[np.ix_(*chosen[:3])]
        single = [isinstance(part, int | np.integer) for part in key]
        inner = [slice(part, part + 1) if one else part for part, one in zip(key[3:], single[3:], strict=True)]
        index = tuple(inner) if all(isinstance(part, slice) for part in inner) else np.ix_(*chosen[3:])
        for target, path in np.ndenumerate(chunks):
            if path is not None:
                result[target] = map_chunk(path, self.array)[index]
        return result[tuple(0 if one else slice(None) for one in single)]
