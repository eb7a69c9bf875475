"""The published tables of a sweep, rebuilt from the records whenever one is added: `Model-{ID}.csv` and its split accuracies.

A failed point keeps its row, with `nan` for what could not be measured.
"""

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence

from orograph.store.cells import Cell
from orograph.store.records import Record

METRIC_COLUMNS = ("L2_strength", "Train_Loss", "Train_Reg_Loss", "Test_Loss", "Test_Accuracy")
_LOSSES = ("train_loss", "objective", "test_loss")


def subject(cell: Cell) -> tuple[str, str]:
    """What a table is about: a configuration, empty in a sweep, and a model ID."""
    return cell.configuration, cell.model_id


def files(records: Mapping[Cell, Record], classes: Sequence[str], about: tuple[str, str]) -> dict[str, bytes]:
    """The tables of one subject by their names."""
    chosen = [record for cell, record in records.items() if subject(cell) == about]
    if not chosen:
        return {}
    configuration, model_id = about
    stem = f"{configuration}/Model-{model_id}" if configuration else f"Model-{model_id}"
    content = {f"{stem}.csv": metrics_bytes(chosen)}
    if any("class_accuracy" in record.scalars for record in chosen):
        content[f"{stem}_split_accuracy.csv"] = split_accuracy_bytes(chosen, classes)
    return content


def metrics_bytes(records: Iterable[Record]) -> bytes:
    """One row a point in ladder order: losses with nine decimals, accuracy in percent."""
    return _table(METRIC_COLUMNS, (_metrics(record) for record in _in_ladder_order(records)))


def split_accuracy_bytes(records: Iterable[Record], classes: Sequence[str]) -> bytes:
    """The same columns, and then the accuracy of each class in percent."""
    columns = (*METRIC_COLUMNS, *(f"Accuracy_{name}" for name in classes))
    missing = [math.nan] * len(classes)

    def by_class(record: Record) -> list[float]:
        found = record.scalars.get("class_accuracy")
        return found if isinstance(found, list) else missing  # a whole list may be null

    rows = ([*_metrics(record), *(f"{value:.4f}" for value in by_class(record))] for record in _in_ladder_order(records))
    return _table(columns, rows)


def _in_ladder_order(records: Iterable[Record]) -> list[Record]:
    found = list(records)
    return sorted(found, key=lambda record: record.cell.strength, reverse=bool(found) and found[0].cell.direction == "down")


def _metrics(record: Record) -> list[str]:
    losses = [f"{record.scalars.get(name, math.nan):.9f}" for name in _LOSSES]
    return [repr(record.cell.strength), *losses, f"{record.scalars.get('test_accuracy', math.nan):.4f}"]


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue().encode()
