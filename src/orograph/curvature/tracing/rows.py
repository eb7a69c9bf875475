"""What operations do with rows: which rows of its arguments a call needs for some rows of its result.

The rows of a tensor are the positions along one of its dimensions, or along a factor of it: a view that flattens `(B, n, V)` to
`(B·n, V)` leaves n rows in a dimension of B·n. Where a call reads row i of some arguments, and all of the others, for row i of
its result, any tile of rows can be computed without the rest. Where it sums over rows, the sums of tiles add up. A slice along
rows, as `logits[:, :-1]`, shifts their numbers: every tensor knows the number of its first row.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.fx import Node

from orograph.curvature.tracing.graph import Call, aten, is_tensor, val

RESHAPES = {
    aten.view.default,
    aten._unsafe_view.default,
    aten.reshape.default,
    aten.unsqueeze.default,
    aten.squeeze.default,
    aten.squeeze.dim,
    aten.squeeze.dims,
}
_FILLED = {aten.full.default, aten.zeros.default, aten.ones.default}
_LIKE = {aten.ones_like.default, aten.zeros_like.default, aten.full_like.default}
# Element by element, though torch does not say so.
_ELEMENTWISE = _LIKE | {
    aten._to_copy.default,
    aten.alias.default,
    aten.detach.default,
    aten.expand.default,
    aten.softplus_backward.default,
}
_SLICES = {aten.slice.Tensor, aten.slice_backward.default}
_TRIANGLES = {aten.tril.default, aten.triu.default}
# f(x, dims, keepdim)
_REDUCTIONS = {
    aten.sum.dim_IntList,
    aten.amax.default,
    aten.amin.default,
    aten.all.dims,
    aten.all.dim,
    aten.any.dims,
    aten.any.dim,
    aten.mean.dim,
    aten.logsumexp.default,
}
# What mixes the entries along one dimension and no others, by the place of that dimension among the arguments.
_ALONG = {
    aten._softmax.default: 1,
    aten._log_softmax.default: 1,
    aten._safe_softmax.default: 1,
    aten._softmax_backward_data.default: 2,
    aten._log_softmax_backward_data.default: 2,
    aten.cumsum.default: 1,
    aten.gather.default: 1,
    aten.scatter.value: 1,
    aten.scatter.src: 1,
    aten.scatter_add.default: 1,
    aten.cat.default: 1,
}
# A row of the result by its dimension: those of the factors, of which None is read as a whole.
_MATRICES: dict[Any, list[tuple[int | None, int | None]]] = {
    aten.mm.default: [(0, None), (None, 1)],
    aten.mv.default: [(0, None)],
    aten.bmm.default: [(0, 0), (1, None), (None, 2)],
}
_CONTRACTED = {aten.mm.default: (1, 0), aten.mv.default: (1, 0), aten.bmm.default: (2, 1), aten.dot.default: (0, 0)}
_WITH_SUMMAND = {aten.addmm.default: aten.mm.default, aten.baddbmm.default: aten.bmm.default}


@dataclass(frozen=True)
class Rows:
    """Where a tensor has its rows.

    Attributes:
        dim: the dimension, of `outer · count · inner` entries.
        count: of rows.
        start: the number of the first, among those of all tensors that share them.
        outer, inner: what is flattened with the rows.
    """

    dim: int
    count: int
    start: int = 0
    outer: int = 1
    inner: int = 1

    @property
    def alone(self) -> bool:
        """Whether the dimension has nothing but rows."""
        return self.outer == self.inner == 1

    def span(self, low: int, high: int) -> tuple[int, int]:
        """Which of its own rows have the numbers `low … high − 1`."""
        return min(max(low - self.start, 0), self.count), min(max(high - self.start, 0), self.count)


Needs = dict[Node, Rows | None]  # None: all rows


def needs(node: Call, rows: Rows) -> Needs | None:
    """Which rows of its arguments a call needs for any of its result's; None where nothing is known, or rows are mixed."""
    target, args = node.target, node.args
    operands = [a for a in node.all_input_nodes if is_tensor(a)]
    if len(operands) != len(node.all_input_nodes):
        return None
    if target in _FILLED:
        return {}
    if target in RESHAPES:
        there = _viewed(rows, val(node).shape, val(args[0]).shape)
        return None if there is None else {args[0]: there}
    if target is aten.permute.default:
        return {args[0]: replace(rows, dim=args[1][rows.dim] % val(node).ndim)}
    if target in _SLICES:
        return _sliced(node, rows)
    if target in _TRIANGLES:
        return {args[0]: rows} if rows.alone and rows.dim >= val(node).ndim - 2 else None
    if target in _REDUCTIONS:
        return _unreduced(node, rows)
    if target in _ALONG:
        alike = all(_size(a, rows.dim) == _size(node, rows.dim) and val(a).ndim == val(node).ndim for a in operands)
        return dict.fromkeys(operands, rows) if alike and rows.dim != _along(node) else None
    if target in _MATRICES:
        return _of_factors(args, _MATRICES[target], rows)
    if target in _WITH_SUMMAND:
        factors = _of_factors(args[1:], _MATRICES[_WITH_SUMMAND[target]], rows)
        return None if factors is None else _joined([factors, _broadcast(args[0], node, rows)])
    if target in _ELEMENTWISE or (isinstance(target, torch._ops.OpOverload) and torch.Tag.pointwise in target.tags):
        return _joined([_broadcast(a, node, rows) for a in operands])
    return None


def carried(node: Call, argument: Node, rows: Rows) -> Rows | None:
    """The rows of a call's result where an argument has these; None where it has none."""
    if not is_tensor(node):
        return None
    if node.target in RESHAPES:
        there = _viewed(rows, val(argument).shape, val(node).shape)
        candidates = [] if there is None else [there]
    elif node.target in _SLICES and rows.dim == _slice(node)[0]:
        _, begin, stop = _slice(node)
        shorter = Rows(rows.dim, stop - begin, rows.start + begin)
        candidates = [shorter if node.target is aten.slice.Tensor else Rows(rows.dim, _size(node, rows.dim), rows.start - begin)]
    else:
        candidates = [replace(rows, dim=dim) for dim in range(val(node).ndim)]
    for there in candidates:
        if there.count > 1 and _size(node, there.dim) == there.outer * there.count * there.inner:
            needed = needs(node, there)
            if needed is not None and needed.get(argument) == rows:
                return there
    return None


def contracted(node: Call, argument: Node, rows: Rows) -> Needs | None:
    """Which rows of its arguments a call sums over, where it sums over those of one; None where it does not."""
    target, args = node.target, node.args
    if target is aten.sum.default and not node.kwargs:
        return {args[0]: rows}
    if target is aten.sum.dim_IntList:
        return {args[0]: rows} if rows.dim in _reduced(node) else None
    if target in _CONTRACTED:
        left, right = _CONTRACTED[target]
        if (args[0] is argument and rows.dim == left) or (args[1] is argument and rows.dim == right):
            return _joined([{args[0]: replace(rows, dim=left)}, {args[1]: replace(rows, dim=right)}])
    return None


def retold(node: Call, rows: Rows | None, low: int, high: int) -> tuple[Any, list[Any]]:
    """The operation and arguments of a call for a tile of its rows; those that are nodes are left for the caller to replace."""
    target, args = node.target, list(node.args)
    if rows is None:
        return target, args
    first, last = rows.span(low, high)
    shape = list(val(node).shape)
    shape[rows.dim] = rows.outer * (last - first) * rows.inner
    if target in RESHAPES:
        return aten.view.default, [args[0], shape]
    if target is aten.expand.default:
        return target, [args[0], shape, *args[2:]]
    if target in _FILLED:
        return target, [shape, *args[1:]]
    if target in _TRIANGLES:
        diagonal = args[1] if len(args) > 1 else 0
        return target, [args[0], diagonal + (first if rows.dim == len(shape) - 2 else -first)]
    if target is aten.slice_backward.default:
        args[1] = shape
    if target in _SLICES and _slice(node)[0] == rows.dim:
        there: Any = (needs(node, rows) or {})[args[0]]
        part, whole = (rows, there) if target is aten.slice.Tensor else (there, rows)
        first, last = part.span(low, high)
        offset = part.start + first - whole.start - whole.span(low, high)[0]
        return target, [*args[: 1 if target is aten.slice.Tensor else 2], rows.dim, offset, offset + last - first, 1]
    return target, args


def _viewed(rows: Rows, before: Sequence[int], after: Sequence[int]) -> Rows | None:
    """Where rows are after a view to another shape."""
    stride = rows.inner * math.prod(before[rows.dim + 1 :])
    for dim in range(len(after)):
        behind = math.prod(after[dim + 1 :])
        if behind and stride and stride % behind == 0 and (behind * after[dim]) % (stride * rows.count) == 0:
            return Rows(dim, rows.count, rows.start, behind * after[dim] // (stride * rows.count), stride // behind)
    return None


def _sliced(node: Call, rows: Rows) -> Needs | None:
    source = node.args[0]
    dim, begin, stop = _slice(node)
    if len(node.args) > (4 if node.target is aten.slice.Tensor else 5) and node.args[-1] != 1:
        return None
    if dim != rows.dim:
        return {source: rows}
    if not rows.alone:
        return None
    if node.target is aten.slice.Tensor:
        return {source: Rows(dim, _size(source, dim), rows.start - begin)}
    return {source: Rows(dim, stop - begin, rows.start + begin)}


def _slice(node: Call) -> tuple[int, int, int]:
    """The dimension, first and last index of a slice, or of what a slice is put back into."""
    back = node.target is aten.slice_backward.default
    whole = node if back else node.args[0]
    given = list(node.args[2 if back else 1 :]) + [None] * 3
    dim = (given[0] or 0) % val(whole).ndim
    begin, stop, _ = slice(given[1], given[2]).indices(_size(whole, dim))
    return dim, begin, max(begin, stop)


def _reduced(node: Call) -> list[int]:
    dims = node.args[1] if len(node.args) > 1 else None
    dims = [dims] if isinstance(dims, int) else dims
    rank = val(node.args[0]).ndim
    return [dim % rank for dim in dims] if dims else list(range(rank))


def _unreduced(node: Call, rows: Rows) -> Needs | None:
    reduced = _reduced(node)
    if len(node.args) > 2 and node.args[2]:
        return None if rows.dim in reduced else {node.args[0]: rows}
    left = [dim for dim in range(val(node.args[0]).ndim) if dim not in reduced]
    return {node.args[0]: replace(rows, dim=left[rows.dim])}


def _along(node: Call) -> int:
    place = _ALONG[node.target]
    return (node.args[place] if len(node.args) > place else 0) % val(node).ndim


def _of_factors(factors: Sequence[Node], by_dim: list[tuple[int | None, int | None]], rows: Rows) -> Needs | None:
    dims = by_dim[rows.dim]
    return _joined([{f: None if dim is None else replace(rows, dim=dim)} for f, dim in zip(factors, dims, strict=True)])


def _broadcast(argument: Node, node: Node, rows: Rows) -> Needs:
    dim = rows.dim - (val(node).ndim - val(argument).ndim)
    return {argument: replace(rows, dim=dim) if dim >= 0 and _size(argument, dim) == _size(node, rows.dim) else None}


def _joined(parts: Sequence[Needs]) -> Needs | None:
    """The needs of several arguments; None where one argument, read twice, would have to give different rows."""
    found: Needs = {}
    for part in parts:
        for argument, rows in part.items():
            if found.setdefault(argument, rows) != rows:
                return None
    return found


def _size(node: Node, dim: int) -> int:
    return val(node).shape[dim]
