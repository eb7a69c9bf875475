"""A tracker as a callback of Lightning and of transformers' Trainer: each loop counts its steps itself and says so by `number`.

trainer = lightning.Trainer(callbacks=[lightning_callback(tracker, of=lambda module: module.net)])
trainer = transformers.Trainer(..., callbacks=[transformers_callback(tracker)])
"""

from collections.abc import Callable
from typing import Any

from torch import nn

import orograph as og


def lightning_callback(tracker: og.Tracker, of: Callable[[Any], nn.Module] = lambda module: module) -> Any:
    """`of` gives the problem's network where the LightningModule holds it as a part."""
    from lightning.pytorch import Callback

    class Tracked(Callback):  # type: ignore[misc, unused-ignore]
        def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
            loss = outputs["loss"] if isinstance(outputs, dict) else outputs
            tracker.step(of(pl_module), trainer.optimizers[0], loss, number=trainer.global_step)

    return Tracked()


def transformers_callback(tracker: og.Tracker) -> Any:
    """The Trainer hands over its model and its optimiser after each step."""
    from transformers import TrainerCallback

    class Tracked(TrainerCallback):  # type: ignore[misc, unused-ignore]
        def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, optimizer: Any = None, **_: Any) -> None:
            tracker.step(model, optimizer, number=state.global_step)

    return Tracked()
