"""Refuses what has no Hessian: a model or data that do not give the same loss twice.

Dropout and BatchNorm stand still in eval mode; noise that a module draws by itself does not, and neither does a shuffling or
augmenting loader. Both are looked for once, and named.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from orograph.errors import ConfigurationError, DataError
from orograph.objective import Batch, Objective, gather

_SAMPLES = 32
_TOLERANCE = 1e-5  # far above what atomic additions on a GPU move, far below dropout


def check_model(objective: Objective) -> None:
    """Evaluates a few samples twice in eval mode.

    Raises:
        ConfigurationError: an output moved; names the innermost module that gave two outputs for one input.
    """
    inputs, _ = next(objective.batches(min(_SAMPLES, objective.count)))
    devices = [objective.device] if objective.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices), torch.no_grad():
        first, second = (_record(objective, inputs) for _ in range(2))
    if _equal(first[-1][2], second[-1][2]):
        return
    culprit = next(
        (a[0] for a, b in zip(first, second, strict=False) if _equal(a[1], b[1]) and not _equal(a[2], b[2])),
        type(objective.model).__name__,
    )
    raise ConfigurationError(
        f"the model gives two outputs for the same input in eval mode: '{culprit}' is random; "
        "make it deterministic in eval mode, or replace it with its mean."
    )


def check_data(data: Iterable[Any], objective: Objective) -> None:
    """Iterates the data again and compares them with what the objective holds.

    Raises:
        DataError: another length, order or content.
    """
    if isinstance(data, list | tuple):  # what it holds cannot move
        return
    held = list(objective.batches(objective.count))
    again = gather(data, device=objective.device, dtype=objective.dtype)
    if sum(len(targets) for _, targets in again) != objective.count:
        raise DataError(f"the data have {objective.count} samples the first time and another number the second.")
    first, second = _columns(held), _columns(again)
    if all(torch.equal(a, b) for a, b in zip(first, second, strict=True)):
        return
    if torch.allclose(_fingerprints(first).sort().values, _fingerprints(second).sort().values, rtol=1e-12):
        raise DataError("the data come in another order the second time; pass a loader with shuffle=False.")
    raise DataError("the data have another content the second time; switch off random augmentation.")


def _record(objective: Objective, inputs: Any) -> list[tuple[str, Any, Any]]:
    """Name, inputs and output of every module call, innermost first."""
    calls: list[tuple[str, Any, Any]] = []
    names = {module: f"{name or 'model'} ({type(module).__name__})" for name, module in objective.model.named_modules()}

    def hook(module: nn.Module, arguments: Any, output: Any) -> None:
        calls.append((names[module], _tensors(arguments), _tensors(output)))

    handles = [module.register_forward_hook(hook) for module in names]
    try:
        output = objective.outputs(objective.theta, inputs)
    finally:
        for handle in handles:
            handle.remove()
    return [*calls, (names[objective.model], _tensors(inputs), _tensors(output))]


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf.detach().clone() for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def _equal(first: Sequence[Tensor], second: Sequence[Tensor]) -> bool:
    if [a.shape for a in first] != [b.shape for b in second]:
        return False
    for a, b in zip(first, second, strict=True):
        a, b = a.double(), b.double()
        if a.numel() and not (a - b).nan_to_num().abs().max() <= _TOLERANCE * a.nan_to_num().abs().max():
            return False
    return True


def _columns(batches: list[Batch]) -> list[Tensor]:
    """Every tensor leaf of inputs and targets, all samples in one."""
    leaves = [[leaf for leaf in tree_leaves(batch) if isinstance(leaf, Tensor)] for batch in batches]
    return [torch.cat(column) for column in zip(*leaves, strict=True)]


def _fingerprints(columns: list[Tensor]) -> Tensor:
    """One number a sample, which does not depend on its place."""
    total = torch.zeros(len(columns[0]), dtype=torch.float64, device=columns[0].device)
    for scale, column in enumerate(columns, start=1):
        flat = column.reshape(len(column), -1).double()
        weights = torch.arange(1, flat.shape[1] + 1, dtype=torch.float64, device=flat.device).sqrt()
        total += scale * (flat @ weights)
    return total
