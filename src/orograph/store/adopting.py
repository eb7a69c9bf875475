"""A committed point taken over from another run of the same network, file by file, each held against its SHA-256.

Its bytes stay; its slot, and the decimals with which its strength is written, are those of the run that takes it.
"""

from collections.abc import Mapping
from typing import Any

from orograph.errors import RunError
from orograph.store import artifacts
from orograph.store.arrays import FOLDER, METADATA
from orograph.store.atomic import write_bytes
from orograph.store.cells import Cell
from orograph.store.encoding import decode, sealed
from orograph.store.integrity import verified
from orograph.store.names import TIMINGS
from orograph.store.records import Record, write_record
from orograph.store.run import Run


def adopt(run: Run, cell: Cell, source: Run, provenance: Mapping[str, Any] | None) -> Record:
    """Takes a point over, all of it or nothing.

    Args:
        run: opened for writing; the point is planned in it.
        cell: which point.
        source: the run that holds it.
        provenance: of the point, where that is another than that of the run.

    Returns:
        Its record in the run.

    Raises:
        RunError: a file of it is not what was committed, its arrays are of another shape, or the disk refuses.
    """
    run._require_lock()
    old, stem, slot = source.records[cell], run.plan.name(cell), run.plan.cells.index(cell)
    before, files = source.plan.name(cell), dict[str, str]()
    for file, digest in old.files.items():
        folder, _, name = file.rpartition("/")
        path = verified(source.path / file, digest)
        if folder.startswith(f"{FOLDER}/"):
            quantity = folder.removeprefix(f"{FOLDER}/")
            dims = (source.arrays.open(quantity).metadata.dimension_names or [])[1:]
            chunk, found = run.arrays.write(quantity, slot, source.array(cell, quantity), len(run.plan.cells), dims)
            run._copy(chunk.with_name(METADATA))
            name = chunk.relative_to(run.path).as_posix()
        else:
            name = f"{artifacts.FOLDER}/{name.replace(f'-{before}.', f'-{stem}.')}"
            found = write_bytes(run.path / name, path.read_bytes())
        if found != digest:
            raise RunError(f"{path} came to {run.path / name} as something else; give the command again.")
        files[name] = digest
    timings = source.path / TIMINGS / f"{before}.json"
    write_bytes(run.path / TIMINGS / f"{stem}.json", sealed(decode(timings) if timings.is_file() else {}))
    record = Record(cell, slot, old.status, old.scalars, files, provenance)
    write_record(run.path, stem, record, run.identity)
    run.records[cell] = record
    run.project(cell)
    return record
