"""How much the kernels of a loss read and write, counted on a few samples.

It foretells what a trace of the product will show (`chunks.py`): a kernel of a product moves about as much as one of the loss
itself, between 0.8 and 1.3 times as much on perceptrons, convolutions, ResNets and transformers. Counting costs two forward
passes of a few samples, a trace as much as tens of products.
"""

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from orograph.objective import Objective
from orograph.samples import take


def moved_by_a_kernel(objective: Objective, length: int) -> float:
    """Bytes that a kernel of the loss of so many samples reads and writes, on average; 0 where this cannot be counted."""
    batch = next(objective.batches(4))
    few = len(batch[1]) // 2
    if few == 0:
        return 0.0
    counted = []
    for part in (take(batch, slice(0, few)), take(batch, slice(0, 2 * few))):
        own = tree_map(lambda leaf: leaf.clone() if isinstance(leaf, Tensor) else leaf, part)  # a module may write into it
        with torch.no_grad(), torch.compiler.set_stance("force_eager"), _Traffic() as traffic:
            try:
                objective.summed(objective.theta.clone(), *own)
            except torch.OutOfMemoryError:
                raise
            except Exception:  # what cannot be watched is traced as it is
                return 0.0
        counted.append(traffic)
    one, two = counted
    each = (two.moved_bytes - one.moved_bytes) / few
    return max(0.0, (one.moved_bytes + (length - few) * each) / max(one.kernels, 1))


class _Traffic(TorchDispatchMode):
    """Counts calls that compute something, and the bytes of what they read and write."""

    def __init__(self) -> None:
        super().__init__()
        self.kernels = self.moved_bytes = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        if isinstance(function, torch._ops.OpOverload) and not function.is_view:
            self.kernels += 1
            tensors = (leaf for leaf in tree_leaves((args, kwargs, result)) if isinstance(leaf, Tensor))
            self.moved_bytes += sum(leaf.nbytes for leaf in tensors if leaf.layout == torch.strided)
        return result
