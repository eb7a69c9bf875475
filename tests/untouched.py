"""Whether everything of the user's is bit for bit what it was: a context around any call, also one that ends in an error."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

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
    simple = (int, float, str, type(None), list, dict, tuple)
    attributes = [
        {k: copy.deepcopy(v) for k, v in vars(m).items() if not k.startswith("_") and isinstance(v, simple)}
        for m in model.modules()
    ]
    hooks = [
        [list(getattr(m, kind)) for kind in vars(m) if kind.endswith("_hooks") and getattr(m, kind)] for m in model.modules()
    ]
    return [attributes, hooks, [list(m._buffers) for m in model.modules()], torch.get_rng_state().tolist()]
