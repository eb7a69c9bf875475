"""Rewrites of a traced ATen graph that group its sums and products anew: the same algebra, other roundings, less work.

Chains `((t·a)·b)·c` of a tangent t with quantities that do not depend on it become `t·(a·b·c)`, whose bracket is computed once
per parameter vector; small factors meet before they meet a large one; sums of views become views of sums.
"""

from collections.abc import Callable

from torch.fx import Graph, Node

from orograph.curvature.tracing.graph import (
    CHEAP_SCALINGS,
    DEAR_SCALINGS,
    PRODUCTS,
    Call,
    aten,
    emit,
    is_small,
    is_tensor,
    same,
    val,
)

_SCALARS = {aten.mul.Scalar, aten.div.Scalar, aten.neg.default}


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
        derivatives = [link for link in links if link in CHEAP_SCALINGS]
        if not DEAR_SCALINGS.intersection(links) and (len(links) < 2 or len(links) - len(derivatives) < 1):
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
        if node.target not in PRODUCTS or node not in moving or node not in local:
            continue
        for scaled, tangent in (node.args, node.args[::-1]):
            if not (is_tensor(scaled) and is_tensor(tangent)) or scaled in moving or tangent in local:
                continue
            if scaled.target not in PRODUCTS or not all(is_tensor(a) for a in scaled.args):
                continue
            for large, small in (scaled.args, scaled.args[::-1]):
                if large in local and small not in local and same(large, node) and is_small(small, large):
                    node.replace_all_uses_with(emit(node, aten.mul.Tensor, large, emit(node, aten.mul.Tensor, small, tangent)))
                    break
    graph.eliminate_dead_code()


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
    if target in PRODUCTS:
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
        elif (target in CHEAP_SCALINGS or target in DEAR_SCALINGS) and is_tensor(args[1]) and same(args[1], node):

            def derivative() -> Node:
                ones = emit(place, aten.ones_like.default, args[1])
                return emit(place, target, ones, *args[1:], **node.kwargs)

            found = first, derivative
    return found if found is not None and is_tensor(found[0]) and same(found[0], node) else None
