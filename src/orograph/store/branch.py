"""Branches of critical points as labelled arrays: points along `point` in the order of arclength, and the events between them.

A point, an event and the end of a branch are a finding each, under the branch's name. A branch begins with its point 0; one that
leaves a branch point of another is named for it: `up.1+` leaves the event 1 of `up`, in the direction + of its kernel.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr
from safetensors import safe_open
from xarray.core import indexing

from orograph.store.findings import Finding, FindingKey
from orograph.store.grid import GridArray, attributes
from orograph.store.integrity import verified
from orograph.store.lookup import quantity
from orograph.store.run import Run
from orograph.store.tree import stacked

BRANCH, ATLAS = "branch", "atlas"  # kinds of run
ATLAS_FILE = "atlas.json"
DIVIDING = ("fold", "branch")  # kinds of events at which the index changes
THETA, TANGENT, LOW, KERNEL = "theta", "tangent", "lowest_vectors", "kernel"  # arrays
POINT, EVENT, SWITCH, END = "point", "event", "switch", "end"  # kinds of findings


def point_key(branch: str, number: int) -> FindingKey:
    """The key of a point of a branch; keys are in the order of numbers."""
    return FindingKey(POINT, branch, f"{number:06d}")


def event_key(branch: str, number: int) -> FindingKey:
    """The key of an event of a branch."""
    return FindingKey(EVENT, branch, f"{number:06d}")


def switch_key(branch: str, event: int) -> FindingKey:
    """The key of what leaves an event of a branch, committed when all of its branches have begun."""
    return FindingKey(SWITCH, branch, f"{event:06d}")


def end_key(branch: str) -> FindingKey:
    """The key of the end of a branch."""
    return FindingKey(END, branch, "end")


@dataclass(frozen=True, eq=False)
class Course:
    """A branch as far as it was followed.

    Attributes:
        name: of the branch.
        points: in order.
        events: in order; `after` says between which points.
        ended: why it ends, in words; empty while it goes on.
    """

    name: str
    points: tuple[Finding, ...]
    events: tuple[Finding, ...]
    ended: str


def courses(run: Run) -> dict[str, Course]:
    """All branches of a run by name, those that leave another after it."""
    points: dict[str, list[Finding]] = {}
    events: dict[str, list[Finding]] = {}
    for key, found in run.findings.items():
        if key.kind in (POINT, EVENT):
            (points if key.kind == POINT else events).setdefault(key.configuration, []).append(found)
    result = {}
    for name in sorted(points, key=lambda each: (each.count("."), each)):
        end = run.findings.get(end_key(name))
        ended = "" if end is None else str(end.scalars.get("ended", ""))
        result[name] = Course(name, _in_order(points[name]), _in_order(events.get(name, [])), ended)
    return result


def _in_order(found: list[Finding]) -> tuple[Finding, ...]:
    return tuple(sorted(found, key=lambda each: each.key))


def open_branch(run: Run) -> xr.DataTree:
    """A node a branch, with every recorded number along `point`, θ read when it is looked at, and a child `events` where there
    are any."""
    nodes: dict[str, xr.Dataset] = {"/": xr.Dataset(attrs={"kind": run.kind, "path": str(run.path)})}
    for name, course in courses(run).items():
        node = _numbers("point", course.points, run)
        node[THETA] = _large(run, course.points, THETA, ("point", "parameter"))
        nodes[name] = node.assign_attrs(ended=course.ended)
        if course.events:
            events = _numbers("event", course.events, run)
            events[THETA] = _large(run, course.events, THETA, ("event", "parameter"))
            nodes[f"{name}/events"] = events
    return xr.DataTree.from_dict(nodes)


def _numbers(dim: str, found: tuple[Finding, ...], run: Run) -> xr.Dataset:
    plain = [Finding(each.key, each.status, each.scalars, {}) for each in found]
    ds = stacked(dim, [int(each.key.name) for each in found], plain, run)
    for name in {name for each in found for name, value in each.scalars.items() if isinstance(value, list)}:
        lists = [each.scalars.get(name, []) for each in found]
        if len({len(each) for each in lists}) == 1:
            ds[name] = ((dim, *quantity(name).dims), np.array(lists, dtype=np.float64), attributes(quantity(name)))
    for each in map(str, ds.data_vars):
        ds[each].attrs |= attributes(run.wording.of(each, quantity(each)))
    return ds


def _large(run: Run, found: tuple[Finding, ...], name: str, dims: tuple[str, str]) -> xr.Variable:
    """A vector of each finding, read when it is looked at."""
    files = np.full(len(found), None, dtype=object)
    digests: dict[Path, str] = {}
    for place, each in enumerate(found):
        for file, digest in each.files.items():
            files[place], digests[run.path / file] = run.path / file, digest
    array = GridArray(dims[1:], *_form(files, name), files, _reader(digests, name))
    return xr.Variable(dims, indexing.LazilyIndexedArray(array), attributes(quantity(name)))


def _form(files: np.ndarray, name: str) -> tuple[tuple[int, ...], np.dtype]:
    for file in files:
        if file is not None:
            with safe_open(file, framework="np") as opened:
                part = opened.get_slice(name)
                return tuple(part.get_shape()), np.dtype(np.float64 if part.get_dtype() == "F64" else np.float32)
    return (0,), np.dtype(np.float64)


def _reader(digests: dict[Path, str], name: str) -> Callable[[Path], np.ndarray]:
    def read(path: Path) -> np.ndarray:
        with safe_open(verified(path, digests[path]), framework="np") as opened:
            return np.asarray(opened.get_tensor(name))

    return read
