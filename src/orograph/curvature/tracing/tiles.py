"""Large tensors of a traced graph computed tile by tile, so that they are never there as a whole.

The logits of n tokens over a vocabulary of V, and what the loss makes of them, are n × V numbers each; attention's are n² for
every head. Yet what goes into them is small, and so is what comes out: rows, such as the gradient by the hidden states, and sums
over rows, such as that by the vocabulary's matrix. A *region* is made of such tensors, connected, that have rows in common
(`rows.py`). It is unrolled: for one tile of rows after another, its calls on slices of its inputs; then results are put together,
and sums added up. Where something comes back into a region after having left it, as the gradient comes back into attention, it is
unrolled once for each time, and what was there before is computed again (as in Dao et al. 2022, whose tiles are of the value and
gradient; here they are also of their tangents). Residuals do not hold what tiles compute.
"""

import functools
import itertools
import operator
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch.fx import Graph, Node
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.node import map_arg
from torch.utils._pytree import tree_leaves

from orograph.curvature.tracing.graph import aten, depends_on, emit, is_tensor, val
from orograph.curvature.tracing.rows import Needs, Rows, carried, contracted, needs, retold
from orograph.memory import format_bytes

_MOST = 64  # tiles of a region; every one is calls of its own
_SHARES = (8, 2)  # a region's tensors have 1/8 of the largest at least; or, where that joins the whole network, the half
_JOINING = {aten.cat.default, aten.stack.default, aten.add.Tensor, aten.clone.default, aten._unsafe_view.default}
_LOSSES: dict[Any, Callable[..., Any]] = {
    target: torch._decomp.decomposition_table[target]
    for loss in (aten.nll_loss_forward, aten.nll_loss2d_forward, aten.nll_loss_backward, aten.nll_loss2d_backward)
    for target in [loss.default]
}


@dataclass
class Region:
    """Tensors with rows in common.

    Attributes:
        rows: of each; of the outermost too, which are results.
        sums: what is summed over rows, with the rows of its arguments.
        refusal: why it cannot be tiled; empty if it can.
    """

    rows: dict[Node, Rows]
    sums: dict[Node, Needs] = field(default_factory=dict)
    refusal: str = ""

    @property
    def count(self) -> int:
        return max(each.count for each in self.rows.values())


@dataclass(frozen=True)
class Tiling:
    """What was done to a graph: how many tiles each region has, and what stays as large as it is, in words."""

    counts: tuple[int, ...] = ()
    whole: str = ""

    def __str__(self) -> str:
        tiles = f"in up to {max(self.counts)} tiles of rows, vectors one by one" if self.counts else ""
        return ", ".join(part for part in (tiles, self.whole) if part)


def tile(graph: Graph, batch: set[Node], size: int) -> Tiling:
    """Unrolls, in place, the regions of all tensors of more bytes than `size` that depend on the batch; says what it did.

    Calls in tiles have `meta["tile"]`.
    """
    _take_apart(graph, size)
    counts: list[int] = []
    whole, refused = "", set[torch.Size]()
    while True:
        seeds = [node for node in _seeds(graph, batch, size) if val(node).shape not in refused]
        if not seeds:
            return Tiling(tuple(counts), whole)
        seed = max(seeds, key=lambda node: val(node).numel())
        region = _region(seed)
        if region.refusal:
            refused.add(val(seed).shape)
            words = f"{format_bytes(val(seed).nbytes)} of {_name(seed)} {tuple(val(seed).shape)} in one piece, {region.refusal}"
            whole = whole or words
        else:
            counts.append(min(_MOST, region.count, -(-val(seed).nbytes // size)))
            _unroll(graph, region, counts[-1])


def _seeds(graph: Graph, batch: set[Node], size: int) -> list[Node]:
    """Large results of computations on the batch, no views; none that is a part of the results themselves."""
    end = next(node for node in graph.nodes if node.op == "output")
    ends, stack = set[Node](), list(end.all_input_nodes)
    while stack:
        node = stack.pop()
        if node not in ends:
            ends.add(node)
            if node.target in _JOINING or _is_view(node):
                stack.extend(node.all_input_nodes)
    local = depends_on(graph, batch)
    return [
        node
        for node in graph.nodes
        if node in local
        and node.op == "call_function"
        and is_tensor(node)
        and val(node).nbytes > size
        and not (node in ends or _is_view(node) or "tile" in node.meta)
    ]


def _is_view(node: Node) -> bool:
    return isinstance(node.target, torch._ops.OpOverload) and node.target.is_view


def _take_apart(graph: Graph, size: int) -> None:
    """Losses of large tensors become gathers and sums, of which tiles can be taken; means become sums."""
    for node in list(graph.nodes):
        if not any(is_tensor(a) and val(a).nbytes > size for a in node.all_input_nodes):
            continue
        if node.target in _LOSSES:
            results = _inlined(node, _LOSSES[node.target])
            if is_tensor(node):
                node.replace_all_uses_with(results[0])
            for user in list(node.users):
                user.replace_all_uses_with(results[user.args[1]])
                graph.erase_node(user)
            graph.erase_node(node)
        elif node.target in (aten.mean.default, aten.mean.dim) and not node.kwargs:
            total: Any = aten.sum.default if node.target is aten.mean.default else aten.sum.dim_IntList
            share = val(node).numel() / val(node.all_input_nodes[0]).numel()
            node.replace_all_uses_with(emit(node, aten.mul.Scalar, emit(node, total, *node.args), share))
            graph.erase_node(node)


def _inlined(node: Node, function: Callable[..., Any]) -> list[Node]:
    """What a call gives by another function of the same arguments, traced into the graph in front of it."""
    nodes = node.all_input_nodes

    def run(*tensors: Any) -> Any:
        known = dict(zip(nodes, tensors, strict=True))
        args, kwargs = map_arg((node.args, node.kwargs), lambda n: known[n])
        return tree_leaves(function(*args, **kwargs))

    inner = make_fx(run, tracing_mode="fake")(*[val(n) for n in nodes]).graph
    copies: dict[Node, Node] = {}
    given = iter(nodes)
    for each in inner.nodes:
        if each.op == "placeholder":
            copies[each] = next(given)
        elif each.op == "call_function":
            args, kwargs = map_arg((each.args, each.kwargs), lambda n: copies[n])
            target = each.target
            if target is aten.new_full.default:  # which reads of its first argument no more than the kind
                like = val(args[0])
                target, args, kwargs = aten.full.default, args[1:], {"dtype": like.dtype, "device": like.device}
            copies[each] = emit(node, target, *args, **kwargs)
    end: Any = next(each for each in inner.nodes if each.op == "output")
    return [copies[each] for each in end.args[0]]


def _region(seed: Node) -> Region:
    """The region around a tensor, with the most rows that it can have; with the reason, where there is none."""
    refused: list[Region] = []
    for share in _SHARES:
        is_large = functools.partial(_is_large, seed, share)
        same = [node for node in _linked(seed, is_large) if val(node).numel() == val(seed).numel()]
        for node in {val(node).shape: node for node in same}.values():  # views may tell apart what others flatten
            places = [Rows(dim, count) for dim, count in enumerate(val(node).shape) if count > 1]
            regions = [_grown(node, rows, is_large) for rows in places]
            if found := [region for region in regions if not region.refusal and seed in region.rows]:
                return max(found, key=lambda region: region.count)
            refused += [region for region in regions if region.refusal]
    return max(refused, key=lambda region: len(region.rows))


def _linked(seed: Node, is_large: Callable[[Node], bool]) -> list[Node]:
    """Large tensors that a way through large tensors joins, the nearest first."""
    return _reached([seed], lambda node: [a for a in (*node.all_input_nodes, *node.users) if is_large(a)])


def _reached(start: Iterable[Node], following: Callable[[Node], Iterable[Node]]) -> list[Node]:
    """All that can be reached from some nodes, the nearest first."""
    found = list(start)
    seen = set(found)
    for node in found:  # which grows
        new = [other for other in dict.fromkeys(following(node)) if other not in seen]
        seen.update(new)
        found.extend(new)
    return found


def _is_large(seed: Node, share: int, node: Node) -> bool:
    given = node
    while _is_view(given):
        given = given.all_input_nodes[0]
    computed = given.op == "call_function" and is_tensor(node)
    return computed and val(node).numel() * share > val(seed).numel()


def _grown(start: Node, rows: Rows, is_large: Callable[[Node], bool]) -> Region:
    """All that is joined to a tensor with these rows by large tensors, or by ones with an entry or so a row."""
    region = Region({start: rows})
    thin = val(start).numel() // max([1, *(size for dim, size in enumerate(val(start).shape) if dim != rows.dim)])
    stack = [start]
    while stack:
        node = stack.pop()
        needed = needs(node, region.rows[node])
        if needed is None:
            return replace(region, refusal=f"for {_name(node)} mixes its rows")
        for argument, there in needed.items():
            if there is not None and argument not in region.rows and is_large(argument):
                region.rows[argument] = there
                stack.append(argument)
        large = is_large(node)
        if not large and val(node).numel() > thin:
            continue  # a result
        for user in node.users:
            if user in region.rows or user in region.sums:
                continue
            there = carried(user, node, region.rows[node])
            if there is not None:
                region.rows[user] = there
                stack.append(user)
            elif large:
                summed = contracted(user, node, region.rows[node])
                if summed is None:
                    return replace(region, refusal=f"for {_name(user)} reads across its rows")
                region.sums[user] = summed
    for node in [*region.rows, *region.sums]:
        for argument, there in _needs(region, node).items():
            if region.rows.get(argument, there) != there:
                return replace(region, refusal=f"for {_name(node)} reads two different rows at once")
    return region


def _needs(region: Region, node: Node) -> Needs:
    found = region.sums[node] if node in region.sums else needs(node, region.rows[node])
    assert found is not None  # or the region would have been refused
    return found


def _levels(graph: Graph, region: Region) -> dict[Node, int]:
    """How often what a node depends on has left the region: of its own nodes, the unrolling that has them first."""
    inside = region.rows.keys() | region.sums.keys()
    level: dict[Node, int] = {}
    for node in graph.nodes:
        level[node] = max(
            (level[a] + (a in region.sums or (a in region.rows and node not in inside)) for a in node.all_input_nodes),
            default=0,
        )
    return level


def _unroll(graph: Graph, region: Region, count: int) -> None:
    """Replaces a region by as many tiles, and puts everything else where it can be computed."""
    level = _levels(graph, region)
    order = {node: place for place, node in enumerate(graph.nodes)}
    end = next(node for node in graph.nodes if node.op == "output")
    inside = region.rows.keys() | region.sums.keys()
    results: dict[int, list[Node]] = {}
    for node in sorted(inside, key=order.__getitem__):
        if node in region.sums or any(user not in inside for user in node.users):
            results.setdefault(level[node], []).append(node)
    done: dict[Node, Node] = {}
    placed = set[Node]()

    def place(node: Node) -> None:
        """Puts a node, or the tiles that it comes from, behind what it needs."""
        stack = [(node, False)]
        while stack:
            node, ready = stack.pop()
            if node in placed or node.op != "call_function":
                continue
            group = results[level[node]] if node in inside else [node]
            members = _cone(group, region, order) if node in inside else {}
            if not ready:
                stack.append((node, True))
                read = [a for each in (members or group) for a in each.all_input_nodes]
                stack += [(a, False) for a in read if a not in members and a not in placed]
            elif node not in inside:
                end.prepend(node)
                placed.add(node)
            else:
                done.update(_tiles(end, region, group, members, done, count))
                placed.update(group)

    for node in order:
        if node.op == "call_function" and node not in inside:
            place(node)
    for node, new in done.items():
        for user in [user for user in node.users if user not in inside]:
            user.replace_input_with(node, new)
    for node in sorted(inside, key=order.__getitem__, reverse=True):
        graph.erase_node(node)


def _cone(results: Iterable[Node], region: Region, order: dict[Node, int]) -> dict[Node, None]:
    """What is computed in tiles for these results, in order."""
    found = _reached(results, lambda node: [a for a in node.all_input_nodes if a in region.rows])
    return dict.fromkeys(sorted(found, key=order.__getitem__))


def _tiles(
    end: Node, region: Region, results: list[Node], members: Iterable[Node], done: dict[Node, Node], count: int
) -> dict[Node, Node]:
    """Computes members tile by tile; gives what stands for each result."""
    low = min(rows.start for rows in region.rows.values())
    high = max(rows.start + rows.count for rows in region.rows.values())
    edges = [low + (high - low) * i // count for i in range(count + 1)]
    parts: dict[Node, list[Node]] = {node: [] for node in results}
    totals: dict[Node, Node] = {}
    for first, last in itertools.pairwise(edges):
        copies: dict[Any, Node] = {}
        for node in members:
            given: dict[Node, Node] = {}
            for argument, there in _needs(region, node).items():
                if argument in region.rows:
                    given[argument] = copies[argument]
                elif there is None:
                    given[argument] = done.get(argument, argument)
                else:
                    if (argument, there) not in copies:
                        copies[argument, there] = _slice(end, done.get(argument, argument), there, first, last)
                    given[argument] = copies[argument, there]
            target, args = retold(node, region.rows.get(node), first, last)
            copies[node] = emit(end, target, *map_arg(tuple(args), given.__getitem__), **map_arg(node.kwargs, given.__getitem__))
            copies[node].meta["tile"] = True
            if node in region.sums and node in parts:
                total = totals.get(node)
                totals[node] = copies[node] if total is None else emit(end, aten.add.Tensor, total, copies[node])
            elif node in parts:
                parts[node].append(copies[node])
    return totals | {node: _together(end, part, region.rows[node], val(node).shape) for node, part in parts.items() if part}


def _slice(end: Node, node: Node, rows: Rows, low: int, high: int) -> Node:
    """A tile of something that is there as a whole."""
    first, last = rows.span(low, high)
    shape = list(val(node).shape)
    factors = [*shape[: rows.dim], rows.outer, rows.count, rows.inner, *shape[rows.dim + 1 :]]
    shape[rows.dim] = rows.outer * (last - first) * rows.inner
    if rows.alone:
        steps: list[tuple[Any, ...]] = [(aten.slice.Tensor, rows.dim, first, last)]
    else:
        steps = [(aten.view.default, factors), (aten.slice.Tensor, rows.dim + 1, first, last), (aten.reshape.default, shape)]
    for target, *arguments in steps:
        node = emit(end, target, node, *arguments)
        node.meta["tile"] = True
    return node


def _together(end: Node, parts: list[Node], rows: Rows, shape: torch.Size) -> Node:
    """Tiles of rows as one tensor."""
    if rows.alone:
        return emit(end, aten.cat.default, parts, rows.dim)
    before, behind = shape[: rows.dim], shape[rows.dim + 1 :]
    split = [
        emit(
            end,
            aten.view.default,
            part,
            [*before, rows.outer, val(part).shape[rows.dim] // (rows.outer * rows.inner), rows.inner, *behind],
        )
        for part in parts
    ]
    return emit(end, aten.reshape.default, emit(end, aten.cat.default, split, rows.dim + 1), list(shape))


def _name(node: Node) -> str:
    while node.target is operator.getitem:
        node = node.all_input_nodes[0]
    return str(node.target).removeprefix("aten.").removesuffix(".default")
