"""Units of two networks paired by what they compute on the same data (Li et al., 2016).

Two units that change places for each other compute nearly the same: Σ corr(x_a, y_b) is maximised over what may move, for every
group by itself, over all values of the forward pass in which no other group has units. Within heads it is a covariance, and what
is rotated is the solution of the orthogonal Procrustes problem; what is mixed by an invertible matrix is nearest in these values.
"""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.fx import Interpreter, Node
from torch.utils._pytree import tree_flatten

from orograph.calling import guarded
from orograph.connectivity.axis_moves import MOVES
from orograph.connectivity.axis_reading import name_of
from orograph.connectivity.elements import Element
from orograph.connectivity.freedom import Block, Freedom, Group, blocks_of
from orograph.connectivity.gains import Gains
from orograph.curvature.tracing.graph import depends_on
from orograph.geometry.normalisation import reestimated
from orograph.intake import Inputs
from orograph.objective import Objective


def matched_by_activity(
    objective: Objective, freedom: Freedom, inputs: Inputs, first: Float[Tensor, " P"], second: Float[Tensor, " P"]
) -> Element:
    """The element of the symmetries by which units correlate best.

    Each network has BatchNorm's statistics of its own, estimated anew.

    Args:
        objective: gives model and data.
        freedom: the symmetries, found on these inputs.
        inputs: of a batch.
        first: θ₁, `(P,)`.
        second: θ₂, `(P,)`.
    """
    statistics = reestimated(objective, torch.stack([first, second])) or {}
    leaves = [leaf for leaf in tree_flatten(inputs)[0] if isinstance(leaf, Tensor)]
    watched = _watched(freedom)
    values = []
    for place, theta in enumerate((first, second)):
        own = {**objective.tensors(theta), **{name: each[place] for name, each in statistics.items()}}
        watch = _Watch(freedom.graph, watched)
        with torch.no_grad():
            watch.run(*own.values(), *guarded(leaves))
        values.append(watch.seen)
    found: Element = {}
    for group in sorted(freedom.groups, key=lambda group: group.stays):  # what may move hosts goes before what they hold
        hosts = None if group.kind is None or not group.stays else found.get(group.kind)
        gains = Gains(group)
        for node, (seeing, block) in watched.items():
            if seeing is group:
                a, b = (each[node].reshape(block.shape).double() for each in values)
                a, b = _standardised(a, b, block, group)
                if hosts is not None:
                    b = b.index_select(block.kinds.index(group.kind), hosts.to(b.device))
                if a.isfinite().all() and b.isfinite().all():
                    gains.add(a, b, block, {})
        best = gains.best()
        found |= best if hosts is None else {kind: each[hosts.argsort()] for kind, each in best.items()}
    return found


class _Watch(Interpreter):
    """Runs a graph and keeps the values of some nodes."""

    def __init__(self, module: Any, watched: Mapping[Node, Any]) -> None:
        super().__init__(module)
        self._watched = watched
        self.seen: dict[Node, Tensor] = {}

    def run_node(self, n: Node) -> Any:
        value = super().run_node(n)
        if n in self._watched:
            self.seen[n] = value
        return value


def _watched(freedom: Freedom) -> dict[Node, tuple[Group, Block]]:
    """What is computed from the inputs and has units of one group alone."""
    axes, graph = freedom.reading.axes, freedom.graph.graph
    told = {kind for group in freedom.groups for kind in (*group.kinds, group.kind) if kind is not None}
    moving = depends_on(graph, set(freedom.inputs))
    found: dict[Node, tuple[Group, Block]] = {}
    for node in graph.nodes:
        if node not in moving or node.op != "call_function" or name_of(node) in MOVES:
            continue
        if not isinstance(node.meta.get("val"), Tensor) or not node.meta["val"].is_floating_point():
            continue
        blocks = list(blocks_of(axes, node.name, freedom.reading.dims(node), told, counts=False))
        if len(blocks) == 1:
            kinds = [kind for kind in blocks[0].kinds if kind is not None]
            for group in freedom.groups:
                if set(kinds) & group.kinds and set(kinds) <= {*group.kinds, group.kind} and len(set(kinds)) == len(kinds) <= 2:
                    found[node] = group, blocks[0]
    return found


def _standardised(a: Tensor, b: Tensor, block: Block, group: Group) -> tuple[Tensor, Tensor]:
    """Without the mean over samples and positions; of size one, each unit where units alone change places, else all of them.

    What is mixed has no size of its own: both are divided by the first one's.
    """
    rest = [place for place, kind in enumerate(block.kinds) if kind is None]
    one, other = (values - values.mean(rest, keepdim=True) for values in (a, b))
    over = rest if block.kinds.count(group.kind) and len(rest) == a.ndim - 1 and not group.stays else None
    sizes = [torch.linalg.vector_norm(centred, dim=over, keepdim=True) for centred in (one, other)]
    if any(inner.mixes and inner.kind in block.kinds for inner in group.inner):
        sizes[1] = sizes[0]
    one, other = (torch.where(size > 0, each / size, 0.0) for each, size in zip((one, other), sizes, strict=True))
    return one, other
