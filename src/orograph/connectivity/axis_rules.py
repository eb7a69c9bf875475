"""What each operation that computes says of the units that its tensors run over.

Products contract over common units; sums, maxima and normalisations treat all units of a dimension alike; whatever goes element
by element has the same units on both sides. Positions of images are held.
"""

import operator

import torch
from torch import Tensor
from torch.fx import Graph, Node

from orograph.connectivity.axes import Axis
from orograph.connectivity.axis_moves import MOVES
from orograph.connectivity.axis_reading import CONSTANT, Reading, Rule, Value, argument, shape_of
from orograph.curvature.tracing.graph import Call

REDUCTIONS = ("sum", "mean", "amax", "amin", "var", "std", "prod", "logsumexp", "linalg_vector_norm", "any", "all", "var_mean")
FILLED = ("full", "zeros", "ones", "full_like", "zeros_like", "ones_like", "new_zeros", "new_ones", "new_full", "scalar_tensor")
POOLS = ("max_pool", "avg_pool", "_adaptive_avg_pool", "adaptive_max_pool", "upsample_", "reflection_pad", "replication_pad")


def read(graph: Graph, given: dict[str, str]) -> Reading:
    """What the dimensions of every tensor of a graph run over.

    Args:
        graph: of ATen operations with fake values.
        given: why the units of a placeholder stay where they are; empty for those that may move, by their names.
    """
    return Reading(graph, given, _rule, MOVES.keys() - {"cat", "stack", "constant_pad_nd", "embedding", "index_add"})


def _rule(name: str, node: Node) -> Rule | None:
    if name.startswith(POOLS):
        return _pool
    pointwise = torch.Tag.pointwise in getattr(node.target, "tags", ()) and node.all_input_nodes
    return _RULES.get(name, _pointwise if pointwise else None)


def _pointwise(reading: Reading, node: Call, name: str) -> Value:
    nodes = [each for each in (*node.args, *node.kwargs.values()) if isinstance(each, Node)]
    nodes += [each for each in node.all_input_nodes if each not in nodes]
    tensors = [reading.dims(each) for each in nodes if isinstance(each.meta.get("val"), Tensor)]
    found = reading.broadcast(tensors, f"the operation '{name}'")
    for place, axis in enumerate(found, -len(found)):
        having = [len(dims) >= -place and reading.axes.size(dims[place]) > 1 for dims in tensors]
        mixable = (
            name == "neg"
            or (name in ("add", "sub") and all(having) and len(tensors) == 2)
            or (name == "mul" and sum(having) == 1)
            or (name == "div" and having[0] and not any(having[1:]) and isinstance(node.args[0], Node))
        )
        if not mixable:
            reading.bent.append(axis)
    return found


def _product(reading: Reading, node: Call, name: str) -> Value:
    """mm, bmm, mv, dot, and those that add: the last dimension of one with the last but one of the other."""
    adds = name in ("addmm", "baddbmm", "addmv", "_sparse_addmm")
    one, other = (reading.dims(each) for each in node.args[adds : adds + 2])
    batch: list[list[Axis]] = [[], []]
    if name in ("bmm", "baddbmm"):
        reading.axes.unify(one[0], other[0], "a product of tensors")
        batch, one, other = [one[:1], other[:1]], one[1:], other[1:]
    kept = one[:-1], other[1:]
    reading.contract(one[-1], other[0], *kept)
    found = batch[0] + kept[0] + kept[1]
    if adds:
        summand = reading.dims(node.args[0])
        short = len(found) - len(summand)
        missing = [i for i in range(len(found)) if i < short or reading.axes.size(summand[i - short]) == 1]
        reading.bent += [found[place] for place in missing]
        found = reading.broadcast([found, summand], "a sum of tensors")
    return found


def _convolution(reading: Reading, node: Call, name: str) -> Value:
    given, weight = reading.dims(node.args[0]), reading.dims(node.args[1])
    transposed, groups = node.args[6], node.args[8]
    for axis in (*given[2:], *weight[2:]):
        reading.axes.hold(axis, "the positions of a convolution")
    batch, channels = given[:2]
    inner, outer = (weight[0], weight[1]) if transposed else (weight[1], weight[0])
    sizes = (groups, reading.axes.size(channels) // groups)
    group, channel = reading.axes.split(channels, sizes, "the groups of a convolution")
    divided = inner if transposed else outer
    also, rest = reading.axes.split(
        divided,
        (groups, reading.axes.size(divided) // groups),
        "the groups of a convolution",
    )
    reading.axes.unify(group, also, "the groups of a convolution")
    inner, outer = (rest, outer) if transposed else (inner, rest)
    reading.contract(channel, inner, [batch], [outer])
    made = reading.axes.joined([group, outer])
    if node.args[2] is not None:
        reading.axes.unify(made, reading.dims(node.args[2])[0], "a convolution")
    positions = [reading.axes.fresh(size, "the positions of a convolution") for size in shape_of(node)[2:]]
    return [batch, made, *positions]


def _batch_norm(reading: Reading, node: Call, name: str) -> Value:
    value = reading.dims(node.args[0])
    for each in node.args[1:5]:
        if isinstance(each, Node):
            reading.axes.unify(value[1], reading.dims(each)[0], "a normalisation")
    reading.bent += value
    return [list(value), *reading.fresh(node.meta["val"][1:], "the statistics of a normalisation")]


def _layer_norm(reading: Reading, node: Call, name: str) -> Value:
    value = reading.dims(node.args[0])
    lead = len(value) - len(node.args[1])
    reading.broadcast([value, *(reading.dims(each) for each in node.args[2:4] if isinstance(each, Node))], "a normalisation")
    reading.bent += value[lead:]
    statistics = [*value[:lead], *(reading.axes.fresh(1) for _ in value[lead:])]
    return [list(value), statistics, list(statistics)]


def _group_norm(reading: Reading, node: Call, name: str) -> Value:
    value, groups = reading.dims(node.args[0]), node.args[6]
    sizes = (groups, reading.axes.size(value[1]) // groups)
    group = reading.axes.split(value[1], sizes, "the groups of a normalisation")[0]
    for each in node.args[1:3]:
        if isinstance(each, Node):
            reading.axes.unify(value[1], reading.dims(each)[0], "a normalisation")
    reading.bent += value
    return [list(value), [value[0], group], [value[0], group]]


def _softmax(reading: Reading, node: Call, name: str) -> Value:
    value = reading.dims(node.args[0])
    reading.bent += value
    dimension = node.args[1] % len(value)
    reading.met.append([axis for place, axis in enumerate(value) if place != dimension])  # the sums
    return list(value)


def _reduction(reading: Reading, node: Call, name: str) -> Value:
    value, result = reading.dims(node.args[0]), node.meta["val"]
    chosen = argument(node, 2 if name == "linalg_vector_norm" else 1, "dim")
    if chosen is None or isinstance(chosen, bool) or chosen == []:
        chosen = list(range(len(value)))
    chosen = [place % len(value) for place in (chosen if isinstance(chosen, tuple | list) else [chosen])] if value else []
    reading.bent += [axis for place, axis in enumerate(value) if place in chosen or name not in ("sum", "mean")]
    kept = [axis for place, axis in enumerate(value) if place not in chosen]
    one = result[0] if isinstance(result, tuple | list) else result
    if one.ndim == len(value):
        kept = [reading.axes.fresh(1) if place in chosen else axis for place, axis in enumerate(value)]
    elif one.ndim != len(kept):
        return None
    return [list(kept) for _ in result] if isinstance(result, tuple | list) else kept


def _extreme(reading: Reading, node: Call, name: str) -> Value:
    """max and min along a dimension, where nobody asks at which place."""
    if len(node.args) < 2:
        return _reduction(reading, node, name)
    if any(user.target is operator.getitem and user.args[1] == 1 for user in node.users):
        return None
    return _reduction(reading, node, name)


def _constant(reading: Reading, node: Call, name: str) -> Value:
    return CONSTANT


def _pool(reading: Reading, node: Call, name: str) -> Value:
    """Pooling and resampling of an image's positions, channel by channel."""
    value, result = reading.dims(node.args[0]), node.meta["val"]
    one = result[0] if isinstance(result, tuple | list) else result
    lead = len(value) - next((int(digit) for digit in name if digit.isdigit()), len(value))
    for axis in value[lead:]:
        reading.axes.hold(axis, "the positions of a pooling")
    reading.bent += value
    found = [*value[:lead], *(reading.axes.fresh(size, "the positions of a pooling") for size in one.shape[lead:])]
    return [list(found) for _ in result] if isinstance(result, tuple | list) else found


def _triangle(reading: Reading, node: Call, name: str) -> Value:
    found = list(reading.dims(node.args[0]))
    for axis in found[-2:]:
        reading.axes.hold(axis, f"the operation '{name}'")
    return found


_RULES: dict[str, Rule] = {
    **MOVES,
    **dict.fromkeys(("mm", "bmm", "mv", "dot", "vdot", "_sparse_mm", "addmm", "baddbmm", "addmv", "_sparse_addmm"), _product),
    **dict.fromkeys(
        ("native_batch_norm", "_native_batch_norm_legit", "_native_batch_norm_legit_no_training", "cudnn_batch_norm"), _batch_norm
    ),
    **dict.fromkeys(("_softmax", "_log_softmax", "_safe_softmax"), _softmax),
    **dict.fromkeys(REDUCTIONS, _reduction),
    **dict.fromkeys(("max", "min"), _extreme),
    **dict.fromkeys(FILLED, _constant),
    **dict.fromkeys(("tril", "triu"), _triangle),
    **dict.fromkeys(("masked_fill", "_prelu_kernel", "floor_divide"), _pointwise),  # torch does not call all of them so
    "convolution": _convolution,
    "native_layer_norm": _layer_norm,
    "native_group_norm": _group_norm,
}
