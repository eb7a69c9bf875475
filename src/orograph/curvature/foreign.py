"""Another library's operator as one of ours, by what it has and not by what it is: no other library is imported.

It has a size, a dtype and a product. Operators of curvlinops (`shape`, `dtype`, `@`), SciPy (`shape`, `dtype`, `matvec`,
`matmat`) and hessian-eigenthings (`size`, `dtype`, `matvec`) say all three; of a function, size and dtype are told.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from orograph.arguments import checked
from orograph.calling import differentiable, usable
from orograph.curvature.exports import array_dtype
from orograph.curvature.operator import FunctionOperator, LinearOperator, MatrixOperator
from orograph.errors import ConfigurationError, a

_REMARKABLE = 1e-4  # of an asymmetry; rounding is below in float32, and what is left out of a derivative mostly above


@checked
def as_operator(
    other: Any, size: int | None = None, *, dtype: Any = None, device: torch.device | str | None = None
) -> LinearOperator:
    """A matrix, a function v ↦ A v or another library's operator as an operator, for `lanczos`, `trace`, `density` and the rest.

    It is known by what it has: `shape` or `size`; `dtype`, or `params` that have one; `matvec`, `@`, `apply` or a call. So do
    operators of curvlinops, SciPy and hessian-eigenthings, sparse matrices, and arrays of any library. Blocks of columns are
    multiplied at once where it has `matmat`, or `@` and no `matvec`; else one by one.

    A dense matrix is looked at whole. Anything else is tried by three products, once, by `lanczos`, `density` and
    `conjugate_gradient`: whether it is linear and symmetric, and in blocks the same; an asymmetry of more than 1e-4 is said, one
    of more than 1 % refused. That its products are right to the rounding of its dtype nobody knows, and nothing relies on it
    (`exact_products`). A product costs what it costs there, and a copy.

    Args:
        other: symmetric, and the same at every product: of a mean loss over all data, not over a batch drawn anew.
        size: P, where `other` does not say it.
        dtype: of vectors, where `other` does not say it: one of torch for what multiplies tensors, one of NumPy for what
            multiplies arrays.
        device: of vectors, where `other` does not say it; the CPU when None.

    Returns:
        `(P, P)`, in float32 or float64 where `other` multiplies arrays; `other` itself where it is an operator already.

    Raises:
        ConfigurationError: it is not square, not real, a matrix that is not symmetric, says no size, dtype or product, or says
            another than is told here.

    Examples:
        >>> import numpy as np, orograph as og
        >>> og.as_operator(np.diag([1.0, 2.0])).shape
        (2, 2)
        >>> og.lanczos(og.as_operator(lambda v: 3 * v, 4, dtype=np.float64), 1).eigenvalues.round(decimals=9)
        tensor([3.], dtype=torch.float64)
    """
    name = type(other).__name__
    matrix = _matrix(other, name)
    thing = other if matrix is None else matrix
    found = _agreed("size", size, _size(thing, name), name)
    own = _own(thing, "dtype")
    told = dtype if own is None else own
    if found is None:
        raise ConfigurationError(f"{a(name)} does not say its size; give `size`, the number of its rows.")
    if told is None:
        raise ConfigurationError(
            f"{a(name)} does not say its dtype; give `dtype`, such as torch.float64 where it multiplies tensors, or "
            "numpy.float64 where it multiplies arrays."
        )
    kind = _kind(told, name)
    _agreed("dtype", None if dtype is None else _kind(dtype, name), kind, name)
    arrays = not isinstance(told, torch.dtype)
    there = None if arrays else _own(thing, "device")
    if device is not None and there is not None and torch.device(device).type != torch.device(there).type:
        raise ConfigurationError(f"`device` {device} is not that of the {name}, {there}; leave it out.")
    if isinstance(other, LinearOperator):
        return other
    if matrix is not None:
        return MatrixOperator(matrix.to(device or matrix.device))
    single, block = (_through(product, arrays) for product in _products(other, name))
    assert single is not None
    operator = FunctionOperator(single, found, block=block, dtype=kind, device=there or device or "cpu")
    operator.called, operator.remarkable = f"the product of {a(name)}", _REMARKABLE
    return operator


def _matrix(other: Any, name: str) -> Tensor | None:
    """What holds all its entries, as a tensor; an array's are shared where they can be."""
    if isinstance(other, Tensor):
        return other.detach() if other.layout == torch.strided else None
    if not hasattr(other, "__array__"):
        return None
    array = np.asarray(other)
    kind = array_dtype(_kind(array.dtype, name))
    return torch.from_numpy(np.require(array, kind, ["C", "W"]))


def _own(other: Any, what: str) -> Any:
    """What it says of itself, or its first parameter does; None where neither does."""
    try:
        found = getattr(other, what, None)
    except (NotImplementedError, RuntimeError):  # as curvlinops' bases do that have none
        found = None
    if found is not None:
        return found
    return next((getattr(each, what) for each in getattr(other, "params", None) or () if isinstance(each, Tensor)), None)


def _size(other: Any, name: str) -> int | None:
    shape = getattr(other, "shape", None)
    if shape is not None:
        if len(shape) != 2 or shape[0] != shape[1]:
            raise ConfigurationError(f"{a(name)} of shape {tuple(shape)} is no square matrix; a curvature is one, and symmetric.")
        return int(shape[0])
    size = getattr(other, "size", None)
    return size if isinstance(size, int) else None


def _kind(dtype: Any, name: str) -> torch.dtype:
    """Of vectors in torch."""
    if isinstance(dtype, torch.dtype):
        real, kind = dtype.is_floating_point, dtype
    else:
        try:
            known = np.dtype(dtype)
        except TypeError:
            raise ConfigurationError(f"`dtype` {dtype!r} is none of torch or NumPy.") from None
        real = known.kind in "fiub"
        kind = torch.float32 if known.kind == "f" and known.itemsize <= 4 else torch.float64
    if not real:
        said = str(dtype).removeprefix("torch.")
        raise ConfigurationError(f"{a(name)} of dtype {said} is no real matrix of floating numbers; give one in float64.")
    return kind


def _agreed(what: str, given: Any, own: Any, name: str) -> Any:
    """What it says, or what is given where it says nothing."""
    if given is not None and own is not None and given != own:
        raise ConfigurationError(f"`{what}` {given} is not that of the {name}, {own}; leave it out.")
    return given if own is None else own


def _products(other: Any, name: str) -> tuple[Callable[[Any], Any], Callable[[Any], Any] | None]:
    """Of a vector, and of a matrix of columns where there is one."""
    matvec, matmat = (getattr(other, word, None) for word in ("matvec", "matmat"))
    if matvec is not None:
        return matvec, matmat
    if hasattr(other, "__matmul__"):
        return other.__matmul__, other.__matmul__
    single = getattr(other, "apply", other)
    if not callable(single):
        raise ConfigurationError(f"{a(name)} has no product: neither `@`, `matvec` nor `apply`, nor can it be called.")
    return single, None


def _through(product: Callable[[Any], Any] | None, arrays: bool) -> Callable[[Tensor], Any] | None:
    """A product of tensors, whose result nobody else writes into and no graph hangs on."""
    if product is None:
        return None

    def multiply(operand: Tensor) -> Any:
        with differentiable():
            given = usable(operand)
            result = product(given.cpu().numpy() if arrays else given)
            if arrays and isinstance(found := np.array(result), np.ndarray) and found.dtype.kind in "fc":
                result = torch.from_numpy(found).to(operand.device)
            return result.detach().clone() if isinstance(result, Tensor) else result

    return multiply
