"""A traced network read once from its inputs to its outputs: what the dimensions of every tensor in it run over (`axes.py`).

Each operation has a rule that says how. One without a rule holds all units that it meets, which is always right.
"""

import operator
from collections.abc import Callable, Collection, Sequence
from typing import Any

from torch import Tensor
from torch.fx import Graph, Node

from orograph.connectivity.axes import Axes, Axis, Part

Rule = Callable[["Reading", Any, str], Any]  # gives None where it does not know
Rules = Callable[[str, Node], Rule | None]
Value = Any  # of a tensor: a list of `Axis | Part`, one a dimension; of several: a list of such
CONSTANT = "a tensor of one number"  # the value of what is the same in all places


class Reading:
    """A graph read from its placeholders to its results.

    Attributes:
        axes: the atoms.
        values: what the dimensions of every node run over.
        met: the dimensions that stand together in one tensor.
        bent: dimensions that an operation treats unit by unit, so that units may change places but not be mixed.
        crossed: what was contracted, and the dimensions of the two factors that are left.
    """

    def __init__(self, graph: Graph, given: dict[str, str], rules: Rules, keeping: Collection[str]) -> None:
        """
        Args:
            graph: of ATen operations with fake values.
            given: why the units of a placeholder stay where they are; empty for those that may move, by their names.
            rules: by an operation's name.
            keeping: names of those that make of tensors of one number another such.
        """
        self._rules, self._keeping = rules, keeping
        self.axes = Axes()
        self.values: dict[Node, Value] = {}
        self.met: list[list[Axis]] = []
        self.bent: list[Axis] = []
        self.crossed: list[tuple[Axis, list[Axis], list[Axis]]] = []
        for node in graph.nodes:
            if node.op == "placeholder":
                self.values[node] = self.fresh(node.meta["val"], given[node.name])
            elif node.op == "get_attr":
                self.values[node] = self.fresh(node.meta.get("val"), "a tensor that is no parameter")
            elif node.op == "output":
                for each in node.all_input_nodes:
                    self._hold(each, "the outputs")
            else:
                self.values[node] = self._read(node)
            self._meet(self.values.get(node))

    def dims(self, node: Any) -> list[Axis]:
        """Of a node that gives one tensor."""
        found = self.values[node]
        if found is CONSTANT:  # every order will do, and another at each use
            found = [self.axes.fresh(size) for size in shape_of(node)]
            self.bent += found
        for place, axis in enumerate(found):
            if isinstance(axis, Part):
                found[place] = self.axes.split(axis.base, axis.sizes, "a split into several dimensions")[axis.place]
        return found

    def _meet(self, value: Value) -> None:
        if value and isinstance(value[0], list):
            for each in value:
                self._meet(each)
        elif value and value is not CONSTANT:
            self.met.append(list(dict.fromkeys(axis.base if isinstance(axis, Part) else axis for axis in value)))

    def fresh(self, tensor: Any, reason: str = "") -> Value:
        if isinstance(tensor, Tensor):
            return [self.axes.fresh(size, reason) for size in tensor.shape]
        return [self.fresh(each, reason) for each in tensor] if isinstance(tensor, tuple | list) else None

    def _hold(self, node: Node, reason: str) -> None:
        value = self.values[node] if self.values[node] is not CONSTANT else []
        for each in value if value and isinstance(value[0], list) else [value]:
            for axis in each or ():
                self.axes.hold(axis.base if isinstance(axis, Part) else axis, reason)

    def _read(self, node: Any) -> Value:
        if node.target is operator.getitem:
            found = self.values[node.args[0]]
            return CONSTANT if found is CONSTANT else found[node.args[1]]
        name = name_of(node)
        given = [self.values[each] for each in node.all_input_nodes]
        if name in self._keeping and given and all(value is CONSTANT for value in given):
            return CONSTANT
        rule = self._rules(name, node)
        if rule is not None and (found := rule(self, node, name)) is not None:
            return found
        for each in node.all_input_nodes:
            self._hold(each, f"the operation '{name}'")
        return self.fresh(node.meta.get("val"), f"the operation '{name}'")

    def contract(self, one: Axis, other: Axis, left: list[Axis], right: list[Axis]) -> None:
        """A sum over common units, and what is left of the two factors."""
        self.axes.unify(one, self.axes.dual(other), "a product of tensors")
        self.crossed.append((one, left, right))

    def broadcast(self, tensors: Sequence[list[Axis]], why: str) -> list[Axis]:
        """The dimensions of what goes element by element, from the last to the first."""
        found: list[Axis] = []
        for place in range(1, max(map(len, tensors)) + 1):
            there = [dims[-place] for dims in tensors if len(dims) >= place and self.axes.size(dims[-place]) != 1]
            for other in there[1:]:
                self.axes.unify(there[0], other, why)
            found.insert(0, there[0] if there else self.axes.fresh(1))
        return found


def name_of(node: Any) -> str:
    """Of the operation, whatever kinds of arguments it takes."""
    return getattr(getattr(node.target, "overloadpacket", None), "__name__", str(node.target))


def argument(node: Any, place: int, name: str, default: Any = None) -> Any:
    return node.args[place] if len(node.args) > place else node.kwargs.get(name, default)


def shape_of(node: Any) -> list[int]:
    return list(node.meta["val"].shape)
