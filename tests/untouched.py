"""Whether everything of the user's is bit for bit what it was: a context around any call, also one that ends in an error."""

import collections
import copy
import functools
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import FunctionType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves


@contextmanager
def untouched(model: nn.Module, data: Any = ()) -> Iterator[None]:
    """Parameters, buffers, gradients, modes, hooks, attributes, inputs, targets and random numbers."""
    before, tensors = _facts(model), _tensors(model, data)
    kept, versions = [each.detach().clone() for each in tensors], [each._version for each in tensors]
    try:
        yield
    finally:
        after = _tensors(model, data)
        assert len(after) == len(tensors)
        assert all(a is b for a, b in zip(after, tensors, strict=True)), "a tensor was exchanged"
        assert all(_same(a, b) for a, b in zip(after, kept, strict=True)), "a tensor was changed"
        assert [each._version for each in after] == versions, "a tensor was written into"
        assert _facts(model) == before


def _same(a: Tensor, b: Tensor) -> bool:
    """NaN beside NaN is the same."""
    return a.shape == b.shape and bool(((a == b) | ((a != a) & (b != b))).all())


def _tensors(model: nn.Module, data: Any) -> list[Tensor]:
    own = [value for module in model.modules() for value in vars(module).values() if isinstance(value, Tensor)]
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    return [*model.parameters(), *model.buffers(), *own, *gradients, *(x for x in tree_leaves(data) if isinstance(x, Tensor))]


def _facts(model: nn.Module) -> list[Any]:
    modules = list(model.modules())
    attributes = [{k: facts_of(v) for k, v in vars(m).items() if not k.startswith("_")} for m in modules]
    hooks = [[list(getattr(m, kind)) for kind in vars(m) if kind.endswith("_hooks") and getattr(m, kind)] for m in modules]
    return [attributes, hooks, [list(m._buffers) for m in modules], torch.get_rng_state().tolist()]


def facts_of(value: Any) -> Any:
    """A value and all that it holds, as what can be compared; objects that hold nothing are themselves."""
    if isinstance(value, Tensor):
        return id(value), value.detach().clone().tolist()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, Mapping):
        return type(value).__name__, [(key, facts_of(each)) for key, each in value.items()]
    if isinstance(value, list | tuple | collections.deque):
        return type(value).__name__, [facts_of(each) for each in value]
    if isinstance(value, set | bytearray):
        return copy.copy(value)
    if isinstance(value, FunctionType):
        return [facts_of(cell.cell_contents) for cell in value.__closure__ or ()], facts_of(vars(value))
    if isinstance(value, functools.partial):
        return facts_of((value.func, value.args, value.keywords))
    if isinstance(value, np.random.Generator | torch.Generator):
        return str(value.bit_generator.state if isinstance(value, np.random.Generator) else value.get_state().tolist())
    if isinstance(value, random.Random):
        return value.getstate()
    slots = {name: getattr(value, name) for name in getattr(type(value), "__slots__", ()) if hasattr(value, name)}
    if slots or (hasattr(value, "__dict__") and not isinstance(value, type | nn.Module)):
        return facts_of(slots | getattr(value, "__dict__", {}))
    return value
