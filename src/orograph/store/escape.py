"""Escapes from metastable states on the disk: a finding for the state at each strength, and one for each cohort of chains.

A cell is a strength, a batch size and a learning rate; its chains are numbered from 0 and run in cohorts.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from orograph.store.findings import Finding, FindingKey
from orograph.store.grid import attributes
from orograph.store.lookup import quantity
from orograph.store.run import Run
from orograph.store.tree import stacked

ESCAPE = "escape"  # the kind of run
ESCAPE_FILE = "escape.json"
WELL, PASSAGES = "well", "passages"  # kinds of findings
CHAINS = ("first_passage", "escaped", "diverged")  # lists of a cohort, an entry a chain
_CELL = ("strength", "batch_size", "lr")


def well_key(number: int) -> FindingKey:
    """The key of the state at a strength, by its number."""
    return FindingKey(WELL, "state", f"{number:03d}")


def passages_key(cell: int, first: int) -> FindingKey:
    """The key of a cohort: the number of its cell, and that of its first chain."""
    return FindingKey(PASSAGES, f"{cell:04d}", f"{first:06d}")


def wells(run: Run) -> list[Finding]:
    """The states, in the order of strengths as given."""
    return [found for key, found in sorted(run.findings.items()) if key.kind == WELL]


def cohorts(run: Run) -> list[Finding]:
    """The cohorts that are done, cell by cell, in the order of their chains."""
    return [found for key, found in sorted(run.findings.items()) if key.kind == PASSAGES]


def cells(run: Run) -> list[tuple[dict[str, float], dict[str, list[float]]]]:
    """Every cell with a cohort: its strength, batch size and learning rate, and what is known of each of its chains."""
    found: dict[str, tuple[dict[str, float], dict[str, list[float]]]] = {}
    for each in cohorts(run):
        where = {name: float(each.scalars[name]) for name in _CELL}
        _, lists = found.setdefault(each.key.configuration, (where, {name: [] for name in CHAINS}))
        for name in CHAINS:
            lists[name] += each.scalars[name]
    return list(found.values())


def planned(run: Run) -> int:
    """How many states and cohorts the run has when it is done."""
    well, sgd = run.configuration["well"], run.configuration["sgd"]
    parts = -(-sgd["chains"] // run.numerics["cohort"])
    return len(well["at"]) * (1 + len(sgd["batch_sizes"]) * len(sgd["learning_rates"]) * parts)


def open_escape(run: Run) -> xr.Dataset:
    """Chains along `strength`, `batch_size`, `lr` and `member`, NaN where one has not run yet, and the state at each strength."""
    known, states = cells(run), wells(run)
    places: dict[str, list[Any]] = {name: sorted({where[name] for where, _ in known}) for name in _CELL}
    places["strength"] = sorted({*places["strength"], *(float(each.scalars["strength"]) for each in states)})
    places["member"] = list(range(max((len(lists["escaped"]) for _, lists in known), default=0)))
    shape = tuple(map(len, places.values()))
    grids = {name: np.full(shape, np.nan) for name in CHAINS}
    for where, lists in known:
        index = tuple(places[name].index(where[name]) for name in _CELL)
        for name in CHAINS:
            grids[name][index][: len(lists[name])] = lists[name]
    dims = tuple(places)
    variables: dict[str, Any] = {name: (dims, grid, attributes(quantity(name))) for name, grid in grids.items()}
    coordinates = {name: (name, values, attributes(quantity(name))) for name, values in places.items()}
    ds = xr.Dataset(variables, coordinates, {"kind": run.kind, "path": str(run.path)})
    return ds if not states else ds.merge(_along(states, run), join="outer")


def _along(states: Sequence[Finding], run: Run) -> xr.Dataset:
    """The states by strength, without their vectors."""
    plain = [
        Finding(each.key, each.status, {name: value for name, value in each.scalars.items() if name != "strength"}, {})
        for each in states
    ]
    return stacked("strength", [float(each.scalars["strength"]) for each in states], plain, run)
