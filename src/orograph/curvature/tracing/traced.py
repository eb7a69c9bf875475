"""Curvature products traced once for a model, a loss and a batch shape, then run as plain lists of tensor operations.

`make_fx` records the forward route of a formula (`formulas.py`) with fake tensors, so that tracing computes nothing; θ, the
tangent, the batch and every buffer are inputs of the graph, so that a new θ needs no new trace. The graph is simplified
(`simplify.py`), its sums and products are regrouped (`regroup.py`), large tensors are computed in tiles (`tiles.py`), and it is
cut into stages (`stages.py`): a product costs its prologue and tangent stages only. Blocks of tangents and cohorts of models are
the same graph, widened (`widen.py`).
"""

import contextlib
import copy
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.func import functionalize
from torch.fx import Graph, Node
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten, tree_unflatten

from orograph.curvature.formulas import Formula
from orograph.curvature.tracing.graph import SWEEPS, depends_on, is_small
from orograph.curvature.tracing.regroup import collapse_products, gather_small_factors, gather_sums
from orograph.curvature.tracing.simplify import simplify
from orograph.curvature.tracing.stages import Stage, annotate, compile_stage, extract
from orograph.curvature.tracing.tiles import Tiling, tile
from orograph.curvature.tracing.widen import widen
from orograph.intake import Batch
from orograph.objective import Objective

Values = dict[str, Tensor]  # values of the graph, by name

alone = threading.RLock()  # operators in several threads may share a graph, and fake tensors know of one thread at a time
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=alone._at_fork_reinit)  # type: ignore[attr-defined]

_READERS = {
    Tensor.tolist,
    Tensor.numpy,
    Tensor.__array__,
    Tensor.__dlpack__,
    Tensor.data_ptr,
    Tensor.storage,
    Tensor.__repr__,
}
_DECOMPOSITIONS = {torch.ops.aten._efficientzerotensor.default: torch.zeros}  # whose fake is on no device


class Reading(TorchFunctionMode):
    """Notices numbers that leave tensors out of torch's sight, as lists, arrays or by their address.

    Attributes:
        found: whether any did.
    """

    found = False

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function in _READERS:
            self.found = True
            if function is Tensor.tolist and torch._C._functorch.is_functorch_wrapped_tensor(args[0]):  # ends the process
                raise RuntimeError("the module or loss reads a tensor as a list, where it has no numbers.")
        return function(*args, **(kwargs or {}))


class Trace:
    """The products of one formula for batches of one shape.

    Attributes:
        evaluation: `(gradient accumulator, …) → ` Σℓ and the residuals.
        tangent: `(product accumulator, …)`, from the residuals and a tangent.
        models: M for a cohort, whose θ, tangents and results are `(M, P)`; else None.
        tile_bytes: of the largest tensors, which are computed in tiles (`tiles.py`); 0: as they are.
        tiling: what was computed in tiles.
        checked: the route by which a product of it was checked where it was made; empty if it was not.
    """

    checked = ""

    def __init__(
        self, objective: Objective, formula: Formula, batch: Batch, *, models: int | None = None, tile_bytes: int = 0
    ) -> None:
        self.models, self.tile_bytes = models, tile_bytes
        leaves, _ = tree_flatten(batch)
        graph, self._attributes = record(objective, formula, batch)
        names = list(objective.constants)
        placeholders = [node for node in graph.nodes if node.op == "placeholder"]
        if models is not None:
            before = len(self._attributes)
            mask = [False] * before + [True, True] + [False] * (len(placeholders) - before - 2)
            graph = widen(graph, mask, models)
            simplify(graph)
            gather_sums(graph)
            _rename(graph, placeholders, "cohort_")
            placeholders = [node for node in graph.nodes if node.op == "placeholder"]
        given = placeholders[: len(self._attributes)]
        self._attributes = dict(zip(map(_name, given), self._attributes.values(), strict=True))
        theta, vector, *rest = placeholders[len(given) :]
        constants, batch_nodes = rest[: len(names)], rest[len(names) :]
        self._theta, self._vector = _name(theta), _name(vector)
        self._constants = {_name(node): name for node, name in zip(constants, names, strict=True)}
        self._leaves = [_name(node) for node in batch_nodes]
        self._tensor_leaf = [isinstance(leaf, Tensor) for leaf in leaves]
        self._objective: Objective | None = objective
        self._blocks: dict[int, tuple[Stage, Stage]] = {}

        moving, local = depends_on(graph, {vector}), depends_on(graph, set(batch_nodes))
        collapse_products(graph, moving)
        gather_small_factors(graph, depends_on(graph, {vector}), depends_on(graph, set(batch_nodes)))
        self.tiling = tile(graph, set(batch_nodes), tile_bytes) if tile_bytes else Tiling()
        annotate(graph)
        moving, local = depends_on(graph, {vector}), depends_on(graph, set(batch_nodes))
        end = next(node for node in graph.nodes if node.op == "output")
        self._product, gradient, value = end.args[0]
        calls = {node for node in graph.nodes if node.op == "call_function"}
        parts = {
            "tangent": (calls & moving & local) | {self._product},
            "prologue": (calls & moving) - local - {self._product},
            "primal": (calls & local) - moving,
            "static": calls - local - moving,
        }
        tiles = {node for node in calls if "tile" in node.meta}  # computed again wherever they are read
        parts["tangent"] |= tiles
        parts["primal"] |= tiles - moving
        self._parts = parts
        _, tangent_inputs = extract(parts["tangent"], [self._product])
        residuals = _worth_keeping([node for node in tangent_inputs if node in parts["primal"]], set(batch_nodes), parts)
        _, tangent_inputs = extract(parts["tangent"], [self._product])
        self._residuals, self._batch_nodes = residuals, batch_nodes
        directions = [node for node in tangent_inputs if node in parts["prologue"]]
        _, prologue_inputs = extract(parts["prologue"], directions)
        _, primal_inputs = extract(parts["primal"], [gradient, value, *residuals])
        shared = [n for n in dict.fromkeys([*tangent_inputs, *prologue_inputs, *primal_inputs]) if n in parts["static"]]
        self.static = _stage(parts["static"], shared)
        self.prologue = _stage(parts["prologue"], directions)
        self.evaluation = _stage(parts["primal"], [gradient, value, *residuals], accumulate=[0])
        self.tangent = _stage(parts["tangent"], [self._product], accumulate=[0])

    def of(self, objective: Objective | None) -> "Trace":
        """The same graph for another objective that computes the same; for None, without any, to be kept."""
        other = copy.copy(self)
        other._objective = objective
        return other

    @property
    def bare(self) -> bool:
        """Whether it reads no tensors but those of its objective."""
        return not self._attributes

    @cached_property
    def primal(self) -> Stage:
        """The residuals alone."""
        with alone:
            return _stage(self._parts["primal"], self._residuals)

    @property
    def residual_bytes(self) -> int:
        """What one batch keeps between products."""
        return self.evaluation.kept_bytes

    @property
    def peak_bytes(self) -> int:
        """The most that evaluating one batch, or one product with it after recomputing its residuals, needs at once."""
        return max(self.evaluation.peak_bytes, self.residual_bytes + self.tangent.peak_bytes)

    def at(self, theta: Tensor) -> Values:
        """All that depends on θ alone."""
        assert self._objective is not None
        known = {name: self._objective.constants[constant] for name, constant in self._constants.items()}
        known |= {self._theta: theta, **self._attributes}
        return known | _run(self.static, known)

    def batch(self, batch: Batch) -> Values:
        """A batch as inputs of the graph."""
        leaves, _ = tree_flatten(batch)
        return dict(
            zip(self._leaves, [leaf for leaf, there in zip(leaves, self._tensor_leaf, strict=True) if there], strict=True)
        )

    def evaluate(self, point: Values, batch: Values, gradient: Tensor) -> tuple[Tensor, Values]:
        """Σℓ and the residuals of a batch; the gradient of Σℓ is added to `gradient`."""
        known = point | batch
        value, *residuals = self.evaluation.run(gradient, *[known[name] for name in self.evaluation.inputs])
        return value, dict(zip(self.evaluation.outputs[1:], residuals, strict=True))

    def residuals(self, point: Values, batch: Values) -> Values:
        """What the products with a batch read, the batch aside."""
        return _run(self.primal, point | batch)

    def direction(self, point: Values, vector: Tensor) -> Values:
        """All that depends on a tangent and θ alone."""
        known = point | {self._vector: vector}
        return {self._vector: vector} | _run(self.prologue, known)

    def multiply(self, total: Tensor, known: Values) -> None:
        """Adds the product to `total`, where `known` has θ's, the batch's, the residuals' and the tangent's values."""
        self.tangent.run(total, *[known[name] for name in self.tangent.inputs])

    def block(self, width: int) -> tuple[Stage, Stage]:
        """Prologue and tangent stages for `width` tangents at once, `(width, P)`."""
        with alone:
            if width not in self._blocks:
                graph, inputs = extract(self._parts["tangent"] | self._parts["prologue"], [self._product])
                wide = widen(graph, [_name(node) == self._vector for node in inputs], width)
                simplify(wide)
                gather_sums(wide)
                annotate(wide)
                _rename(wide, inputs, f"block{width}_")
                new = [node for node in wide.nodes if node.op == "placeholder"]
                local = depends_on(
                    wide, {b for a, b in zip(inputs, new, strict=True) if a in self._residuals or a in self._batch_nodes}
                )
                calls = {node for node in wide.nodes if node.op == "call_function"}
                end = next(node for node in wide.nodes if node.op == "output")
                product = end.args[0][0]
                early = calls - local - {product}
                late = (calls & local) | {product}
                _, needs = extract(late, [product])
                prologue = _stage(early, [node for node in needs if node in early])
                self._blocks[width] = prologue, _stage(late, [product], accumulate=[0])
            return self._blocks[width]

    def block_direction(self, point: Values, block: Tensor) -> Values:
        """`direction` for a block `(b, P)`."""
        prologue, _ = self.block(len(block))
        return {self._vector: block} | _run(prologue, point | {self._vector: block})

    def block_multiply(self, total: Tensor, known: Values) -> None:
        """`multiply` for a block: `total` is `(b, P)`."""
        _, tangent = self.block(len(total))
        tangent.run(total, *[known[name] for name in tangent.inputs])


def record(objective: Objective, formula: Formula, batch: Batch) -> tuple[Graph, dict[str, Tensor]]:
    """The simplified graph of a formula on a batch, and the tensors that the model or loss reads and that are no parameter.

    Its placeholders are those tensors, θ, v, the constants of the objective, and the batch's tensors; its results product,
    gradient and sum of losses.
    """
    names, constants = list(objective.constants), list(objective.constants.values())
    leaves, spec = tree_flatten(batch)
    tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]

    def function(theta: Tensor, vector: Tensor, *rest: Tensor) -> Any:
        given = iter(rest[len(names) :])
        bound = copy.copy(objective)
        bound.constants = dict(zip(names, rest[: len(names)], strict=True))
        inputs, targets = tree_unflatten([next(given) if isinstance(leaf, Tensor) else leaf for leaf in leaves], spec)
        return formula.forward(bound, theta, vector, inputs, targets)

    arguments = (objective.theta, torch.empty_like(objective.theta), *constants, *tensors)
    with sdpa_kernel(SDPBackend.MATH), Reading():
        try:
            module = _traced(function, arguments)
        except GuardOnDataDependentSymNode:  # the module looks at values, as of a mask, unless it is told that it is traced
            with _told():
                module = _traced(function, arguments)
        if any(_is_mutable(node) for node in module.graph.nodes):  # left by rules that forward mode runs out of sight
            module = _traced(module, arguments)
    graph = module.graph
    if any(_is_mutable(node) for node in graph.nodes):
        raise RuntimeError("the traced graph writes in place.")
    attributes: dict[str, Tensor] = {}
    mode = next(node for node in graph.nodes if node.op == "placeholder").meta["val"].fake_mode
    for node in [node for node in graph.nodes if node.op == "get_attr"]:
        if node.target not in attributes:
            attributes[str(node.target)] = getattr(module, str(node.target)).detach()
    first = next(iter(graph.nodes))
    for target, tensor in attributes.items():
        with graph.inserting_before(first):
            placeholder = graph.placeholder(f"attribute_{target}")
        placeholder.meta["val"] = mode.from_tensor(tensor)
        for node in [node for node in graph.nodes if node.op == "get_attr" and node.target == target]:
            node.replace_all_uses_with(placeholder)
            graph.erase_node(node)
    simplify(graph)
    return graph, attributes


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """Within, `torch.compiler.is_compiling()` says yes."""
    before = torch.compiler._is_compiling_flag
    torch.compiler._is_compiling_flag = True
    try:
        yield
    finally:
        torch.compiler._is_compiling_flag = before


def _traced(function: Any, arguments: Sequence[Tensor]) -> Any:
    return make_fx(functionalize(function), _DECOMPOSITIONS, tracing_mode="fake", _allow_non_fake_inputs=True)(*arguments)


def _is_mutable(node: Node) -> bool:
    return isinstance(node.target, torch._ops.OpOverload) and node.target._schema.is_mutable


def _name(node: Node) -> str:
    return node.meta.get("name", node.name)


def _rename(graph: Graph, placeholders: Sequence[Node], prefix: str) -> None:
    """Placeholders go by the names of those they stand for, all else under a prefix."""
    new = iter(placeholders)
    for node in graph.nodes:
        node.meta["name"] = _name(next(new)) if node.op == "placeholder" else prefix + node.name


def _worth_keeping(candidates: Sequence[Node], given: set[Node], parts: dict[str, set[Node]]) -> list[Node]:
    """Those residuals that are not one sweep away from others; the rest the tangent stage makes again for itself."""
    kept: list[Node] = []
    for node in candidates:
        arguments = node.all_input_nodes if node.target in SWEEPS else []
        at_hand = all(a in kept or a in given or a in parts["static"] or a.op == "placeholder" for a in arguments)
        if at_hand and sum(not is_small(a, node) for a in arguments) == 1:
            parts["tangent"].add(node)
        else:
            kept.append(node)
    return kept


def _stage(members: set[Node], outputs: Sequence[Node], *, accumulate: Sequence[int] = ()) -> Stage:
    graph, inputs = extract(members, outputs)
    return compile_stage(graph, [_name(n) for n in inputs], [_name(n) for n in outputs], accumulate=accumulate)


def _run(stage: Stage, known: Mapping[str, Tensor]) -> Values:
    return dict(zip(stage.outputs, stage.run(*[known[name] for name in stage.inputs]), strict=True))
