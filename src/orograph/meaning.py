"""How a module, a loss and data go together: what is averaged over, and whether batches may be joined and cut."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from orograph.reduction import Loss, Reduction, adds_up, name_of, reads_whole_batches, reduction_of
from orograph.samples import FEW, MANY, Batch, Run, culprit, joined, mixes, spread
from orograph.structure import replaced


@dataclass(frozen=True, eq=False)
class Reading:
    """What was found.

    Attributes:
        reduction: of the loss.
        whole: why batches stay as they came, in words; empty where they may be joined and cut.
        batches: one where all could be joined; several of different shapes, or the user's own, where not.
    """

    reduction: Reduction
    whole: str
    batches: list[Batch]


def read(model: nn.Module, run: Run, theta: Tensor, loss: Loss, batches: Sequence[Batch]) -> Reading:
    """Tries the loss on a few real samples, together, apart, and in parts unlike each other.

    Args:
        model: whose modules are named where they mix samples.
        run: `(θ, inputs) →` outputs.
        theta: where.
        loss: as passed.
        batches: as they came.

    Raises:
        ConfigurationError: a loss without a gradient.
        DataError: shapes of outputs and targets that do not fit.
    """
    own = list(batches)
    held = joined(own)
    largest = max(held, key=lambda batch: len(batch[1]))
    few = spread(largest, FEW)
    try:
        mixed = mixes(run, theta, few)
    except Exception:
        run(theta, own[0][0])  # what the module cannot do on the user's own batch either is their error, not that of cutting
        if few is own[0]:
            raise
        mixed = True
    whole = _mixing(model, run, theta, few) if mixed else ""
    inputs, targets = own[0] if mixed else spread(largest, MANY)
    with torch.no_grad():
        outputs = run(theta, inputs)
    # Beside the next one's target: at a minimum the losses vanish, and only rounding is left to be compared.
    outputs = replaced(outputs, lambda leaf: leaf.roll(1, 0) if leaf.ndim else leaf)
    reduction = reduction_of(loss, outputs, targets)
    if reduction.values is None:
        whole = whole or "this loss gives only a mean"
    elif reads_whole_batches(reduction, outputs, targets):
        reduction = Reduction("sum" if adds_up(loss, outputs, targets) else "batches", loss)
        whole = whole or f"the loss {name_of(loss)} reads a batch as a whole"
    return Reading(reduction, whole, own if whole else held)


def _mixing(model: nn.Module, run: Run, theta: Tensor, batch: Batch) -> str:
    def evaluate(inputs: Any) -> Any:
        return run(theta, inputs)

    try:
        name = culprit(model, evaluate, batch)
    except Exception:
        name = ""
    advice = "a BatchNorm needs track_running_stats=True, a recurrent layer batch_first=True"
    return f"'{name or 'the model'}' mixes the samples of a batch ({advice})"
