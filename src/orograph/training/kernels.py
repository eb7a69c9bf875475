"""A traced function as a straight line of kernels over buffers that are made once.

A mini-batch step of a small network is bound by what surrounds its arithmetic: autograd's bookkeeping, views, allocations. Here
the function is traced once (`make_fx` after `functionalize`), and as its inputs are buffers whose addresses never change, all
that does
not compute is done once, at building: views are taken, constants folded, results allocated. What is left is a list of kernels
that write into fixed buffers, the function's results straight into the buffers that the caller wants them in.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, fx
from torch._ops import OpOverload
from torch.func import functionalize
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._pytree import tree_leaves, tree_map

aten = torch.ops.aten

_SHAPE_ONLY = {  # results that depend on the shapes of their arguments, never on their values
    aten.ones_like.default,
    aten.zeros_like.default,
    aten.full_like.default,
    aten.new_zeros.default,
    aten.new_ones.default,
    aten.new_full.default,
}


class Untraceable(Exception):
    """The function cannot be replayed as kernels; the caller falls back to plain autograd."""


def trace(function: Callable[..., Sequence[Tensor]], arguments: Sequence[Tensor]) -> fx.Graph:
    """The aten graph of a function of tensors, at the shapes of these arguments.

    Attention is traced through its plain (MATH) kernel, whose derivatives are all there.

    Raises:
        Untraceable: tracing fails, or a kernel draws random numbers.
    """
    try:
        with sdpa_kernel(SDPBackend.MATH):
            module = make_fx(functionalize(function), tracing_mode="fake", _allow_non_fake_inputs=True)(*arguments)
    except Exception as error:  # whatever a user's module does that cannot be traced, of any type
        raise Untraceable(str(error)) from error
    module.graph.eliminate_dead_code()
    for node in module.graph.nodes:
        if isinstance(node.target, OpOverload) and torch.Tag.nondeterministic_seeded in node.target.tags:
            raise Untraceable(f"{node.target} draws random numbers")
        if node.op == "get_attr":  # a constant of the function, kept with its node: the module itself is not
            node.meta["constant"] = getattr(module, node.target)
    return module.graph


class Kernels:
    """A graph bound to argument and result buffers; calling it runs the kernels.

    Args:
        graph: of `trace`.
        arguments: the buffers read, of the traced shapes, dtypes and strides.
        results: the buffers written, one for each result of the function.
    """

    def __init__(self, graph: fx.Graph, arguments: Sequence[Tensor], results: Sequence[Tensor]) -> None:
        self._calls: list[Callable[[], Any]] = []
        self._values: dict[fx.Node, Any] = {}
        self._constant: set[fx.Node] = set()
        self._wanted: dict[fx.Node, Tensor] = {}
        *_, output = graph.nodes
        outputs = tree_leaves(output.args)
        for node, result in zip(outputs, results, strict=True):
            self._claim(node, result)
        buffers = iter(arguments)
        with torch.no_grad():
            for node in graph.nodes:
                if node.op == "placeholder":
                    self._values[node] = next(buffers)
                elif node.op == "get_attr":
                    self._values[node] = node.meta["constant"]
                    self._constant.add(node)
                elif node.op == "call_function":
                    self._add(node)
        for node, result in zip(outputs, results, strict=True):
            value = self._values[node]
            if value.data_ptr() != result.data_ptr() or value.stride() != result.stride():
                self._calls.append(partial(result.copy_, value))
        del self._values, self._constant, self._wanted

    def __call__(self) -> None:
        with torch.no_grad():
            for call in self._calls:
                call()

    def _claim(self, node: fx.Node, result: Tensor) -> None:
        """Lets the kernel behind a result write into the result's buffer, if only views that keep the order lie between."""
        chain = []
        while node.op == "call_function" and _is_view(node.target):
            chain.append(node)
            node = node.args[0]  # type: ignore[assignment]  # the first argument of a view is what it views
        meta = node.meta["val"]
        if node.op != "call_function" or node in self._wanted or not isinstance(meta, Tensor):
            return
        with torch.no_grad():
            try:
                target = result.view(meta.shape)
                value = target
                for view in reversed(chain):
                    value = _as_view(view.target)(value, *view.args[1:], **view.kwargs)
            except RuntimeError:
                return
        if value.shape == result.shape and value.stride() == result.stride() and target.dtype == meta.dtype:
            self._wanted[node] = target

    def _add(self, node: fx.Node) -> None:
        target: Any = node.target
        args: Any = fx.node.map_arg(node.args, self._values.__getitem__)
        kwargs: Any = fx.node.map_arg(node.kwargs, self._values.__getitem__)
        if not isinstance(target, OpOverload):  # getitem of several results
            self._values[node] = target(*args, **kwargs)
            if node.args[0] in self._constant:
                self._constant.add(node)
        elif all(n in self._constant for n in node.all_input_nodes) or target in _SHAPE_ONLY:
            self._values[node] = target(*args, **kwargs)
            self._constant.add(node)
        elif _is_view(target):
            self._values[node] = _as_view(target)(*args, **kwargs)
        elif target is aten.mul.Scalar and args[1] == 1 and args[0].is_floating_point():
            self._values[node] = args[0]
        else:
            self._values[node] = self._kernel(node, target, args, kwargs)

    def _kernel(self, node: fx.Node, target: OpOverload, args: Any, kwargs: Any) -> Any:
        buffers = self._wanted.get(node)
        if buffers is None:
            buffers = tree_map(_like, node.meta["val"])
        outputs = tree_leaves(buffers)
        variant = _out_variant(target)
        if variant is not None and None not in outputs:
            overload, names = variant
            self._calls.append(partial(overload, *args, **kwargs, **dict(zip(names, outputs, strict=True))))
        else:
            self._calls.append(partial(_copied, target, args, kwargs, outputs))
        return buffers


def _like(meta: Tensor | None) -> Tensor | None:
    """A buffer for a result; some of several may be left out."""
    return None if meta is None else torch.empty_strided(meta.shape, meta.stride(), dtype=meta.dtype, device=meta.device)


def _copied(target: OpOverload, args: Any, kwargs: Any, outputs: list[Tensor | None]) -> None:
    for output, value in zip(outputs, tree_leaves(target(*args, **kwargs)), strict=True):
        if output is not None:
            output.copy_(value)


def _is_view(target: Any) -> bool:
    return isinstance(target, OpOverload) and (target.is_view or target is aten._unsafe_view.default)


def _as_view(target: Any) -> Any:
    return aten.view.default if target is aten._unsafe_view.default else target


def _out_variant(target: OpOverload) -> tuple[OpOverload, list[str]] | None:
    """The overload that writes into given buffers, and the names of these; None where PyTorch has none that saves a copy."""
    wanted = [(argument.name, str(argument.type)) for argument in target._schema.arguments]
    for name in target.overloadpacket.overloads():
        overload = getattr(target.overloadpacket, name)
        outputs = [argument.name for argument in overload._schema.arguments if argument.is_out]
        inputs = [(argument.name, str(argument.type)) for argument in overload._schema.arguments if not argument.is_out]
        if outputs and inputs == wanted and torch.Tag.generated not in overload.tags:
            return overload, outputs
    return None
