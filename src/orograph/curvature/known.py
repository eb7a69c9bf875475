"""Traces kept within a process: a second operator on the same computation gets the graph of the first, without tracing.

Tracing a network anew costs as much as tens of its products. What a graph is kept under is therefore no name and no class, but
the computation itself: the product of one vector by double backward, made once on the very batch, each of its ATen calls taken
down with its numbers, and its tensors by what they are (θ, the vector, the batch, the constants of the objective, or the result
of which call), with shapes, strides, dtypes and devices; what a call reads of other tensors is taken down by value. Two
networks that write the same ledger compute the same product of every θ, vector and batch, and the product that was made is what
a graph from the store has to give before it is used, besides the tests of every operator.

Nothing is kept where the ledger may not say all: functions with derivatives of their own (`autograd.Function`, operators of
other libraries), choices by values of tensors, numbers read as lists or arrays, random numbers, tensors that the network reads
and that are none of the objective's. What is kept are graphs alone, no tensor, module or loss of anybody's. Not on the disk:
what a stored graph is worth there would hang on every version of torch and of each operator, and reading it means to run code.
"""

import copy
import functools
import hashlib
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_leaves, tree_map

from orograph.curvature.formulas import FISHER, GAUSS_NEWTON, HESSIAN, Formula
from orograph.curvature.plain import REVERSE, check_product, tangent
from orograph.curvature.tracing.traced import Reading, Trace, alone
from orograph.intake import Batch
from orograph.objective import Objective

MOST = 32  # graphs; one of a ResNet takes a few MiB

_KEPT: "OrderedDict[Hashable, Trace]" = OrderedDict()
_FORMULAS = (HESSIAN, GAUSS_NEWTON, FISHER)  # others may close over anything
_UNSURE = {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape, torch.Tag.nondeterministic_seeded}
_PLAIN = (bool, int, float, complex, str, type(None), torch.dtype, torch.device, torch.layout, torch.memory_format)


def clear() -> None:
    """Forgets all graphs: the next operator traces."""
    with alone:
        _KEPT.clear()


def trace_of(objective: Objective, formula: Formula, batch: Batch, **settings: Any) -> Trace:
    """The trace of a formula on batches of this shape: of the store, where this computation was traced before.

    Args:
        objective: the loss.
        formula: of the products.
        batch: one batch.
        settings: what else a `Trace` takes.
    """
    found = _ledger(objective, formula, batch) if formula in _FORMULAS else None
    if found is None:
        return _recorded(objective, formula, batch, **settings)
    written, truth = found
    leaves, structure = tree_flatten(batch)
    others = tuple((type(leaf), repr(leaf)) for leaf in leaves if not isinstance(leaf, Tensor))
    key = written, formula.name, repr(structure), others, tuple(objective.constants), tuple(sorted(settings.items()))
    with alone:
        kept = _KEPT.pop(key, None)
    trace = None if kept is None else kept.of(objective)
    if trace is None or not _agrees(trace, objective, formula, batch, truth):
        trace = _recorded(objective, formula, batch, **settings)
        if not _agrees(trace, objective, formula, batch, truth):
            return trace
    trace.checked = REVERSE
    if trace.bare:
        with alone:
            _KEPT[key] = trace.of(None)
            while len(_KEPT) > MOST:
                _KEPT.popitem(last=False)
    return trace


def _recorded(objective: Objective, formula: Formula, batch: Batch, **settings: Any) -> Trace:
    with alone:
        return Trace(objective, formula, batch, **settings)


def _agrees(trace: Trace, objective: Objective, formula: Formula, batch: Batch, truth: Tensor) -> bool:
    """Whether a trace gives the product that was made."""
    try:
        check_product(trace, objective, formula, batch, trace.models, truth=truth)
    except torch.OutOfMemoryError:
        raise
    except Exception:  # whatever torch may raise in a graph that is not of this network
        return False
    return True


def _ledger(objective: Objective, formula: Formula, batch: Batch) -> tuple[str, Tensor] | None:
    """What a product by double backward does, as a digest, and the product; None where that may not be all that it does."""
    bound, found = copy.copy(objective), list[Tensor]()
    bound.constants = {name: tensor.clone() for name, tensor in objective.constants.items()}
    inputs, targets = tree_map(lambda leaf: leaf.clone() if isinstance(leaf, Tensor) else leaf, batch)
    for name in ("outputs", "summed_of", "losses"):
        setattr(bound, name, _heard(getattr(bound, name), found))
    theta, vector = objective.theta.detach(), tangent(objective.theta)
    given = [theta, vector, *bound.constants.values(), *(x for x in tree_leaves((inputs, targets)) if isinstance(x, Tensor))]
    try:
        with torch.compiler.set_stance("force_eager"), sdpa_kernel(SDPBackend.MATH), _Ledger(given) as ledger, Reading() as read:
            product = formula.reverse(bound, theta, vector, inputs, targets).detach()
        if not ledger.sure or read.found or any(map(_of_python, found)):
            return None
    except torch.OutOfMemoryError:
        raise
    except Exception:  # what cannot be taken down is traced
        return None
    return ledger.written.hexdigest(), product


def _heard(function: Callable[..., Any], found: list[Tensor]) -> Callable[..., Any]:
    """The same function, whose results are noted."""

    def call(*args: Any) -> Any:
        result = function(*args)
        found.extend(leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor))
        return result

    return call


def _of_python(result: Tensor) -> bool:
    """Whether anything between θ and a result has a derivative that somebody wrote in Python."""
    seen, left = set[Any](), [result.grad_fn]
    while left:
        node = left.pop()
        if node is None or node in seen:
            continue
        if isinstance(node, torch._C._FunctionBase):
            return True
        seen.add(node)
        left.extend(following for following, _ in node.next_functions)
    return False


@functools.cache
def _what(function: Any) -> tuple[str, bool, bool]:
    """The name of a call, whether its name and arguments say all that it does, and whether it writes into one of them."""
    if not isinstance(function, torch._ops.OpOverload):
        return "", False, False
    sure = function.namespace == "aten" and not _UNSURE.intersection(function.tags)
    return str(function), sure, function._schema.is_mutable


class _Ledger(TorchDispatchMode):
    """Takes down every ATen call made within, in order.

    Attributes:
        written: the digest so far.
        sure: whether another computation that writes the same does the same.
    """

    def __init__(self, given: Sequence[Tensor]) -> None:
        super().__init__()
        self.written, self.sure = hashlib.sha256(), True
        self._numbers: dict[int, int] = {}
        self._held: list[StorageWeakRef] = []  # while they are held no other storage has the same address
        self._brought = False
        self._note([self._told(tensor) for tensor in self._owned(given)])

    def _owned(self, given: Sequence[Tensor]) -> Sequence[Tensor]:
        for tensor in given:
            self._number(tensor)
        return given

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name, sure, writes = _what(function)
        self.sure &= sure and not isinstance(torch._C._current_autograd_node(), torch._C._FunctionBase)
        if not self.sure:
            return function(*args, **kwargs)
        self._brought = False
        self._note((name, self._told(args), self._told(kwargs)))
        self.sure &= not (self._brought and writes)
        result = function(*args, **kwargs)
        for leaf in result if isinstance(result, tuple | list) else (result,):
            if isinstance(leaf, Tensor):
                self._number(leaf)
        self._note(self._told(result))
        return result

    def _note(self, what: Any) -> None:
        self.written.update(repr(what).encode())

    def _number(self, tensor: Tensor) -> int:
        storage = tensor.untyped_storage()
        address = storage._cdata
        if address not in self._numbers:
            self._numbers[address] = len(self._numbers)
            self._held.append(StorageWeakRef(storage))
        return self._numbers[address]

    def _told(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            if type(value) not in (Tensor, torch.nn.Parameter) or value.layout != torch.strided:
                self.sure = False
                return None
            number = self._numbers.get(value.untyped_storage()._cdata)
            if number is None:
                self._brought, number = True, self._number(value)
                bare = value.detach().resolve_conj().resolve_neg().cpu().contiguous()
                self._note(hashlib.sha256(bare.view(-1).view(torch.uint8).numpy().tobytes()).hexdigest())
            kind = value.dtype, value.device, value.requires_grad, value.is_conj(), value.is_neg()
            return number, tuple(value.shape), value.stride(), value.storage_offset(), kind
        if isinstance(value, tuple | list):
            return [self._told(each) for each in value]
        if isinstance(value, dict):
            return [(name, self._told(each)) for name, each in sorted(value.items())]
        if not isinstance(value, _PLAIN):
            self.sure = False
        return type(value).__name__, value
