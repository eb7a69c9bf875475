"""Calls on tiles of rows against rows of the same calls on all of them, which torch computes; sums against sums."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.fx import Node
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.node import map_arg

from orograph.curvature.tracing.graph import aten
from orograph.curvature.tracing.rows import Rows, carried, contracted, needs, retold

A = torch.randn(2, 6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
B = torch.randn(2, 5, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
ROW, PLACES = A[:, :, :1].clone(), torch.arange(12).view(2, 6, 1) % 5

# name: (call, tensors, how many dimensions of the result have rows)
CALLS: dict[str, tuple[Callable[..., Tensor], tuple[Tensor, ...], int]] = {
    "elementwise": (lambda a, r: aten.mul.Tensor(a, r), (A, ROW), 3),
    "scalars": (lambda a: aten.where.self(aten.gt.Scalar(a, 0), a, torch.zeros((), dtype=a.dtype)), (A,), 3),
    "of the same shape": (lambda a: aten.full_like.default(a, 2.0), (A,), 3),
    "constant": (lambda a: aten.full.default([2, 6, 5], 2.0), (A,), 3),
    "flattened": (lambda a: aten.view.default(a, [12, 5]), (A,), 1),
    "unflattened": (lambda a: aten.view.default(a, [2, 3, 2, 5]), (A,), 4),
    "unsqueezed": (lambda a: aten.unsqueeze.default(a, 1), (A,), 3),
    "permuted": (lambda a: aten.permute.default(a, [2, 0, 1]), (A,), 3),
    "expanded": (lambda r: aten.expand.default(r, [2, 6, 5]), (ROW,), 3),
    "without the last": (lambda a: aten.slice.Tensor(a, 1, 0, -1), (A,), 3),
    "without the first": (lambda a: aten.slice.Tensor(a, 1, 1, 9223372036854775807), (A,), 3),
    "put back": (lambda a: aten.slice_backward.default(a, [2, 9, 5], 1, 2, 8, 1), (A,), 3),
    "lower triangle": (lambda a: aten.tril.default(a, 1), (A,), 2),
    "upper triangle": (lambda a: aten.triu.default(a), (A,), 2),
    "summed": (lambda a: aten.sum.dim_IntList(a, [2]), (A,), 2),
    "largest": (lambda a: aten.amax.default(a, [0, 2], True), (A,), 1),
    "softmax": (lambda a: aten._softmax.default(a, -1, False), (A,), 2),
    "its derivative": (lambda a: aten._softmax_backward_data.default(a, a, 1, a.dtype), (A,), 2),
    "gathered": (lambda a, p: aten.gather.default(a, 2, p), (A, PLACES), 2),
    "scattered": (lambda a, p: aten.scatter.value(a, 2, p, -1.0), (A, PLACES), 2),
    "beside one another": (lambda a, r: aten.cat.default([a, r], 2), (A, ROW), 2),
    "matrix product": (lambda a, b: aten.mm.default(a, b), (A[0], B[0]), 2),
    "of matrix and vector": (lambda a, b: aten.mv.default(a, b), (A[0], B[0, :, 0].clone()), 1),
    "matrix products": (lambda a, b: aten.bmm.default(a, b), (A, B), 3),
    "with a summand": (lambda a, b, c: aten.addmm.default(c, a, b), (A[0], B[0], torch.ones(6).double()), 2),
    "with summands": (lambda a, b, r: aten.baddbmm.default(r, a, b), (A, B, ROW), 3),
}
SUMS = {
    "of all": (lambda a: aten.sum.default(a), (A,)),
    "along rows": (lambda a: aten.sum.dim_IntList(a, [0, 1]), (A,)),
    "matrix product": (lambda a, b: aten.mm.default(a, b), (A[0], B[0])),
    "matrix products": (lambda a, b: aten.bmm.default(a, b), (A, B)),
}


def traced(function: Callable[..., Tensor], tensors: tuple[Tensor, ...]) -> tuple[Node, dict[Node, Tensor]]:
    """The last call of a function, with the value of all nodes before."""
    graph = make_fx(function, tracing_mode="fake")(*tensors).graph
    given, values, last = iter(tensors), dict[Node, Tensor](), None
    for node in graph.nodes:
        if node.op == "placeholder":
            values[node] = next(given)
        elif node.op == "call_function":
            values[node], last = evaluated(node.target, node.args, node.kwargs, values), node
        elif node.op == "get_attr":
            values[node] = torch.zeros((), dtype=torch.float64)
    assert last is not None
    return last, values


def evaluated(target: Any, args: Any, kwargs: Any, values: dict[Node, Tensor]) -> Any:
    args, kwargs = map_arg((tuple(args), dict(kwargs)), values.__getitem__)
    return target(*args, **kwargs)


def tile(tensor: Tensor, rows: Rows, low: int, high: int) -> Tensor:
    """Rows of a tensor, by indices."""
    shape = tensor.shape
    size = shape[rows.dim]
    numbers = torch.arange(size) // rows.inner % rows.count + rows.start
    return tensor.index_select(rows.dim, torch.arange(size)[(numbers >= low) & (numbers < high)])


@pytest.mark.parametrize("name", CALLS)
def test_tiles_of_rows_are_rows_of_the_whole(name: str) -> None:
    function, tensors, dims = CALLS[name]
    node, values = traced(function, tensors)
    whole, found = values[node], 0
    for dim, count in enumerate(whole.shape):
        for rows in {Rows(dim, count), Rows(dim, count // 2, 3, outer=2), Rows(dim, count // 2, 3, inner=2)}:
            if rows.outer * rows.count * rows.inner != count or rows.count < 2 or (needed := needs(node, rows)) is None:
                continue
            found += rows.alone
            for low, high in ((rows.start, rows.start + 2), (rows.start + 1, rows.start + rows.count)):
                given = {a: values[a] if there is None else tile(values[a], there, low, high) for a, there in needed.items()}
                torch.testing.assert_close(
                    evaluated(*retold(node, rows, low, high), node.kwargs, given),
                    tile(whole, rows, low, high),
                    rtol=0,
                    atol=1e-14,
                )
            for argument, there in needed.items():
                assert there is None or carried(node, argument, there) == rows
    assert found == dims


@pytest.mark.parametrize("name", SUMS)
def test_sums_over_tiles_add_up(name: str) -> None:
    function, tensors = SUMS[name]
    node, values = traced(function, tensors)
    argument = node.all_input_nodes[0]
    found = 0
    for dim, count in enumerate(values[argument].shape):
        rows = Rows(dim, count)
        needed = contracted(node, argument, rows)
        if needed is None:
            continue
        found += 1
        parts = [
            evaluated(
                node.target, node.args, node.kwargs, {a: tile(values[a], there or rows, *span) for a, there in needed.items()}
            )
            for span in ((0, 1), (1, count))
        ]
        torch.testing.assert_close(sum(parts), values[node], rtol=0, atol=1e-13)
    assert found


def test_what_mixes_rows_has_none() -> None:
    node, _ = traced(lambda a: aten.flip.default(a, [1]), (A,))  # no rule
    assert needs(node, Rows(1, 6)) is None
    node, _ = traced(lambda a: aten._softmax.default(a, 1, False), (A,))
    assert needs(node, Rows(1, 6)) is None
    node, _ = traced(lambda a: aten.mm.default(a, a), (A[0, :5].clone(),))  # a row and all rows of one matrix
    assert needs(node, Rows(0, 5)) is None
    node, _ = traced(lambda a: aten.slice.Tensor(a, 1, 0, 6, 2), (A,))
    assert needs(node, Rows(1, 3)) is None
