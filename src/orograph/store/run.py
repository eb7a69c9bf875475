"""The run directory: what was asked for, what has been measured, and the one way to add to it.

```
run.json            the marker: kind, configuration, numerics, provenance, labels
configuration.toml  the configuration again, to be edited and run from
plan.json           the cells in the order of their slots
points/             one commit record a point
test_data/          the published files
arrays.zarr/        arrays, one chunk a point
findings/           in a study: what was measured at minima, between them and around them
timings/            when and how long; the only folder whose bytes differ between equal runs
```

A point is committed by writing its chunks and files, then its record, then the tables that follow from all records. Whatever
moment the process is killed at, the points recorded are whole, and repeating the others gives the same bytes. In a study each
configuration has a folder of its own in `points`, `test_data` and `arrays.zarr`.
"""

import datetime
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import tomli_w
import torch
from jaxtyping import Shaped
from torch import Tensor

from orograph.errors import RunError
from orograph.store import arrays as array_files
from orograph.store import artifacts, tables
from orograph.store.arrays import ArrayStore
from orograph.store.atomic import make_folder, remove_partial, write_bytes
from orograph.store.cells import EMPTY_PLAN, Cell, Plan
from orograph.store.encoding import decode, encode, plain, with_floats
from orograph.store.findings import Finding, FindingKey, damaged_finding_files, read_findings, write_finding
from orograph.store.lock import RunLock
from orograph.store.marker import FORMAT, MARKER, VERSION, check_directory, read_marker
from orograph.store.records import STATUSES, Record, damaged_files, read_records, write_record

CONFIGURATION = "configuration.toml"
PLAN = "plan.json"
TIMINGS = "timings"

Values = Shaped[np.ndarray, "..."] | Tensor


class Run:
    """A run directory, as `Run.create` and `Run.open` give it.

    Args:
        path: the directory.
        content: of its marker, `run.json`.
        lock: the right to write to it; None to read only.

    Attributes:
        path: the directory.
        kind: `sweep` or another kind of experiment.
        configuration: what was asked for, as recorded when the run was created.
        numerics: what decides the last bits, likewise.
        provenance: versions and hardware, likewise.
        classes: names of the classes.
        tensors: shape of each parameter tensor, in the order of the flat vector.
        plan: the cells and their slots.
        records: what has been committed, by cell; what is committed after opening follows what was there.
        findings: what else has been committed, by key.
        arrays: the arrays of a sweep.
    """

    def __init__(self, path: Path, content: Mapping[str, Any], lock: RunLock | None = None) -> None:
        self.path, self._lock = path, lock
        self.kind: str = content["kind"]
        self.configuration: dict[str, Any] = content["configuration"]
        self.numerics: dict[str, Any] = content["numerics"]
        self.provenance: dict[str, Any] = content["provenance"]
        self.classes: tuple[str, ...] = tuple(content["classes"])
        self.tensors = {name: tuple(shape) for name, shape in content["tensors"]}
        self.plan = Plan.from_plain(decode(path / PLAN)) if (path / PLAN).exists() else EMPTY_PLAN
        self.records = read_records(path, self.plan)
        self.findings = read_findings(path)
        self.arrays = ArrayStore(path / array_files.FOLDER)

    @classmethod
    def open(cls, path: str | Path) -> "Run":
        """An existing run, to read from; another process may be writing to it.

        Raises:
            RunError: it is not a run, or a recorded file is missing.
        """
        path = Path(path)
        content = read_marker(path)
        if content is None:
            raise RunError(f"{path} is not a run: it has no {MARKER}; give the directory that a sweep or a study wrote.")
        return cls(path, content)

    @classmethod
    def create(
        cls,
        path: str | Path,
        *,
        kind: str,
        configuration: Mapping[str, Any],
        numerics: Mapping[str, Any],
        provenance: Mapping[str, Any],
        cells: Iterable[Cell] = (),
        classes: Sequence[str] = (),
        tensors: Mapping[str, Sequence[int]] | None = None,
    ) -> "Run":
        """A run to write to, and the only one: new, or resumed where the directory holds the same run already.

        A resumed run keeps the numerics and the provenance that it was created with.

        Args:
            path: the directory; it and its parents are made if need be.
            kind: of experiment.
            configuration: all that defines the run, resolved; compared on resume.
            numerics: what decides the last bits.
            provenance: versions and hardware. Times belong elsewhere, for equal runs to have equal bytes.
            cells: all points, in an order that follows from the configuration; their slots.
            classes: names of the classes.
            tensors: shape of each parameter tensor by name, in the order of the flat vector.

        Raises:
            RunError: the directory holds something else, a run of another configuration, or a run that another process is
                writing. Nothing is written then.
        """
        path = Path(path)
        content = plain(
            {
                "format": FORMAT,
                "version": VERSION,
                "kind": kind,
                "configuration": configuration,
                "numerics": numerics,
                "provenance": provenance,
                "classes": classes,
                "tensors": [[name, list(shape)] for name, shape in (tensors or {}).items()],
            }
        )
        check_directory(path, content)
        make_folder(path)
        lock = RunLock(path)
        try:
            found = check_directory(path, content)  # again, now that nobody else writes
            remove_partial(path)
            if found is None:
                write_bytes(path / MARKER, encode(content))
            write_bytes_if_changed(path / CONFIGURATION, tomli_w.dumps(_without_none(content["configuration"])).encode())
            run = cls(path, found or content, lock)
            run._plan_first(tuple(cells))
            run.project()
            run._log_session(plain(provenance))
        except BaseException:
            lock.release()
            raise
        return run

    def close(self) -> None:
        """Give up the right to write."""
        if self._lock:
            self._lock.release()
            self._lock = None

    def __enter__(self) -> "Run":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def add(self, cells: Iterable[Cell]) -> tuple[Cell, ...]:
        """Plan further points, whose slots follow those there are; those planned already are left alone.

        Returns:
            The cells that are new.
        """
        self._require_lock()
        before = len(self.plan.cells)
        self.plan = self.plan.extended(cells)
        if len(self.plan.cells) > before:
            write_bytes(self.path / PLAN, encode(self.plan.to_plain()))
        return self.plan.cells[before:]

    def _plan_first(self, cells: tuple[Cell, ...]) -> None:
        if not self.plan.cells:
            self.add(cells)
        elif self.plan.cells[: len(cells)] != cells:
            raise RunError(
                f"the run {self.path} was planned with other points than its configuration gives now; start a new run."
            )

    # Writing

    def commit(
        self,
        cell: Cell,
        *,
        status: str = "done",
        scalars: Mapping[str, Any] | None = None,
        arrays: Mapping[str, Values | tuple[Sequence[str], Values]] | None = None,
        weights: Mapping[str, Tensor] | None = None,
        gradient: Mapping[str, Tensor] | None = None,
        eigenvalues: Values | None = None,
        eigenvectors: Values | None = None,
        eigenvectors_csv: bool = True,
        timings: Mapping[str, Any] | None = None,
    ) -> Record:
        """Record a point, all of it or nothing.

        Args:
            cell: a planned one.
            status: `done` or `failed`.
            scalars: numbers, texts and short lists by field name.
            arrays: values by name, with their dimensions where `quantities.ARRAYS` does not list the name.
            weights: the state dict.
            gradient: of the plain loss by parameter name, in the order of the flat vector; written as CSV and as the array
                `gradient`.
            eigenvalues: `(k,)`, descending; written as CSV and as the float64 array `eigenvalue`.
            eigenvectors: `(k, P)`, in the same order; written as the float32 array `eigenvector` and, with `eigenvectors_csv`,
                as CSV.
            timings: what differs between equal runs.

        Raises:
            RunError: the run was opened for reading, the cell is not planned or has a record, or the disk refuses.
        """
        self._require_lock()
        if cell not in self.plan.cells:
            raise RunError(f"{cell} is not planned in {self.path}; add it first.")
        if cell in self.records:
            raise RunError(f"{cell} has its record in {self.path} already; points are never rewritten.")
        if status not in STATUSES:
            raise RunError(f"status '{status}' is none of {', '.join(STATUSES)}.")
        stem, slot = self.plan.name(cell), self.plan.cells.index(cell)
        everything: dict[str, Any] = dict(arrays or {})
        files: dict[str, bytes] = {}
        if weights is not None:
            files[artifacts.weights_name(stem)] = artifacts.weights_bytes(weights)
        if gradient is not None:
            named = {name: _numpy(tensor) for name, tensor in gradient.items()}
            files[artifacts.gradients_name(stem)] = artifacts.gradients_bytes(named)
            everything["gradient"] = np.concatenate([values.ravel() for values in named.values()])
        if eigenvalues is not None:
            everything["eigenvalue"] = _numpy(eigenvalues, np.float64)
            files[artifacts.eigenvalues_name(stem)] = artifacts.eigenvalues_bytes(everything["eigenvalue"])
        if eigenvectors is not None:
            everything["eigenvector"] = _numpy(eigenvectors, np.float32)
            if eigenvectors_csv:
                files[artifacts.eigenvectors_name(stem)] = artifacts.eigenvectors_bytes(everything["eigenvector"])
        digests = {}
        for name, values in everything.items():
            dims, array = values if isinstance(values, tuple) else ((), values)
            chunk, digest = self._arrays(cell).write(name, slot, _numpy(array), len(self.plan.cells), dims)
            digests[chunk.relative_to(self.path).as_posix()] = digest
        for name, content in files.items():
            digests[f"{artifacts.FOLDER}/{name}"] = write_bytes(self.path / artifacts.FOLDER / name, content)
        write_bytes(self.path / TIMINGS / f"{stem}.json", encode(timings or {}))
        record = Record(cell, slot, status, with_floats(plain(scalars or {})), digests)
        write_record(self.path, stem, record)
        self.records[cell] = record
        self.project(cell)
        return record

    def commit_finding(
        self,
        key: FindingKey,
        *,
        status: str = "done",
        scalars: Mapping[str, Any],
        arrays: Mapping[str, np.ndarray] | None = None,
        timings: Mapping[str, Any] | None = None,
    ) -> Finding:
        """Record a finding, all of it or nothing.

        Raises:
            RunError: the run was opened for reading, the finding is there already, or the disk refuses.
        """
        self._require_lock()
        if key in self.findings:
            raise RunError(f"{key} has its record in {self.path} already; findings are never rewritten.")
        write_bytes(self.path / TIMINGS / f"{key.stem}.json", encode(timings or {}))
        self.findings[key] = finding = write_finding(self.path, key, status, scalars, arrays or {})
        return finding

    def project(self, cell: Cell | None = None) -> None:
        """Bring the tables up to date with the records, for one cell's model or for all."""
        self._require_lock()
        for one in {_model(each) for each in self.plan.cells} if cell is None else {_model(cell)}:
            for name, content in self._tables(*one).items():
                write_bytes_if_changed(self.path / artifacts.FOLDER / name, content)

    def keep(self, name: str, content: bytes) -> Path:
        """Store a file that belongs to the run as a whole, such as a trained anchor."""
        self._require_lock()
        write_bytes_if_changed(self.path / name, content)
        return self.path / name

    # Reading

    def weights(self, cell: Cell) -> dict[str, Tensor]:
        """The state dict of a committed point."""
        return torch.load(self.path / artifacts.FOLDER / artifacts.weights_name(self.plan.name(cell)), weights_only=True)

    def array(self, cell: Cell, name: str) -> Shaped[np.ndarray, "..."]:
        """One array of a committed point, mapped from the disk."""
        return self._arrays(cell).read(name, self.records[cell].slot)

    def damaged(self) -> tuple[str, ...]:
        """The files, relative to the run, that are not what was committed; reads everything."""
        found = [file for record in self.records.values() for file in damaged_files(self.path, record)]
        found += [file for finding in self.findings.values() for file in damaged_finding_files(self.path, finding)]
        for one in dict.fromkeys(_model(cell) for cell in self.records):
            for name, content in self._tables(*one).items():
                path = self.path / artifacts.FOLDER / name
                if not path.is_file() or path.read_bytes() != content:
                    found.append(f"{artifacts.FOLDER}/{name}")
        return tuple(found)

    def _arrays(self, cell: Cell) -> ArrayStore:
        return ArrayStore(self.arrays.folder / cell.configuration) if cell.configuration else self.arrays

    def _tables(self, configuration: str, model_id: str) -> dict[str, bytes]:
        records = [record for cell, record in self.records.items() if _model(cell) == (configuration, model_id)]
        if not records:
            return {}
        stem = f"{configuration}/Model-{model_id}" if configuration else f"Model-{model_id}"
        content = {f"{stem}.csv": tables.metrics_bytes(records)}
        if any("class_accuracy" in record.scalars for record in records):
            content[f"{stem}_split_accuracy.csv"] = tables.split_accuracy_bytes(records, self.classes)
        return content

    def _require_lock(self) -> None:
        if self._lock is None:
            raise RunError(f"the run {self.path} is open for reading; create it again with its configuration to write.")

    def _log_session(self, provenance: Mapping[str, Any]) -> None:
        now = datetime.datetime.now(datetime.UTC)
        name = f"{now:%Y%m%dT%H%M%S.%f}-{os.getpid()}.json"
        write_bytes(self.path / TIMINGS / "sessions" / name, encode({"started": now.isoformat(), "provenance": provenance}))


def _model(cell: Cell) -> tuple[str, str]:
    """What a table is about."""
    return cell.configuration, cell.model_id


def _numpy(values: Values, dtype: type | None = None) -> np.ndarray:
    return np.asarray(values.detach().cpu() if isinstance(values, Tensor) else values, dtype)


def write_bytes_if_changed(path: Path, content: bytes) -> None:
    """Write a file unless it holds just this."""
    if not path.is_file() or path.read_bytes() != content:
        write_bytes(path, content)


def _without_none(value: Any) -> Any:
    """TOML has no null: what is None is left out."""
    if isinstance(value, Mapping):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    return [_without_none(item) for item in value] if isinstance(value, list) else value
