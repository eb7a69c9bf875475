"""Findings: what a study measured beside its trained networks, one JSON record each with its arrays in a file beside it.

A finding has a kind (`minimum`, `pair`, `slice`, …), belongs to a configuration and has a name within it. Like a point it is
committed by its record, which is written last and names the file of arrays with its SHA-256. Arrays lie in one safetensors file,
whose bytes depend on names and values alone.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import numpy as safetensors
from safetensors import safe_open

from orograph.errors import ConfigurationError, RunError
from orograph.store.atomic import write_bytes
from orograph.store.encoding import decode, sealed, way_out, with_floats
from orograph.store.former import with_present_names
from orograph.store.integrity import verified
from orograph.store.kinds import check_fields, checked_fields
from orograph.store.marker import OF
from orograph.store.names import checked_files, is_name
from orograph.store.records import STATUSES, is_damaged, require_own

FOLDER = "findings"


@dataclass(frozen=True, order=True)
class FindingKey:
    """What identifies a finding in a run.

    Raises:
        ConfigurationError: one of the three cannot be the name of a file.
    """

    kind: str
    configuration: str
    name: str

    def __post_init__(self) -> None:
        for part in (self.kind, self.configuration, self.name):
            if not is_name(part):
                raise ConfigurationError(f"the name '{part}' of a finding may hold letters, digits and any of . _ + - only.")

    @property
    def stem(self) -> str:
        """Its files, relative to the run and without their endings."""
        return f"{FOLDER}/{self.kind}/{self.configuration}/{self.name}"


@dataclass(frozen=True, eq=False)
class Result:
    """What one measurement found, in the plain form in which a run keeps it; committed, it is a `Finding`.

    Attributes:
        scalars: numbers, texts, short lists and mappings of them by name; NaN where a number could not be had.
        arrays: what is large, by name, with the dimensions that the store's quantities list.
    """

    scalars: dict[str, Any]
    arrays: dict[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Finding:
    """A committed finding.

    Attributes:
        key: which.
        status: `done` or `failed`.
        scalars: numbers, texts, lists and mappings by name; NaN where null is written.
        files: SHA-256 by path relative to the run; empty without arrays.
        provenance: versions and hardware, where they are not those of the run.
    """

    key: FindingKey
    status: str
    scalars: Mapping[str, Any]
    files: Mapping[str, str]
    provenance: Mapping[str, Any] | None = None

    def arrays(self, run: Path, wanted: Callable[[str, tuple[int, ...]], bool] | None = None) -> dict[str, np.ndarray]:
        """Its arrays, verified and read now: all, or those whose name and shape are wanted.

        Raises:
            RunError: a file is not what was committed.
        """
        found = {}
        for file, digest in self.files.items():
            with safe_open(verified(run / file, digest), framework="np") as opened:
                for name in opened.keys():  # noqa: SIM118 - no mapping
                    if wanted is None or wanted(name, tuple(opened.get_slice(name).get_shape())):
                        found[name] = opened.get_tensor(name)
        return found


def write_finding(
    run: Path,
    key: FindingKey,
    status: str,
    scalars: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray],
    provenance: Mapping[str, Any] | None = None,
    identity: str | None = None,
) -> Finding:
    """Commit a finding: its arrays first, then its record, which carries the identity of the run.

    Raises:
        ConfigurationError: a field is of another kind than the registry of quantities says.
        RunError: the disk refuses.
    """
    fields, files = checked_fields(key.stem, scalars), {}
    if arrays:
        ordered = {name: np.ascontiguousarray(arrays[name]) for name in sorted(arrays)}
        path = f"{key.stem}.safetensors"
        files[path] = write_bytes(run / path, safetensors.save(ordered))
    content = {"kind": key.kind, "configuration": key.configuration, "name": key.name, "status": status}
    made: dict[str, Any] = {} if provenance is None else {"provenance": provenance}
    made |= {} if identity is None else {OF: identity}
    write_bytes(run / f"{key.stem}.json", sealed({**content, "scalars": fields, "files": files, **made}))
    return Finding(key, status, fields, files, provenance)


def read_findings(run: Path, identity: str | None = None) -> dict[FindingKey, Finding]:
    """All findings of a run of this identity, in the order of their keys.

    Raises:
        RunError: a record is damaged, or of another run, or a file it names is missing.
    """
    found = [read_finding(run, path, identity) for path in finding_records(run)]
    for finding in found:
        for file in finding.files:
            if not (run / file).is_file():
                record = run / f"{finding.key.stem}.json"
                raise RunError(f"{run / file} is missing; restore it, or delete {record} to have it measured again.")
    return {finding.key: finding for finding in sorted(found, key=lambda finding: finding.key)}


def finding_records(run: Path) -> list[Path]:
    """The records of all findings; what a Mac leaves beside each file is none."""
    return sorted(path for path in (run / FOLDER).glob("*/*/*.json") if not path.name.startswith("."))


def damaged_finding_files(run: Path, finding: Finding) -> list[str]:
    """The files of a finding, relative to the run, that are missing or whose content is not what was committed."""
    return [file for file, digest in finding.files.items() if is_damaged(run / file, digest)]


def read_finding(run: Path, path: Path, identity: str | None = None) -> Finding:
    """The finding whose record is in a file.

    Raises:
        RunError: it is damaged, or of another finding or another run.
    """
    content = decode(path)
    require_own(path, content, identity)
    try:
        key = FindingKey(content["kind"], content["configuration"], content["name"])
        if not isinstance(content["scalars"], dict) or content["status"] not in STATUSES:
            raise TypeError("scalars")
        scalars = with_present_names(key.kind, with_floats(content["scalars"]))
        made = content.get("provenance")
        if not isinstance(made, dict | None):
            raise TypeError("provenance")
        finding = Finding(key, content["status"], scalars, checked_files(content["files"]), made)
    except (KeyError, TypeError, ConfigurationError):
        raise RunError(f"{path} is damaged: it is no record of a finding; {way_out(path)}") from None
    check_fields(path, finding.scalars)
    if run / f"{key.stem}.json" != path:
        raise RunError(f"{path} records another finding than its name says; {way_out(path)}")
    return finding
