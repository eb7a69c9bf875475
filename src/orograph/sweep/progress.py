"""What is said of a point of a sweep, in half a line."""

from collections.abc import Callable, Mapping
from typing import Any

from orograph.store.lookup import quantity
from orograph.store.wording import Score

# What is told of a point, and how it is written; the registry has the words.
_SHOWN: dict[str, Callable[[Any], str]] = {"train_loss": "{:.4f}".format, "test_loss": "{:.4f}".format}


def describe(record: Mapping[str, Any], score: Score | None) -> str:
    """One point in half a line, with the first metric of its run."""
    if record["status"] == "failed":
        return f"failed: {failure(record)}"
    told = dict(_SHOWN)
    if score is not None:
        told[score.shown(record)] = score.text
    told["lambda_first"] = "{:.4g}".format
    found = (f"{quantity(name).heading} {form(record[name])}" for name, form in told.items() if name in record)
    return ", ".join(found) or "done"


def failure(record: Mapping[str, Any]) -> str:
    """Why a point failed."""
    return record.get("error") or f"the loss was not finite in epoch {record.get('failed_epoch', 'unknown')}"
