"""Published artifacts as files made elsewhere: which points a folder holds, and what each of its files says.

`Model-{ID}.csv` lists the strengths of a ladder; every other file carries its strength in its name, rounded to the decimals that
are written there. `{ID}` is a seed, `{ID}-down` on a descending ladder.
"""

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float

from orograph.errors import DataError
from orograph.store.artifacts import FOLDER
from orograph.store.cells import Cell
from orograph.store.tables import METRIC_COLUMNS

_WEIGHTS = re.compile(r"model_weights-(\d+)(-down)?-(\d+\.\d+)\.pth")
_TABLE = re.compile(r"Model-(\d+)(-down)?\.csv")


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
        DataError: there is no such folder, no point in it, or a table cannot be read.
    """
    inner = folder / FOLDER
    folder = inner if inner.is_dir() else folder
    if not folder.is_dir():
        raise DataError(f"{folder} is no folder; give the one that holds Model-0.csv and model_weights-0-….pth.")
    tables = {found.groups(): _table(path) for path in folder.iterdir() if (found := _TABLE.fullmatch(path.name))}
    points = []
    for path in folder.iterdir():
        name = _WEIGHTS.fullmatch(path.name)
        if not name:
            continue
        seed, down, text = name.groups()
        row = _row(tables.get((seed, down), []), text, path)
        stem = f"{seed}{down or ''}-{text}"
        gradient, values, vectors = (
            file if file.is_file() else None
            for file in (folder / f"{kind}-{stem}.csv" for kind in ("gradients", "Hessian-eigenvalues", "Hessian-eigenvectors"))
        )
        cell = Cell(int(seed), "down" if down else "up", row.get(METRIC_COLUMNS[0], float(text)))
        points.append(Artifacts(cell, path, gradient, values, vectors, row))
    if not points:
        raise DataError(f"{folder} holds no model_weights-{{ID}}-{{L2}}.pth; give the folder of published artifacts.")
    return sorted(points, key=_order)


def _order(point: Artifacts) -> tuple[int, bool, float]:
    cell = point.cell
    down = cell.direction == "down"
    return cell.seed, down, -cell.strength if down else cell.strength


def _table(path: Path) -> list[dict[str, float]]:
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        if METRIC_COLUMNS[0] not in (reader.fieldnames or ()):
            raise DataError(f"{path} has no column {METRIC_COLUMNS[0]}; its header must be {','.join(METRIC_COLUMNS)}.")
        try:
            return [{name: float(value) for name, value in row.items()} for row in reader]
        except (TypeError, ValueError):
            raise DataError(f"{path} holds what is no number in line {reader.line_num}; write numbers, or nan.") from None


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
    lines = dict(line.split(": ", 1) for line in path.read_text(encoding="utf-8").splitlines() if ": " in line)
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
    values = np.array([_numbers(line, point.eigenvalues).item() for line in _lines(point.eigenvalues)])
    order = np.argsort(-values, kind="stable")
    if point.eigenvectors is None:
        return values[order], None
    vectors = np.array([_numbers(line, point.eigenvectors) for line in _lines(point.eigenvectors)])
    if vectors.shape != (len(values), parameters):
        wanted = f"{len(values)} lines of {parameters} numbers"
        raise DataError(f"{point.eigenvectors} has the shape {vectors.shape}, not {wanted}: one eigenvector a line.")
    lengths = np.linalg.norm(vectors, axis=1)
    if not (lengths > 0).all():
        raise DataError(f"{point.eigenvectors} holds an eigenvector of length 0; write it again.")
    return values[order], (vectors / lengths[:, None])[order]


def _lines(path: Path) -> list[str]:
    return [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def _numbers(text: str, path: Path) -> Float[np.ndarray, " n"]:
    try:
        return np.array(text.split(","), dtype=np.float64)
    except ValueError:
        raise DataError(f"{path} holds what is no number in '{text.strip()[:40]}'; write comma-separated numbers.") from None
