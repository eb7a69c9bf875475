"""How a module, a loss and data go together: what is averaged over, and whether batches may be joined and cut."""

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from orograph.boundary import said
from orograph.errors import DataError, OrographError, OrographWarning
from orograph.reduction import Loss, Reduction, adds_up, called, name_of, parts_of, reads_whole_batches, reduction_of
from orograph.samples import COPIES, FEW, MANY, Batch, Run, culprit, joined, lined_up, mixes, repeated, spread, throughout
from orograph.structure import replaced, tensors_of

_LEAST = 16 * 2**20  # bytes for what is tried, however small the budget: what is seen shall not depend on it
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


def read(
    model: nn.Module,
    run: Run,
    theta: Tensor,
    loss: Loss,
    batches: Sequence[Batch],
    memory: int,
    everything: Iterable[Batch],
) -> Reading:
    """Tries module and loss on a few real samples, together, apart, and in parts unlike each other; then on all of them.

    Args:
        model: whose modules are named where they mix samples.
        run: `(θ, inputs) →` outputs.
        theta: where.
        loss: as passed.
        batches: as they came.
        memory: in bytes, for what is tried on a whole batch.
        everything: all batches, of which those are the first where they do not fit.

    Raises:
        ConfigurationError: a loss without a gradient.
        DataError: shapes of outputs and targets that do not fit.
    """
    own, memory = list(batches), max(memory, _LEAST)
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
    whole = _mixing(model, run, theta, few) if mixed else ""
    reduction, why = _meaning(run, theta, loss, own, None if mixed else largest, memory)
    seen: tuple[Any, Tensor] | None = None
    if not mixed and (len(largest[1]) > FEW or len(held) > 1 or everything is not batches):
        for part, outputs, alone in throughout(run, theta, held if everything is batches else everything, largest, memory):
            if not alone:
                mixed, whole = True, _mixing(model, run, theta, part)
                reduction, why = _meaning(run, theta, loss, own, None, memory)
                break
            if not why and not _counted_alike(reduction, outputs, part[1], memory):
                seen = _rolled(outputs), part[1]
                reduction, why = _of_batches(loss, *seen)
    whole = whole or why
    if reduction.over != "batches" or len(own) < 2:
        return Reading(reduction, whole, mixed, own if whole else held)
    if not _over_samples(loss, *(seen or _tried(run, theta, own[0] if mixed else spread(largest, MANY)))):
        warnings.warn(
            f"the loss {name_of(loss)} of a batch is no mean over its samples, and over {len(own)} batches each weighs as many "
            "as it has samples; give one batch, or a loss with the arguments `reduction` and `ignore_index`, as torch's have.",
            OrographWarning,
            stacklevel=2,
        )
    return Reading(reduction, whole, mixed, own if whole else held)


def _tried(run: Run, theta: Tensor, batch: Batch) -> tuple[Any, Tensor]:
    """Outputs of a batch, each beside the next one's target: at a minimum the losses vanish, and only rounding is left."""
    with torch.no_grad():
        outputs = run(theta, batch[0])
    return _rolled(outputs), batch[1]


def _rolled(outputs: Any) -> Any:
    return replaced(outputs, lambda leaf: leaf.roll(1, 0) if leaf.ndim else leaf)


def _meaning(run: Run, theta: Tensor, loss: Loss, own: list[Batch], largest: Batch | None, memory: int) -> tuple[Reduction, str]:
    """What a loss is averaged over, and why its batches stay whole if they do; without a largest batch the module mixes them."""
    outputs, targets = _tried(run, theta, own[0] if largest is None else spread(largest, MANY))
    own_largest = max((targets for _, targets in own), key=len)
    repeats = None if largest is None else repeated(outputs, own_largest, len(targets), memory)
    reduction = reduction_of(loss, outputs, targets, repeats)
    if reduction.values is None:
        return reduction, "this loss gives only a mean"
    if any(reads_whole_batches(reduction, *tried) for tried in [(outputs, targets), repeats] if tried is not None):
        return _of_batches(loss, outputs, targets)
    return reduction, ""


def _of_batches(loss: Loss, outputs: Any, targets: Tensor) -> tuple[Reduction, str]:
    kind = Reduction("sum" if adds_up(loss, outputs, targets) else "batches", loss)
    return kind, f"the loss {name_of(loss)} reads a batch as a whole"


def _counted_alike(reduction: Reduction, outputs: Any, targets: Tensor, memory: int) -> bool:
    """Whether a loss counts all of these samples as it does the few: its value is that of its samples, and theirs are their own.

    One target among many may be left out of the mean.
    """
    count = len(targets)
    rows = sum(leaf.nbytes // count for leaf in tensors_of(outputs) if leaf.ndim and len(leaf) == count)
    length = max(MANY, memory // (COPIES * max(1, rows)))
    with torch.no_grad():
        for start in range(0, count, length):
            try:
                alike = _alike(reduction, *_cut(_rolled(outputs), targets, slice(start, start + length)))
            except torch.OutOfMemoryError:
                raise
            except Exception:  # said where it is computed
                continue
            if not alike:
                return False
    return True


def _alike(reduction: Reduction, outputs: Any, targets: Tensor) -> bool:
    count = len(targets)
    each = reduction.numerators(outputs, targets).double()
    parts = [slice(0, (count + 1) // 2), slice((count + 1) // 2, count)] if count > 1 else [slice(0, count)]
    apart = torch.cat([reduction.numerators(*_cut(outputs, targets, part)).double() for part in parts])
    value = called(reduction.loss, outputs, targets).double()
    over = 1.0 if reduction.over == "sum" else reduction.weights(targets).sum()
    value, expected = value.mean() if value.ndim else value, each.sum() / over
    if not value.isfinite() or not each.isfinite().all():  # as the mean over no target
        return bool(value.isfinite() == expected.isfinite())
    # Samples of either sign may cancel: what is rounded is their size.
    size = each.abs().sum() / over
    return bool((each - apart).abs().sum() / over <= _HALF * size) and bool((value - expected).abs() <= _HALF * size)


def _cut(outputs: Any, targets: Tensor, part: slice) -> tuple[Any, Tensor]:
    count = len(targets)
    return replaced(outputs, lambda leaf: leaf[part] if leaf.ndim and len(leaf) == count else leaf), targets[part]


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
