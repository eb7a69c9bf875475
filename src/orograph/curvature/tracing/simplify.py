"""Rewrites of a traced ATen graph that leave its value as it is and lower its cost.

Forward-mode differentiation of a gradient leaves much behind that costs time: aliases, copies to the same dtype, tangents of
inputs that have none (zeros, and whole GEMMs with them), transposes of transposes, and chains `((t·a)·b)·c` of a tangent t
with quantities that do not depend on it. Here these go, by algebra alone: zero and one are followed through the graph, equal
expressions are merged, and chains become `t·(a·b·c)`, whose bracket is computed once per parameter vector.

Every node carries in `meta["val"]` a fake tensor, from which shapes and dtypes are read.
"""

import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.fx import Graph, Node
from torch.fx.node import map_arg

aten = torch.ops.aten

Call = Any  # a `Node`; fx types what it calls and its arguments as a union of everything

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
_PRODUCTS = {aten.mul.Tensor, torch.ops.prims.mul.default}

# One cheap sweep over a tensor.
SWEEPS = _PRODUCTS | {aten.add.Tensor, aten.sub.Tensor, aten.neg.default, aten.mul.Scalar, aten.add.Scalar}

# f(t, …) = t · f(1, …): element by element, linear in the first argument.
_CHEAP_SCALINGS = {aten.sigmoid_backward.default, aten.tanh_backward.default, aten.threshold_backward.default}
_DEAR_SCALINGS = {
    aten.gelu_backward.default,
    aten.silu_backward.default,
    aten.softplus_backward.default,
    aten.mish_backward.default,
    aten.elu_backward.default,
    aten.leaky_relu_backward.default,
    aten.hardtanh_backward.default,
    aten.hardswish_backward.default,
    aten.hardsigmoid_backward.default,
    aten.log_sigmoid_backward.default,
}
_SCALARS = {aten.mul.Scalar, aten.div.Scalar, aten.neg.default}
# Zero in, zero out, whatever the other arguments are.
_LINEAR_IN_FIRST = (
    _SHAPINGS
    | _COPIES
    | _ALIASES
    | _CHEAP_SCALINGS
    | _DEAR_SCALINGS
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
_BROADCASTING = _PRODUCTS | {aten.add.Tensor, aten.sub.Tensor, aten.div.Tensor}
_BILINEAR = _PRODUCTS | {aten.mm.default, aten.bmm.default, aten.mv.default, aten.dot.default}


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


def emit(before: Node, target: Callable[..., Any], *args: Any, **kwargs: Any) -> Node:
    """A new node in front of another, with its fake value."""
    with before.graph.inserting_before(before):
        node = before.graph.call_function(target, args, kwargs)
    node.meta["val"] = evaluate(node)
    return node


def evaluate(node: Call) -> Any:
    """A call's value from the fake values of its arguments."""
    tensors = [a.meta["val"] for a in node.all_input_nodes if isinstance(a.meta["val"], Tensor)]
    fakes = [t for t in tensors if hasattr(t, "fake_mode")]
    args, kwargs = map_arg((node.args, node.kwargs), lambda n: n.meta["val"])
    if not fakes:
        return node.target(*args, **kwargs)
    with fakes[0].fake_mode, torch.no_grad():
        try:
            return node.target(*args, **kwargs)
        except (RuntimeError, ValueError):
            if node.target is not aten.view.default:
                raise
            node.target = aten.reshape.default  # a rewrite left the operand with strides that allow no view
            return node.target(*args, **kwargs)


def val(node: Node) -> Tensor:
    """The fake tensor of a node that gives one tensor."""
    return node.meta["val"]


def is_tensor(argument: Any) -> bool:
    return isinstance(argument, Node) and isinstance(argument.meta.get("val"), Tensor)


def same(a: Node, b: Node) -> bool:
    """Whether two nodes agree in shape and dtype."""
    return val(a).shape == val(b).shape and val(a).dtype == val(b).dtype


def depends_on(graph: Graph, sources: set[Node]) -> set[Node]:
    """The nodes that depend on any of the sources, sources included."""
    found = set(sources)
    for node in graph.nodes:
        if any(argument in found for argument in node.all_input_nodes):
            found.add(node)
    return found


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


def collapse_products(graph: Graph, tangents: set[Node]) -> None:
    """Chains `((t·a)·b)·c` become `t·(a·b·c)` where t depends on a tangent and a, b, c do not.

    A single cheap factor stays as it is, as does a cheap derivative of what is kept anyway (the sigmoid's, of the sigmoid) with
    scalars; a single dear one (the derivative of GELU, say) is computed once too.
    """
    for node in reversed(list(graph.nodes)):
        if node not in tangents or not node.users:
            continue
        factors: list[Callable[[], Node | float]] = []
        root, links = node, []
        while (step := _factor(root, tangents, node)) is not None and (root is node or len(root.users) == 1):
            links.append(root.target)
            root, factor = step
            factors.append(factor)
        derivatives = [link for link in links if link in _CHEAP_SCALINGS]
        if not _DEAR_SCALINGS.intersection(links) and (len(links) < 2 or len(links) - len(derivatives) < 1):
            continue
        if len(derivatives) == 1 and all(link in _SCALARS for link in links if link not in derivatives):
            continue  # would keep the derivative beside what it is cheaply made from
        values = [factor() for factor in factors]
        scalar = 1.0
        whole: Node | None = None
        for value in values:
            if not isinstance(value, Node):
                scalar *= value
            else:
                whole = value if whole is None else emit(node, aten.mul.Tensor, whole, value)
        if whole is None:
            result = emit(node, aten.mul.Scalar, root, scalar)
        else:
            whole = whole if scalar == 1.0 else emit(node, aten.mul.Scalar, whole, scalar)
            result = emit(node, aten.mul.Tensor, root, whole)
        if same(result, node):
            tangents.add(result)
            node.replace_all_uses_with(result)
    graph.eliminate_dead_code()


def gather_small_factors(graph: Graph, moving: set[Node], local: set[Node]) -> None:
    """`(x·s)·t` becomes `x·(s·t)` where s and t are small and know nothing of the batch: one large product, and x·s not kept.

    Args:
        graph: changed in place.
        moving, local: what depends on the tangent, and on the batch.
    """
    for node in list(graph.nodes):
        if node.target not in _PRODUCTS or node not in moving or node not in local:
            continue
        for scaled, tangent in (node.args, node.args[::-1]):
            if not (is_tensor(scaled) and is_tensor(tangent)) or scaled in moving or tangent in local:
                continue
            if scaled.target not in _PRODUCTS or not all(is_tensor(a) for a in scaled.args):
                continue
            for large, small in (scaled.args, scaled.args[::-1]):
                if large in local and small not in local and same(large, node) and is_small(small, large):
                    node.replace_all_uses_with(emit(node, aten.mul.Tensor, large, emit(node, aten.mul.Tensor, small, tangent)))
                    break
    graph.eliminate_dead_code()


def is_small(node: Node, beside: Node) -> bool:
    """Whether a tensor costs next to nothing beside another."""
    return val(node).numel() * 8 <= val(beside).numel()


def gather_sums(graph: Graph) -> None:
    """Sums of equally shaped views of products become views of sums of products, which can start from one another.

    `(view(A·B) + bias) + view(C·D)` becomes `view(A·B + C·D) + bias`: after widening, every layer has that form.
    """
    changed = True
    while changed:
        changed = False
        for node in list(graph.nodes):
            if node.target is aten.add.Tensor and not node.kwargs and all(is_tensor(a) for a in node.args):
                better = _gathered(node)
                if better is not None:
                    node.replace_all_uses_with(better)
                    changed = True
        graph.eliminate_dead_code()


def _gathered(node: Call) -> Node | None:
    for first, second in (node.args, node.args[::-1]):
        if first.target is aten.add.Tensor and not first.kwargs and len(first.users) == 1 and _is_view(second):
            for whole, part in (first.args, first.args[::-1]):
                if is_tensor(whole) and is_tensor(part) and _is_view(whole) and same(whole, second) and not same(part, whole):
                    return emit(node, aten.add.Tensor, emit(node, aten.add.Tensor, whole, second), part)
    first, second = node.args
    if not (_is_view(first) and _is_view(second) and first.target is second.target and same(first, second)):
        return None
    a, b = first.args[0], second.args[0]
    if first.target is aten.permute.default:
        return (
            emit(node, first.target, emit(node, aten.add.Tensor, a, b), first.args[1])
            if first.args[1] == second.args[1]
            else None
        )
    if not (val(a).is_contiguous() and val(b).is_contiguous()):
        return None
    b = b if same(a, b) else emit(node, aten.view.default, b, list(val(a).shape))
    return emit(node, first.target, emit(node, aten.add.Tensor, a, b), first.args[1])


def _is_view(node: Call) -> bool:
    """A view with one reader, onto something computed."""
    if node.target not in (aten.view.default, aten.permute.default) or len(node.users) != 1 or not is_tensor(node.args[0]):
        return False
    return node.args[0].op == "call_function" and len(node.args[0].users) == 1


def _factor(node: Call, tangents: set[Node], place: Node) -> tuple[Node, Callable[[], Node | float]] | None:
    """`node = t · factor` as (t, factor), where t is a tangent of the same shape."""
    if node.op != "call_function" or not is_tensor(node) or not node.args or not isinstance(node.args[0], Node):
        return None
    target, args = node.target, node.args
    first: Node = args[0]
    found: tuple[Node, Callable[[], Node | float]] | None = None
    if target in _PRODUCTS:
        other = args[1]
        if first not in tangents and isinstance(other, Node):
            first, other = other, first
        if first in tangents and not (isinstance(other, Node) and other in tangents):
            found = first, lambda: other
    elif first in tangents and not any(a in tangents for a in args[1:] if isinstance(a, Node)):
        if target is aten.mul.Scalar:
            found = first, lambda: float(args[1])
        elif target is aten.div.Scalar:
            found = first, lambda: 1 / float(args[1])
        elif target is aten.neg.default:
            found = first, lambda: -1.0
        elif target is aten.div.Tensor and not node.kwargs and isinstance(args[1], Node):
            found = first, lambda: emit(place, aten.reciprocal.default, args[1])
        elif (target in _CHEAP_SCALINGS or target in _DEAR_SCALINGS) and is_tensor(args[1]) and same(args[1], node):

            def derivative() -> Node:
                ones = emit(place, aten.ones_like.default, args[1])
                return emit(place, target, ones, *args[1:], **node.kwargs)

            found = first, derivative
    return found if found is not None and is_tensor(found[0]) and same(found[0], node) else None


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
    if target in _PRODUCTS or target is aten.mul.Scalar or (target is aten.div.Tensor and not node.kwargs):
        first, second = args[:2]
        if is_tensor(first) and _value(second, uniform) == 1 and same(first, node):
            return first
        if target in _PRODUCTS and is_tensor(second) and _value(first, uniform) == 1 and same(second, node):
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
