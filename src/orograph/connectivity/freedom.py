"""What of a network may be put in another order, or rotated, without a change of its function: found in its forward pass.

Units of one kind change places together, wherever they are read or written: in every layer that adds to a residual stream, in the
statistics of a normalisation, in the blocks of a flattened image. Heads of attention, and groups of channels, change places as a
whole, and each has a freedom of its own inside. Where nothing but products stands between, as between queries and keys or
between values and outputs, it is any rotation (an orthogonal matrix), or any invertible matrix if these are asked for; else a
permutation. Units that meet themselves in a product, as in xᵀx or where one weight reads and writes, are rotated at most.
"""

import contextlib
import itertools
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.backends import mkldnn
from torch.func import functionalize
from torch.fx import GraphModule, Node
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._pytree import tree_flatten, tree_unflatten

from orograph.boundary import said
from orograph.brief import brief
from orograph.calling import call, evaluation_mode
from orograph.connectivity.axes import Axes, Axis, plain
from orograph.connectivity.axis_reading import Reading
from orograph.connectivity.axis_rules import read
from orograph.errors import ConfigurationError
from orograph.geometry.normalisation import running
from orograph.intake import Inputs
from orograph.objective import Objective
from orograph.parameters import first_names


@brief
@dataclass(frozen=True)
class Block:
    """A part of a parameter or buffer, with a dimension for every kind of units in it.

    Attributes:
        name: of the parameter or buffer.
        where: its place in that.
        shape: the size of each kind.
        kinds: of units; None for those that stay.
        duals: whether these units stand on the other side of a product: as A mixes units, its inverse transposed mixes these.
        counts: whether it is part of θ.
    """

    name: str
    where: tuple[slice, ...]
    shape: tuple[int, ...]
    kinds: tuple[int | None, ...]
    duals: tuple[bool, ...]
    counts: bool


@brief
@dataclass(frozen=True)
class Inner:
    """What each of several hosts holds: units of its own, which change places within it, or are rotated, or mixed invertibly."""

    kind: int
    size: int
    rotates: bool
    mixes: bool


@brief
@dataclass(frozen=True)
class Group:
    """Units that change places as a whole, and what they hold.

    Attributes:
        name: of the weight in which they are first met.
        kind: of the units; None where there is one host only, the network.
        size: how many.
        stays: whether this leaves them in their places, and moves what they hold alone: held, or moved by another group.
        inner: what each holds.
    """

    name: str
    kind: int | None
    size: int
    stays: bool
    inner: tuple[Inner, ...]

    @property
    def kinds(self) -> set[int]:
        """All kinds of units that this moves."""
        return {each.kind for each in self.inner} | ({self.kind} if self.kind is not None and not self.stays else set())


@brief
@dataclass(frozen=True, eq=False)
class Freedom:
    """The symmetries of a network that alignment goes through.

    Attributes:
        groups: in the order in which the network first reads their weights.
        blocks: of θ and of running statistics, that some group moves.
        held: why units stay that are neither inputs nor outputs, by the name of a weight.
        graph: the forward pass, of parameters and buffers and then of the inputs.
        inputs: its nodes for these.
        reading: what the dimensions of each value in it run over.
        first_names: of tied parameters, by each of their names.
    """

    groups: list[Group]
    blocks: list[Block]
    held: dict[str, str]
    graph: GraphModule
    inputs: list[Node]
    reading: Reading
    first_names: dict[str, str]


def freedom_of(objective: Objective, inputs: Inputs, *, invertible: bool = False) -> Freedom:
    """Traces the network on a few samples and reads what may move.

    Args:
        objective: gives the model.
        inputs: the samples.
        invertible: whether units between which nothing but products stands are mixed by any invertible matrix, not rotated alone.

    Raises:
        ConfigurationError: it cannot be traced, or nothing in it can move.
    """
    names, module = _traced(objective, inputs)
    own, statistics = objective.layout.names, set(running(objective.model))
    free = {*own, *statistics}
    placeholders = [node for node in module.graph.nodes if node.op == "placeholder"]
    given = {
        node.name: "the inputs" if name is None else "" if name in free else f"'{name}', which is not in θ"
        for node, name in itertools.zip_longest(placeholders, names)
    }
    try:
        reading = read(module.graph, given)
    except GuardOnDataDependentSymNode as error:  # so many entries as some values are
        raise _without_graph(error) from error
    nodes = dict(zip(names, placeholders, strict=False))
    position = {node: place for place, node in enumerate(_in_order(module))}
    known = sorted((name for name in names if name in free), key=lambda name: position.get(nodes[name], len(position)))
    axes = reading.axes
    named = {name: [axes.resolved(axis) for axis in reading.dims(nodes[name])] for name in known}
    movable = {
        atom
        for name in own
        for axis in named[name]
        for atom in axes.atoms(axis)
        if atom not in axes.reasons and axes.length((atom,)) > 1
    }
    host = _hosts(reading, named, movable)
    kinds = movable | set(host.values())
    blocks = [block for name in known for block in blocks_of(axes, name, named[name], kinds, counts=name in own)]
    groups = _groups(reading, blocks, host, invertible=invertible)
    held = _held(axes, {name: named[name][:1] for name in own})
    if not groups:
        every = {name: named[name] for name in own}
        why = held or _held(axes, every) or _held(axes, every, positions=True)
        where = next((f"'{name}' is held by {reason}" for name, reason in why.items()), "all are inputs or outputs")
        raise ConfigurationError(
            f"this model cannot be aligned, for no hidden units of it could change places ({where}): it takes a layer whose "
            "units are treated alike, and all of whose weights are in θ."
        )
    moved = {kind for group in groups for kind in group.kinds}
    moving, given_nodes = [block for block in blocks if moved & set(block.kinds)], placeholders[len(names) :]
    return Freedom(groups, moving, held, module, given_nodes, reading, first_names(objective.model))


def _traced(objective: Objective, inputs: Inputs) -> tuple[list[str], GraphModule]:
    """The forward pass as a graph of parameters and buffers, in the order of the names given, and of the inputs."""
    tensors = objective.tensors(objective.theta)
    leaves, spec = tree_flatten(inputs)

    def function(*arguments: Tensor) -> list[Tensor]:
        rest = iter(arguments[len(tensors) :])
        whole = tree_unflatten([next(rest) if isinstance(leaf, Tensor) else leaf for leaf in leaves], spec)
        outputs = call(objective.model, dict(zip(tensors, arguments, strict=False)), whole)
        return list(objective.readout.read(outputs)[0])

    try:
        with evaluation_mode(objective.model), torch.no_grad(), _taken_apart():
            arguments = [*tensors.values(), *(leaf for leaf in leaves if isinstance(leaf, Tensor))]
            module = _graph(function, arguments)
            if any(map(_is_mutable, module.graph.nodes)):
                # Functions of the user's own, of which not all can be freed of what is written in place, are gone by now.
                module = _graph(functionalize(module), arguments)
            module.graph.eliminate_dead_code()  # what nobody reads joins units that have nothing to do with each other
            module.recompile()
            return list(tensors), module
    except Exception as error:  # whatever a module does that has no graph
        raise _without_graph(error) from error


def _without_graph(error: Exception) -> ConfigurationError:
    reason = "what it does depends on values" if isinstance(error, GuardOnDataDependentSymNode) else said(error)
    return ConfigurationError(
        f"this model cannot be aligned, for its forward pass has no graph of its own ({reason}): make it do the same operations "
        "whatever the values are."
    )


@contextlib.contextmanager
def _taken_apart() -> Iterator[None]:
    """Within, attention and recurrent layers are products and sums in place of fused kernels."""
    with sdpa_kernel(SDPBackend.MATH), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # setting a switch of oneDNN tells of another one
        with mkldnn.flags(enabled=False):
            yield


def _graph(function: Any, arguments: list[Tensor]) -> GraphModule:
    return make_fx(function, tracing_mode="fake", _allow_non_fake_inputs=True)(*arguments)


def _is_mutable(node: Node) -> bool:
    return isinstance(node.target, torch._ops.OpOverload) and node.target._schema.is_mutable


def _in_order(module: GraphModule) -> list[Any]:
    """Placeholders as they are first read."""
    return list(dict.fromkeys(each for node in module.graph.nodes for each in node.all_input_nodes if each.op == "placeholder"))


def blocks_of(axes: Axes, name: str, dimensions: list[Axis], told: set[int], *, counts: bool) -> Iterable[Block]:
    """A tensor in parts, each with a dimension for every kind of units that are told apart; None for all others."""
    borders = []
    for axis in map(axes.resolved, dimensions):
        ends = list(itertools.accumulate((axes.length(segment) for segment in axis), initial=0))
        borders.append([(slice(a, b), segment) for (a, b), segment in zip(itertools.pairwise(ends), axis, strict=True)])
    for choice in itertools.product(*borders):
        shape: list[int] = []
        kinds: list[int | None] = []
        duals: list[bool] = []
        for _, segment in choice:
            for atom in segment:
                size, kind = axes.length((atom,)), plain(atom) if plain(atom) in told else None
                if kind is None and kinds and kinds[-1] is None:
                    shape[-1] *= size
                else:
                    shape.append(size)
                    kinds.append(kind)
                    duals.append(atom < 0)
        yield Block(name, tuple(where for where, _ in choice), tuple(shape), tuple(kinds), tuple(duals), counts)


def _groups(reading: Reading, blocks: list[Block], host: dict[int, int], *, invertible: bool) -> list[Group]:
    axes = reading.axes
    bent = {atom for axis in reading.bent for atom in axes.atoms(axis)}
    bent |= {kind for block in blocks if not block.counts for kind in block.kinds if kind is not None}
    first: dict[int, str] = {}
    for block in blocks:
        for kind in block.kinds:
            if kind is not None:
                first.setdefault(kind, block.name)

    def inner(kind: int) -> Inner:
        mixes = invertible and kind not in bent and kind not in axes.alike
        return Inner(kind, axes.length((kind,)), kind not in bent and not mixes, mixes)

    held_by: dict[int, list[Inner]] = {}
    for kind in first:
        held_by.setdefault(host.get(kind, kind), [])
        if kind in host:
            held_by[host[kind]].append(inner(kind))
    groups: list[Group] = []
    for kind, held in held_by.items():
        size, stays = axes.length((kind,)), kind in axes.reasons
        if kind not in bent and not held and not stays:  # of one host, which is the network
            groups.append(Group(_named(first[kind], groups), None, 1, True, (inner(kind),)))
            continue
        together, apart = _parted(held, blocks)
        groups.append(Group(_named(first[kind], groups), kind, size, stays, tuple(together)))
        groups += [Group(_named(first[each.kind], groups), kind, size, True, (each,)) for each in apart]
    return groups


def _named(name: str, groups: list[Group]) -> str:
    count = sum(group.name.split(" ")[0] == name for group in groups)
    return f"{name} ({count})" if count else name


def _parted(held: list[Inner], blocks: list[Block]) -> tuple[list[Inner], list[Inner]]:
    """What hosts hold, of which a single step finds the best; and the rest, which stands in one weight with some of that."""
    together: list[Inner] = []
    for each in sorted(held, key=lambda each: (each.rotates or each.mixes, each.size), reverse=True):
        if not any({each.kind, other.kind} <= set(block.kinds) for block in blocks for other in together):
            together.append(each)
    return [each for each in held if each in together], [each for each in held if each not in together]


def _hosts(reading: Reading, named: dict[str, list[Axis]], movable: set[int]) -> dict[int, int]:
    """By the kind of units that has a freedom of its own within each of some others: those others.

    Wherever the first are, the second are too, once; and a product that sums over the first has the second in common.
    """
    axes = reading.axes
    together: dict[int, set[int]] = {}
    for dimensions in reading.met:
        for choice in set(itertools.product(*(axes.resolved(axis) for axis in dimensions))):
            counts = Counter(plain(atom) for segment in choice for atom in segment)
            once = {atom for atom, count in counts.items() if count == 1}
            for atom in counts.keys() & movable:
                together[atom] = together.get(atom, once) & (once if atom in once else set())
    for axis, left, right in reading.crossed:
        apart = set.intersection(*({atom for each in side for atom in axes.atoms(each)} for side in (left, right)))
        for atom in axes.atoms(axis) & together.keys():
            together[atom] = together[atom] - apart
    choices = [
        [tuple(map(plain, segment)) for segment in choice]
        for dimensions in named.values()
        for choice in itertools.product(*dimensions)
    ]
    places: dict[int, int] = {}
    for atom in (atom for choice in choices for segment in choice for atom in segment):
        places.setdefault(atom, len(places))
    found: dict[int, int] = {}
    for atom in sorted(together.keys() & places.keys(), key=places.__getitem__):
        others = [other for other in together[atom] & places.keys() if other != atom]
        # Of two that are always together, the first in the weights is the host.
        others = [other for other in others if atom not in together.get(other, ()) or places[other] < places[atom]]
        if others:
            found[atom] = min(others, key=places.__getitem__)
    for other in set(found.values()):  # one within another is as deep as it goes
        found.pop(other, None)
    return found


def _held(axes: Axes, named: dict[str, list[Axis]], *, positions: bool = False) -> dict[str, str]:
    """Why units of some dimensions of a weight stay, where they are neither inputs nor outputs, nor places of a kernel."""
    usual = {"the inputs", "the outputs"} | (set() if positions else {"the positions of a convolution"})
    found: dict[str, str] = {}
    for name, dimensions in named.items():
        for axis in dimensions:
            for atom in sorted(axes.atoms(axis)):
                reason = axes.reasons.get(atom, "")
                if reason and reason not in usual:
                    found.setdefault(name, reason)
    return found
