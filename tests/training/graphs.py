"""What a CUDA graph does, on a CPU: takes down the kernels that a function launches, without effect, and launches them again on
the very same tensors and numbers."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

_WAITS = {torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default}


class _Recording(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, Any, Any, Any]] = []
        self.before: list[tuple[Tensor, Tensor]] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function in _WAITS:
            raise RuntimeError("a graph cannot wait for a value")
        kwargs = kwargs or {}
        self.before += [(tensor, tensor.clone()) for tensor in _written(function, args, kwargs)]
        result = function(*args, **kwargs)
        self.calls.append((function, args, kwargs, result))
        return result


def _written(function: Any, args: Any, kwargs: Any) -> Iterator[Tensor]:
    """The tensors that a kernel writes into."""
    for number, argument in enumerate(function._schema.arguments):
        if argument.is_write:
            given = kwargs.get(argument.name) if argument.kwarg_only else args[number] if number < len(args) else None
            yield from (leaf for leaf in tree_leaves(given) if isinstance(leaf, Tensor))


def record(work: Callable[[], None]) -> Callable[[], None]:
    """Stands for `torch.cuda.graph`."""
    with _Recording() as recording:
        work()
    for tensor, value in reversed(recording.before):
        tensor.copy_(value)

    def replay() -> None:
        with torch.no_grad():
            for function, args, kwargs, result in recording.calls:
                if function.is_view:
                    continue
                new = function(*args, **kwargs)
                for old, value in zip(tree_leaves(result), tree_leaves(new), strict=True):
                    if isinstance(old, Tensor) and old is not value:
                        old.copy_(value)

    return replay
