"""Whether a loss reads what `forward` leaves behind: an auxiliary term in an attribute, features that a hook keeps.

The loss is a function of outputs and targets. What forward leaves on the module, or in what its hooks hold, is put back before
the loss is computed (`keeping`), so a term that comes that way would be missing, or stale, in value and in every derivative; left
in a global it would be missing where the loss is differentiated by the outputs (Gauss–Newton). So once, on a few samples and with
other parameters than the module's own, the loss is computed as its user does, with nothing put back in between, and again after
forward was called with others still. What differs is refused by name.
"""

import contextlib
import copy
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from orograph.batch_loss import BatchLoss
from orograph.calling import call, evaluation_mode
from orograph.errors import ConfigurationError
from orograph.reduction import Loss, called
from orograph.samples import Batch, lined_up, spread
from orograph.structure import replaced

_SAMPLES = 16
_ROUNDING = 16  # last digits: the same operations on the same numbers, of which parallel sums alone may differ
_TORCHS = frozenset(vars(nn.Module()))  # attributes that every module has
_ABSENT = object()
_Held = dict[str, tuple[dict[str, Any], str, Any, Any]]  # by name: where, under which key, what, and a copy of it


class _Around(nn.Module):
    """A module within a function that is called with its parameters exchanged."""

    def __init__(self, model: nn.Module, does: Callable[[Any], Any]) -> None:
        super().__init__()
        self.model, self.does = model, does

    def forward(self, given: Any) -> Any:
        return self.does(given)


def require_outputs_alone(own: BatchLoss, losses: tuple[Loss, ...], batch: Batch) -> None:
    """Refuses a loss that reads what forward leaves behind. What cannot be computed here is left to others to say.

    Args:
        own: the module, as the user has it.
        losses: the loss as passed, and as it is used, for where the first cannot be computed in the dtype of the outputs.
        batch: any; a few of its samples are tried where it can be cut.

    Raises:
        ConfigurationError: naming where the loss reads, if that is an attribute of a module.
    """
    batches = [spread(batch, _SAMPLES), batch] if lined_up(batch) and len(batch[1]) > _SAMPLES else [batch]
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        for each in batches:
            for loss in losses:
                for share in (0.1, 0.0):  # at the module's own parameters what an earlier call left may be right by chance
                    place = None
                    with contextlib.suppress(Exception):
                        place = _read_from(own.model, loss, _tensors(own, share), _tensors(own, share + 0.1), each)
                    if place:
                        raise ConfigurationError(
                            f"the loss reads what forward leaves in {place}, where it is no function of outputs and targets, so "
                            "that this term would be missing or stale; return it from forward beside the outputs, and let the "
                            "loss take it from there."
                        )
                    if place is not None:
                        return


def _tensors(own: BatchLoss, share: float) -> Mapping[str, Tensor]:
    """What the module is called with where every parameter is moved by about so much of itself and of 1/10."""
    places = torch.arange(len(own.theta), device=own.theta.device, dtype=torch.float64).cos().to(own.theta)
    return own.tensors(own.theta + share * (own.theta + 0.1) * places if share else own.theta)


def _read_from(
    model: nn.Module, loss: Loss, tensors: Mapping[str, Tensor], others: Mapping[str, Tensor], batch: Batch
) -> str | None:
    """Where the loss reads what forward left; empty where it does not, None where that cannot be said."""
    inputs, targets = batch

    def as_used(given: Any) -> tuple[Any, Tensor | None]:
        outputs = _outputs(model, given)
        return outputs, _value(loss, outputs, targets)

    def inside(does: Callable[[Any], Any], given: Any, place: Mapping[str, Tensor] = tensors) -> Any:
        around = _Around(model, does)
        with evaluation_mode(around):
            return call(around, {f"model.{name}": tensor for name, tensor in place.items()}, {"given": given})

    outputs, value = inside(as_used, inputs)
    if value is None or not value.isfinite().all():
        return None
    inside(lambda given: _outputs(model, given), inputs, others)  # leaves something else in a global
    alone = inside(lambda given: _value(loss, given, targets), outputs)
    if _same(value, alone):
        return ""
    if not _same(alone, inside(lambda given: _value(loss, given, targets), outputs)):
        return ""  # it is random

    def named(given: Any) -> str:
        before = _held(model)
        again = _outputs(model, given)
        value = _value(loss, again, targets)
        for name, (holder, key, then, kept) in (before | _new(model, before)).items():
            now = holder.get(key, _ABSENT)
            if not _changed(now, then, kept):
                continue
            _set(holder, key, kept)
            without = _value(loss, again, targets)
            _set(holder, key, now)
            if not _same(value, without):
                return f"'{name}'"
        return "what a hook or another object holds"

    place: str = inside(named, inputs)
    return place


def _outputs(model: nn.Module, inputs: Any) -> Any:
    if isinstance(inputs, Mapping):
        return model(**inputs)
    return model(*inputs) if isinstance(inputs, tuple | list) else model(inputs)


def _value(loss: Loss, outputs: Any, targets: Tensor) -> Tensor | None:
    """Of copies, which a loss may write into; None where it cannot be computed."""
    try:
        return called(loss, replaced(outputs, torch.clone), targets.clone()).detach().clone()
    except Exception:
        return None


def _same(a: Tensor | None, b: Tensor | None) -> bool:
    if a is None or b is None or a.shape != b.shape:
        return a is b
    if not a.is_floating_point():
        return torch.equal(a, b)
    return torch.allclose(a, b, rtol=_ROUNDING * torch.finfo(a.dtype).eps, atol=0, equal_nan=True)


def _held(model: nn.Module) -> _Held:
    """Attributes and buffers of all modules."""
    return {
        f"{path}.{key}".lstrip("."): (holder, key, value, _copied(value))
        for path, module in model.named_modules()
        for holder in (vars(module), module._buffers)
        for key, value in holder.items()
        if key not in _TORCHS
    }


def _new(model: nn.Module, before: _Held) -> _Held:
    """Attributes that were not there."""
    return {name: (holder, key, _ABSENT, _ABSENT) for name, (holder, key, _, _) in _held(model).items() if name not in before}


def _copied(value: Any) -> Any:
    return value.clone() if isinstance(value, Tensor) else copy.copy(value) if isinstance(value, dict | list) else value


def _changed(now: Any, then: Any, kept: Any) -> bool:
    if now is not then:
        return True
    if isinstance(now, Tensor):
        return not torch.equal(now, kept)
    if isinstance(now, dict):
        return list(now) != list(kept) or any(now[key] is not kept[key] for key in now)
    return isinstance(now, list) and (len(now) != len(kept) or any(a is not b for a, b in zip(now, kept, strict=True)))


def _set(holder: dict[str, Any], key: str, value: Any) -> None:
    holder.pop(key, None)
    if value is not _ABSENT:
        holder[key] = value
