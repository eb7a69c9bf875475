"""Refuses what has no Hessian: a model or data that do not give the same loss twice.

Dropout and BatchNorm stand still in eval mode; noise that a module draws by itself does not, and neither does a shuffling or
augmenting loader. A module that mixes the samples of a batch (BatchNorm without running statistics) gives a loss that depends
on the chunks. All are looked for once, and named.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from orograph.errors import ConfigurationError, DataError
from orograph.objective import Batch, Objective, gather

_SAMPLES = 32
_Call = tuple[str, list[Tensor], list[Tensor]]  # name of the module, its inputs, its output


def check_model(objective: Objective) -> None:
    """Evaluates a few samples twice in eval mode, and half of them alone.

    Raises:
        ConfigurationError: an output moved; names the innermost module that gave two outputs for one input.
    """
    inputs, targets = next(objective.batches(min(_SAMPLES, objective.count)))
    count = len(targets)
    half = (count + 1) // 2
    devices = [objective.device] if objective.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices), torch.no_grad():
        first, second = (_record(objective, inputs) for _ in range(2))
        alone = _record(objective, tree_map(lambda leaf: leaf[:half], inputs)) if objective.per_sample else []
    if not _equal(first[-1][2], second[-1][2]):
        raise ConfigurationError(
            f"the model gives two outputs for the same input in eval mode: '{_culprit(first, second)}' is random; "
            "make it deterministic in eval mode, or replace it with its mean."
        )
    together = [(name, _first(given, count, half), _first(result, count, half)) for name, given, result in first]
    if alone and not _equal(together[-1][2], alone[-1][2]):
        raise ConfigurationError(
            f"the output for a sample depends on the samples beside it: '{_culprit(together, alone)}' mixes them in eval mode; "
            "a BatchNorm needs track_running_stats=True."
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


def _record(objective: Objective, inputs: Any) -> list[_Call]:
    """Name, inputs and output of every module call, innermost first."""
    calls: list[_Call] = []
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


def _culprit(first: list[_Call], second: list[_Call]) -> str:
    """The innermost module with equal inputs and unequal outputs."""
    for (name, given, result), (_, again, other) in zip(first, second, strict=False):
        if _equal(given, again) and not _equal(result, other):
            return name
    return first[-1][0]


def _first(tensors: Sequence[Tensor], count: int, half: int) -> list[Tensor]:
    """The part that belongs to the first samples."""
    return [tensor[: len(tensor) * half // count] if tensor.ndim and len(tensor) % count == 0 else tensor for tensor in tensors]


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf.detach().clone() for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def _equal(first: Sequence[Tensor], second: Sequence[Tensor]) -> bool:
    if [a.shape for a in first] != [b.shape for b in second]:
        return False
    for a, b in zip(first, second, strict=True):
        # Half of the digits: far above what atomic additions or another GEMM kernel move, far below dropout.
        tolerance = torch.finfo(a.dtype).eps ** 0.5 if a.is_floating_point() else 0.0
        a, b = a.double().nan_to_num(), b.double().nan_to_num()
        if a.numel() and not (a - b).abs().max() <= tolerance * a.abs().max():
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
