"""What a traced ATen graph is made of: calls with their fake values, and the kinds of operations that rewrites tell apart.

Every node carries in `meta["val"]` a fake tensor, from which shapes and dtypes are read.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.fx import Graph, Node
from torch.fx.node import map_arg

aten = torch.ops.aten

Call = Any  # a `Node`; fx types what it calls and its arguments as a union of everything

PRODUCTS = {aten.mul.Tensor, torch.ops.prims.mul.default}

# One cheap sweep over a tensor.
SWEEPS = PRODUCTS | {aten.add.Tensor, aten.sub.Tensor, aten.neg.default, aten.mul.Scalar, aten.add.Scalar}

# f(t, …) = t · f(1, …): element by element, linear in the first argument.
CHEAP_SCALINGS = {aten.sigmoid_backward.default, aten.tanh_backward.default, aten.threshold_backward.default}
DEAR_SCALINGS = {
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


def is_small(node: Node, beside: Node) -> bool:
    """Whether a tensor costs next to nothing beside another."""
    return val(node).numel() * 8 <= val(beside).numel()
