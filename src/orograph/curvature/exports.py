"""An operator as other libraries take one: SciPy, curvlinops, hessian-eigenthings, and whoever asks for a function of arrays.

Each library is imported when it is asked for. Products that are made there count here.
"""

import functools
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from orograph.errors import ConfigurationError
from orograph.sources import first_line

if TYPE_CHECKING:
    import scipy.sparse.linalg


class Exports(ABC):
    """What an operator becomes elsewhere."""

    size: int
    dtype: torch.dtype
    device: torch.device
    sharded: bool

    @abstractmethod
    def __matmul__(self, other: Tensor) -> Tensor: ...

    def to_function(self, dtype: Any = None) -> Callable[[Any], Any]:
        """The function v ↦ A v of NumPy arrays: for matfree, and for any code that asks for no more.

        Args:
            dtype: of the arrays that it gives; the operator's own when None.

        Returns:
            A function of `(P,)`, or of `(P, b)` with one vector a column.

        Raises:
            ConfigurationError: the vectors of the operator are shared among processes.
        """
        self._require_whole("a function of arrays")
        given = array_dtype(self.dtype) if dtype is None else dtype

        def multiply(array: Any) -> Any:
            tensor = torch.as_tensor(array, dtype=self.dtype, device=self.device)
            return (self @ tensor).cpu().to(_of_arrays(self.dtype)).numpy().astype(given)

        return multiply

    def to_scipy(self, dtype: Any = None) -> "scipy.sparse.linalg.LinearOperator":
        """The same operator for SciPy's solvers, in numpy arrays of `dtype` (default: the operator's own).

        Args:
            dtype: of the numpy arrays; the operator's own when None.

        Returns:
            `(P, P)`, on the CPU.

        Raises:
            ConfigurationError: the vectors of the operator are shared among processes.
        """
        self._require_whole("one of SciPy's")
        from scipy.sparse.linalg import LinearOperator as SciPyOperator  # half a second, which workers do without

        kind = array_dtype(self.dtype) if dtype is None else dtype
        multiply = self.to_function(kind)

        def single(array: Any) -> Any:
            return multiply(array.reshape(-1))

        shape = (self.size, self.size)
        return SciPyOperator(shape, matvec=single, rmatvec=single, matmat=multiply, rmatmat=multiply, dtype=kind)

    def to_curvlinops(self, shapes: Iterable[Iterable[int]] | None = None) -> Any:
        """The same operator for curvlinops' traces, diagonals, densities and inverses, and for sums with its own operators.

        Args:
            shapes: of the tensors that make up its vectors, in order, where operators that it is added to have several:
                `[p.shape for p in model.parameters()]`; one vector of P numbers when None.

        Returns:
            A `PyTorchLinearOperator`, `(P, P)`, self-adjoint.

        Raises:
            ConfigurationError: curvlinops is not installed, the shapes do not make up P numbers, or the vectors of the operator
                are shared among processes.
        """
        self._require_whole("one of curvlinops'")
        parts: list[tuple[int, ...]] = [(self.size,)] if shapes is None else [tuple(shape) for shape in shapes]
        if (total := sum(math.prod(part) for part in parts)) != self.size:
            raise ConfigurationError(f"`shapes` make up {total} numbers, and a vector of this operator has {self.size}.")
        return _curvlinops_kind()(self, parts)

    def to_eigenthings(self) -> Any:
        """The same operator for hessian-eigenthings' Lanczos, power iteration, traces and densities.

        Returns:
            Its `LambdaOperator`, of size P.

        Raises:
            ConfigurationError: hessian-eigenthings is not installed, or the vectors of the operator are shared among processes.
        """
        self._require_whole("one of hessian-eigenthings'")
        try:
            from hessian_eigenthings import LambdaOperator
        except ImportError as error:
            raise _missing("hessian-eigenthings", "hessian-eigenthings", error) from None
        return LambdaOperator(self.__matmul__, size=self.size, device=self.device, dtype=self.dtype)

    def _require_whole(self, what: str) -> None:
        if self.sharded:
            raise ConfigurationError(f"an operator whose vectors are shared among processes cannot be {what}.")


def _of_arrays(dtype: torch.dtype) -> torch.dtype:
    """Numpy has no bfloat16."""
    return torch.float32 if dtype == torch.bfloat16 else dtype


def array_dtype(dtype: torch.dtype) -> Any:
    """That of NumPy's arrays which hold the numbers of such tensors."""
    return torch.empty(0, dtype=_of_arrays(dtype)).numpy().dtype


def _missing(library: str, package: str, error: ImportError) -> ConfigurationError:
    return ConfigurationError(f"an operator of {library} needs the package ({first_line(error)}): pip install {package}.")


@functools.cache
def _curvlinops_kind() -> Callable[[Exports, list[tuple[int, ...]]], Any]:
    """The class, which has another library's class as its base."""
    try:
        from curvlinops._torch_base import PyTorchLinearOperator  # which its own names do not include
    except ImportError as error:
        raise _missing("curvlinops", "'curvlinops-for-pytorch>=3.0.1'", error) from None

    class Exported(PyTorchLinearOperator):
        SELF_ADJOINT = True

        def __init__(self, operator: Exports, shapes: list[tuple[int, ...]]) -> None:
            super().__init__(shapes, shapes)
            self._operator = operator

        @property
        def dtype(self) -> torch.dtype:
            return self._operator.dtype

        @property
        def device(self) -> torch.device:
            return self._operator.device

        def _matmat(self, X: list[Tensor]) -> list[Tensor]:
            columns = X[0].shape[-1]
            product = self._operator @ torch.cat([part.reshape(-1, columns) for part in X])
            split = product.split([part.numel() // columns for part in X])
            return [part.reshape(given.shape) for part, given in zip(split, X, strict=True)]

        def _adjoint(self) -> "Exported":
            return self

    return Exported
