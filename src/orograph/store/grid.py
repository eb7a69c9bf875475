"""Quantities of many points on the grid of a sweep, as xarray variables: scalars in memory, arrays read one point at a time."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

from orograph.errors import RunError
from orograph.store.lookup import quantity
from orograph.store.measure_quantities import MEASURE_MATRICES
from orograph.store.quantities import Quantity

GRID = ("seed", "direction", "strength")


def attributes(label: Quantity) -> dict[str, str]:
    """A label as the attributes of a variable."""
    return {"long_name": label.long_name, "units": label.units}


def scalar_variable(name: str, found: Mapping[tuple[int, ...], Any], shape: tuple[int, ...]) -> xr.Variable | None:
    """A field of records on the grid; None for what is neither a number, a text nor a list of known dimensions."""
    label = quantity(name)
    first = next((value for value in found.values() if value == value), math.nan)
    values: np.ndarray
    if isinstance(first, str):
        values = np.full(shape, "", dtype=object)
    elif isinstance(first, list) and (len(label.dims) == 1 or name in MEASURE_MATRICES):
        values = np.full((*shape, *np.shape(first)), np.nan)
    elif isinstance(first, int | float):
        values = np.full(shape, np.nan)
    else:
        return None
    for index, value in found.items():
        try:
            values[index] = value if value == value or not isinstance(first, str) else ""
        except (TypeError, ValueError):
            raise RunError(
                f"field '{name}' is {first!r} at one point and {value!r} at another; measure one of them again."
            ) from None
    return xr.Variable((*GRID, *label.dims[: values.ndim - len(shape)]), values, attributes(label))


def array_variable(name: str, array: "GridArray") -> xr.Variable:
    """An array on the grid as a variable."""
    return xr.Variable((*GRID, *array.dims), indexing.LazilyIndexedArray(array), attributes(quantity(name)))


class GridArray(BackendArray):
    """One array a file, laid out on a grid, each read when it is looked at; NaN where a cell has none.

    Args:
        dims, shape, dtype: of the array at one point.
        files: path of each cell's file on the grid, or None.
        read: gives the array in a file.
    """

    def __init__(
        self,
        dims: Sequence[str],
        shape: tuple[int, ...],
        dtype: np.dtype,
        files: np.ndarray,
        read: Callable[[Path], np.ndarray],
    ) -> None:
        self.files, self.read = files, read
        self.dims: tuple[str, ...] = tuple(dims)
        self.shape = files.shape + shape
        self.dtype = dtype if dtype.kind == "f" else np.dtype(np.float64)

    def __getitem__(self, key: indexing.ExplicitIndexer) -> np.ndarray:
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.OUTER, self._read)

    def _read(self, key: tuple[Any, ...]) -> np.ndarray:
        chosen = [np.atleast_1d(np.arange(size)[part]) for size, part in zip(self.shape, key, strict=True)]
        result = np.full([len(part) for part in chosen], np.nan, dtype=self.dtype)
        grid = self.files.ndim
        files = self.files[np.ix_(*chosen[:grid])]
        single = [isinstance(part, int | np.integer) for part in key]
        inner = [slice(part, part + 1) if one else part for part, one in zip(key[grid:], single[grid:], strict=True)]
        index = tuple(inner) if all(isinstance(part, slice) for part in inner) else np.ix_(*chosen[grid:])
        for target, path in np.ndenumerate(files):
            if path is not None:
                result[target] = self.read(path)[index]
        return result[tuple(0 if one else slice(None) for one in single)]
