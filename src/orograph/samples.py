"""Which batches may be joined and cut: those of which a sample's loss is the same whatever stands beside it.

A loss over N samples is computed in chunks of any length, with samples of several batches side by side. That is right only where
neither the module nor the loss reads a batch as a whole, and where samples are the first dimension. So a few real samples are
evaluated together and in two halves: losses and gradient have to be the same. (Both halves: a causal network that takes the first
dimension for time passes with the first one alone.) They are cut once more beside the middle: there no group of neighbours ends
whose size divides the half. Then all of the data are gone through once, together and in short pieces, for a single sample may be
what makes a module look at the others (clipped by the largest, padded to the longest). Where anything differs, batches stay as
they came.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map, tree_structure

from orograph.errors import DataError
from orograph.memory import chunk_length
from orograph.structure import replaced, tensors_of

Batch = tuple[Any, Tensor]
Call = tuple[str, list[Tensor], list[Tensor]]  # name of the module, its inputs, its output
Run = Callable[[Tensor, Any], Any]  # (θ, inputs) → outputs

FEW = 8  # samples evaluated together and apart
MANY = 32  # samples on which a loss is tried
_PIECE, _PIECES = 32, 128  # samples evaluated by themselves, few as in the shortest chunks; but not more pieces of a part
COPIES = 16  # of outputs that a loss, its gradient and their parts hold at a time


def joined(batches: Sequence[Batch]) -> list[Batch]:
    """One batch of all samples where they can stand side by side, else the batches as they came."""
    if len(batches) < 2 or not all(map(lined_up, batches)) or any(_shapes(batch) != _shapes(batches[0]) for batch in batches):
        return list(batches)
    leaves = tree_map(lambda *parts: torch.cat(parts) if _has_samples(parts[0]) else parts[0], *(x for x, _ in batches))
    return [(leaves, torch.cat([targets for _, targets in batches]))]


def cut(batches: Iterable[Batch], length: int) -> Iterator[Batch]:
    """All samples in order, so many together: batches are joined and cut, those of different shapes apart."""
    waiting: list[Batch] = []
    for batch in batches:
        if waiting and _shapes(waiting[0]) != _shapes(batch):
            yield from joined(waiting)
            waiting = []
        waiting.append(batch)
        held = sum(len(targets) for _, targets in waiting)
        if held < length:
            continue
        waiting = joined(waiting)  # the batches are not held while what is made of them is worked on
        for start in range(0, held - length + 1, length):
            yield take(waiting[0], slice(start, start + length))
        rest = held % length
        waiting = [tree_map(_own, take(waiting[0], slice(held - rest, None)))] if rest else []
        del batch
    yield from joined(waiting)


def _own(leaf: Any) -> Any:
    """A copy, which does not keep what it is a part of."""
    return leaf.clone() if isinstance(leaf, Tensor) else leaf


def lined_up(batch: Batch) -> bool:
    """Whether samples are the first dimension of all inputs: edges of a graph are not, nor what has time first."""
    return all(len(leaf) == len(batch[1]) for leaf in tree_leaves(batch[0]) if _has_samples(leaf))


def stacked(parts: Sequence[Tensor], what: str) -> Tensor:
    """Tensors of several batches as one.

    Raises:
        DataError: their shapes differ beyond the first dimension.
    """
    shapes = list(dict.fromkeys(tuple(part.shape) for part in parts))
    if len({shape[1:] for shape in shapes}) > 1:
        raise DataError(
            f"the batches have {what} of different shapes, {shapes[0]} and {shapes[1]}, so that one tensor cannot hold them; pad "
            "all to one length."
        )
    return torch.cat(list(parts))


def take(batch: Batch, part: slice | Tensor) -> Batch:
    """Some samples of a batch."""
    return part_of(batch[0], part), batch[1][part]


def part_of(inputs: Any, part: slice | Tensor) -> Any:
    """The inputs of some samples; flags, names and numbers belong to all."""
    return tree_map(lambda leaf: leaf[part] if _has_samples(leaf) else leaf, inputs)


def _has_samples(leaf: Any) -> bool:
    return isinstance(leaf, Tensor) and leaf.ndim > 0


def chosen(batches: Sequence[Batch], samples: Tensor) -> list[Batch]:
    """Samples by their places among all, in the order asked for: a batch for each run of samples of one batch."""
    if len(batches) == 1:
        return [take(batches[0], samples.to(batches[0][1].device))]
    ends = torch.tensor([len(targets) for _, targets in batches]).cumsum(0)
    places = samples.cpu()
    owners = torch.searchsorted(ends, places, right=True)
    runs = torch.unique_consecutive(owners, return_counts=True)[1].tolist()
    found = []
    for run, owner in zip(places.split(runs), owners.split(runs), strict=True):
        inputs, targets = batches[int(owner[0])]
        found.append(take((inputs, targets), (run - ends[owner[0]] + len(targets)).to(targets.device)))
    return found


def spread(batch: Batch, count: int) -> Batch:
    """So many samples at most, from the first to the last, in order."""
    whole = len(batch[1])
    if whole <= count:
        return batch
    return take(batch, torch.linspace(0, whole - 1, count, device=batch[1].device).round().long())


def repeated(outputs: Any, targets: Tensor, count: int, memory: int) -> tuple[Any, Tensor] | None:
    """Outputs of a few samples over and over, for as many targets as there are and the memory allows.

    Args:
        outputs: of `count` samples.
        targets: of a whole batch.
        count: of samples that were evaluated.
        memory: in bytes.

    Returns:
        Outputs and targets; None where they are no more than those of the few.
    """
    rows = sum(leaf.nbytes // count for leaf in tensors_of(outputs) if leaf.ndim and len(leaf) == count)
    length = min(len(targets), memory // max(1, COPIES * rows))
    if length <= count:
        return None
    order = torch.arange(length, device=targets.device) % count
    return replaced(outputs, lambda x: x[order] if x.ndim and len(x) == count else x), spread((None, targets), length)[1]


def mixes(run: Run, theta: Tensor, batch: Batch) -> bool:
    """Whether the outputs for a batch's samples, or their gradient by θ, change when half of the samples are evaluated alone.

    The gradient is that of outputs weighted at random: that of the losses may vanish at a minimum, and rounding remains.
    """
    count = len(batch[1])
    half = (count + 1) // 2
    together, slope = _pulled(run, theta, batch, slice(None))
    if half == count:  # one sample
        return False
    if any(not leaf.ndim or len(leaf) % count for leaf in together):
        return True
    try:
        parts = [_pulled(run, theta, batch, part) for part in (slice(0, half), slice(half, None))]
    except Exception:  # a graph of another size than its nodes: it cannot be cut
        return True
    (first, one), (second, two) = parts
    return not alike(together, first, second) or not equal([slope], [one + two]) or _groups(run, theta, batch, together, half)


def alike(together: Sequence[Tensor], *parts: Sequence[Tensor]) -> bool:
    """Whether parts, one after the other, are what was made of all together."""
    if any([leaf.shape[1:] for leaf in part] != [leaf.shape[1:] for leaf in parts[0]] for part in parts):  # padded to the longest
        return False
    return equal(together, [torch.cat(each) for each in zip(*parts, strict=True)])


def _groups(run: Run, theta: Tensor, batch: Batch, together: Sequence[Tensor], half: int) -> bool:
    """Whether outputs change when samples are cut beside the middle: no group of neighbours fits both cuts."""
    if half < 2:
        return False
    try:
        with torch.no_grad():
            first, second = (tensors_of(run(theta, take(batch, part)[0])) for part in (slice(0, half - 1), slice(half - 1, None)))
    except Exception:  # samples are paired by a reshape
        return True
    return not alike(together, first, second)


def throughout(
    run: Run, theta: Tensor, batches: Iterable[Batch], largest: Batch, memory: int
) -> Iterator[tuple[Batch, Any, bool]]:
    """All of the data in parts as long as the memory allows, their outputs, and whether pieces of them alone give the same.

    Few samples do not show what one among many does to the others, nor that places are limited (experts of a fixed capacity).
    """
    few = take(largest, slice(0, FEW))
    half = len(few[1]) // 2
    sizes = [_kept(run, theta, take(few, slice(0, length))) for length in (half, len(few[1]))]
    each = max(1, (sizes[1] - sizes[0]) // (len(few[1]) - half))
    length = max(FEW, chunk_length(len(largest[1]), 3 * each, memory))
    for part in cut(batches, length):
        with torch.no_grad():
            outputs = run(theta, part[0])
            yield part, outputs, _alone(run, theta, part, tensors_of(outputs))


def _alone(run: Run, theta: Tensor, part: Batch, together: Sequence[Tensor]) -> bool:
    """Whether the outputs for pieces of a part are those for all of it."""
    count = len(part[1])
    if count < FEW // 2:
        return True
    pieces = max(2, -(-count // max(_PIECE, count // _PIECES)))
    ends = [count * place // pieces for place in range(pieces + 1)]
    try:
        found = [tensors_of(run(theta, take(part, slice(*bounds))[0])) for bounds in pairwise(ends)]
    except torch.OutOfMemoryError:
        raise
    except Exception:  # it cannot be cut there
        return False
    return alike(together, *found)


def _kept(run: Run, theta: Tensor, batch: Batch) -> int:
    """Bytes that a gradient keeps of a batch."""
    kept: dict[tuple[int, int], int] = {}

    def pack(tensor: Tensor) -> Tensor:
        kept[(tensor.data_ptr() if tensor.layout == torch.strided else id(tensor), tensor.numel())] = tensor.nbytes
        return tensor.detach()

    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        outputs = run(theta.detach().clone().requires_grad_(), batch[0])
    return sum(kept.values()) + sum(leaf.nbytes for leaf in tensors_of(outputs))


def culprit(model: nn.Module, run: Callable[[Any], Any], batch: Batch) -> str:
    """The innermost module whose output for some samples depends on others; empty if there is none.

    Tried by the cuts by which it was found (`mixes`): at the middle, and beside it.
    """
    count = len(batch[1])
    half = (count + 1) // 2
    for part in (slice(0, half), slice(half, None), *((slice(0, half - 1), slice(half - 1, None)) if half > 1 else ())):
        try:
            alone = record(model, run, take(batch, part)[0])
        except Exception as error:
            return f"{_raised_in(model, error)}, which cannot be evaluated on a part of a batch,"
        together = [
            (name, _part(given, count, part), _part(result, count, part)) for name, given, result in record(model, run, batch[0])
        ]
        if not equal(together[-1][2], alone[-1][2]):
            return parting(together, alone)
    return ""


def _raised_in(model: nn.Module, error: Exception) -> str:
    """The innermost module at work when an error was raised."""
    names, found, traceback = named(model), model, error.__traceback__
    while traceback is not None:
        owner = traceback.tb_frame.f_locals.get("self")
        found = owner if isinstance(owner, nn.Module) and owner in names else found
        traceback = traceback.tb_next
    return names[found]


def record(model: nn.Module, run: Callable[[Any], Any], inputs: Any) -> list[Call]:
    """Name, inputs and output of every module call, innermost first."""
    calls: list[Call] = []
    names = named(model)

    def hook(module: nn.Module, arguments: Any, output: Any) -> None:
        calls.append((names[module], _tensors(arguments), _tensors(output)))

    handles = [module.register_forward_hook(hook) for module in names]
    try:
        with torch.no_grad():
            output = run(inputs)
    finally:
        for handle in handles:
            handle.remove()
    return [*calls, (names[model], _tensors(inputs), _tensors(output))]


def parting(first: list[Call], second: list[Call]) -> str:
    """The innermost module with equal inputs and unequal outputs."""
    for (name, given, result), (_, again, other) in zip(first, second, strict=False):
        if equal(given, again) and not equal(result, other):
            return name
    return first[-1][0]


def equal(first: Sequence[Tensor], second: Sequence[Tensor]) -> bool:
    """Whether tensors are the same within half of the digits.

    That is far above what atomic additions or another GEMM kernel move, far below dropout.
    """
    if [a.shape for a in first] != [b.shape for b in second]:
        return False
    for a, b in zip(first, second, strict=True):
        tolerance = torch.finfo(a.dtype).eps ** 0.5 if a.is_floating_point() else 0.0
        a, b = a.double().nan_to_num(), b.double().nan_to_num()
        if a.numel() and not (a - b).abs().max() <= tolerance * a.abs().max():
            return False
    return True


def named(model: nn.Module) -> dict[nn.Module, str]:
    """How messages call the modules of a model."""
    return {module: f"{name or 'model'} ({type(module).__name__})" for name, module in model.named_modules()}


def _part(tensors: Sequence[Tensor], count: int, part: slice) -> list[Tensor]:
    """What belongs to some of the samples."""
    found = []
    for tensor in tensors:
        if tensor.ndim and len(tensor) and len(tensor) % count == 0:
            rows = len(tensor) // count
            tensor = tensor[(part.start or 0) * rows : None if part.stop is None else part.stop * rows]
        found.append(tensor)
    return found


def _pulled(run: Run, theta: Tensor, batch: Batch, part: slice) -> tuple[list[Tensor], Tensor]:
    """Outputs for some of the samples, and Jᵀw with weights w that belong to the sample."""
    with torch.enable_grad():
        point = theta.detach().clone().requires_grad_()
        outputs = run(point, batch[0] if part == slice(None) else take(batch, part)[0])
        leaves = [leaf for leaf in tensors_of(outputs) if leaf.is_floating_point()]
        total = torch.zeros_like(point[:1]).sum()
        for leaf in leaves:
            each = leaf.reshape(len(leaf), -1) if leaf.ndim else leaf.reshape(1, 1)
            first = (part.start or 0) * len(each) // max(1, len(batch[1][part]))
            places = torch.arange(first * each.shape[1], first * each.shape[1] + each.numel(), device=leaf.device)
            total = total + (each * places.view_as(each).cos().to(each)).sum()
        slope = torch.zeros_like(point)
        if total.requires_grad:
            (slope,) = torch.autograd.grad(total, point, materialize_grads=True)
    return [leaf.detach() for leaf in leaves], slope


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf.detach().clone() for leaf in tensors_of(tree)]


def _shapes(batch: Batch) -> Any:
    """All that batches need to have in common to be joined."""
    kept = [leaf.shape[1:] if _has_samples(leaf) else repr(leaf) for leaf in tree_leaves(batch[0])]
    return kept, batch[1].shape[1:], tree_structure(batch[0])
