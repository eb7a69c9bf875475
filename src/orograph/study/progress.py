"""What is said of a step of a study, in half a line."""

from collections.abc import Mapping
from typing import Any

from orograph.store.lookup import quantity
from orograph.store.wording import Score

# What is told of each kind of step, and how it is written; the registry has the words. Of a training also the first metric.
_SHOWN = {
    "training": {"train_loss": "{:.4f}", "test_loss": "{:.4f}"},
    "minimum": {"lambda_max": "{:.4g}", "trace": "{:.4g}", "loss_increase": "{:.3g}"},
    "pair": {"linear_barrier": "{:.4g}", "bezier_barrier": "{:.4g}", "aligned_barrier": "{:.4g}"},
    "rate": {"chosen": "{:g}"},
    "instability": {"linear_barrier": "{:.4g}"},
    "slice": {"highest_train_loss": "{:.4g}"},
    "plane": {"highest_train_loss": "{:.4g}"},
}


def summary(kind: str, status: str, scalars: Mapping[str, Any], score: Score | None) -> str:
    """One step in half a line."""
    if status == "failed":
        if kind == "training" and "error" not in scalars:
            return f"failed: the loss was not finite in epoch {scalars['failed_epoch']}"
        return f"failed: {scalars['error']}"
    present = {name: text for name, text in _SHOWN[kind].items() if isinstance(scalars.get(name), int | float)}
    told = [f"{quantity(name).heading} {text.format(scalars[name])}" for name, text in present.items()]
    if kind == "training" and score is not None and isinstance(value := scalars.get(name := score.shown(scalars)), int | float):
        told.append(f"{quantity(name).heading} {score.text(value)}")
    return ", ".join(told) or "done"
