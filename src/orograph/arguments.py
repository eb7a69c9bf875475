"""What a person passes to a public function, held against its signature: vectors, counts, seeds and objects of this library.

`checked` reads the annotations once. At a call it refuses, in one sentence, what is no tensor where one is meant, a tensor of
another kind or shape (a size that is named twice is one size; P is that of the objective or operator beside it), a count that is
no whole number, a seed that no generator takes, and another object than the one meant. Autocast that surrounds the call is
switched off within it.
"""

import functools
import inspect
import operator
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor, nn

from orograph.autocast import uncast
from orograph.errors import ConfigurationError

SEEDS = 2**63  # below which every generator takes a seed
_OWN = "orograph."
_WAYS = {"LinearOperator": "orograph.as_operator makes one of a matrix, a function or another library's operator"}
_OF_SHARDS = ("lanczos", "trace", "density")  # that take operators of which every process has its part of vectors
_P = ParamSpec("_P")
_R = TypeVar("_R")


def checked(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """The same function, which refuses arguments unlike its annotations by name.

    Args:
        function: with annotations of jaxtyping for tensors, and classes for the rest.

    Returns:
        The function; what it raises beyond ConfigurationError is as it was.
    """
    signature = inspect.signature(function)

    @functools.wraps(function)
    def call(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            given = signature.bind(*args, **kwargs).arguments
        except TypeError:  # too many, too few: said as Python says it
            return function(*args, **kwargs)
        sizes = _parameters(given)
        for name, value in given.items():
            if name != "self" and getattr(value, "sharded", False) and function.__name__ not in _OF_SHARDS:
                raise ConfigurationError(
                    f"`{name}` gives every process its part of vectors, and {function.__name__} takes whole ones; "
                    f"{', '.join(_OF_SHARDS)} take such an operator."
                )
            _require(name, value, signature.parameters[name].annotation, sizes)
        with uncast():
            return function(*args, **kwargs)

    return call


def _parameters(given: Mapping[str, Any]) -> dict[str, int]:
    """P, where an objective, an operator or a layout tells it."""
    for value in given.values():
        size = getattr(value, "width" if getattr(value, "sharded", False) else "size", None)  # of vectors that are passed
        if type(value).__module__.startswith(_OWN) and isinstance(getattr(value, "theta", None), Tensor):
            return {"P": len(value.theta)}
        if type(value).__module__.startswith(_OWN) and isinstance(size, int):
            return {"P": size}
    return {}


def _require(name: str, value: Any, annotation: Any, sizes: dict[str, int]) -> None:
    kinds = typing.get_args(annotation) if isinstance(annotation, types.UnionType) else (annotation,)
    if value is None and types.NoneType in kinds:
        return
    if isinstance(value, Tensor):
        kinds = tuple(kind for kind in kinds if hasattr(kind, "dim_str")) or kinds
    kinds = tuple(kind for kind in kinds if kind is not types.NoneType)
    if len(kinds) != 1:
        return
    kind = kinds[0]
    if hasattr(kind, "dim_str"):
        require_tensor(name, value, kind, sizes)
    elif kind is int:
        require_whole(name, value)
    elif kind is float:
        require_number(name, value)
    elif _is_meant(kind):
        require_object(name, value, kind, _WAYS.get(kind.__name__, ""))


def _is_meant(kind: Any) -> bool:
    """Whether a class is one whose instances alone will do: of this library, or a module of torch."""
    own = inspect.isclass(kind) and kind.__module__.startswith(_OWN) and not getattr(kind, "_is_protocol", False)
    return own or kind is nn.Module


def require_object(name: str, value: Any, kind: type, way_out: str = "") -> None:
    """Refuses another object than the one meant.

    Raises:
        ConfigurationError: naming the argument, and the way out where there is one to tell.
    """
    if not isinstance(value, kind):
        raise ConfigurationError(f"`{name}` must be a {kind.__name__}, not {_said(value)}{way_out and '; '}{way_out}.")


def require_whole(name: str, value: Any) -> None:
    """Refuses what is no whole number, and a seed that no generator takes.

    Raises:
        ConfigurationError: naming the argument.
    """
    try:
        if isinstance(value, bool):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        raise ConfigurationError(f"`{name}` must be a whole number, not {_said(value)}.") from None
    if name.endswith("seed") and not -SEEDS <= number < 2 * SEEDS:
        raise ConfigurationError(f"`{name}` {number} must be below 2^64, and at least -2^63.")


def require_number(name: str, value: Any) -> None:
    """Refuses what is no number.

    Raises:
        ConfigurationError: naming the argument.
    """
    try:
        if isinstance(value, str):
            raise TypeError
        float(value)
    except (TypeError, ValueError, RuntimeError):
        raise ConfigurationError(f"`{name}` must be a number, not {_said(value)}.") from None


def require_tensor(name: str, value: Any, kind: Any, sizes: dict[str, int]) -> None:
    """Refuses what is no tensor of the kind; sizes named for the first time are added to those known.

    Args:
        name: of the argument.
        value: what was passed.
        kind: as jaxtyping writes it: `Float[Tensor, "k P"]`.
        sizes: known by name.

    Raises:
        ConfigurationError: naming the argument, what it is and what it must be.
    """
    if not isinstance(value, Tensor):
        raise ConfigurationError(f"`{name}` must be a tensor of shape ({_shape(kind)}), not {_said(value)}.")
    wrong = not isinstance(value, kind.dtype[Tensor, "..."])
    dims = kind.dim_str.split()
    if all(dim.isidentifier() or dim.isdigit() for dim in dims):  # others say more than can be told here
        wrong |= len(dims) != value.ndim
        if not wrong:
            wrong = any(sizes.setdefault(dim, int(dim) if dim.isdigit() else size) != size for dim, size in _pairs(dims, value))
    if wrong:
        known = ", ".join(f"{dim} = {sizes[dim]}" for dim in dims if dim in sizes and not dim.isdigit())
        meant = f"a {kind.dtype.__name__.lower()} tensor of shape ({_shape(kind)}){' with ' if known else ''}{known}"
        raise ConfigurationError(
            f"`{name}` must be {meant}, not {str(value.dtype).removeprefix('torch.')} of shape {tuple(value.shape)}."
        )


def _pairs(dims: list[str], value: Tensor) -> list[tuple[str, int]]:
    return list(zip(dims, value.shape, strict=True))


def _shape(kind: Any) -> str:
    dims = kind.dim_str.split()
    return f"{dims[0]}," if len(dims) == 1 else ", ".join(dims)


def _said(value: Any) -> str:
    """A value in a few words: numbers and words as they are, anything else by its type."""
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    if isinstance(value, int | float | str) and len(str(value)) <= 40:
        return repr(value)
    return f"a {type(value).__name__}" if value is not None else "None"


def require_vectors(what: str, value: Any, size: int) -> None:
    """Refuses what a real matrix of so many columns cannot be multiplied with.

    Args:
        what: the matrix, in words.
        value: the other factor.
        size: P.

    Raises:
        ConfigurationError: it is no dense tensor of real numbers, `(P,)` or `(P, b)`.
    """
    if not isinstance(value, Tensor):
        raise ConfigurationError(f"cannot multiply {what} with {_said(value)}; give a tensor ({size},) or ({size}, b).")
    if value.layout != torch.strided or value.is_nested:
        kind = str(value.layout).removeprefix("torch.")
        raise ConfigurationError(f"cannot multiply {what} with a tensor of layout {kind}; give it .to_dense().")
    if value.is_meta:
        raise ConfigurationError(f"cannot multiply {what} with a tensor on the device meta, which holds no numbers.")
    if value.is_complex():
        raise ConfigurationError(
            f"cannot multiply {what} with {str(value.dtype).removeprefix('torch.')} numbers; it is real: multiply with .real and "
            ".imag each."
        )
    if value.ndim not in (1, 2) or value.shape[0] != size:
        turned = value.ndim == 2 and value.shape[1] == size
        hint = "; vectors in rows are multiplied as A @ V.T." if turned else "."
        raise ConfigurationError(f"cannot multiply {what} with a tensor of shape {tuple(value.shape)}{hint}")
