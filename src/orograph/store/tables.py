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


def files(
    records: Mapping[Cell, Record], classes: Sequence[str], about: tuple[str, str], metrics: Sequence[str] = ("accuracy",)
) -> dict[str, bytes]:
    """The tables of one subject by their names."""
    chosen = [record for cell, record in records.items() if subject(cell) == about]
    if not chosen:
        return {}
    configuration, model_id = about
    stem = f"{configuration}/Model-{model_id}" if configuration else f"Model-{model_id}"
    content = {f"{stem}.csv": metrics_bytes(chosen, metrics)}
    for name in metrics:
        kinds = [kind for kind in ("class", "group") if any(_list_of(record, f"{kind}_{name}") for record in chosen)]
        for kind in kinds:
            content[f"{stem}_split_{name}.csv"] = split_bytes(chosen, classes, metrics, name, kind)
    return content


def metrics_bytes(records: Iterable[Record], metrics: Sequence[str] = ("accuracy",)) -> bytes:
    """One row a point in ladder order: losses with nine decimals, metrics on the test data with four, accuracy in percent."""
    found = _in_ladder_order(records)
    shown = [name for name in metrics if not any(isinstance(each.scalars.get(f"test_{name}"), list) for each in found)]
    return _table(_columns(shown), (_metrics(record, shown) for record in found))


def split_bytes(records: Iterable[Record], classes: Sequence[str], metrics: Sequence[str], name: str, kind: str) -> bytes:
    """The same columns, and then a metric in each class, accuracy in percent."""
    found = _in_ladder_order(records)
    shown = [each for each in metrics if not any(isinstance(one.scalars.get(f"test_{each}"), list) for one in found)]
    columns = (*_columns(shown), *(f"{name.capitalize()}_{each}" for each in classes))
    missing = [math.nan] * len(classes)

    def by_class(record: Record) -> list[float]:
        found = record.scalars.get(f"{kind}_{name}")
        return found if isinstance(found, list) else missing  # a whole list may be null

    rows = ([*_metrics(record, shown), *(f"{value:.4f}" for value in by_class(record))] for record in found)
    return _table(columns, rows)


def _list_of(record: Record, name: str) -> bool:
    """Whether a record has one number for each group."""
    found = record.scalars.get(name)
    return isinstance(found, list) and all(isinstance(each, float | int) for each in found)


def _columns(metrics: Sequence[str]) -> tuple[str, ...]:
    return (*METRIC_COLUMNS[:-1], *(f"Test_{name.capitalize()}" for name in metrics))


def _in_ladder_order(records: Iterable[Record]) -> list[Record]:
    found = list(records)
    return sorted(found, key=lambda record: record.cell.strength, reverse=bool(found) and found[0].cell.direction == "down")


def _metrics(record: Record, metrics: Sequence[str]) -> list[str]:
    losses = [f"{record.scalars.get(name, math.nan):.9f}" for name in _LOSSES]
    return [repr(record.cell.strength), *losses, *(f"{record.scalars.get(f'test_{name}', math.nan):.4f}" for name in metrics)]


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue().encode()
