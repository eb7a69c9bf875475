"""A traced graph cut into stages by what each node depends on, so that nothing is computed twice.

A curvature product depends on the parameters θ, a tangent v and a batch. A node belongs to one of four stages:

    static      θ alone                 once per θ
    prologue    v (and θ)               once per product
    primal      a batch (and θ)         once per θ and batch; what of it the tangent stage reads are the residuals
    tangent     v and a batch           once per product and batch

Inside a stage, sums are fused with the product they follow (`addmm`, `addcmul`), temporaries that nobody reads again are
overwritten, and the results are added straight into an accumulator of length P: a large GEMM that yields a parameter's part of
the result writes there itself.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.fx import Graph, GraphModule, Node
from torch.utils._pytree import tree_leaves

from orograph.curvature.tracing.graph import Call, aten, emit, evaluate, is_tensor, same, val

_IN_PLACE = {
    aten.mul.Tensor: aten.mul_.Tensor,
    aten.mul.Scalar: aten.mul_.Scalar,
    aten.add.Tensor: aten.add_.Tensor,
    aten.sub.Tensor: aten.sub_.Tensor,
    aten.neg.default: aten.neg_.default,
    aten.addcmul.default: aten.addcmul_.default,
    aten.addmm.default: aten.addmm_.default,
    aten.baddbmm.default: aten.baddbmm_.default,
}
_INTO_FIRST = {
    aten.sigmoid_backward.default: aten.sigmoid_backward.grad_input,
    aten.tanh_backward.default: aten.tanh_backward.grad_input,
    aten.threshold_backward.default: aten.threshold_backward.grad_input,
}
_SMALL = 1 << 16  # a GEMM with so few results may add sample by sample to what it starts from: rounding grows with their number


@dataclass(frozen=True)
class Stage:
    """One part of a traced computation, compiled to a Python function over ATen calls.

    Attributes:
        run: takes the accumulators, if any, and then one tensor for each of `inputs`; gives one for each of `outputs`.
        inputs, outputs: names of values in the whole graph.
        kept_bytes: what the outputs hold that is not input.
        peak_bytes: the most that lives at once, outputs included, inputs not.
        kernels: how many calls compute something.
        moved_bytes: what these read and write, all together.
    """

    run: Callable[..., tuple[Tensor, ...]]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    kept_bytes: int
    peak_bytes: int
    kernels: int
    moved_bytes: int


def extract(members: set[Node], outputs: Sequence[Node]) -> tuple[Graph, list[Node]]:
    """A graph of the members that the outputs need, and the outside nodes that it reads (its placeholders, in order)."""
    needed: set[Node] = set()
    stack = list(outputs)
    while stack:
        node = stack.pop()
        if node not in needed:
            needed.add(node)
            if node in members:
                stack.extend(node.all_input_nodes)
    order = list(outputs[0].graph.nodes) if outputs else []
    inputs = [node for node in order if node in needed and node not in members]
    graph, copies = Graph(), {}
    for node in inputs:
        copies[node] = graph.placeholder(node.name)
    for node in order:
        if node in needed and node in members:
            copies[node] = graph.node_copy(node, lambda n: copies[n])
    for node, copy in copies.items():
        copy.meta = dict(node.meta)
    graph.output(tuple(copies[node] for node in outputs))
    return graph, inputs


def annotate(graph: Graph) -> None:
    """Recomputes every fake value from those of the placeholders, so that shared storage shows as shared."""
    for node in graph.nodes:
        if node.op == "call_function":
            node.meta["val"] = evaluate(node)


def compile_stage(graph: Graph, inputs: Sequence[str], outputs: Sequence[str], *, accumulate: Sequence[int] = ()) -> Stage:
    """Fuses, overwrites and compiles a stage's graph.

    Args:
        graph: its placeholders are `inputs`, its results `outputs`; its fake values share storage as the real ones do.
        inputs, outputs: names of values in the whole graph.
        accumulate: indices of results `(…, P)` that are added into accumulators, passed first to `run`, instead of returned.
    """
    end: Call = next(node for node in graph.nodes if node.op == "output")
    results: list[Node] = list(end.args[0])
    first = next(iter(graph.nodes))
    accumulators = []
    for index in accumulate:
        with graph.inserting_before(first):
            accumulators.append(graph.placeholder(f"accumulator_{index}"))
        fake: Any = val(results[index])
        with fake.fake_mode:
            accumulators[-1].meta["val"] = torch.empty(fake.shape, dtype=fake.dtype, device=fake.device)
    for index, accumulator in zip(accumulate, accumulators, strict=True):
        end.args = (tuple(node for i, node in enumerate(results) if i not in accumulate),)
        _add_into(accumulator, results[index], end)
    graph.eliminate_dead_code(is_impure_node=_writes)
    _fuse_sums(graph)
    _overwrite_temporaries(graph)
    kept, peak = _sizes(graph)
    moved = _moved(graph)
    for node in graph.nodes:
        if node.target is aten.view.default:  # kernels may give other strides than the fake ones; then a copy is due
            node.target = aten.reshape.default
    kept_names = tuple(name for i, name in enumerate(outputs) if i not in accumulate)
    module = GraphModule(torch.nn.Module(), graph)
    return Stage(module.forward, tuple(inputs), kept_names, kept, peak, len(moved), sum(moved))


def _writes(node: Node) -> bool:
    if node.op in ("placeholder", "output"):
        return True
    return isinstance(node.target, torch._ops.OpOverload) and node.target._schema.is_mutable


def _add_into(accumulator: Node, result: Call, end: Node) -> None:
    """`accumulator += result`, part by part where the result is a concatenation."""
    if result.target is not aten.cat.default or result.users:
        _add_part(_Place(accumulator), result, end, users=0)
        return
    dim = int(result.args[1]) if len(result.args) > 1 else 0
    start = 0
    for part in result.args[0]:
        stop = start + val(part).shape[dim]
        _add_part(_Place(accumulator, ((aten.slice.Tensor, dim, start, stop),)), part, end, users=1)
        start = stop


@dataclass(frozen=True)
class _Place:
    """A view of an accumulator, made by steps `(operation, arguments…)` when it is needed."""

    accumulator: Node
    steps: tuple[tuple[Any, ...], ...] = ()

    def then(self, *step: Any) -> "_Place | None":
        """One view further; None if memory does not allow that view."""
        place = _Place(self.accumulator, (*self.steps, step))
        try:
            fake: Any = val(self.accumulator)
            with fake.fake_mode:
                for operation, *arguments in place.steps:
                    fake = operation(fake, *arguments)
        except (RuntimeError, ValueError):
            return None
        return place

    def emit(self, before: Node) -> Node:
        node = self.accumulator
        for operation, *arguments in self.steps:
            node = emit(before, operation, node, *arguments)
        return node


def _add_part(place: _Place, part: Call, end: Node, users: int) -> None:
    """Adds one part where it arises; through views and sums down to the GEMMs."""
    after = part.next if part.op == "call_function" else end
    deeper: _Place | None = None
    if part.op == "call_function" and len(part.users) <= users:
        if part.target is aten.view.default:
            deeper = place.then(aten.view.default, list(val(part.args[0]).shape))
        elif part.target is aten.permute.default:
            dims = list(part.args[1])
            deeper = place.then(aten.permute.default, [dims.index(d) for d in range(len(dims))])
        elif part.target is aten.add.Tensor and not part.kwargs and part.args[0] is not part.args[1]:
            if all(is_tensor(a) and same(a, part) for a in part.args):
                for term in part.args:
                    _add_part(place, term, end, users=1)
                return
        elif part.target is aten.mm.default and val(part).numel() > _SMALL:
            emit(after, aten.addmm_.default, place.emit(after), *part.args)
            return
    if deeper is not None:
        _add_part(deeper, part.args[0], end, users=1)
    elif val(part).numel():
        emit(after, aten.add_.Tensor, place.emit(after), part)


def _fuse_sums(graph: Graph) -> None:
    """`x + a·b` becomes one call: `addmm`, `baddbmm`, `addcmul`, or `add` with a scalar."""
    for node in list(graph.nodes):
        if node.target not in (aten.add.Tensor, aten.sub.Tensor) or node.kwargs:
            continue
        sign = 1 if node.target is aten.add.Tensor else -1
        candidates = [(node.args[0], node.args[1])]
        if sign == 1:
            candidates.append((node.args[1], node.args[0]))
        # A GEMM beats an elementwise product: it is the one that can start from what is there.
        candidates.sort(key=lambda pair: getattr(pair[1], "target", None) not in (aten.mm.default, aten.bmm.default))
        for other, term in candidates:
            if not (is_tensor(other) and is_tensor(term)) or other is term or len(term.users) != 1 or not same(term, node):
                continue
            fused = _fused(node, other, term, sign)
            if fused is not None:
                if val(fused).stride() != val(node).stride():
                    graph.erase_node(fused)
                    continue
                fused.meta["val"] = val(node)  # views of it share its storage
                node.replace_all_uses_with(fused)
                graph.erase_node(node)
                graph.erase_node(term)
                break


def _fused(node: Node, other: Node, term: Call, sign: int) -> Node | None:
    if val(other).dtype != val(node).dtype:
        return None
    if term.target is aten.mm.default and sign == 1 and val(other).ndim <= 2:
        return emit(node, aten.addmm.default, other, *term.args)
    if term.target is aten.bmm.default and sign == 1 and same(other, node):
        return emit(node, aten.baddbmm.default, other, *term.args)
    if not same(other, node):
        return None
    if term.target is aten.mul.Tensor and all(is_tensor(a) and val(a).dtype == val(node).dtype for a in term.args):
        return emit(node, aten.addcmul.default, other, *term.args, **({} if sign == 1 else {"value": -1}))
    if term.target is aten.mul.Scalar:
        return emit(node, aten.add.Tensor, other, term.args[0], alpha=sign * term.args[1])
    return None


def _overwrite_temporaries(graph: Graph) -> None:
    """Elementwise results go where their first argument lay, if nobody reads that again and no input or result shares it."""
    order = {node: position for position, node in enumerate(graph.nodes)}
    held = {node: _storages(node) for node in graph.nodes}
    last: dict[int, int] = {}
    fixed: set[int] = set()
    sharing: dict[int, list[Node]] = {}
    for node, storages in held.items():
        for storage in storages:
            sharing.setdefault(storage, []).append(node)
            last[storage] = max([last.get(storage, 0), *(order[user] for user in node.users)])
            if node.op == "placeholder" or any(user.op == "output" for user in node.users):
                fixed.add(storage)
    for node in order:
        if node.target not in _IN_PLACE and node.target not in _INTO_FIRST:
            continue
        candidates = [0, 1] if node.target in (aten.mul.Tensor, aten.add.Tensor) and not node.kwargs else [0]
        for index in candidates:
            source = node.args[index]
            if not isinstance(source, Node) or not _may_hold(source, node):
                continue
            (storage,), (mine,) = held[source], held[node]
            others = {s for a in node.all_input_nodes if a is not source for s in held[a]}
            if storage in fixed or mine in fixed or storage in others or last[storage] > order[node]:
                continue
            if node.target in _INTO_FIRST:
                node.kwargs = {"grad_input": source, **node.kwargs}
                node.target = _INTO_FIRST[node.target]
            else:
                node.target = _IN_PLACE[node.target]
                node.args = node.args if index == 0 else (node.args[1], node.args[0])
            last[storage] = last[mine]  # the result and its views now live there
            for other in sharing.pop(mine):
                held[other] = other.meta["storages"] = [storage if s == mine else s for s in held[other]]
                sharing[storage].append(other)
            break


def _may_hold(source: Node, node: Node) -> bool:
    """Whether a tensor has the shape and memory layout of another, and its storage to itself."""
    if not is_tensor(source) or not same(source, node):
        return False
    tensor = val(source)
    dense = tensor.numel() * tensor.element_size() == tensor.untyped_storage().nbytes()
    return dense and tensor.stride() == val(node).stride()


def _storages(node: Node) -> list[int]:
    if "storages" in node.meta:
        return node.meta["storages"]
    value = node.meta.get("val")
    leaves = value if isinstance(value, tuple | list) else [value]
    return [leaf.untyped_storage()._cdata for leaf in leaves if isinstance(leaf, Tensor)]


def _moved(graph: Graph) -> list[int]:
    """Bytes that each kernel reads and writes; views move nothing and are none."""
    return [
        sum(
            leaf.nbytes
            for each in (node, *node.all_input_nodes)
            for leaf in tree_leaves(each.meta.get("val"))
            if isinstance(leaf, Tensor)
        )
        for node in graph.nodes
        if isinstance(node.target, torch._ops.OpOverload) and not node.target.is_view
    ]


def _sizes(graph: Graph) -> tuple[int, int]:
    """Bytes that the results hold, and the most that lives at once; placeholders count for nothing."""
    sizes: dict[int, int] = {}
    last: dict[int, int] = {}
    born: dict[int, int] = {}
    given: set[int] = set()
    end = next(node for node in graph.nodes if node.op == "output")
    for position, node in enumerate(graph.nodes):
        leaves = node.meta.get("val")
        tensors = [leaf for leaf in (leaves if isinstance(leaves, tuple | list) else [leaves]) if isinstance(leaf, Tensor)]
        for storage, tensor in zip(_storages(node), tensors, strict=True):
            if node.op == "placeholder":
                given.add(storage)
            born.setdefault(storage, position)
            last[storage] = max(last.get(storage, 0), position)
            sizes.setdefault(storage, tensor.untyped_storage().nbytes())
        for argument in node.all_input_nodes:
            for storage in _storages(argument):
                last[storage] = position
    kept = {s for node in end.all_input_nodes for s in _storages(node)} - given
    change = [0] * (len(graph.nodes) + 1)
    for storage, size in sizes.items():
        if storage not in given:
            change[born[storage]] += size
            if storage not in kept:
                change[last[storage] + 1] -= size
    live = peak = 0
    for step in change:
        live += step
        peak = max(peak, live)
    return sum(sizes[s] for s in kept), peak
