"""How a loss over a batch is made of its samples: loss(batch) = Σ_n a_n / Σ_n w_n.

The standard losses say by `reduction`, `ignore_index` and `weight` what they average over. All are read from a module's
attributes, from `functools.partial`, or from a function's defaults; what is read is then tried (`agrees`): value and gradient must
be those of the loss as it was passed. A loss of which nothing is known gives one number a batch, and batches stay whole.

    mean over positions         a_n = mean of ℓ over the positions of sample n, w_n = 1
    counted targets             a_n = Σ ℓ, w_n = targets that are not `ignore_index`
    class weights               a_n = Σ u_y ℓ, w_n = Σ u_y over counted targets
    `sum`                       a_n = Σ ℓ; nothing is divided by
    `batchmean`                 a_n = Σ ℓ, w_n = 1
"""

import copy
import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

Loss = Callable[[Any, Any], Tensor]
Over = Literal["samples", "counted targets", "class weights", "sum", "samples, positions summed", "batches"]
_ABSENT = object()


@dataclass(frozen=True, eq=False)
class Reduction:
    """What a loss is averaged over.

    Attributes:
        over: in words: a sum is over all data; `batches` means that the loss gives one number a batch.
        values: `(outputs, targets) →` one value for each sample, or for each of its positions; None for `batches`.
        ignored: the target that does not count; None where all do.
        classes: weights of classes; None where all weigh the same.
    """

    over: Over
    values: Loss | None = None
    ignored: int | None = None
    classes: Tensor | None = None

    def weights(self, targets: Tensor) -> Float[Tensor, " n"]:
        """w_n of each sample, in float64."""
        if self.over not in ("counted targets", "class weights") or targets.is_floating_point():
            return torch.ones(len(targets), dtype=torch.float64, device=targets.device)
        counted = torch.ones_like(targets, dtype=torch.bool) if self.ignored is None else targets != self.ignored
        weights = counted.double()
        if self.classes is not None:
            weights = weights * self.classes.to(targets.device).double()[targets.masked_fill(~counted, 0)]
        return weights.flatten(1).sum(1) if weights.ndim > 1 else weights

    def numerators(self, outputs: Any, targets: Tensor) -> Float[Tensor, " n"]:
        """a_n of each sample."""
        assert self.values is not None
        values = self.values(outputs, targets)
        if values.ndim < 2:
            return values
        return values.flatten(1).mean(1) if self.over == "samples" else values.flatten(1).sum(1)

    def joined(self, outputs: Any, targets: Tensor) -> Float[Tensor, ""]:
        """The loss of a batch, put together from its samples."""
        total = self.numerators(outputs, targets).sum()
        return total if self.over == "sum" else total / self.weights(targets).sum().to(total)


def reductions_of(loss: Loss) -> list[Reduction]:
    """The ways in which a loss may be made of its samples, the most particular first; none where it says nothing."""
    asked = _setting(loss, "reduction")
    if asked is _ABSENT:
        return []
    values = _unreduced(loss)
    if asked == "sum":
        return [Reduction("sum", values)]
    if asked == "batchmean":
        return [Reduction("samples, positions summed", values)]
    found: list[Reduction] = []
    ignored, classes = _setting(loss, "ignore_index"), _setting(loss, "weight")
    ignored = ignored if isinstance(ignored, int) else None
    if asked == "mean" and isinstance(classes, Tensor) and classes.ndim == 1:
        found.append(Reduction("class weights", values, ignored, classes.detach()))
    if asked == "mean" and ignored is not None:
        found.append(Reduction("counted targets", values, ignored))
    return [*found, Reduction("samples", values)]


def agrees(loss: Loss, reduction: Reduction, outputs: Tensor, targets: Tensor) -> bool:
    """Whether a batch put together from its samples has the value, and the gradient by the outputs, of the loss as passed."""
    with torch.enable_grad():
        found = [_value_gradient(each, outputs, targets) for each in (loss, reduction.joined)]
    (value, slope), (other, again) = found
    if not torch.isfinite(value):  # as the mean over no target: torch gives NaN
        return bool(~torch.isfinite(other))
    tolerance = torch.finfo(value.dtype).eps ** 0.5  # half of the digits: sums in another order differ in the last ones
    return bool((value - other).abs() <= tolerance * value.abs()) and bool(
        (slope - again).norm() <= tolerance * slope.norm() + torch.finfo(value.dtype).tiny
    )


def _value_gradient(loss: Loss, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    point = outputs.detach().clone().requires_grad_()
    value = loss(point, targets)
    (slope,) = torch.autograd.grad(value, point, allow_unused=True)
    return value.detach(), torch.zeros_like(point) if slope is None else slope


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
