"""A module called as a function of its parameters, buffers and inputs: nothing of it is other than it was afterwards.

Modules do more in `forward` than compute: they count calls, keep what they saw, average into buffers, change their inputs in
place. Attributes, and what they hold, are put back after every call (`keeping`). Hooks on forward are part of the function; those
on backward see or change gradients, are not, and do not take part. What a module writes into is found on its first
call in eval mode, which is given clones of everything; from then on it gets clones of just that. What it may write into with
some batches alone, its inputs and its buffers, is `guarded` at every call. Modes are set one by one, for `eval()` may do more
(LoRA merges).
"""

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
from torch.nn.modules.module import _global_backward_hooks, _global_backward_pre_hooks
from torch.utils._python_dispatch import _get_current_dispatch_mode
from torch.utils._pytree import tree_map

from orograph.autocast import uncast
from orograph.errors import ConfigurationError
from orograph.keeping import holders, kept
from orograph.replacements import needs_replacements, replaced
from orograph.structure import tensors_of

_Place = tuple[Any, Any]  # a dict or list and the key of a tensor in it


@dataclass(frozen=True)
class _Known:
    """What was seen at the first call of a module.

    Attributes:
        names: parameters and buffers that it writes into.
        places: where the other tensors are that it writes into: attributes, and what is held by lists and dicts.
        inputs: whether it writes into its inputs.
        replaces: whether it has operations that are replaced.
    """

    names: frozenset[str]
    places: tuple[_Place, ...]
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


@contextlib.contextmanager
def training_mode(model: nn.Module) -> Iterator[None]:
    """Train mode; every submodule's mode is restored after."""
    modes = [(module, module.training) for module in model.modules()]
    model.train()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def call(model: nn.Module, tensors: Mapping[str, Tensor], inputs: Any) -> Any:
    """The module's output with these parameters and buffers; of a module in eval mode they stay as they were."""
    known = _known.get(model)
    if known is None and not any(module.training for module in model.modules()):
        return _first_call(model, dict(tensors), inputs)
    given, places = dict(tensors), tuple[_Place, ...]()
    if known is not None and not model.training:
        given |= {name: given[name].clone() for name in known.names if name in given}
        inputs, places = _cloned(inputs) if known.inputs else inputs, known.places
    with _undisturbed(model, needs_replacements(model) if known is None else known.replaces):
        _exchanged(places)
        return _run(model, given, inputs)


def _first_call(model: nn.Module, tensors: dict[str, Tensor], inputs: Any) -> Any:
    """A call with clones of all, after which it is known which of them were written into."""
    replaces = needs_replacements(model)
    with _undisturbed(model, replaces):
        places = _places(model)
        originals = [*tensors.values(), *_leaves(inputs), *(holder[key] for holder, key in places)]
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
            tuple(place for place, moved in zip(places, of_places, strict=True) if moved),
            any(written[len(names) : len(written) - len(places)]),
            replaces,
        )
    return output


def _run(model: nn.Module, tensors: dict[str, Tensor], inputs: Any) -> Any:
    with unhooked(model):
        if isinstance(inputs, Mapping):
            return functional_call(model, tensors, (), dict(inputs))
        return functional_call(model, tensors, tuple(inputs) if isinstance(inputs, tuple | list) else (inputs,))


@contextlib.contextmanager
def unhooked(called: Any) -> Iterator[None]:
    """Within it modules have no hooks on backward: these see gradients and may change them, and the function's own are meant."""
    modules = called.modules() if isinstance(called, nn.Module) else ()
    places = [_global_backward_hooks, _global_backward_pre_hooks]
    places += [hooks for module in modules for hooks in (module._backward_hooks, module._backward_pre_hooks)]
    held = [(hooks, dict(hooks)) for hooks in places if hooks]
    try:
        for hooks, _ in held:
            hooks.clear()
        yield
    finally:
        for hooks, before in held:
            hooks.update(before)


def look_once(model: nn.Module) -> None:
    """The module is taken to write into its inputs at most, of which it gets clones, and is not looked at at its first call."""
    _known[model] = _Known(frozenset(), (), True, needs_replacements(model))


def forget(model: nn.Module) -> None:
    """The module is looked at anew at its next call: it may have other layers now."""
    _known.pop(model, None)


def writes_into(model: nn.Module) -> frozenset[str]:
    """Names of the parameters and buffers that its first call in eval mode wrote into."""
    known = _known.get(model)
    return known.names if known is not None else frozenset()


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
def unremarked() -> Iterator[None]:
    """Within it torch does not say that it has no batching rule for an operation: the user can do nothing about it."""
    switch: Any = torch._C._functorch
    switch._set_vmap_fallback_warning_enabled(False)
    try:
        yield
    finally:
        switch._set_vmap_fallback_warning_enabled(True)  # as it is where nobody touched it


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


def _places(model: nn.Module) -> list[_Place]:
    """Where the module holds tensors that are no parameters, and no buffers, of its own."""
    own = {id(each) for module in model.modules() for each in (module._parameters, module._buffers)}
    found: list[_Place] = []
    for holder in holders([model]):
        if isinstance(holder, dict | list) and id(holder) not in own:
            pairs = holder.items() if isinstance(holder, dict) else enumerate(holder)
            found += [(holder, key) for key, value in pairs if isinstance(value, Tensor) and not isinstance(value, nn.Parameter)]
    return found


def _exchanged(places: Iterable[_Place]) -> list[Tensor]:
    """What is there is exchanged for clones."""
    clones = []
    for holder, key in places:
        with contextlib.suppress(LookupError):  # what is there no more
            if isinstance(holder[key], Tensor):
                holder[key] = holder[key].clone()
                clones.append(holder[key])
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
        with kept(model), replaced(replaces), uncast():
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(enabled)
