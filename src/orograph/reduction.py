"""How a loss over a batch is made of its samples: loss(batch) = Σ_n a_n / Σ_n w_n.

The standard losses say by `reduction`, `ignore_index` and `weight` what they average over. All are read from a module's
attributes, from `functools.partial`, or from a function's defaults; what is read is then tried (`agrees`): value and gradient
must be those of the loss as it was passed. A loss of which nothing is known gives one number a batch, and batches stay whole.

    mean over positions         a_n = mean of ℓ over the positions of sample n, w_n = 1
    counted targets             a_n = Σ ℓ, w_n = targets that are not `ignore_index` (of next tokens: without the first)
    class weights               a_n = Σ u_y ℓ, w_n = Σ u_y over counted targets
    `sum`                       a_n = Σ ℓ; nothing is divided by
    `batchmean`                 a_n = Σ ℓ, w_n = 1
"""

import copy
import functools
import inspect
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from orograph.autocast import uncast
from orograph.calling import guarded, unhooked
from orograph.errors import ConfigurationError, DataError
from orograph.keeping import kept
from orograph.structure import rebuilt, replaced, tensors_of

Loss = Callable[[Any, Any], Tensor]
Over = Literal["samples", "counted targets", "class weights", "sum", "samples, positions summed", "batches"]
_ABSENT = object()


@dataclass(frozen=True, eq=False)
class Reduction:
    """What a loss is averaged over.

    Attributes:
        over: in words: a sum is over all data; `batches` means one number a batch, averaged by the batches' sizes.
        loss: as it was passed.
        values: `(outputs, targets) →` one value for each sample, or for each of its positions; None where only a batch has one.
        ignored: the target that does not count; None where all do.
        classes: weights of classes; None where all weigh the same.
        skipped: so many first targets of each sample that the loss leaves out: 1 where it holds the next token against outputs.
    """

    over: Over
    loss: Loss
    values: Loss | None = None
    ignored: int | None = None
    classes: Tensor | None = None
    skipped: int = 0

    def weights(self, targets: Tensor) -> Float[Tensor, " n"]:
        """w_n of each sample, in float64."""
        if self.over not in ("counted targets", "class weights") or targets.is_floating_point():
            return torch.ones(len(targets), dtype=torch.float64, device=targets.device)
        targets = targets[:, self.skipped :] if self.skipped else targets
        counted = torch.ones_like(targets, dtype=torch.bool) if self.ignored is None else targets != self.ignored
        weights = counted.double()
        if self.classes is not None:
            weights = weights * self.classes.to(targets.device).double()[targets.masked_fill(~counted, 0)]
        return weights.flatten(1).sum(1) if weights.ndim > 1 else weights

    def numerators(self, outputs: Any, targets: Tensor) -> Float[Tensor, " n"]:
        """a_n of each sample."""
        assert self.values is not None
        values = called(self.values, outputs, guarded(targets))
        if values.ndim < 2:
            return values
        return values.flatten(1).mean(1) if self.over == "samples" else values.flatten(1).sum(1)

    def joined(self, outputs: Any, targets: Tensor) -> Float[Tensor, ""]:
        """The loss of a batch, put together from its samples."""
        total = self.numerators(outputs, targets).sum()
        return total if self.over == "sum" else total / self.weights(targets).sum().to(total)

    def total(self, outputs: Any, targets: Tensor) -> Float[Tensor, ""]:
        """Σ a_n of a batch; of a mean that is only known for a batch, that mean times the batch's size."""
        if self.values is not None:
            return self.numerators(outputs, targets).sum()
        value = called(self.loss, outputs, guarded(targets))
        return value if self.over == "sum" else (value if not value.ndim else value.mean()) * len(targets)

    def over_data(self, targets: Iterable[Tensor], count: int) -> "tuple[Reduction, float]":
        """Itself, and N / Σ w_n over all data, with which the mean of a_n over samples is the loss.

        Where every target of every sample counts once, that is the plain mean over samples.

        Raises:
            DataError: no target counts.
        """
        if self.over == "sum":
            return self, float(count)
        if self.over not in ("counted targets", "class weights"):
            return self, 1.0
        parts = [(self.weights(each), self._places(each), each.is_floating_point()) for each in targets]
        weights = torch.cat([each for each, _, _ in parts])
        plain = self.classes is None and len({each for _, each, _ in parts}) == 1 and bool((weights == parts[0][1]).all())
        if plain or parts[0][2]:
            return replace(self, over="samples", ignored=None, classes=None), 1.0
        total = weights.sum().item()
        if not total > 0:
            raise DataError(f"no target counts: the weights of all {count} samples add up to {total:g}.")
        return self, count / total

    def _places(self, targets: Tensor) -> int:
        """How many targets of a sample would count if none were ignored."""
        first = targets[:1]
        return max(1, (first[:, self.skipped :] if self.skipped else first).numel())

    def to(self, dtype: torch.dtype, device: torch.device) -> "Reduction":
        """The same with all tensors that the loss holds in another dtype."""
        classes = None if self.classes is None else self.classes.to(device)
        values = None if self.values is None else in_dtype(self.values, dtype, device)
        return replace(self, loss=in_dtype(self.loss, dtype, device), values=values, classes=classes)


def called(loss: Loss, outputs: Any, targets: Tensor) -> Tensor:
    """The loss of a batch; what the loss holds is afterwards what it was.

    Raises:
        ConfigurationError: it gives no tensor.
    """
    with uncast(), kept(loss), unhooked(loss):
        value = loss(outputs, targets)
    if not isinstance(value, Tensor):
        kind = "None" if value is None else f"a value of type {type(value).__name__}"
        raise ConfigurationError(f"the loss {name_of(loss)} must give a tensor that depends on the outputs, not {kind}.")
    return value


def reductions_of(loss: Loss) -> list[Reduction]:
    """The ways in which a loss may be made of its samples, the most particular first; none where it says nothing."""
    asked = _setting(loss, "reduction")
    if not isinstance(asked, str) or asked == "none":
        return []
    values = _unreduced(loss)
    if asked == "sum":
        return [Reduction("sum", loss, values)]
    if asked == "batchmean":
        return [Reduction("samples, positions summed", loss, values)]
    found: list[Reduction] = []
    ignored, classes = _setting(loss, "ignore_index"), _setting(loss, "weight")
    ignored = ignored if isinstance(ignored, int) else None
    if asked == "mean" and isinstance(classes, Tensor) and classes.ndim == 1:
        found.append(Reduction("class weights", loss, values, ignored, classes.detach()))
    if asked == "mean" and ignored is not None:
        found += [Reduction("counted targets", loss, values, ignored, skipped=skipped) for skipped in (0, 1)]
    return [*found, Reduction("samples", loss, values)]


def ignored_by(loss: Loss, targets: Iterable[Tensor]) -> int | None:
    """The target that a loss says it leaves out; None where it says nothing, or no target is that."""
    ignored = _setting(loss, "ignore_index")
    if not isinstance(ignored, int):
        return None
    return ignored if any(bool((each == ignored).any()) for each in targets if not each.is_floating_point()) else None


def reduction_of(loss: Loss, outputs: Any, targets: Tensor, whole: tuple[Any, Tensor] | None = None) -> Reduction:
    """What a loss is averaged over, tried on the outputs of a few samples and on two parts of them unlike each other.

    Args:
        loss: as passed.
        outputs: of a few samples.
        targets: of the same.
        whole: outputs and targets of as many samples as a batch has, tried likewise: hard mining means something else there.

    Raises:
        ConfigurationError: a loss that does not depend on the outputs, or does so without a gradient; that is random; or that
            writes into what it is given.
        DataError: shapes of outputs and targets that do not fit.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        value, slopes = _settled(loss, outputs, targets)
    if any("Using a target size" in str(each.message) for each in caught) and _unaligned(outputs, targets):
        raise _unlike(outputs, targets)
    if slopes is None:
        raise ConfigurationError(
            f"the loss {name_of(loss)} has no gradient by the outputs (detached, or an accuracy?); pass one that has."
        )
    if value.ndim:
        if value.shape[0] != len(targets):
            raise DataError(f"the loss gives {tuple(value.shape)} for {len(targets)} samples; it must give one value each.")
        return Reduction("samples", loss, loss)
    for found in reductions_of(loss):
        assert found.values is not None
        try:
            shape = called(found.values, outputs, targets).shape
        except Exception:  # whatever a function does with a keyword that it passes on
            continue
        if shape and _spread(shape, outputs, targets):
            raise _unlike(outputs, targets)
        tried = [(outputs, targets)] if whole is None else [(outputs, targets), whole]
        if shape[:1] == (len(targets),) and all(agrees(loss, found, *part) for each in tried for part in parts_of(*each)):
            return found
    return Reduction("sum" if adds_up(loss, outputs, targets) else "batches", loss)


def agrees(loss: Loss, reduction: Reduction, outputs: Any, targets: Tensor) -> bool:
    """Whether a batch put together from its samples has the value, and the gradient by the outputs, of the loss as passed."""
    try:
        (value, slope), (other, again) = (_value_slopes(each, outputs, targets) for each in (loss, reduction.joined))
    except (
        RuntimeError,
        IndexError,
        ValueError,
    ):  # class weights of another kind, targets that are no classes, or have no places
        return False
    if not torch.isfinite(value):  # as the mean over no target: torch gives NaN
        return bool(~torch.isfinite(other))
    tolerance = torch.finfo(value.dtype).eps ** 0.5  # half of the digits: sums in another order differ in the last ones
    if not (value - other).abs() <= tolerance * value.abs():
        return False
    if slope is None or again is None:
        return slope is again
    return all((a - b).norm() <= tolerance * a.norm() + torch.finfo(a.dtype).tiny for a, b in zip(slope, again, strict=True))


def _settled(loss: Loss, outputs: Any, targets: Tensor) -> tuple[Tensor, list[Tensor] | None]:
    """Value and gradient of a loss that gives the same twice and leaves what it is given as it is; others are refused."""
    given = replaced((outputs, targets), lambda leaf: leaf.detach().clone())
    versions = [leaf._version for leaf in tensors_of(given)]
    with torch.no_grad():
        called(loss, *given)
    for leaf, version in zip(tensors_of(given), versions, strict=True):
        if leaf._version != version:
            what = "targets" if leaf is given[1] else "outputs"
            raise ConfigurationError(
                f"the loss {name_of(loss)} writes into its {what} in place, and would read other {what} the next time; let it "
                f"compute with new tensors, as with {what}.clone()."
            )
    first, second = (_value_slopes(loss, outputs, guarded(targets)) for _ in range(2))
    pairs = zip([first[0], *(first[1] or [])], [second[0], *(second[1] or [])], strict=True)
    # Half of the digits: far above what atomic additions move, far below dropout.
    if any(
        a.shape != b.shape or not (a - b).nan_to_num().norm() <= torch.finfo(a.dtype).eps ** 0.5 * a.nan_to_num().norm()
        for a, b in pairs
        if a.is_floating_point()
    ):
        raise ConfigurationError(
            f"the loss {name_of(loss)} gives another value each time for the same outputs and targets: it is random (dropout, "
            "or samples that it draws); call its eval(), or let it draw the same each time."
        )
    return first


def in_dtype(loss: Loss, dtype: torch.dtype, device: torch.device) -> Loss:
    """The same loss with its tensors (class weights, say) on this device and in this floating dtype, itself left as it is."""

    def cast(value: Any) -> Any:
        if isinstance(value, Tensor):
            return value.detach().to(device=device, dtype=dtype if value.is_floating_point() else None)
        return value

    if isinstance(loss, functools.partial):
        inner: Any = functools.partial
        return inner(
            in_dtype(loss.func, dtype, device),
            *tree_map(cast, loss.args),
            **{name: cast(value) for name, value in loss.keywords.items()},
        )
    if isinstance(loss, nn.Module):
        module = copy.deepcopy(loss).to(dtype=dtype, device=device)
        for name, value in vars(module).items():
            if isinstance(value, Tensor):  # a plain attribute, which Module.to leaves as it is
                setattr(module, name, cast(value))
        return module
    return loss


def reads_whole_batches(reduction: Reduction, outputs: Any, targets: Tensor) -> bool:
    """Whether losses or their gradient by the outputs change when half of the samples are evaluated alone, or one less: no group
    of neighbours fits both cuts."""
    count = len(targets)
    half = (count + 1) // 2
    if half == count:  # one sample
        return False
    order = torch.arange(count, device=targets.device)
    cuts = [half, half - 1] if half > 1 else [half]
    pieces = [order, *(piece for cut in cuts for piece in (order[:cut], order[cut:]))]
    try:
        (value, slopes), *parts = (_value_slopes(reduction.numerators, *_chosen(outputs, targets, each)) for each in pieces)
    except Exception:  # it knows how long its batches are
        return True
    pairs = []
    for (first, some), (second, others) in zip(parts[::2], parts[1::2], strict=True):
        pairs.append((value, torch.cat([first, second])))
        slices = zip(slopes or [], some or [], others or [], strict=True)
        pairs += [(a, torch.cat([b, c])) for a, b, c in slices if len(a) == count]
    return any(a.shape != b.shape or not (a - b).norm() <= torch.finfo(a.dtype).eps ** 0.5 * a.norm() for a, b in pairs)


def _value_slopes(loss: Loss, outputs: Any, targets: Tensor) -> tuple[Tensor, list[Tensor] | None]:
    """The loss, and its gradient by all outputs; None where there is none, empty where the outputs hold no tensor of numbers."""
    with torch.enable_grad():
        points = [leaf.detach().clone().requires_grad_() if _moves(leaf) else leaf for leaf in tensors_of(outputs)]
        value = called(loss, rebuilt(outputs, points), targets)
        moving = [point for point in points if _moves(point)]
        if not moving:
            return value.detach(), []
        if not value.requires_grad:
            return value.detach(), None
        slopes = torch.autograd.grad(value.sum(), moving, allow_unused=True)
    return value.detach(), [torch.zeros_like(p) if slope is None else slope for p, slope in zip(moving, slopes, strict=True)]


def _moves(leaf: Any) -> bool:
    return isinstance(leaf, Tensor) and leaf.is_floating_point()


def parts_of(outputs: Any, targets: Tensor) -> list[tuple[Any, Tensor]]:
    """The samples, and their two halves when sorted by their targets: unlike in classes and in how many targets count."""
    order = targets.reshape(len(targets), -1).double().sum(1).argsort()
    halves = [half for half in order.tensor_split(2) if len(half)]
    chosen = [order, *halves] if len(halves) > 1 else [order]
    return [_chosen(outputs, targets, part) for part in chosen]


def _chosen(outputs: Any, targets: Tensor, part: Tensor) -> tuple[Any, Tensor]:
    count = len(targets)
    return replaced(outputs, lambda x: x[part] if x.ndim and len(x) == count else x), targets[part]


def adds_up(loss: Loss, outputs: Any, targets: Tensor) -> bool:
    """Whether the loss of a batch joined with itself is twice as large: a sum, where a mean would stay the same."""
    with torch.no_grad():
        try:
            once = called(loss, outputs, targets).double()
            if once.ndim:
                return False
            doubled = replaced(outputs, lambda leaf: torch.cat([leaf, leaf]) if leaf.ndim else leaf)
            twice = called(loss, doubled, torch.cat([targets, targets])).double()
        except Exception:  # it knows how long its batches are: one number a batch
            return False
    return bool((twice - 2 * once).abs() <= 1e-3 * once.abs()) and bool(once != 0)


def _spread(shape: torch.Size, outputs: Any, targets: Tensor) -> bool:
    """Whether every output met every target, as (n, 1) and (n,) do to give (n, n)."""
    try:
        return _unaligned(outputs, targets) and shape == torch.broadcast_shapes(outputs.shape, targets.shape)
    except RuntimeError:
        return False


def _unaligned(outputs: Any, targets: Tensor) -> bool:
    """Whether broadcasting, which begins with the last dimension, would not put sample beside sample."""
    if not isinstance(outputs, Tensor) or not outputs.ndim:
        return False
    return (outputs.ndim != targets.ndim and len(targets) > 1) or len(outputs) != len(targets)


def _unlike(outputs: Any, targets: Tensor) -> DataError:
    shapes = [tuple(leaf.shape) for leaf in tensors_of(outputs)]
    return DataError(
        f"outputs of shape {shapes[0]} and targets of shape {tuple(targets.shape)} are broadcast, so that every output meets "
        "every target; give both the same shape, as by targets[:, None] or outputs.squeeze(1)."
    )


def name_of(loss: Any) -> str:
    return type(loss).__name__ if isinstance(loss, nn.Module) else getattr(loss, "__name__", type(loss).__name__)


def _setting(loss: Any, name: str) -> Any:
    """What a loss has under this name: an attribute of a module, a keyword of a partial, or the default of a function."""
    if isinstance(loss, functools.partial):
        return loss.keywords[name] if name in loss.keywords else _setting(loss.func, name)
    if isinstance(loss, nn.Module):
        return getattr(loss, name, _ABSENT)
    try:
        parameters = inspect.signature(loss).parameters
    except (TypeError, ValueError):  # builtins have no signature
        return _ABSENT
    return parameters[name].default if name in parameters else _ABSENT


def _unreduced(loss: Any) -> Loss:
    if isinstance(loss, nn.Module):
        module: Any = copy.copy(loss)
        module.reduction = "none"
        return module
    bound: Any = functools.partial
    return bound(loss, reduction="none")
