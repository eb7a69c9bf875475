"""What is said of a point of a sweep, in half a line."""

from collections.abc import Mapping
from typing import Any


def describe(record: Mapping[str, Any]) -> str:
    """One point in half a line."""
    if record["status"] == "failed":
        return f"failed: {failure(record)}"
    text = f"train {record['train_loss']:.4f}, test {record['test_loss']:.4f}, accuracy {record['test_accuracy']:.2f} %"
    return text + (f", λ₁ {record['lambda_first']:.4g}" if "lambda_first" in record else "")


def failure(record: Mapping[str, Any]) -> str:
    """Why a point failed."""
    return record.get("error") or f"the loss was not finite in epoch {record['failed_epoch']}"
