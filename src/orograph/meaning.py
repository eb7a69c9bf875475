"""How a module, a loss and data go together: what is averaged over, and whether batches may be joined and cut."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from orograph.boundary import said
from orograph.errors import DataError, OrographError, OrographWarning
from orograph.reduction import Loss, Reduction, adds_up, called, name_of, parts_of, reads_whole_batches, reduction_of
from orograph.samples import FEW, MANY, Batch, Run, culprit, joined, lined_up, mixes, mixes_many, repeated, spread
from orograph.structure import replaced, tensors_of

_HALF = torch.finfo(torch.float32).eps ** 0.5  # half of the digits


@dataclass(frozen=True, eq=False)
class Reading:
    """What was found.

    Attributes:
        reduction: of the loss.
        whole: why batches stay as they came, in words; empty where they may be joined and cut.
        mixed: whether the module is why.
        batches: one where all could be joined; several of different shapes, or the user's own, where not.
    """

    reduction: Reduction
    whole: str
    mixed: bool
    batches: list[Batch]


def read(model: nn.Module, run: Run, theta: Tensor, loss: Loss, batches: Sequence[Batch], memory: int) -> Reading:
    """Tries the loss on a few real samples, together, apart, and in parts unlike each other.

    Args:
        model: whose modules are named where they mix samples.
        run: `(θ, inputs) →` outputs.
        theta: where.
        loss: as passed.
        batches: as they came.
        memory: in bytes, for what is tried on a whole batch.

    Raises:
        ConfigurationError: a loss without a gradient.
        DataError: shapes of outputs and targets that do not fit.
    """
    own = list(batches)
    if not all(map(lined_up, own)):
        return _unlike(run, theta, loss, own)
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
    if not mixed and len(largest[1]) > FEW and (many := mixes_many(run, theta, largest, memory)) is not None:
        mixed, few = True, many
    whole = _mixing(model, run, theta, few) if mixed else ""
    inputs, targets = own[0] if mixed else spread(largest, MANY)
    with torch.no_grad():
        outputs = run(theta, inputs)
    # Beside the next one's target: at a minimum the losses vanish, and only rounding is left to be compared.
    outputs = replaced(outputs, lambda leaf: leaf.roll(1, 0) if leaf.ndim else leaf)
    own_largest = max((targets for _, targets in own), key=len)
    repeats = None if mixed else repeated(outputs, own_largest, len(targets), memory)
    reduction = reduction_of(loss, outputs, targets, repeats)
    if reduction.values is None:
        whole = whole or "this loss gives only a mean"
    elif any(reads_whole_batches(reduction, *tried) for tried in [(outputs, targets), repeats] if tried is not None):
        reduction = Reduction("sum" if adds_up(loss, outputs, targets) else "batches", loss)
        whole = whole or f"the loss {name_of(loss)} reads a batch as a whole"
    if reduction.over == "batches" and len(own) > 1 and not _over_samples(loss, outputs, targets):
        warnings.warn(
            f"the loss {name_of(loss)} of a batch is no mean over its samples, and over {len(own)} batches each weighs as many "
            "as it has samples; give one batch, or a loss with the arguments `reduction` and `ignore_index`, as torch's have.",
            OrographWarning,
            stacklevel=2,
        )
    return Reading(reduction, whole, mixed, own if whole else held)


def _over_samples(loss: Loss, outputs: Any, targets: Tensor) -> bool:
    """Whether the loss of a batch is the mean of the losses of two parts unlike each other, each weighing as many as it has."""
    with torch.no_grad():
        try:
            whole, *halves = (called(loss, some, part).double().mean() * len(part) for some, part in parts_of(outputs, targets))
        except Exception:  # it knows how long its batches are
            return True
    if not halves:
        return True
    return bool((whole - torch.stack(halves).sum()).abs() <= _HALF * whole.abs())


def _unlike(run: Run, theta: Tensor, loss: Loss, own: list[Batch]) -> Reading:
    """Of batches with inputs that cannot be cut as their targets are."""
    inputs, targets = own[0]
    with torch.no_grad():
        outputs = run(theta, inputs)
    lengths = " and ".join(map(str, sorted({len(leaf) for leaf in tensors_of(inputs) if leaf.ndim} | {len(targets)})))
    try:
        reduction = reduction_of(loss, outputs, targets)
    except OrographError:
        raise
    except Exception as error:
        raise DataError(
            f"inputs and targets of a batch have different lengths ({lengths}), and the loss raises {said(error)}."
        ) from error
    if reduction.values is not None and reads_whole_batches(reduction, outputs, targets):
        reduction = Reduction("sum" if adds_up(loss, outputs, targets) else "batches", loss)
    return Reading(reduction, f"inputs and targets of a batch have different lengths ({lengths})", True, own)


def _mixing(model: nn.Module, run: Run, theta: Tensor, batch: Batch) -> str:
    def evaluate(inputs: Any) -> Any:
        return run(theta, inputs)

    try:
        name = culprit(model, evaluate, batch)
    except Exception:
        name = ""
    advice = "a BatchNorm needs track_running_stats=True, a recurrent layer batch_first=True"
    return f"'{name or 'the model'}' mixes the samples of a batch ({advice})"
