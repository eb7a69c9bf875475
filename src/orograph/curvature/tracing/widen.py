"""A traced graph for one vector made into one for many: tangents of a block, or models of a cohort, along a new first dimension.

`torch.vmap` of a whole product multiplies a matrix shared by all vectors once per vector. Here every `mm` with one shared
operand becomes one wide GEMM instead, and its result keeps the samples outermost in memory, `(n, b, m)`, so that the next
wide GEMM can read it without a copy. All other operations go through their own batching rules.
"""

import functools
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.fx import Graph, Node
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._pytree import tree_flatten, tree_unflatten

from orograph.calling import unremarked
from orograph.curvature.tracing.graph import Call, aten

_Value = tuple[Any, bool]  # what an expression gives, and whether it has the new dimension


def widen(graph: Graph, mask: Sequence[bool], width: int) -> Graph:
    """The same graph where the masked placeholders have a new first dimension of `width`; all results have it too.

    The placeholders of the result are those of the graph, in order, under the names `arg0_1`, ….
    """
    fakes = [node.meta["val"] for node in graph.nodes if node.op == "placeholder"]

    def run(*inputs: Tensor) -> list[Tensor]:
        values: dict[Node, _Value] = {}
        flags = iter(zip(inputs, mask, strict=True))
        for node in graph.nodes:
            if node.op == "placeholder":
                values[node] = next(flags)
            elif node.op == "call_function":
                values[node] = _call(node, values, width)
        end = next(node for node in graph.nodes if node.op == "output")
        results = [values[node] for node in end.args[0]]
        return [value if wide else value.expand(width, *value.shape) for value, wide in results]

    with fakes[0].fake_mode:
        inputs = [
            torch.empty(width, *fake.shape, dtype=fake.dtype, device=fake.device) if wide else fake
            for fake, wide in zip(fakes, mask, strict=True)
        ]
    return make_fx(run, tracing_mode="fake")(*inputs).graph


def _call(node: Call, values: dict[Node, _Value], width: int) -> _Value:
    leaves, spec = tree_flatten((node.args, node.kwargs))
    pairs = [values[leaf] if isinstance(leaf, Node) else (leaf, False) for leaf in leaves]
    if not any(wide for _, wide in pairs):
        args, kwargs = tree_unflatten([value for value, _ in pairs], spec)
        return node.target(*args, **kwargs), False
    if node.target is aten.mm.default:
        return _matrix_product(pairs[0], pairs[1], width), True
    if node.target is aten.addmm.default and not node.kwargs:
        return torch.vmap(torch.add, in_dims=(0 if pairs[0][1] else None, 0))(
            pairs[0][0], _matrix_product(pairs[1], pairs[2], width)
        ), True
    if isinstance(node.args[0], Node) and isinstance(pairs[0][0], tuple | list):  # an item of several results
        return pairs[0][0][node.args[1]], True
    places = [position for position, (_, wide) in enumerate(pairs) if wide]
    shape: list[Any] = []
    one = functools.partial(_one, node.target, [value for value, _ in pairs], spec, places, shape)
    with unremarked():
        tensors = iter(torch.vmap(one)(*[value for value, wide in pairs if wide]))
    leaf_spec, is_tensor = shape
    return tree_unflatten([next(tensors) if there else None for there in is_tensor], leaf_spec), True


def _one(target: Any, leaves: list[Any], spec: Any, places: list[int], shape: list[Any], *tensors: Tensor) -> list[Tensor]:
    """One call under `vmap`; the tensors of its result, whose structure is left in `shape`."""
    leaves = list(leaves)
    for position, tensor in zip(places, tensors, strict=True):
        leaves[position] = tensor
    args, kwargs = tree_unflatten(leaves, spec)
    viewed = target in (aten.view.default, aten._unsafe_view.default)
    results, leaf_spec = tree_flatten(args[0].reshape(args[1]) if viewed else target(*args, **kwargs))
    shape[:] = [leaf_spec, [isinstance(leaf, Tensor) for leaf in results]]
    return [leaf for leaf in results if isinstance(leaf, Tensor)]


def _matrix_product(left: _Value, right: _Value, width: int) -> Tensor:
    (a, a_wide), (b, b_wide) = left, right
    if a_wide and b_wide:
        return torch.bmm(a, b)
    rows, columns = a.shape[-2], b.shape[-1]
    if a_wide:
        if not _merges(a, 0, 1) and _merges(a, 1, 0):
            return (a.permute(1, 0, 2).reshape(rows * width, -1) @ b).view(rows, width, columns).permute(1, 0, 2)
        return (a.reshape(width * rows, -1) @ b).view(width, rows, columns)
    if _merges(b, 0, 2) or b.stride(1) == 1:
        wide = b.permute(0, 2, 1).reshape(width * columns, -1).t()
        return (a @ wide).view(rows, width, columns).permute(1, 0, 2)
    return (a @ b.permute(1, 0, 2).reshape(-1, width * columns)).view(rows, width, columns).permute(1, 0, 2)


def _merges(tensor: Tensor, outer: int, inner: int) -> bool:
    """Whether two dimensions are one in memory, the first outside."""
    return math.prod(tensor.shape) == 0 or tensor.stride(outer) == tensor.stride(inner) * tensor.size(inner)
