"""The command `orograph export`: a run as one table, for programs or for a paper, or as one file of labelled arrays."""

import csv
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import xarray as xr
from rich.console import Console
from rich.text import Text

from orograph.commands.branch_analysis import found_before
from orograph.commands.settings import ExportSettings
from orograph.errors import ConfigurationError, RunError, shown
from orograph.memory import format_bytes
from orograph.store.analysis import Analysis
from orograph.store.atomic import write_bytes
from orograph.store.branch import ATLAS, ATLAS_FILE, BRANCH, Course, courses, open_branch
from orograph.store.connection import CONNECTION, by_position, open_connection
from orograph.store.dataset import open_sweep
from orograph.store.escape import ESCAPE, cells, open_escape
from orograph.store.findings import FindingKey
from orograph.store.finished import finished_run, unfinished
from orograph.store.lookup import USUAL, quantity
from orograph.store.names import require_free
from orograph.store.part import WHOLE, Part, chosen_of, part_of
from orograph.store.run import Run
from orograph.store.track import TRACK, moments, open_track
from orograph.store.tree import open_study
from orograph.store.wording import Wording

ENDINGS = {"csv": ".csv", "parquet": ".parquet", "netcdf": ".nc", "latex": ".tex"}
LARGE = ("parameter", "sample")  # dimensions that netCDF leaves out unless vectors are asked for
_FORMULA = ("=", "+", "-", "@")  # with what a cell begins that spreadsheets compute
_CELL = 32_767  # letters that a cell of a spreadsheet holds
Row = dict[str, Any]


def export(settings: ExportSettings) -> int:
    """The command. Returns the exit code.

    Raises:
        OrographError: there is no such run, or nothing in it yet.
    """
    run = finished_run(settings.run, "export")
    if run.kind == ATLAS:
        raise RunError(
            f"{run.path} holds an atlas, whose numbers are in {run.path / ATLAS_FILE}; export writes the runs that it joins."
        )
    path = run.path.resolve()
    out = Path(settings.out or path.with_name(path.name + ENDINGS[settings.to]))
    if out.is_dir():
        raise ConfigurationError(f"`out` {out} is a directory; name a file.")
    require_free(out)
    part = part_of(run, settings.seeds, settings.points)
    if settings.to == "latex":
        from orograph.commands.latex import latex

        content = latex(run, settings.columns, part).encode()
    elif settings.to == "netcdf":
        content = netcdf_bytes(run, vectors=settings.vectors, part=part)
    else:
        rows = table(run, part)
        content = csv_bytes(rows) if settings.to == "csv" else parquet_bytes(rows, wording=run.wording)
    write_bytes(out, content)
    told = f", {format_bytes(len(content))}{f'; {rest}' if (rest := unfinished(run)) else ''}"
    Console(highlight=False).print(Text.assemble((shown(out), "bold"), told), soft_wrap=True)
    return 0


def table(run: Run, part: Part = WHOLE) -> list[Row]:
    """One row a point of the part, a measurement of a track, an event of a branch, a chain of an escape or a position of a curve:
    what identifies it, its status, and every number and text that was recorded or found there.

    Short lists become one column an entry, named for the class or numbered from 1.
    """
    if run.kind == TRACK:
        return [{"step": step, "status": each.status, **_flat(each.scalars, ())} for step, each in moments(run).items()]
    if run.kind == BRANCH:
        analysed = {each["name"]: each for each in (found_before(run) or {}).get("branches", [])}
        return [
            row
            for course in courses(run).values()
            for row in _along(course, run.classes, _by_point(course, analysed.get(course.name, {})))
        ]
    if run.kind == ESCAPE:
        chains = [(where, zip(*lists.values(), strict=True), [*lists]) for where, lists in cells(run)]
        return [
            {**where, "member": member, **dict(zip(names, each, strict=True))}
            for where, every, names in chains
            for member, each in enumerate(every)
        ]
    if run.kind == CONNECTION:
        return by_position(run)
    analysis = Analysis(run)
    parts = dict.fromkeys(key.kind for key in run.findings)
    rows = []
    for cell, record in run.records.items():
        if not part.holds(cell):
            continue
        row: Row = {"configuration": cell.configuration} if run.kind == "study" else {}
        row |= {"seed": cell.seed}
        if run.kind == "sweep":
            row |= {"direction": cell.direction, "L2_strength": cell.strength}
        row |= {"status": record.status, **_flat(record.scalars, run.classes)}
        if run.kind == "study":
            found = run.findings.get(FindingKey("minimum", cell.configuration, str(cell.seed)))
            row |= _flat(found.scalars, run.classes) if found else {}
        else:
            for part in parts:
                row |= _flat(analysis.scalars(part, cell), run.classes)
            if any(file.startswith("arrays.zarr/eigenvalue/") for file in record.files):
                values = run.array(cell, "eigenvalue").tolist()
                row |= {f"eigenvalue_{number}": value for number, value in enumerate(values, 1)}
        rows.append(row)
    return rows


def _along(course: Course, classes: Sequence[str], analysed: Sequence[Row]) -> list[Row]:
    """The points of a branch with what an analysis found of them, each followed by the events behind it."""
    rows = []
    for number, (point, found) in enumerate(zip(course.points, analysed, strict=True)):
        rows.append({"branch_name": course.name, "point": number, **_flat(point.scalars, classes), **found})
        behind = [each for each in course.events if each.scalars["after"] == number]
        rows += [{"branch_name": course.name, **_flat(each.scalars, classes)} for each in behind]
    return rows


def _by_point(course: Course, analysed: Mapping[str, Any]) -> list[Row]:
    """Of each point of a branch what an analysis found; nothing where the branch has gone on since."""
    known = {name: values for name in ("stretch", "work") if (values := analysed.get(name)) is not None}
    if any(len(values) != len(course.points) for values in known.values()):
        known = {}
    return [{name: values[number] for name, values in known.items()} for number in range(len(course.points))]


def _flat(scalars: Mapping[str, Any], classes: Sequence[str]) -> Row:
    row: Row = {}
    for name, value in scalars.items():
        if isinstance(value, list) and value and all(isinstance(item, int | float) for item in value):
            by_class = quantity(name).dims == ("class",) and len(value) == len(classes)
            labels = classes if by_class else range(1, len(value) + 1)
            row |= {f"{name}_{label}": item for label, item in zip(labels, value, strict=True)}
        elif isinstance(value, str | bool | int | float):
            row[name] = value
    return row


def columns(rows: Sequence[Row]) -> list[str]:
    """All names, in the order in which they first come."""
    return list(dict.fromkeys(name for row in rows for name in row))


def csv_bytes(rows: Sequence[Row]) -> bytes:
    """Full precision; nothing where a point has no value, `nan` where it has none that is finite.

    A text that a spreadsheet would take for a formula is written behind an apostrophe.
    """
    text = io.StringIO()
    names = columns(rows)
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([_no_formula(name) for name in names])
    writer.writerows([_no_formula(row.get(name, "")) for name in names] for row in rows)
    return text.getvalue().encode()


def _no_formula(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    text = shown(value, _CELL)
    return f"'{text}" if text.startswith(_FORMULA) else text


def parquet_bytes(rows: Sequence[Row], *, wording: Wording = USUAL) -> bytes:
    """A typed table whose columns carry `long_name` and `units`; of mixed columns all is text."""
    fields, arrays = [], []
    for name in columns(rows):
        values = [row.get(name) for row in rows]
        kinds = {type(value) for value in values if value is not None}
        array = pa.array(values if len(kinds) == 1 else [_number_or_text(value, kinds) for value in values])
        label = wording.of(name, quantity(name))
        fields.append(pa.field(name, array.type, metadata={"long_name": label.long_name, "units": label.units}))
        arrays.append(array)
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_arrays(arrays, schema=pa.schema(fields)), buffer)
    return buffer.getvalue()


def _number_or_text(value: Any, kinds: set[type]) -> Any:
    if value is None:
        return None
    return float(value) if kinds <= {int, float, bool} else str(value)


def netcdf_bytes(run: Run, *, vectors: bool = False, part: Part = WHOLE) -> bytes:
    """netCDF 3, which SciPy writes and every reader of netCDF knows: labelled arrays with long names and units.

    A study becomes one data set along `seed` and `configuration`.
    """
    ds = chosen_of(_dataset(run), part)
    if not vectors:
        ds = ds.drop_vars([name for name, each in ds.variables.items() if set(LARGE) & set(each.dims)])
    return bytes(_plain(ds).to_netcdf(format="NETCDF3_64BIT", engine="scipy"))


def _dataset(run: Run) -> xr.Dataset:
    """A run as one data set."""
    if run.kind == TRACK:
        return open_track(run)
    if run.kind == BRANCH:
        return _branches(open_branch(run))
    if run.kind == ESCAPE:
        return open_escape(run)
    if run.kind == CONNECTION:
        return open_connection(run)
    return open_sweep(run) if run.kind == "sweep" else _study(open_study(run))


def _branches(tree: xr.DataTree) -> xr.Dataset:
    """Points of all branches along `point`, and their events along `event`; NaN beyond the end of one."""
    nodes = []
    for node in tree.children.values():
        ds = node.to_dataset()
        if "events" in node.children:
            events = node.children["events"].to_dataset()
            ds = ds.merge(
                events.rename({name: f"event_{name}" for name in events.data_vars if not str(name).startswith("event")})
            )
        nodes.append(ds)
    names = xr.Variable("branch", list(tree.children), {"long_name": "branch"})
    return xr.concat(nodes, names, data_vars="all", coords="minimal", compat="override", join="outer", fill_value={})


def _study(tree: xr.DataTree) -> xr.Dataset:
    """Minima of all configurations, without what lies between them and what has a size of its own in each: eigenvectors."""
    names = list(tree.children)
    nodes = [tree[name].to_dataset() for name in names]
    sizes = {(dim, size) for node in nodes for dim, size in node.sizes.items() if dim not in node.indexes}
    counts = Counter(dim for dim, _ in sizes)
    return xr.concat(
        [node.drop_dims([dim for dim in node.sizes if counts[dim] > 1]) for node in nodes],
        xr.Variable("configuration", names, {"long_name": "configuration"}),
        data_vars="all",
        coords="minimal",
        compat="override",
        join="outer",
        fill_value={},
    )


def _plain(ds: xr.Dataset) -> xr.Dataset:
    """Types that netCDF 3 knows: texts as such, whole numbers of 32 bits, flags as numbers."""
    changed = {}
    for name, each in ds.variables.items():
        if each.dtype.kind == "O":
            changed[name] = (each.dims, each.values.astype(str), each.attrs)
        elif each.dtype.kind in "iub":
            changed[name] = (each.dims, each.values.astype("int32"), each.attrs)
    return ds.assign({n: v for n, v in changed.items() if n not in ds.coords}).assign_coords(
        {n: v for n, v in changed.items() if n in ds.coords}
    )
