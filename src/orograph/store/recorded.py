"""A run directory as it is read: its plan, its records, and every file held against what was recorded of it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
from jaxtyping import Shaped
from torch import Tensor

from orograph.errors import RunError
from orograph.metrics import ACCURACY, Metric
from orograph.models.checkpoint import read_state
from orograph.store import arrays as array_files
from orograph.store import artifacts, tables
from orograph.store.arrays import ArrayStore
from orograph.store.cells import Cell, Plan
from orograph.store.copies import ANCHOR, check_sum, read_plan, restorable
from orograph.store.findings import Finding, FindingKey, damaged_finding_files, read_findings
from orograph.store.integrity import verified
from orograph.store.lock import RunLock
from orograph.store.lookup import declare
from orograph.store.marker import HISTORY, IDENTITY, lacks_its_marker, no_run, read_marker
from orograph.store.names import COPIES, MARKER, PLAN, run_around
from orograph.store.records import Record, damaged_files, read_records
from orograph.store.settled import require_settled
from orograph.store.wording import Score, Wording, wording_of


def facts_of(metric: Metric) -> dict[str, str]:
    """What a run keeps of a metric beside its values."""
    better = "higher" if metric.higher_is_better else "lower"
    return {"name": metric.name, "label": metric.long_name, "unit": metric.unit or "1", "better": better}


def require_as_committed(file: Path) -> None:
    """Check that a file is what the run committed in which it lies, if it lies in one.

    Raises:
        RunError: it is not, or its run cannot be read.
    """
    folder = run_around(file)
    if folder is None or not file.is_file():
        return
    name = (file.parent.resolve() / file.name).relative_to(folder).as_posix()
    if name == ANCHOR:
        check_sum(file)
    for record in RecordedRun.open(folder).records.values():
        if name in record.files:
            verified(file, record.files[name])


class RecordedRun:
    """What `Run` is to a reader."""

    path: Path
    plan: Plan
    records: dict[Cell, Record]
    findings: dict[FindingKey, Finding]
    arrays: ArrayStore
    tensors: dict[str, tuple[int, ...]]

    def __init__(self, path: Path, content: Mapping[str, Any], lock: RunLock | None = None) -> None:
        require_settled(path)
        self.path, self._lock = path, lock
        self.kind: str = content["kind"]
        self.configuration: dict[str, Any] = content["configuration"]
        self.numerics: dict[str, Any] = content["numerics"]
        self.provenance: dict[str, Any] = content["provenance"]
        self.classes: tuple[str, ...] = tuple(content["classes"])
        self.metrics: tuple[dict[str, str], ...] = tuple(content.get("metrics", (facts_of(ACCURACY),)))
        self.tensors = {name: tuple(shape) for name, shape in content["tensors"]}
        self.session: Mapping[str, Any] = self.provenance
        self.identity: str | None = content.get(IDENTITY)
        self.history: tuple[dict[str, Any], ...] = tuple(content.get(HISTORY, ()))
        self.plan = read_plan(path / PLAN)
        self.records = read_records(path, self.plan, self.identity)
        declare(self.metrics, [each["name"] for each in self.metrics if self.is_list(each["name"])])
        self.findings = read_findings(path, self.identity)
        self.arrays = ArrayStore(path / array_files.FOLDER)

    @property
    def score(self) -> Score | None:
        """The first of the metrics that is one number; None where none is."""
        for each in self.metrics:
            if not self.is_list(each["name"]):
                return Score.of(each)
        return None

    def is_list(self, metric: str) -> bool:
        """Whether a metric is several numbers, as one for each output.

        Args:
            metric: its name.

        Returns:
            Whether its values are lists; False before a point is recorded.
        """
        scalars = next((record.scalars for record in self.records.values() if record.status == "done"), {})
        return isinstance(scalars.get(f"train_{metric}"), list)

    @property
    def wording(self) -> Wording:
        """How its quantities are called."""
        return wording_of(self.configuration, self.score)

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """An existing run, to read from; another process may be writing to it.

        Args:
            path: the directory that a sweep, a study or an import wrote.

        Returns:
            The run, with all that was committed up to now.

        Raises:
            RunError: it is not a run, or a recorded file is missing.
        """
        path = Path(path)
        try:
            content = read_marker(path)
        except RunError:
            if lacks_its_marker(path):  # no repair helps
                raise no_run(path) from None
            raise
        if content is None and restorable(path, MARKER):
            raise RunError(f"{path / MARKER} is missing; restore it by: orograph doctor {path} --repair.")
        if content is None:
            raise no_run(path)
        run = cls(path, content)
        if not run.plan.cells and any((path / "points").rglob("*.json")):
            raise RunError(f"{path / PLAN} is missing; give the command that made the run again, which writes it anew.")
        return run

    def kept(self, name: str) -> Path | None:
        """A file that was stored with `keep`.

        Args:
            name: of the file, relative to the run.

        Returns:
            Where it lies; None if it is not there.

        Raises:
            RunError: it is not what was stored.
        """
        if not (self.path / name).exists() and not (self.path / COPIES / name).exists():
            return None
        check_sum(self.path / name)
        return self.path / name

    def weights(self, cell: Cell) -> dict[str, Tensor]:
        """The weights of a committed point.

        Args:
            cell: of the point.

        Returns:
            The state dict.

        Raises:
            RunError: it is not what was committed.
        """
        return read_state(self._verified(cell, f"{artifacts.FOLDER}/{artifacts.weights_name(self.plan.name(cell))}"))

    def array(self, cell: Cell, name: str) -> Shaped[np.ndarray, "..."]:
        """One array of a committed point, mapped from the disk.

        Args:
            cell: of the point.
            name: of the array, as `quantities.ARRAYS` lists it.

        Returns:
            `(…)`, its dimensions and unit those that the registry gives for the name.

        Raises:
            RunError: it has none of that name, or it is not what was committed.
        """
        store, slot = self._arrays(cell), self.records[cell].slot
        chunk = store.chunk_path(name, slot, store.open(name).ndim - 1)
        self._verified(cell, chunk.relative_to(self.path).as_posix())
        return store.read(name, slot)

    def _verified(self, cell: Cell, file: str) -> Path:
        digest = self.records[cell].files.get(file)
        if digest is None:
            raise RunError(f"{self.path} has no {file}: it was not recorded at this point.")
        return verified(self.path / file, digest)

    def damaged(self) -> tuple[str, ...]:
        """What is not as it was committed; reads everything.

        Returns:
            The files, relative to the run; none if all is well.
        """
        found = [file for record in self.records.values() for file in damaged_files(self.path, record)]
        found += [file for finding in self.findings.values() for file in damaged_finding_files(self.path, finding)]
        for one in dict.fromkeys(tables.subject(cell) for cell in self.records):
            for name, content in tables.files(self.records, self.classes, one, [each["name"] for each in self.metrics]).items():
                path = self.path / artifacts.FOLDER / name
                if not path.is_file() or path.read_bytes() != content:
                    found.append(f"{artifacts.FOLDER}/{name}")
        return tuple(found)

    def _arrays(self, cell: Cell) -> ArrayStore:
        return ArrayStore(self.arrays.folder / cell.configuration) if cell.configuration else self.arrays
