"""A device that is not there: tensors with values that say they lie on it, and a guard of what passes between it and the host.

What computes with tensors of two devices fails here as it would on an accelerator, and what waits for one is counted. The
device is torch's `lazy`, of which torch itself makes nothing unless it is asked to. Graphs are recorded on `meta` in its place; a
tensor of the CPU that is written into one is caught when the graph runs.
"""

import contextlib
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_leaves, tree_map

from orograph.curvature.tracing import traced
from orograph.training import gradient

aten = torch.ops.aten

DEVICE = torch.device("lazy")
_AWAY = ("lazy", "meta")

# What on an accelerator makes the host wait: it learns a value, or how many there are.
_WAITING = {
    aten._local_scalar_dense.default,
    aten.equal.default,
    aten.nonzero.default,
    aten.masked_select.default,
    aten.unique_dim.default,
    aten._unique2.default,
}


class Elsewhere(Tensor):
    """A tensor on the device that is not there, and where its values are."""

    values: Tensor

    @staticmethod
    def __new__(cls, values: Tensor) -> "Elsewhere":
        made = Tensor._make_wrapper_subclass(
            cls, values.size(), strides=values.stride(), storage_offset=values.storage_offset(), dtype=values.dtype, device=DEVICE
        )
        made.values = values
        return made

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return Guard.current.run(function, args, kwargs or {})

    def tolist(self) -> Any:
        Guard.current.trips["tolist"] += 1
        return self.values.tolist()

    def new_tensor(self, data: Any, **kwargs: Any) -> Tensor:
        return torch.tensor(data, dtype=kwargs.get("dtype", self.dtype)).to(DEVICE)

    def __getitem__(self, index: Any) -> Tensor:
        return super().__getitem__(_indices(index))

    def __setitem__(self, index: Any, value: Any) -> None:
        super().__setitem__(_indices(index), value)

    def __matmul__(self, other: Tensor) -> Tensor:
        if self.ndim == 1 and other.ndim == 2:
            return torch.mv(other.T, self)  # torch's own way changes a shape in place, which nobody sees here
        return super().__matmul__(other)

    def data_ptr(self) -> int:
        return self.values.data_ptr()

    def numpy(self, **_: Any) -> Any:
        raise TypeError("can't convert a tensor of a device to numpy; use .cpu() first.")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.values})"


def _indices(index: Any) -> Any:
    """Places told by a list, as a tensor: torch would make it on the device."""
    return torch.tensor(index, dtype=torch.long) if isinstance(index, list) else index


class Guard(TorchDispatchMode):
    """Counts what goes to and fro while it is entered.

    Attributes:
        trips: how often the host waited for the device, by operation.
        uploads: how often the device was sent something, by operation.
    """

    current: "Guard"

    def __init__(self) -> None:
        super().__init__()
        self.trips: Counter[str] = Counter()
        self.uploads: Counter[str] = Counter()

    def __enter__(self) -> "Guard":
        Guard.current = self
        return super().__enter__()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return self.run(function, args, kwargs or {})

    def clear(self) -> None:
        self.trips.clear()
        self.uploads.clear()

    def run(self, function: Any, args: Any, kwargs: Any) -> Any:
        """One operation: on the values, if all its tensors lie on one device."""
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        if any(isinstance(tensor, FakeTensor) for tensor in tensors):
            return function(*args, **kwargs)
        away = [tensor for tensor in tensors if isinstance(tensor, Elsewhere)]
        name, asked = str(function), kwargs.get("device")
        result_away = bool(away) if asked is None else torch.device(asked).type in _AWAY
        if function is aten.copy_.default:
            if len({isinstance(each, Elsewhere) for each in args[:2]}) == 2:
                (self.uploads if isinstance(args[0], Elsewhere) else self.trips)[name] += 1
        elif function is aten._to_copy.default:
            if bool(away) != result_away:
                (self.trips if away else self.uploads)[name] += 1
        elif away:
            here = [tensor for tensor in tensors if not isinstance(tensor, Elsewhere) and tensor.ndim]
            chosen = function in (aten.index.Tensor, aten.index_put_.default, aten.index_put.default)
            if here and chosen:
                self.uploads[name] += 1
            elif here:
                shapes = [tuple(tensor.shape) for tensor in here]
                raise RuntimeError(f"{name}: expected all tensors on one device; of {shapes} on the CPU, others are not.")
            masks = [each for each in (args[1] if chosen else ()) if isinstance(each, Elsewhere) and each.dtype == torch.bool]
            if function in _WAITING or masks:
                self.trips[name] += 1
        plain = tree_map(_values, (args, kwargs | ({"device": "cpu"} if asked is not None else {})))
        given = {id(tensor.values): tensor for tensor in away}  # what is written into stays the tensor that it was
        return tree_map(lambda found: _placed(found, given, result_away), function(*plain[0], **plain[1]))


def _values(leaf: Any) -> Any:
    return leaf.values if isinstance(leaf, Elsewhere) else leaf


def _placed(found: Any, given: dict[int, Elsewhere], away: bool) -> Any:
    if not isinstance(found, Tensor):
        return found
    known = given.get(id(found))
    return known if known is not None else Elsewhere(found) if away else found


def _unguarded(function: Callable[..., Any]) -> Callable[..., Any]:
    def called(*args: Any, **kwargs: Any) -> Any:
        with _disable_current_modes():
            return function(*args, **kwargs)

    return called


def _on_meta(function: Callable[..., Any]) -> Callable[..., Any]:
    """A tracer that is given tensors without values in place of those that are elsewhere."""

    def replaced(leaf: Any) -> Any:
        if not isinstance(leaf, Elsewhere):
            return leaf
        return torch.empty_strided(leaf.shape, leaf.stride(), dtype=leaf.dtype, device="meta")

    return lambda traced_function, arguments: function(traced_function, [replaced(each) for each in arguments])


def _made_here(make: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """`torch.tensor`, which fills the memory of a device without asking."""

    def made(*args: Any, device: Any = None, **kwargs: Any) -> Tensor:
        tensor = make(*args, **kwargs)
        return tensor if device is None else tensor.to(device)

    return made


@contextlib.contextmanager
def guarded() -> Iterator[Guard]:
    """Within, `DEVICE` is there."""
    with pytest.MonkeyPatch.context() as patch, Guard() as guard:
        for owner, name in ((traced.Trace, "__init__"), (traced.Trace, "block")):
            patch.setattr(owner, name, _unguarded(getattr(owner, name)))
        patch.setattr(traced, "_traced", _on_meta(traced._traced))
        patch.setattr(sys.modules["torch.optim.optimizer"], "_get_fused_kernels_supported_devices", lambda: ["cpu", DEVICE.type])
        for name in ("tensor", "as_tensor"):
            patch.setattr(torch, name, _made_here(getattr(torch, name)))
        patch.setattr(gradient, "trace", _unguarded(_on_meta(gradient.trace)))
        yield guard
