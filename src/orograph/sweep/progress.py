"""What is said of a point of a sweep, in half a line."""

from collections.abc import Mapping
from typing import Any

_SHOWN = {
    "train_loss": "train {:.4f}",
    "test_loss": "test {:.4f}",
    "test_accuracy": "accuracy {:.2f} %",
    "lambda_first": "λ₁ {:.4g}",
}


def describe(record: Mapping[str, Any]) -> str:
    """One point in half a line."""
    if record["status"] == "failed":
        return f"failed: {failure(record)}"
    return ", ".join(form.format(record[name]) for name, form in _SHOWN.items() if name in record) or "done"


def failure(record: Mapping[str, Any]) -> str:
    """Why a point failed."""
    return record.get("error") or f"the loss was not finite in epoch {record.get('failed_epoch', 'unknown')}"
