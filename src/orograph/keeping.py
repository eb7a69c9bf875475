"""What is held by modules, losses and the objects beside them is put back after they were called.

Forward and loss may count, collect and remember: in dicts, lists, sets and their relatives, in arrays, in the attributes of
objects of the user's own, and in what a hook or a loss encloses. All that is reached within a few steps is noted before a call,
and what is another one after it is put back. Generators of random numbers are `rewound` once, after a whole computation: within
it they go on, so that what is random is seen to be. Objects of torch and of the standard library keep their state to themselves;
what cannot be put back (iterators, files, globals) moves on.
"""

import collections
import contextlib
import functools
import random
import sys
import types
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

_DEPTH = 7  # steps from a module: its attributes are one, what a list among them holds is three
_LONGEST = 10_000  # entries of a container that are looked into; longer ones are put back all the same
_ATOMS = frozenset(
    {type(None), bool, int, float, complex, str, bytes, type, torch.dtype, torch.device, torch.Size, Tensor, nn.Parameter}
)
_CONTAINERS = (dict, list, set, collections.deque, bytearray)
_ROWS = (list, tuple, set, collections.deque)
_OPEN = (nn.Module, types.SimpleNamespace)  # looked into although torch and the standard library define them
_FOREIGN = sys.stdlib_module_names - {"__main__"} | {"torch", "numpy", "orograph"}


@contextlib.contextmanager
def kept(*roots: Any) -> Iterator[None]:
    """Whatever these hold is afterwards what it was, also after an error.

    Args:
        roots: modules, functions and other objects.
    """
    with _put_back(map(_noted, holders(roots))):
        yield


@contextlib.contextmanager
def rewound(*roots: Any) -> Iterator[None]:
    """Generators of random numbers that these hold go on afterwards as if nothing had been drawn, also after an error.

    Args:
        roots: modules, functions and other objects.
    """
    with _put_back(map(_stream, holders(roots))):
        yield


@contextlib.contextmanager
def _put_back(noted: Iterable[Callable[[], None] | None]) -> Iterator[None]:
    found = [each for each in noted if each is not None]
    try:
        yield
    finally:
        for each in found:
            each()


def holders(roots: Iterable[Any]) -> Iterator[Any]:
    """All that they hold, each once, the nearest first."""
    seen: set[int] = set()
    level: list[Any] = [part for root in roots for part in (root.modules() if isinstance(root, nn.Module) else [root])]
    for _ in range(_DEPTH):
        held: list[Any] = []
        for each in level:
            if type(each) in _ATOMS or isinstance(each, Tensor) or id(each) in seen:
                continue
            seen.add(id(each))
            yield each
            held.extend(_parts(each))
        level = held


def _parts(holder: Any) -> Iterable[Any]:
    """What an object holds."""
    if isinstance(holder, dict):
        return list(holder.values()) if len(holder) <= _LONGEST else ()
    if isinstance(holder, _ROWS):
        return list(holder) if len(holder) <= _LONGEST else ()
    if isinstance(holder, types.FunctionType):
        if _is_foreign(holder.__globals__.get("__name__")):  # its `__module__` is that of what it wraps
            return []
        return [*(holder.__closure__ or ()), *(holder.__defaults__ or ()), vars(holder)]
    if isinstance(holder, types.MethodType):
        return [holder.__self__]
    if isinstance(holder, functools.partial):
        return [holder.func, *holder.args, *holder.keywords.values()]
    if isinstance(holder, types.CellType):
        return list(_content(holder))
    if isinstance(holder, _OPEN) or not (isinstance(holder, type) or _is_foreign(type(holder).__module__)):
        return [*([vars(holder)] if hasattr(holder, "__dict__") else ()), *_slots(holder).values()]
    return ()


def _is_foreign(module: object) -> bool:
    return str(module).split(".")[0] in _FOREIGN


def _slots(holder: Any) -> dict[str, Any]:
    """Attributes of an object that has places for them instead of a dict."""
    names = chain.from_iterable(
        [each] if isinstance(each, str) else each for kind in type(holder).__mro__ if (each := vars(kind).get("__slots__"))
    )
    return {name: getattr(holder, name) for name in names if name not in ("__dict__", "__weakref__") and hasattr(holder, name)}


def _content(cell: types.CellType) -> tuple[Any, ...]:
    """What a variable of an enclosing function is; nothing before it is set."""
    try:
        return (cell.cell_contents,)
    except ValueError:
        return ()


def _noted(holder: Any) -> Callable[[], None] | None:
    """What puts back the state that an object has now; None where it has none of its own."""
    if isinstance(holder, _CONTAINERS):
        return functools.partial(_refill, holder, _entries(holder) if holder else None)  # most are empty: of hooks
    if isinstance(holder, types.CellType):
        return functools.partial(_reset, holder, _content(holder))
    if isinstance(holder, np.ndarray):
        return functools.partial(np.copyto, holder, holder.copy()) if holder.flags.writeable else None
    if not isinstance(holder, (nn.Module, type)) and not _is_foreign(type(holder).__module__) and (slots := _slots(holder)):
        return functools.partial(_fill_slots, holder, slots)
    return None


def _stream(holder: Any) -> Callable[[], None] | None:
    """What sets a generator of random numbers back to where it is now; None of anything else."""
    if isinstance(holder, torch.Generator | np.random.RandomState):
        set_state: Callable[[Any], Any] = holder.set_state
        return functools.partial(set_state, holder.get_state())
    if isinstance(holder, random.Random):
        return functools.partial(holder.setstate, holder.getstate())
    if isinstance(holder, np.random.Generator):
        return functools.partial(setattr, holder.bit_generator, "state", holder.bit_generator.state)
    return None


def _entries(container: Any) -> list[Any]:
    """What is in a container, in order: of a dict, its keys and then its values."""
    return [*container, *container.values()] if isinstance(container, dict) else list(container)


def _refill(container: Any, before: list[Any] | None) -> None:
    """A container has the very entries that it had; None stands for none."""
    if before is None:
        if container:
            container.clear()
        return
    now = _entries(container)
    if len(now) == len(before) and all(a is b for a, b in zip(now, before, strict=True)):
        return
    if isinstance(container, dict):
        half = len(before) // 2
        kind: Any = collections.OrderedDict if isinstance(container, collections.OrderedDict) else dict  # not as a Counter adds
        kind.clear(container)
        kind.update(container, zip(before[:half], before[half:], strict=True))
        return
    container.clear()
    container.update(before) if isinstance(container, set) else container.extend(before)


def _reset(cell: types.CellType, before: tuple[Any, ...]) -> None:
    if before:
        cell.cell_contents = before[0]
    elif _content(cell):
        del cell.cell_contents


def _fill_slots(holder: Any, before: dict[str, Any]) -> None:
    """Attributes in places are what they were; those that were not set are taken away."""
    for name, value in _slots(holder).items():
        if name not in before:
            object.__delattr__(holder, name)
        elif before[name] is not value:
            object.__setattr__(holder, name, before[name])
    for name in before.keys() - _slots(holder).keys():
        object.__setattr__(holder, name, before[name])
