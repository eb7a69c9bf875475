"""What is said of a step of a study, in half a line."""

from collections.abc import Mapping
from typing import Any

_SHOWN = {
    "training": {"train_loss": "train {:.4f}", "test_loss": "test {:.4f}", "test_accuracy": "accuracy {:.2f} %"},
    "minimum": {"lambda_max": "λ_max {:.4g}", "trace": "trace {:.4g}", "loss_increase": "loss increase {:.3g}"},
    "pair": {
        "linear_barrier": "barrier {:.4g} on the line",
        "bezier_barrier": "{:.4g} on the Bézier curve",
        "aligned_barrier": "{:.4g} after alignment",
    },
    "rate": {"chosen": "learning rate {:g}"},
    "instability": {"linear_barrier": "barrier {:.4g}"},
    "slice": {"highest_train_loss": "loss up to {:.4g}"},
    "plane": {"highest_train_loss": "loss up to {:.4g}"},
}


def summary(kind: str, status: str, scalars: Mapping[str, Any]) -> str:
    """One step in half a line."""
    if status == "failed":
        if kind == "training" and "error" not in scalars:
            return f"failed: the loss was not finite in epoch {scalars['failed_epoch']}"
        return f"failed: {scalars['error']}"
    present = {name: text for name, text in _SHOWN[kind].items() if isinstance(scalars.get(name), int | float)}
    return ", ".join(text.format(scalars[name]) for name, text in present.items()) or "done"
