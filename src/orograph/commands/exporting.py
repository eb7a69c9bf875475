"""The command `orograph export`: a run as one table, for programs or for a paper, or as one file of labelled arrays."""

import csv
import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import xarray as xr
from rich.console import Console
from rich.text import Text

from orograph.commands.latex import latex
from orograph.commands.rows import Row, columns, table
from orograph.commands.settings import ExportSettings
from orograph.errors import ConfigurationError, RunError, shown
from orograph.memory import format_bytes
from orograph.store.atomic import write_bytes
from orograph.store.branch import ATLAS, ATLAS_FILE, BRANCH, open_branch
from orograph.store.connection import CONNECTION, open_connection
from orograph.store.dataset import open_sweep
from orograph.store.escape import ESCAPE, open_escape
from orograph.store.finished import finished_run, unfinished
from orograph.store.lookup import USUAL, quantity
from orograph.store.names import require_free
from orograph.store.part import WHOLE, Part, chosen_of, part_of
from orograph.store.run import Run
from orograph.store.track import TRACK, open_track
from orograph.store.tree import open_study
from orograph.store.wording import Wording

ENDINGS = {"csv": ".csv", "parquet": ".parquet", "netcdf": ".nc", "latex": ".tex"}
LARGE = ("parameter", "sample")  # dimensions that netCDF leaves out unless vectors are asked for
_FORMULA = ("=", "+", "-", "@")  # with what a cell begins that spreadsheets compute
_CELL = 32_767  # letters that a cell of a spreadsheet holds


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
