"""A run as labelled arrays: `open_run` gives a sweep as an `xarray.Dataset` whose large parts are read only when looked at."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from orograph.errors import RunError
from orograph.store import accessor as accessor  # registers ds.orograph
from orograph.store.analysis import analysis_variables
from orograph.store.arrays import map_chunk
from orograph.store.branch import ATLAS, BRANCH, open_branch
from orograph.store.cells import DIRECTIONS, Cell
from orograph.store.connection import CONNECTION, open_connection
from orograph.store.encoding import way_out
from orograph.store.escape import ESCAPE, open_escape
from orograph.store.grid import GRID, GridArray, array_variable, attributes, scalar_variable
from orograph.store.integrity import verified
from orograph.store.lookup import quantity
from orograph.store.names import PLAN
from orograph.store.records import AVERAGED
from orograph.store.run import Run
from orograph.store.track import TRACK, open_track
from orograph.store.tree import open_study
from orograph.store.wording import Wording


def open_run(path: str | Path) -> Any:
    """A sweep as an `xarray.Dataset` (see `open_sweep`), a study as an `xarray.DataTree` (see `tree.open_study`), a track as an
    `xarray.Dataset` along `step`, branches as an `xarray.DataTree` with a node each (see `branch.open_branch`), escapes as an
    `xarray.Dataset` (see `escape.open_escape`), curves between two minima likewise (see `connection.open_connection`).

    `ds.orograph` of a sweep has the common selections: `chain`, `point`, `loop`, `table` (see `accessor`).

    Args:
        path: the run's directory.

    Returns:
        Labelled arrays, the large ones read when looked at; what is missing is NaN.

    Raises:
        RunError: the directory is not a run, or a recorded file is missing.

    Examples:
        >>> import orograph.cli, orograph as og
        >>> sweep = "sweep --dataset digits --widths 4 --k 2 --epochs 1 --strengths 0.001,0.002 --quiet --out tiny"
        >>> orograph.cli.main(sweep.split())
        0
        >>> og.open_run("tiny").sizes["strength"]
        2
    """
    run = Run.open(path)
    if run.kind == TRACK:
        return open_track(run)
    if run.kind == BRANCH:
        return open_branch(run)
    if run.kind == ESCAPE:
        return open_escape(run)
    if run.kind == CONNECTION:
        return open_connection(run)
    if run.kind == ATLAS:
        raise RunError(f"{run.path} holds an atlas, which is a graph; open it by orograph.atlas.read_atlas.")
    return open_study(run) if run.kind == "study" else open_sweep(run)


def open_sweep(run: Run) -> xr.Dataset:
    """A sweep with dimensions `seed`, `direction` and `strength`, and `eigen`, `parameter`, `class` or `tensor` where a
    quantity has them.

    Scalars are in memory. Arrays are read from the disk, one point at a time, when values are asked for. A cell that was not
    measured has NaN (texts: empty) and the `status` `missing`; flags and whole numbers are floats for that reason.
    """
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
        variable = scalar_variable(name, found, shape)
        if variable is not None:
            variables[name] = variable
    for name, own in AVERAGED.items():
        if own in variables and name in variables:
            label = variables[name].attrs["long_name"]
            variables[own].attrs["long_name"] = f"{label} at the recorded state"
            variables[name].attrs["long_name"] = f"{label}, running average over the last epoch while the model moved"
    for name in run.arrays.names():
        variables[name] = array_variable(name, _grid_array(run, name, where, shape))
    variables |= analysis_variables(run, where, shape)
    wording = run.wording
    for name, variable in variables.items():
        known = quantity(name)
        if (said := wording.of(name, known)) != known and variable.attrs.get("long_name") == known.long_name:
            variable.attrs |= attributes(said)

    sizes = {dim: size for variable in variables.values() for dim, size in variable.sizes.items()}
    labels: dict[str, Any] = {"class": list(run.classes), "training_class": list(run.classes), "tensor": list(run.tensors)}
    if "block_names" in variables:
        labels["block"] = next((str(each).split(", ") for each in variables["block_names"].values.flat if each), [])
    labels["eigen"] = list(range(1, sizes.get("eigen", 0) + 1))
    coordinates |= {dim: values for dim, values in labels.items() if dim in sizes and len(values) == sizes[dim]}
    labelled = {dim: (dim, values, attributes(wording.of(dim, quantity(dim)))) for dim, values in coordinates.items()}
    try:
        return xr.Dataset(variables, labelled, {"kind": run.kind, "path": str(run.path), **_of_problem(wording)})
    except ValueError as error:  # lists or arrays of two lengths where there is one dimension
        raise RunError(f"{run.path} holds what does not fit together: {error}; {way_out(run.path / PLAN)}") from None


def _of_problem(wording: Wording) -> dict[str, str]:
    """What figures need to know of a run that is another than a classification."""
    found = {"score": wording.score.name if wording.score else "", "grouping": wording.grouping, "sample": wording.sample}
    usual = Wording()
    default = {"score": usual.score.name if usual.score else "", "grouping": usual.grouping, "sample": usual.sample}
    return {name: value for name, value in found.items() if value != default[name]}


def _grid_array(run: Run, name: str, where: Mapping[Cell, tuple[int, ...]], shape: tuple[int, ...]) -> GridArray:
    """The chunks of one quantity on the grid: those that the records name."""
    array = run.arrays.open(name)
    chunks = np.full(shape, None, dtype=object)
    digests: dict[Path, str] = {}
    for cell, record in run.records.items():
        path = run.arrays.chunk_path(name, record.slot, array.ndim - 1)
        digest = record.files.get(path.relative_to(run.path).as_posix())
        if digest is not None:
            chunks[where[cell]], digests[path] = path, digest
    dims = (array.metadata.dimension_names or [])[1:]
    if len(dims) != array.ndim - 1:
        raise RunError(f"array '{name}' of {run.path} does not name its dimensions; {way_out(run.path / PLAN)}")
    return GridArray(dims, array.shape[1:], array.dtype, chunks, lambda path: map_chunk(verified(path, digests[path]), array))
