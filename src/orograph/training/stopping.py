"""When a training drops its learning rate and when it ends: a small state machine over the values of the epochs.

The value watched is the caller's choice (the objective; the running loss in the published procedure). An epoch improves when
its value is below the best so far, the start's included. After `patience` epochs without improvement the learning rate drops, and
when no drop is left the training ends.
"""

import math
from dataclasses import dataclass
from enum import Enum, auto


class Outcome(Enum):
    """What follows from an epoch's value."""

    IMPROVED = auto()
    WORSE = auto()
    DROP = auto()


@dataclass
class Stopping:
    """The state after some epochs; the start counts only when `start` is called.

    Attributes:
        best, best_epoch: the smallest value so far and its epoch; epoch 0 is the start.
        epoch: epochs seen.
        dropped: drops so far.
        stopped: why the training ended, `"patience"`, `"epochs"` or `"failed"` (a value that is not finite); None before.
    """

    epochs: int
    patience: int
    drops: int
    best: float = math.inf
    best_epoch: int = 0
    epoch: int = 0
    dropped: int = 0
    stopped: str | None = None
    _waited: int = 0

    def start(self, value: float) -> None:
        """Takes in the value of the start, which counts as the best so far."""
        self.best = value
        if not math.isfinite(value):
            self.stopped = "failed"

    def observe(self, value: float) -> Outcome:
        """Takes in the value of the next epoch; `stopped` says afterwards whether it was the last."""
        self.epoch += 1
        if not math.isfinite(value):
            self.stopped = "failed"
            return Outcome.WORSE
        improved = value < self.best
        if improved:
            self.best, self.best_epoch, self._waited = value, self.epoch, 0
        else:
            self._waited += 1
        if self.epoch >= self.epochs:
            self.stopped = "epochs"
        elif self._waited >= self.patience:
            if self.dropped < self.drops:
                self.dropped += 1
                self._waited = 0
                return Outcome.DROP
            self.stopped = "patience"
        return Outcome.IMPROVED if improved else Outcome.WORSE
