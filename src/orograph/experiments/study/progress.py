"""What a study shows while it works: steps done, what is in hand, and the time left by the work that each step is."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console

from orograph.experiments.progress import SweepProgress, duration
from orograph.experiments.study.plan import Step


class StudyProgress(SweepProgress):
    """A live display on a terminal, one line a step elsewhere, nothing when quiet."""

    unit = "steps"

    def __init__(self, everything: Sequence[Step], *, quiet: bool, console: Console | None = None) -> None:
        super().__init__(len(everything), 0, quiet=quiet, console=console)
        self._work, self._finished = sum(step.work for step in everything), 0.0

    def passed_over(self, done: Sequence[Step]) -> None:
        """Steps that an earlier process did; known before the display begins."""
        self.done = len(done)
        self._work -= sum(step.work for step in done)
        if self._live:
            self._live.update(self._task, completed=self.done)

    def _left(self) -> str:
        """The time left, by the work that this process has done in its time."""
        if not self._finished:
            return ""
        seconds = (time.monotonic() - self._began) * (self._work - self._finished) / self._finished
        return f"ETA {duration(max(0.0, seconds))}"

    def completed(self, step: Step, status: str, scalars: Mapping[str, Any]) -> None:
        """A step is committed."""
        self._finished += step.work
        self._advance(step.title, summary(step.kind, status, scalars))


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
