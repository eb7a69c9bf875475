"""What is said of a point of a sweep, in half a line."""

from collections.abc import Mapping
from typing import Any

from orograph.store.lookup import quantity

# What is told of a point, and how it is written; the registry has the words.
_SHOWN = {"train_loss": "{:.4f}", "test_loss": "{:.4f}", "test_accuracy": "{:.2f} %", "lambda_first": "{:.4g}"}


def describe(record: Mapping[str, Any]) -> str:
    """One point in half a line."""
    if record["status"] == "failed":
        return f"failed: {failure(record)}"
    told = (f"{quantity(name).heading} {form.format(record[name])}" for name, form in _SHOWN.items() if name in record)
    return ", ".join(told) or "done"


def failure(record: Mapping[str, Any]) -> str:
    """Why a point failed."""
    return record.get("error") or f"the loss was not finite in epoch {record.get('failed_epoch', 'unknown')}"
