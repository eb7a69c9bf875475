"""A module called as a function of its parameters, buffers and inputs: nothing of it is other than it was afterwards.

Modules do more in `forward` than compute: they count calls, keep what they saw, average into buffers, change their inputs in
place. Attributes are put back after every call. What a module writes into is found on its first call in eval mode, which is given
clones of everything; from then on it gets clones of just that. What it may write into with some batches alone, its inputs and
its buffers, is `guarded` at every call. Modes are set one by one, for `eval()` may do more (LoRA merges).
"""

import collections
import contextlib
import copy
import random
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils._python_dispatch import _get_current_dispatch_mode
from torch.utils._pytree import tree_map

from orograph.errors import ConfigurationError
from orograph.replacements import needs_replacements, replaced
from orograph.structure import tensors_of

_AUTOCAST = ("cpu", "cuda")
_CONTAINERS = (dict, list, set, collections.OrderedDict, collections.deque)


@dataclass(frozen=True)
class _Known:
    """What was seen at the first call of a module.

    Attributes:
        names: parameters and buffers that it writes into.
        attributes: tensors that it writes into and that are neither, as (module, name).
        inputs: whether it writes into its inputs.
        replaces: whether it has operations that are replaced.
    """

    names: frozenset[str]
    attributes: frozenset[tuple[nn.Module, str]]
    inputs: bool
    replaces: bool


_known: "weakref.WeakKeyDictionary[nn.Module, _Known]" = weakref.WeakKeyDictionary()


@contextlib.contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Dropout off, BatchNorm on its running statistics; every submodule's mode is restored after."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        for module, _ in modes:
            module.training = False
        yield
    finally:
        for module, training in modes:
            module.training = training


def call(model: nn.Module, tensors: Mapping[str, Tensor], inputs: Any) -> Any:
    """The module's output with these parameters and buffers; of a module in eval mode they stay as they were."""
    known = _known.get(model)
    if known is None and not any(module.training for module in model.modules()):
        return _first_call(model, dict(tensors), inputs)
    given, places = dict(tensors), frozenset[tuple[nn.Module, str]]()
    if known is not None and not model.training:
        given |= {name: given[name].clone() for name in known.names if name in given}
        inputs, places = _cloned(inputs) if known.inputs else inputs, known.attributes
    with _undisturbed(model, needs_replacements(model) if known is None else known.replaces):
        _exchanged(places)
        return _run(model, given, inputs)


def _first_call(model: nn.Module, tensors: dict[str, Tensor], inputs: Any) -> Any:
    """A call with clones of all, after which it is known which of them were written into."""
    replaces = needs_replacements(model)
    with _undisturbed(model, replaces):
        places = [
            (module, name) for module in model.modules() for name, value in vars(module).items() if isinstance(value, Tensor)
        ]
        originals = [*tensors.values(), *_leaves(inputs), *(vars(module)[name] for module, name in places)]
        given, inputs = {name: tensor.clone() for name, tensor in tensors.items()}, _cloned(inputs)
        clones = [*given.values(), *_leaves(inputs), *_exchanged(places)]
        names = list(given)
        versions = _versions(clones)
        output = _run(model, given, inputs)
    if versions is not None:
        with torch.no_grad():
            written = [
                # Writing through `.data` leaves no version; `requires_grad_()` is none at all.
                clone._version != version or not _equal(clone, original) or clone.requires_grad != original.requires_grad
                for clone, version, original in zip(clones, versions, originals, strict=True)
            ]
        of_names, of_places = written[: len(names)], written[len(written) - len(places) :]
        _known[model] = _Known(
            frozenset(name for name, moved in zip(names, of_names, strict=True) if moved),
            frozenset(place for place, moved in zip(places, of_places, strict=True) if moved),
            any(written[len(names) : len(written) - len(places)]),
            replaces,
        )
    return output


def _run(model: nn.Module, tensors: dict[str, Tensor], inputs: Any) -> Any:
    if isinstance(inputs, Mapping):
        return functional_call(model, tensors, (), dict(inputs))
    return functional_call(model, tensors, tuple(inputs) if isinstance(inputs, tuple | list) else (inputs,))


def forget(model: nn.Module) -> None:
    """The module is looked at anew at its next call: it may have other layers now."""
    _known.pop(model, None)


@contextlib.contextmanager
def attributes_kept(model: nn.Module) -> Iterator[None]:
    """Attributes of all submodules, and what is in their lists and dicts, are put back after."""
    kept = [
        (vars(module), dict(vars(module)), [(each, copy.copy(each) if each else None) for each in _containers(module)])
        for module in model.modules()
    ]
    try:
        yield
    finally:
        for attributes, before, containers in kept:
            if len(attributes) != len(before) or any(attributes.get(key, kept) is not value for key, value in before.items()):
                attributes.clear()
                attributes.update(before)
            for container, content in containers:
                _put_back(container, content)


@contextlib.contextmanager
def apart() -> Iterator[None]:
    """Differentiation works whatever the caller has switched off, and random numbers go on after as if nothing had been."""
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() and torch.cuda.is_initialized() else []
    states = random.getstate(), np.random.get_state()  # noqa: NPY002 - what others draw from, not what is drawn from here
    try:
        with differentiable(), torch.random.fork_rng(devices=devices):
            yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002


@contextlib.contextmanager
def differentiable() -> Iterator[None]:
    """Differentiation works whatever the caller has switched off, in the dtypes of the tensors whatever autocast is around."""
    with torch.inference_mode(False), torch.enable_grad(), uncast():
        yield


@contextlib.contextmanager
def uncast() -> Iterator[None]:
    """Operations compute in the dtypes of their tensors: autocast that surrounds the caller is switched off, one inside works."""
    with contextlib.ExitStack() as stack:
        for kind in _AUTOCAST:
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        yield


def guarded(tree: Any) -> Any:
    """Copies of tensors that code of the user's gets and may write into; in a trace, which computes nothing, themselves."""
    return tree if _get_current_dispatch_mode() is not None else _cloned(tree)


def usable(tensor: Tensor) -> Tensor:
    """The tensor, or a copy where it was made in inference mode and could not be differentiated through."""
    return tensor.clone() if tensor.is_inference() else tensor


def check_modes(model: nn.Module, inputs: Any, outputs: Callable[[], Any], dtype: torch.dtype) -> None:
    """Compares a module whose own `train` or `eval` do more than set the mode with what its user sees after `eval()`.

    Raises:
        ConfigurationError: another function of its inputs; names the module.
    """
    own = [
        f"{name or 'model'} ({type(module).__name__})"
        for name, module in model.named_modules()
        if type(module).train is not nn.Module.train or type(module).eval is not nn.Module.eval
    ]
    if not own:
        return
    try:
        seen, unmerged = copy.deepcopy(model).eval().to(dtype), copy.deepcopy(model).train().to(dtype)
    except Exception:  # what cannot be copied cannot be compared without touching it
        return
    for module in unmerged.modules():
        module.training = False
    found = [_run(twin, {}, _cloned(inputs)) for twin in (seen, unmerged)]
    for a, b in zip(_leaves(found[0]), _leaves(outputs()), strict=True):
        a, b = a.detach().double(), b.detach().double()
        # Half of the digits: merging weights moves the last ones.
        if a.shape != b.shape or not (a - b).norm() <= torch.finfo(dtype).eps ** 0.5 * a.norm():
            raise ConfigurationError(
                f"'{own[0]}' does more in eval() than to set its mode: its outputs there are not those of the same weights "
                "and buffers; pass the model in the state that is meant, with its train() and eval() setting `training` alone."
            )
    if model.training:
        return
    now, before = (_influential(twin, output) for twin, output in zip((seen, unmerged), found, strict=True))
    if lost := sorted(before - now):
        raise ConfigurationError(
            f"'{own[0]}' has merged '{lost[0]}' into other weights in eval(), so that it has no influence any more; call "
            "model.train() before: it is evaluated in eval mode all the same."
        )


def _influential(model: nn.Module, output: Any) -> set[str]:
    """Names of the parameters on which the output depends."""
    named = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    total = torch.stack([leaf.double().square().sum() for leaf in _leaves(output) if leaf.is_floating_point()]).sum()
    if not total.requires_grad:
        return set()
    slopes = torch.autograd.grad(total, list(named.values()), allow_unused=True)
    return {name for name, slope in zip(named, slopes, strict=True) if slope is not None and slope.any()}


def _containers(module: nn.Module) -> list[Any]:
    return [value for value in vars(module).values() if type(value) in _CONTAINERS]


def _put_back(container: Any, content: Any) -> None:
    """What is in a container is again what it was; None stands for nothing."""
    if content is None:
        if container:
            container.clear()
        return
    if isinstance(container, dict):
        same = list(container) == list(content) and all(container[key] is value for key, value in content.items())
    else:
        same = len(container) == len(content) and all(a is b for a, b in zip(container, content, strict=True))
    if not same:
        container.clear()
        container.update(content) if isinstance(container, dict | set) else container.extend(content)


def _exchanged(places: Iterable[tuple[nn.Module, str]]) -> list[Tensor]:
    """Attributes that are tensors are exchanged for clones."""
    clones = []
    for module, name in places:
        if isinstance(value := vars(module).get(name), Tensor):
            vars(module)[name] = value.clone()
            clones.append(vars(module)[name])
    return clones


def _versions(tensors: list[Tensor]) -> list[int] | None:
    """How often each was written into; None where tensors are wrapped by a transform or a tracer."""
    if torch._C._functorch.peek_interpreter_stack() is not None:
        return None
    if any(type(tensor) not in (Tensor, nn.Parameter) or tensor.is_inference() for tensor in tensors):
        return None
    return [tensor._version for tensor in tensors]


def _equal(a: Tensor, b: Tensor) -> bool:
    return torch.equal(a, b) if a.layout == torch.strided else torch.equal(a.to_dense(), b.to_dense())


def _cloned(tree: Any) -> Any:
    return tree_map(lambda leaf: leaf.clone() if isinstance(leaf, Tensor) else leaf, tree)


def _leaves(tree: Any) -> list[Tensor]:
    return tensors_of(tree)


@contextlib.contextmanager
def _undisturbed(model: nn.Module, replaces: bool) -> Iterator[None]:
    """Attributes are put back, operations replaced, and encoders compute without gradients as with them: their fast path leaves
    zeros where a mask is."""
    enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with attributes_kept(model), replaced(replaces), uncast():
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(enabled)
