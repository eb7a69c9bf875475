"""What is computed from the points of a sweep after it was made: findings beside the points, never in them.

Results that are computed together form a part (`classes`, `curvature`, …); a part has one finding at each point. A finding is
current while the point is the one it was computed from and the settings are those asked for; any other is computed again, in
its place.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Shaped
from safetensors import SafetensorError, safe_open

from orograph.errors import RunError
from orograph.store.atomic import sha256
from orograph.store.cells import Cell
from orograph.store.encoding import encode, plain, way_out, with_floats
from orograph.store.findings import FindingKey, write_finding
from orograph.store.grid import GridArray, array_variable, scalar_variable
from orograph.store.integrity import verified
from orograph.store.lookup import quantity
from orograph.store.marker import OF, identity_of
from orograph.store.run import Run

_OF, _SETTINGS = "of", "settings"  # what a finding says of itself beside its results


class Analysis:
    """The findings at the points of a run.

    Attributes:
        run: opened for writing if anything is to be written.
    """

    def __init__(self, run: Run) -> None:
        self.run = run

    def current(self, part: str, cell: Cell, settings: Mapping[str, Any]) -> bool:
        """Whether a part's finding at a point is there and need not be computed again."""
        finding = self.run.findings.get(self._key(part, cell))
        if finding is None or finding.scalars.get(_OF) != fingerprint(self.run, cell):
            return False
        return finding.scalars.get(_SETTINGS) == with_floats(plain(settings))

    def write(
        self,
        part: str,
        cell: Cell,
        settings: Mapping[str, Any],
        scalars: Mapping[str, Any],
        arrays: Mapping[str, Shaped[np.ndarray, "..."]],
    ) -> None:
        """Commit a part at a point, all of it or nothing; takes the place of what was there.

        Raises:
            RunError: the run was opened for reading, or the disk refuses.
        """
        self.run._require_lock()
        about = {_OF: fingerprint(self.run, cell), _SETTINGS: settings}
        key = self._key(part, cell)
        self.run.findings[key] = write_finding(
            self.run.path, key, "done", {**scalars, **about}, arrays, self.run.made_elsewhere(), self.run.identity
        )

    def scalars(self, part: str, cell: Cell) -> dict[str, Any]:
        """The numbers of a part at a point; empty where there are none."""
        finding = self.run.findings.get(self._key(part, cell))
        if finding is None or finding.scalars.get(_OF) != fingerprint(self.run, cell):
            return {}
        return {name: value for name, value in finding.scalars.items() if name not in (_OF, _SETTINGS)}

    def array(self, part: str, cell: Cell, name: str) -> Shaped[np.ndarray, "..."] | None:
        """One array of a part at a point, if it is there.

        Raises:
            RunError: its file is not what was committed.
        """
        if not self.scalars(part, cell):
            return None
        files = self.run.findings[self._key(part, cell)].files
        found = [read_array(verified(self.run.path / file, digest), name) for file, digest in files.items()]
        return found[0] if found else None

    def _key(self, part: str, cell: Cell) -> FindingKey:
        return FindingKey(part, cell.model_id, self.run.plan.texts[cell.strength])


def fingerprint(run: Run, cell: Cell) -> str:
    """What a committed point is, in one word: it changes when the point is measured again."""
    return sha256(encode(dict(run.records[cell].files)))[:16]


def of_run(run: Run) -> dict[str, str]:
    """What a file of results says of the run it was found in: its identity."""
    return {OF: run.identity or identity_of(run.configuration)}


def of_another(run: Run, results: Any) -> bool:
    """Whether results were found in another run; those of earlier versions do not say in which."""
    return isinstance(results, Mapping) and OF in results and results[OF] != of_run(run)[OF]


def read_array(path: Path, name: str) -> Shaped[np.ndarray, "..."] | None:
    """One array of a file of findings; None where it holds no such array."""
    with safe_open(path, framework="numpy") as file:
        return file.get_tensor(name) if name in file.keys() else None  # noqa: SIM118 - no mapping


def analysis_variables(run: Run, where: Mapping[Cell, tuple[int, ...]], shape: tuple[int, ...]) -> dict[str, xr.Variable]:
    """All that was found at the points of a run, on the grid.

    Args:
        run: with its records.
        where: place of each committed cell on the grid.
        shape: of the grid.
    """
    places = {(cell.model_id, run.plan.texts[cell.strength]): (index, fingerprint(run, cell)) for cell, index in where.items()}
    scalars: dict[str, dict[tuple[int, ...], Any]] = {}
    files: dict[str, dict[tuple[int, ...], Path]] = {}
    digests: dict[Path, str] = {}
    for key, finding in run.findings.items():
        index, point = places.get((key.configuration, key.name), ((), ""))
        if finding.scalars.get(_OF) != point:
            continue
        for name, value in finding.scalars.items():
            if name not in (_OF, _SETTINGS):
                scalars.setdefault(name, {})[index] = value
        for file in finding.files:
            files.setdefault(key.kind, {})[index] = run.path / file
            digests[run.path / file] = finding.files[file]
    variables = {name: scalar_variable(name, found, shape) for name, found in sorted(scalars.items())}
    found = {name: variable for name, variable in variables.items() if variable is not None}
    for part in sorted(files):
        found |= _arrays(files[part], digests, shape)
    return found


def _arrays(files: Mapping[tuple[int, ...], Path], digests: Mapping[Path, str], shape: tuple[int, ...]) -> dict[str, xr.Variable]:
    """The arrays of one part; a file whose array has another shape than most comes from other settings and is left out."""
    headers = {index: _header(path) for index, path in files.items()}
    variables = {}
    for name in sorted({name for header in headers.values() for name in header}):
        kinds = [header[name] for header in headers.values() if name in header]
        kind = max(kinds, key=kinds.count)
        dims = quantity(name).dims
        if len(dims) != len(kind[0]):
            continue
        chosen = np.full(shape, None, dtype=object)
        for index, path in files.items():
            if headers[index].get(name) == kind:
                chosen[index] = path
            else:
                verified(path, digests[path])  # other settings, not damage
        read = partial(_existing, name, digests)
        variables[name] = array_variable(name, GridArray(dims, kind[0], np.dtype(kind[1]), chosen, read))
    return variables


def _existing(name: str, digests: Mapping[Path, str], path: Path) -> np.ndarray:
    array = read_array(verified(path, digests[path]), name)
    assert array is not None
    return array


_TYPES = {"F64": "f8", "F32": "f4", "I64": "i8", "I32": "i4", "BOOL": "?", "U8": "u1"}


def _header(path: Path) -> dict[str, tuple[tuple[int, ...], str]]:
    """Shape and type of each array in a file."""
    try:
        with safe_open(path, framework="numpy") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            return {name: (tuple(each.get_shape()), _TYPES[each.get_dtype()]) for name, each in slices.items()}
    except (SafetensorError, OSError, KeyError):
        raise RunError(f"{path} is damaged: it has no header of safetensors; {way_out(path)}") from None
