"""Published artifacts as files made elsewhere: which points a folder holds, and what each of its files says.

`Model-{ID}.csv` lists the strengths of a ladder; every other file carries its strength in its name, rounded to the decimals that
are written there. `{ID}` is a seed, `{ID}-down` on a descending ladder.
"""

import csv
import io
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float

from orograph.brief import brief
from orograph.errors import ConfigurationError, DataError, shown
from orograph.reading import read_file
from orograph.store.artifacts import FOLDER
from orograph.store.cells import Cell
from orograph.store.tables import METRIC_COLUMNS

_WEIGHTS = re.compile(r"model_weights-(\d{1,10})(-down)?-(\d{1,40}\.\d{1,60})\.pth", re.ASCII)
_TABLE = re.compile(r"Model-(\d{1,10})(-down)?\.csv", re.ASCII)
_STRENGTH = METRIC_COLUMNS[0]
_LARGEST = 2**34  # bytes of a file: as many eigenvectors as anybody has written


@brief
@dataclass(frozen=True)
class Artifacts:
    """The files of one point.

    Attributes:
        cell: which point.
        weights: its state dict.
        gradient: its file, None where there is none.
        eigenvalues: likewise.
        eigenvectors: likewise.
        metrics: the row of the table, by column; empty without one.
    """

    cell: Cell
    weights: Path
    gradient: Path | None
    eigenvalues: Path | None
    eigenvectors: Path | None
    metrics: Mapping[str, float] = field(default_factory=dict)


def find_artifacts(folder: Path) -> list[Artifacts]:
    """The points that a folder holds weights of, each ladder in the order in which it is gone.

    Args:
        folder: with `model_weights-….pth` files, `Model-….csv` tables and the rest.

    Returns:
        The files of each point.

    Raises:
        DataError: there is no such folder, no point in it, a table cannot be read, or two files are of one point.
    """
    inner = folder / FOLDER
    folder = inner if inner.is_dir() else folder
    if not folder.is_dir():
        raise DataError(f"{folder} is no folder; give the one that holds Model-0.csv and model_weights-0-….pth.")
    names = sorted(path.name for path in folder.iterdir())
    tables = {found.groups(): _table(folder / name) for name in names if (found := _TABLE.fullmatch(name))}
    points: dict[Cell, Artifacts] = {}
    for name in names:
        if not (found := _WEIGHTS.fullmatch(name)):
            continue
        seed, down, text = found.groups()
        row = _row(tables.get((seed, down), []), text, folder / name)
        stem = f"{seed}{down or ''}-{text}"
        gradient, values, vectors = (
            file if file.exists() else None
            for file in (folder / f"{kind}-{stem}.csv" for kind in ("gradients", "Hessian-eigenvalues", "Hessian-eigenvectors"))
        )
        try:
            cell = Cell(int(seed), "down" if down else "up", row.get(_STRENGTH, float(text)))
        except ConfigurationError as error:
            raise DataError(f"{folder / name} is of no point: {error}") from None
        if cell in points:
            both = f"{points[cell].weights.name} and {name}"
            raise DataError(f"{both} in {folder} are of one point (seed {cell.seed}, λ = {cell.strength:g}); keep one of them.")
        points[cell] = Artifacts(cell, folder / name, gradient, values, vectors, row)
    odd = next(
        (name for name in names if name.startswith("model_weights-") and name.endswith(".pth") and not _WEIGHTS.fullmatch(name)),
        None,
    )
    if odd is not None:  # a point that would be left out
        wanted = "model_weights-{ID}-{L2}.pth with a seed below 10¹⁰ and a strength as 0.01000"
        raise DataError(f"{folder} holds {shown(odd)}, which is not named {wanted}; rename it, or take it out.")
    if not points:
        raise DataError(f"{folder} holds no model_weights-{{ID}}-{{L2}}.pth; give the folder of published artifacts.")
    return sorted(points.values(), key=_order)


def _order(point: Artifacts) -> tuple[int, bool, float]:
    cell = point.cell
    down = cell.direction == "down"
    return cell.seed, down, -cell.strength if down else cell.strength


def read_text(path: Path) -> str:
    """A text file made elsewhere, with or without the mark that some programs put before UTF-8.

    Raises:
        DataError: it cannot be read, or is no UTF-8.
    """
    try:
        return read_file(path, _LARGEST).decode("utf-8-sig")
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}.") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not written in UTF-8 (byte {error.start}); save it again as UTF-8.") from None


def _table(path: Path) -> list[dict[str, float]]:
    reader = csv.DictReader(io.StringIO(read_text(path)), strict=True)
    try:
        columns = reader.fieldnames or ()
        if _STRENGTH not in columns or len(set(columns)) != len(columns):
            raise DataError(f"{path} has no column {_STRENGTH}, or one twice; its header must be {','.join(METRIC_COLUMNS)}.")
        rows = [{name: float(value) for name, value in row.items()} for row in reader]
    except (TypeError, ValueError, csv.Error) as error:
        why = f" ({error})" if isinstance(error, csv.Error) else ""
        raise DataError(f"{path} holds what is no number in line {reader.line_num}{why}; write numbers, or nan.") from None
    for row in rows:
        if not 0 <= row[_STRENGTH] < math.inf:
            raise DataError(f"{path} has the strength {row[_STRENGTH]}; λ must be a finite number, 0 or more.")
    return rows


def _row(rows: list[dict[str, float]], text: str, path: Path) -> dict[str, float]:
    """The row whose strength is written so in the names of files."""
    decimals = len(text.partition(".")[2])
    found = [row for row in rows if f"{row[METRIC_COLUMNS[0]]:.{decimals}f}" == text]
    if len(found) > 1:
        raise DataError(f"{path} could be of several strengths of its table; name files with more decimals.")
    return found[0] if found else {}


def read_gradient(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Float[np.ndarray, "..."]]:
    """A gradient file: one line `dL/d{name}: g, g, …` a parameter tensor, row-major.

    Raises:
        DataError: a tensor is missing, of another size, or holds what is no number.
    """
    lines = dict(line.split(": ", 1) for line in read_text(path).splitlines() if ": " in line)
    found = {}
    for name, shape in shapes.items():
        if f"dL/d{name}" not in lines:
            raise DataError(f"{path} has no line dL/d{name}; the model has such a parameter.")
        values = _numbers(lines[f"dL/d{name}"], path)
        if values.size != int(np.prod(shape)):
            raise DataError(f"{path} has {values.size} numbers for {name}, whose shape is {tuple(shape)}.")
        found[name] = values.reshape(shape)
    return found


def read_pairs(point: Artifacts, parameters: int) -> tuple[Float[np.ndarray, " k"], Float[np.ndarray, "k P"] | None]:
    """Eigenvalues and eigenvectors in descending order, whatever the order in the files; eigenvectors have length 1.

    Raises:
        DataError: numbers of pairs or of parameters do not agree.
    """
    assert point.eigenvalues is not None
    values = read_eigenvalues(point.eigenvalues)
    order = np.argsort(-values, kind="stable")
    if point.eigenvectors is None:
        return values[order], None
    rows = [_numbers(line, point.eigenvectors) for line in _lines(point.eigenvectors)]
    lengths = {len(row) for row in rows}
    if len(rows) != len(values) or lengths != {parameters}:
        found = f"{len(rows)} lines of {' or '.join(map(str, sorted(lengths)[:3])) or 'no'} numbers"
        wanted = f"{len(values)} lines of {parameters} numbers"
        raise DataError(f"{point.eigenvectors} has {found}, not {wanted}: one eigenvector a line.")
    vectors = np.array(rows)
    if not np.isfinite(vectors).all():
        raise DataError(f"{point.eigenvectors} holds NaN or infinity; write it again.")
    norms = np.linalg.norm(vectors, axis=1)
    if not (norms > 0).all():
        raise DataError(f"{point.eigenvectors} holds an eigenvector of length 0; write it again.")
    return values[order], (vectors / norms[:, None])[order]


def read_eigenvalues(path: Path) -> Float[np.ndarray, " k"]:
    """A file of eigenvalues: one a line.

    Raises:
        DataError: there is none, or a line holds anything but one finite number.
    """
    lines = _lines(path)
    if not lines:
        raise DataError(f"{path} holds no eigenvalue; write one a line, or remove the file.")
    parts = [_numbers(line, path) for line in lines]
    if any(len(part) != 1 for part in parts):
        raise DataError(f"{path} holds {max(map(len, parts))} numbers in a line; write one eigenvalue a line.")
    values = np.concatenate(parts)
    if not np.isfinite(values).all():
        raise DataError(f"{path} holds NaN or infinity; write it again.")
    return values


def _lines(path: Path) -> list[str]:
    return [line for line in read_text(path).splitlines() if line.strip()]


def _numbers(text: str, path: Path) -> Float[np.ndarray, " n"]:
    try:
        return np.array(text.split(","), dtype=np.float64)
    except ValueError:
        raise DataError(
            f"{path} holds what is no number in '{shown(text.strip()[:40])}'; write comma-separated numbers."
        ) from None
