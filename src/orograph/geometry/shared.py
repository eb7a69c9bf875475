"""Layers that read the data directly, evaluated at many parameter vectors of an affine family with a few products for all.

Such a layer is linear in its weight and bias. At θ = base + Σ c_j d_j its output is y₀ + Σ c_j y_j, where y₀ is its output at the
base and y_j the one at d_j in place of the parameters. A 25 × 25 surface then takes three products with the data instead of 625;
on an MLP with wide inputs that is most of its arithmetic.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from orograph.objective import Objective

LINEAR_IN_WEIGHTS = (F.linear, F.conv1d, F.conv2d, F.conv3d)


class SharedLayers:
    """The outputs y₀, y_1, … of the layers that read the data, kept for every chunk of samples within a memory budget."""

    def __init__(self, objective: Objective, base: Float[Tensor, " P"], directions: Float[Tensor, "k P"]) -> None:
        self.pieces = objective.layout.unflatten(torch.cat([base[None], directions]))
        self.room = objective.memory // 4
        self.kept: dict[tuple[int, int], Tensor] = {}

    def combined(self, coefficients: Float[Tensor, " k"], parameters: Mapping[str, Tensor], chunk: int) -> TorchFunctionMode:
        """A mode in which those layers are combined from what is kept; for use under `vmap` over the coefficients.

        Args:
            coefficients: `(k,)`, c.
            parameters: the tensors of θ that the module is called with.
            chunk: which samples; equal numbers mean equal inputs.
        """
        return _Combined(self, coefficients, {id(tensor): name for name, tensor in parameters.items()}, chunk)

    def outputs(
        self, key: tuple[int, int], function: Callable[..., Tensor], args: list[Any], names: list[str | None]
    ) -> Tensor | None:
        """`(k+1, n, …)`, or None where there is no room for them."""
        if key in self.kept:
            return self.kept[key]
        count = len(next(iter(self.pieces.values())))
        found = []
        for index in range(count):
            own = [self.pieces[name][index] if name else None for name in names]
            if names[1] is None and index == 0:
                own[1] = args[2]  # a bias that is no part of θ
            found.append(function(args[0], *own, *args[3:]))
        size = sum(each.numel() * each.element_size() for each in found)
        if size > self.room:
            return None
        self.room -= size
        self.kept[key] = torch.stack(found)
        return self.kept[key]


class _Combined(TorchFunctionMode):
    def __init__(self, shared: SharedLayers, coefficients: Tensor, names: Mapping[int, str], chunk: int) -> None:
        super().__init__()
        self.shared, self.coefficients, self.names, self.chunk = shared, coefficients, names, chunk
        self.calls = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in LINEAR_IN_WEIGHTS and not kwargs and len(args) >= 2 and not torch._C._functorch.is_batchedtensor(args[0]):
            weight, bias = self.names.get(id(args[1])), self.names.get(id(args[2])) if len(args) > 2 else None
            if weight is not None:
                self.calls += 1
                padded = [*args, None] if len(args) == 2 else list(args)
                parts = self.shared.outputs((self.chunk, self.calls), func, padded, [weight, bias])
                if parts is not None:
                    weights = torch.cat([self.coefficients.new_ones(1), self.coefficients])
                    return torch.tensordot(weights, parts, 1)  # one product, for all models
        return func(*args, **(kwargs or {}))
