"""Rewrites of a traced ATen graph that leave its value as it is and lower its cost.

Forward-mode differentiation of a gradient leaves much behind that costs time: aliases, copies to the same dtype, tangents of
inputs that have none (zeros, and whole GEMMs with them), transposes of transposes. Here these go, by algebra alone: zero and
one are followed through the graph, and equal expressions are merged.
"""

import operator
from typing import Any

import torch
from torch.fx import Graph, Node

from orograph.curvature.tracing.graph import CHEAP_SCALINGS, DEAR_SCALINGS, PRODUCTS, Call, aten, emit, is_tensor, same, val

_COPIES = {aten.clone.default, aten._to_copy.default}
_ALIASES = {aten.alias.default, aten.detach.default, aten.lift_fresh_copy.default, aten.lift_fresh.default}
_RESHAPES = {aten.view.default, aten._unsafe_view.default}
_SHAPINGS = _RESHAPES | {
    aten.permute.default,
    aten.t.default,
    aten.transpose.int,
    aten.expand.default,
    aten.unsqueeze.default,
    aten.squeeze.default,
    aten.squeeze.dim,
    aten.squeeze.dims,
    aten.slice.Tensor,
    aten.select.int,
}
_ZEROS = {aten.zeros.default, aten._efficientzerotensor.default, aten.zeros_like.default, aten.new_zeros.default}
_ONES = {aten.ones.default, aten.ones_like.default, aten.new_ones.default}
# Zero in, zero out, whatever the other arguments are.
_LINEAR_IN_FIRST = (
    _SHAPINGS
    | _COPIES
    | _ALIASES
    | CHEAP_SCALINGS
    | DEAR_SCALINGS
    | {
        aten.neg.default,
        aten.sum.default,
        aten.sum.dim_IntList,
        aten.mean.default,
        aten.mean.dim,
        aten.gather.default,
        aten.index_select.default,
        aten.mul.Scalar,
        aten.div.Scalar,
        aten.div.Tensor,
        aten.slice_backward.default,
        aten.select_backward.default,
        aten._softmax_backward_data.default,
        aten._log_softmax_backward_data.default,
        aten.avg_pool2d.default,
        aten.avg_pool2d_backward.default,
        aten.max_pool2d_with_indices_backward.default,
        aten.embedding.default,
        aten.embedding_dense_backward.default,
    }
)
_BROADCASTING = PRODUCTS | {aten.add.Tensor, aten.sub.Tensor, aten.div.Tensor}
_BILINEAR = PRODUCTS | {aten.mm.default, aten.bmm.default, aten.mv.default, aten.dot.default}


def simplify(graph: Graph) -> None:
    """Removes identities, zeros, duplicates and dead code, in place, until nothing more is found."""
    for _ in range(8):
        changed = _sweep(graph)
        changed |= merge_duplicates(graph)
        graph.eliminate_dead_code()
        if not changed:
            break
    _trim_masks(graph)
    graph.eliminate_dead_code()


def merge_duplicates(graph: Graph) -> bool:
    """Equal calls with equal arguments become one."""
    seen: dict[Any, Node] = {}
    changed = False

    def key(argument: Any) -> Any:
        if isinstance(argument, list | tuple):
            return ("list", *map(key, argument))
        if isinstance(argument, dict):
            return ("dict", *((name, key(value)) for name, value in sorted(argument.items())))
        return (type(argument), argument)

    for node in list(graph.nodes):
        if node.op != "call_function" or _mutates(node) or "val" not in node.meta:
            continue
        identity = (node.target, key(node.args), key(dict(node.kwargs)))
        first = seen.setdefault(identity, node)
        if first is not node:
            node.replace_all_uses_with(first)
            graph.erase_node(node)
            changed = True
    return changed


def _mutates(node: Node) -> bool:
    return isinstance(node.target, torch._ops.OpOverload) and node.target._schema.is_mutable


def _sweep(graph: Graph) -> bool:
    uniform: dict[Node, float] = {}
    changed = False
    for node in list(graph.nodes):
        if node.op != "call_function" or not is_tensor(node):
            continue
        constant = _uniform(node, uniform)
        if constant is not None:
            uniform[node] = constant
            if node.target is not aten.full.default and node.args and any(is_tensor(a) for a in node.all_input_nodes):
                v = val(node)
                if not isinstance(node.target, torch._ops.OpOverload) or node.target not in _SHAPINGS:
                    plain = emit(node, aten.full.default, list(v.shape), constant, dtype=v.dtype, device=v.device)
                    uniform[plain] = constant
                    node.replace_all_uses_with(plain)
                    changed = True
            continue
        replacement = _identity(node) or _without_neutral(node, uniform) or _without_expansion(node)
        if replacement is not None and replacement is not node:
            node.replace_all_uses_with(replacement)
            changed = True
    return changed


def _uniform(node: Call, known: dict[Node, float]) -> float | None:
    """The one value of all entries of a floating tensor, where it is known."""
    if not val(node).is_floating_point():
        return None
    target, args = node.target, node.args
    if target in _ZEROS:
        return 0.0
    if target in _ONES:
        return 1.0
    if target in (aten.full.default, aten.full_like.default, aten.new_full.default):
        value = args[2 if target is aten.new_full.default else 1]
        return float(value) if isinstance(value, int | float) else None
    if target is aten.scalar_tensor.default:
        return float(args[0]) if isinstance(args[0], int | float) else None
    first = known.get(args[0]) if args and isinstance(args[0], Node) else None
    if first is not None and (target in _SHAPINGS or target in _COPIES or target in _ALIASES):
        return first
    if first == 0 and target in _LINEAR_IN_FIRST:
        return 0.0
    if target in _BILINEAR and (first == 0 or known.get(args[1]) == 0):
        return 0.0
    if target is aten.convolution.default and args[2] is None and (first == 0 or known.get(args[1]) == 0):
        return 0.0
    if target in (aten.add.Tensor, aten.sub.Tensor) and first == 0 and known.get(args[1]) == 0:
        return 0.0
    if target is aten.cat.default and all(known.get(a) == 0 for a in args[0]):
        return 0.0
    if target is operator.getitem and isinstance(args[0], Node) and args[0].target is aten.convolution_backward.default:
        operands: Any = args[0].args[:3]  # gradient, inputs, weight
        zero = [known.get(a) == 0 for a in operands]
        if zero[0] or (args[1] == 0 and zero[2]) or (args[1] == 1 and zero[1]):
            return 0.0
    return None


def _identity(node: Call) -> Node | None:
    """What a node equals if it does nothing, or a shorter way to the same view."""
    target, args = node.target, node.args
    if target in (aten.t.default, aten.transpose.int):
        return _as_permute(node)
    if target is aten.copy.default:  # what `a.copy_(b)` leaves: b, in the shape of a
        return _expanded(args[1], node) if is_tensor(args[1]) and _same_kind(args[1], node) else None
    if not args or not is_tensor(args[0]):
        return None
    source = args[0]
    if target in _ALIASES:
        return source
    if target in _COPIES:
        equal = same(source, node) and val(source).stride() == val(node).stride() and val(source).device == val(node).device
        return source if equal else None
    if target in _SHAPINGS and val(source).shape == val(node).shape and target is not aten.permute.default:
        return source
    if target in _RESHAPES and source.target in _RESHAPES and is_tensor(source.args[0]):
        return emit(node, aten.view.default, source.args[0], args[1])
    if target is aten.permute.default:
        dims = [d % len(args[1]) for d in args[1]]
        if dims == sorted(dims):
            return source
        if source.target is aten.permute.default:
            inner = [d % len(dims) for d in source.args[1]]
            return emit(node, aten.permute.default, source.args[0], [inner[d] for d in dims])
    return None


def _as_permute(node: Call) -> Node | None:
    source = node.args[0]
    if not is_tensor(source):
        return None
    rank = val(source).ndim
    dims = list(range(rank))
    if rank < 2:
        return source
    a, b = (0, 1) if node.target is aten.t.default else (node.args[1] % rank, node.args[2] % rank)
    dims[a], dims[b] = dims[b], dims[a]
    return emit(node, aten.permute.default, source, dims)


def _without_neutral(node: Call, uniform: dict[Node, float]) -> Node | None:
    """`x + 0`, `x − 0`, `0 − x`, `x · 1`, `x / 1`, and sums whose GEMM is zero."""
    target, args = node.target, node.args
    if target in (aten.add.Tensor, aten.sub.Tensor):
        first, second = args[:2]
        if is_tensor(first) and _value(second, uniform) == 0 and _same_kind(first, node):
            return _expanded(first, node)
        if is_tensor(second) and _value(first, uniform) == 0 and _same_kind(second, node) and not node.kwargs:
            return _expanded(second if target is aten.add.Tensor else emit(node, aten.neg.default, second), node)
    if target in PRODUCTS or target is aten.mul.Scalar or (target is aten.div.Tensor and not node.kwargs):
        first, second = args[:2]
        if is_tensor(first) and _value(second, uniform) == 1 and same(first, node):
            return first
        if target in PRODUCTS and is_tensor(second) and _value(first, uniform) == 1 and same(second, node):
            return second
    return None


def _without_expansion(node: Call) -> Node | None:
    """`expand(x) + y` is `x + y` where y has the full shape."""
    if node.target not in _BROADCASTING or len(node.args) < 2 or not all(is_tensor(a) for a in node.args[:2]):
        return None
    for place in (0, 1):
        short, other = node.args[place], node.args[1 - place]
        if short.target is aten.expand.default and other is not short and val(other).shape == val(node).shape:
            args = [*node.args]
            args[place] = short.args[0]
            return emit(node, node.target, *args, **node.kwargs)
    return None


def _same_kind(a: Node, b: Node) -> bool:
    return val(a).dtype == val(b).dtype and val(a).device == val(b).device


def _expanded(node: Node, like: Node) -> Node:
    return node if val(node).shape == val(like).shape else emit(like, aten.expand.default, node, list(val(like).shape))


def _value(argument: Any, uniform: dict[Node, float]) -> float | None:
    if isinstance(argument, Node):
        return uniform.get(argument)
    return float(argument) if isinstance(argument, int | float) else None


def _trim_masks(graph: Graph) -> None:
    """`convolution_backward` computes only those of its three gradients that somebody uses."""
    for node in graph.nodes:
        if node.target is aten.convolution_backward.default:
            used = {user.args[1] for user in node.users if user.target is operator.getitem}
            node.args = (*node.args[:-1], [bool(wanted) and i in used for i, wanted in enumerate(node.args[-1])])
