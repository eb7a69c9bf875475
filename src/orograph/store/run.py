"""The run directory: what was asked for, what has been measured, and the one way to add to it.

```
run.json            the marker: kind, configuration, numerics, provenance, labels
configuration.toml  the configuration again, to be edited and run from
plan.json           the cells in the order of their slots
points/             one commit record a point
test_data/          the published files
arrays.zarr/        arrays, one chunk a point
findings/           what was measured beside the points: at minima, between them and around them
copies/             the few files without which a run cannot be read, once more
timings/            when and how long; the only folder whose bytes differ between equal runs
```

A point is committed by writing its chunks and files, then its record, then the tables that follow from all records. Whatever
moment the process is killed at, the points recorded are whole, and repeating the others gives the same bytes. What is read is
held against what was recorded of it (`integrity`, seals). In a study each configuration has a folder of its own in `points`,
`test_data` and `arrays.zarr`.
"""

import datetime
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from torch import Tensor

from orograph.errors import RunError
from orograph.metrics import ACCURACY, Metric
from orograph.store import arrays as array_files
from orograph.store import artifacts, tables
from orograph.store.artifacts import Values
from orograph.store.atomic import make_folder, remove_partial, write_bytes, write_bytes_if_changed
from orograph.store.cells import EMPTY_PLAN, Cell, Plan
from orograph.store.copies import SUM, keep_copies, own_files, plan_bytes, restorable, restore, sum_line, write_own
from orograph.store.encoding import plain, sealed
from orograph.store.findings import Finding, FindingKey, write_finding
from orograph.store.integrity import verified
from orograph.store.kinds import checked_fields
from orograph.store.lock import RunLock
from orograph.store.lookup import require_free_names
from orograph.store.marker import FORMAT, HISTORY, VERSION, check_directory, identity_of, write_configuration
from orograph.store.names import COPIES, MARKER, PLAN, TIMINGS
from orograph.store.recorded import RecordedRun, facts_of
from orograph.store.records import STATUSES, Record, begun_as, write_record
from orograph.store.removal import remove_point


class Run(RecordedRun):
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
        identity: what all that belongs to it carries; None of one that an earlier version began.
        history: what was asked for, time after time, of one that has grown; empty of others.
        session: the provenance of this process, where it writes: recorded with each point that it makes, if it is another.
        classes: names of the classes.
        tensors: shape of each parameter tensor, in the order of the flat vector.
        plan: the cells and their slots.
        records: what has been committed, by cell; what is committed after opening follows what was there.
        findings: what else has been committed, by key.
        arrays: the arrays of a sweep.
    """

    plan: Plan

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
        metrics: Sequence[Metric] = (ACCURACY,),
        tensors: Mapping[str, Sequence[int]] | None = None,
        asked: Mapping[str, Any] | None = None,
        defaults: Mapping[str, Mapping[str, Any]] | None = None,
        defined_by: Callable[[], Mapping[str, Any]] | None = None,
        history: Sequence[Mapping[str, Any]] = (),
        grows: bool = False,
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
            classes: names of the classes, or of other groups of samples.
            metrics: that are recorded of each point beside the losses.
            tensors: shape of each parameter tensor by name, in the order of the flat vector.
            asked: the numerics as they were asked for, before the machine settled them; for `configuration.toml` of a new run.
            defaults: groups of settings that a configuration leaves out where they are these, by name.
            defined_by: gives what tells a new run from others, whose digest is its identity; asked of a new run alone. The
                configuration when None.
            history: what was asked for, time after time, last what the configuration says; of a run that has grown.
            grows: whether the directory may hold less of the run, whose configuration is then replaced by this one.

        Returns:
            The run, which this process alone may write to until `close`.

        Raises:
            RunError: the directory holds something else, a run of another configuration, or a run that another process is
                writing. Nothing is written then.
            ConfigurationError: a metric of a new run has a name under which something else is recorded.
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
                **({} if tuple(metrics) == (ACCURACY,) else {"metrics": [facts_of(each) for each in metrics]}),
                **({HISTORY: history} if history else {}),
            }
        )
        cells = tuple(cells)
        EMPTY_PLAN.extended(cells)  # names that cannot be told apart are refused before anything is written
        if check_directory(path, content, defaults, grows) is None:
            require_free_names(metrics)
        make_folder(path)
        lock = RunLock(path)
        try:
            found = check_directory(path, content, defaults, grows)  # again, now that nobody else writes
            remove_partial(path)
            for name in own_files(path):  # those that are lost, not those that are damaged
                if not (path / name).exists() and restorable(path, name):
                    restore(path, name)
            if found is None:
                found = content | begun_as(path, identity_of(defined_by() if defined_by else content["configuration"]))
                write_own(path, MARKER, sealed(found))
            elif grows and history:
                found |= {name: content[name] for name in ("configuration", HISTORY)}
                write_own(path, MARKER, sealed(found))
            write_configuration(path, content, asked or {})
            keep_copies(path)
            run = cls(path, found, lock)
            run.session = {name: value for name, value in content["provenance"].items() if name != "imported"}
            run._plan_first(cells)
            run._require_weights()
            run.project()
            run._log_session(content["provenance"])
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

        Args:
            cells: of the points, in the order of their slots.

        Returns:
            The cells that are new.

        Raises:
            ConfigurationError: two strengths are too near each other for names of their own.
            RunError: the run was opened for reading.
        """
        self._require_lock()
        before = len(self.plan.cells)
        self.plan = self.plan.extended(cells)
        if len(self.plan.cells) > before:
            write_own(self.path, PLAN, plan_bytes(self.plan))
        return self.plan.cells[before:]

    def _require_weights(self) -> None:
        """Whoever goes on with a run goes on from its states: that one of them is damaged is said before, and not after."""
        for record in self.records.values():
            for file, digest in record.files.items():
                if file.endswith(".pth"):
                    verified(self.path / file, digest)

    def _plan_first(self, cells: tuple[Cell, ...]) -> None:
        if not self.plan.cells or self.history:  # what was asked for later lies behind what an analysis inserted before
            self.add(cells)
        elif self.plan.cells[: len(cells)] != cells:
            raise RunError(
                f"the run {self.path} was planned with other points than its configuration gives now; start a new run."
            )

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
            eigenvectors_csv: whether the eigenvectors are written as CSV too.
            timings: what differs between equal runs, such as seconds.

        Returns:
            What was written, which `records` now holds.

        Raises:
            ConfigurationError: a field is of another kind than the registry of quantities says.
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
        fields = checked_fields(stem, scalars or {})
        files, own = artifacts.point_files(stem, weights, gradient, eigenvalues, eigenvectors, rows=eigenvectors_csv)
        everything: dict[str, Any] = {**(arrays or {}), **own}
        digests = {}
        for name, values in everything.items():
            dims, array = values if isinstance(values, tuple) else ((), values)
            chunk, digest = self._arrays(cell).write(name, slot, artifacts.as_numpy(array), len(self.plan.cells), dims)
            digests[chunk.relative_to(self.path).as_posix()] = digest
            self._copy(chunk.with_name(array_files.METADATA))
        for name, content in files.items():
            digests[f"{artifacts.FOLDER}/{name}"] = write_bytes(self.path / artifacts.FOLDER / name, content)
        write_bytes(self.path / TIMINGS / f"{stem}.json", sealed(timings or {}))
        record = Record(cell, slot, status, fields, digests, self.made_elsewhere())
        write_record(self.path, stem, record, self.identity)
        self.records[cell] = record
        self.project(cell)
        return record

    def forget(self, cell: Cell) -> None:
        """Take a committed point out, to be made again; the tables follow when it is there again.

        Args:
            cell: of the point.

        Raises:
            RunError: the run was opened for reading, or the system refuses.
        """
        self._require_lock()
        remove_point(self.path, self.plan, cell)
        del self.records[cell]

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

        Args:
            key: of the finding.
            status: `done` or `failed`.
            scalars: numbers, texts, lists and mappings by name.
            arrays: values by name.
            timings: what differs between equal runs, such as seconds.

        Returns:
            What was written, which `findings` now holds.

        Raises:
            RunError: the run was opened for reading, the finding is there already, or the disk refuses.
        """
        self._require_lock()
        if key in self.findings:
            raise RunError(f"{key} has its record in {self.path} already; findings are never rewritten.")
        write_bytes(self.path / TIMINGS / f"{key.stem}.json", sealed(timings or {}))
        self.findings[key] = finding = write_finding(
            self.path, key, status, scalars, arrays or {}, self.made_elsewhere(), self.identity
        )
        return finding

    def project(self, cell: Cell | None = None) -> None:
        """Bring the tables up to date with the records.

        Args:
            cell: whose model's tables are meant; all when None.

        Raises:
            RunError: the run was opened for reading.
        """
        self._require_lock()
        for one in {tables.subject(each) for each in self.plan.cells} if cell is None else {tables.subject(cell)}:
            for name, content in tables.files(self.records, self.classes, one, [each["name"] for each in self.metrics]).items():
                write_bytes_if_changed(self.path / artifacts.FOLDER / name, content)

    def keep(self, name: str, content: bytes) -> Path:
        """Store a file that belongs to the run as a whole, such as a trained anchor, with its SHA-256 beside it.

        Args:
            name: of the file, relative to the run.
            content: its bytes.

        Returns:
            Where it lies.

        Raises:
            RunError: the run was opened for reading.
        """
        self._require_lock()
        write_own(self.path, name, content)
        write_own(self.path, name + SUM, sum_line(self.path, name))
        return self.path / name

    def keep_results(self, name: str, results: Mapping[str, Any]) -> Path:
        """Store what follows from the records, as JSON with its seal.

        Args:
            name: of the file, relative to the run.
            results: what it holds, by name.

        Returns:
            Where it lies.

        Raises:
            RunError: the run was opened for reading.
        """
        self._require_lock()
        write_bytes_if_changed(self.path / name, sealed(results))
        return self.path / name

    def made_elsewhere(self) -> Mapping[str, Any] | None:
        """Whether this process writes with other versions or hardware than the run was begun with.

        Returns:
            Its provenance, if so.
        """
        begun = {name: value for name, value in self.provenance.items() if name != "imported"}
        return None if self.session in (begun, self.provenance) else self.session

    def _copy(self, file: Path) -> None:
        for each in (file, self.path / array_files.FOLDER / array_files.METADATA):
            if each.is_file():
                write_bytes_if_changed(self.path / COPIES / each.relative_to(self.path), each.read_bytes())

    def _require_lock(self) -> None:
        if self._lock is None:
            raise RunError(f"the run {self.path} is open for reading; create it again with its configuration to write.")

    def _log_session(self, provenance: Mapping[str, Any]) -> None:
        now = datetime.datetime.now(datetime.UTC)
        name = f"{now:%Y%m%dT%H%M%S.%f}-{os.getpid()}.json"
        said = {"started": now.isoformat(), "provenance": provenance, "asked": self.history[-1:]}
        write_bytes(self.path / TIMINGS / "sessions" / name, sealed(said))
