"""Symmetric linear operators known only by their products: the small base of every curvature matrix.

How vectors lie side by side, everywhere: a set of vectors that is kept, given or returned has one vector a *row*, `(k, P)`, so
that each is contiguous (eigenvectors, directions, many θ, the basis of Lanczos). Only the operand of `@`, and its product, are a
matrix in the sense of algebra, with one vector a *column*, `(P, b)`: `A @ V`. So eigenvectors are multiplied by
`A @ spectrum.eigenvectors.T`.
"""

import copy
import warnings
from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from orograph.arguments import checked, require_vectors
from orograph.autocast import uncast
from orograph.curvature.exports import Exports
from orograph.curvature.shards import shards_of
from orograph.errors import ConfigurationError, DataError, OrographWarning

_DEVIATION = 1e-2  # of a function's products; finite differences of gradients lie below, and what is smaller shows in residuals


class LinearOperator(Exports):
    """A symmetric `P × P` matrix A known by `A @ v`.

    `A @ v` takes `(P,)`, `A @ V` takes `(P, b)`. Sums, scalings and shifts of operators are operators: `H + G`, `2 * H`,
    `H.shifted(0.1)` is H + 0.1·I. `products` counts the columns multiplied so far. `group` is the process group that computes
    the products together, each process with its share of the data; None for one process. Where it is `sharded`, each process
    gives and gets its `width` entries of every vector, and none has a whole one. `exact_products` says that products are
    symmetric to the rounding of `dtype`, on which `lanczos` relies to save passes over its basis.

    Examples:
        >>> import torch, orograph as og
        >>> A = og.MatrixOperator(torch.diag(torch.tensor([1.0, 2.0])))
        >>> (2 * A).shifted(1.0) @ torch.ones(2)
        tensor([3., 5.])
    """

    size: int
    dtype: torch.dtype
    device: torch.device
    products: int = 0
    group: Any = None
    exact_products: bool = True
    sharded: bool = False

    @abstractmethod
    def product(self, vector: Float[Tensor, " P"]) -> Float[Tensor, " P"]:
        """A v.

        Args:
            vector: v, `(P,)`.

        Returns:
            `(P,)`.
        """

    def block_product(self, block: Float[Tensor, "P b"]) -> Float[Tensor, "P b"]:
        """A V, column by column unless a subclass knows better.

        Args:
            block: V, `(P, b)`, one vector a column.

        Returns:
            `(P, b)`.
        """
        return torch.stack([self.product(column.contiguous()) for column in block.unbind(1)], dim=1)

    @property
    def shape(self) -> tuple[int, int]:
        return (self.size, self.size)

    @property
    def width(self) -> int:
        """How many entries the vectors have that this process gives and gets."""
        return shards_of(self).width if self.sharded else self.size

    def double(self) -> "LinearOperator | None":
        """The same matrix with products in float64, to measure the noise of this one.

        Returns:
            `(P, P)`; None where there is none.
        """
        return self if self.dtype == torch.float64 else None

    @property
    def verification(self) -> "LinearOperator":
        """The operator whose products certify a residual: this one, unless its products are of reduced precision."""
        return self

    def examine(self) -> None:
        """Tries whether it is symmetric where nothing else vouches for it; its products are not counted.

        Raises:
            ConfigurationError: it is not linear, or not symmetric.
        """
        return

    def __matmul__(self, other: Tensor) -> Tensor:
        part = f", of whose vectors this process has {self.width} entries," if self.sharded else ""
        require_vectors(f"a {self.shape} operator{part}", other, self.width)
        if other.ndim == 2 and not other.shape[1]:
            return torch.empty(other.shape, dtype=self.dtype, device=self.device)
        self.products += 1 if other.ndim == 1 else other.shape[1]
        with uncast():
            return self.product(other) if other.ndim == 1 else self.block_product(other)

    def __add__(self, other: "LinearOperator") -> "LinearOperator":
        return _Combination([(1.0, self), (1.0, other)])

    def __sub__(self, other: "LinearOperator") -> "LinearOperator":
        return _Combination([(1.0, self), (-1.0, other)])

    def __mul__(self, factor: float) -> "LinearOperator":
        return _Combination([(float(factor), self)])

    __rmul__ = __mul__

    def shifted(self, shift: float) -> "LinearOperator":
        """A + shift·I.

        Args:
            shift: added to the diagonal; 2λ makes the Hessian of L that of L + λ‖θ − θ_ref‖².

        Returns:
            An operator that multiplies by this one.
        """
        return _Combination([(1.0, self)], shift)


def not_finite(operator: LinearOperator, number: int) -> DataError:
    """The error for a product, the last of so many, that is not finite."""
    return DataError(
        f"product number {number} of the {operator.shape} operator is not finite; "
        "look for NaN or infinity in the parameters, the data or the loss."
    )


def require_digits(operator: LinearOperator, what: str) -> None:
    """Raise ConfigurationError for an operator in half precision, of whose products two to three digits are right."""
    if operator.dtype not in (torch.float32, torch.float64):
        kind = str(operator.dtype).removeprefix("torch.")
        raise ConfigurationError(f"{what} of an operator in {kind} cannot be had: give the operator in float32 or float64.")


class _Combination(LinearOperator):
    """Σ cᵢ Aᵢ + shift·I."""

    def __init__(self, terms: list[tuple[float, LinearOperator]], shift: float = 0.0) -> None:
        first = terms[0][1]
        if any(operator.size != first.size for _, operator in terms):
            raise ConfigurationError(f"operators of sizes {[operator.size for _, operator in terms]} cannot be added.")
        self.terms, self.shift = terms, shift
        if any(operator.sharded != first.sharded for _, operator in terms):
            raise ConfigurationError("an operator whose vectors are shared among processes can be added to others such alone.")
        self.size, self.dtype, self.device = first.size, first.dtype, first.device
        self.group, self.sharded = first.group, first.sharded
        self.exact_products = all(operator.exact_products for _, operator in terms)

    def double(self) -> LinearOperator | None:
        doubled = [(factor, operator.double()) for factor, operator in self.terms]
        known = [(factor, operator) for factor, operator in doubled if operator is not None]
        return _Combination(known, self.shift) if len(known) == len(doubled) else None

    @property
    def verification(self) -> LinearOperator:
        return _Combination([(factor, operator.verification) for factor, operator in self.terms], self.shift)

    def examine(self) -> None:
        for _, operator in self.terms:
            operator.examine()

    def product(self, vector: Float[Tensor, " P"]) -> Float[Tensor, " P"]:
        return self._apply(vector)

    def block_product(self, block: Float[Tensor, "P b"]) -> Float[Tensor, "P b"]:
        return self._apply(block)

    def _apply(self, other: Tensor) -> Tensor:
        total = self.shift * other
        for factor, operator in self.terms:
            total = total + factor * (operator @ other)
        return total


class FunctionOperator(LinearOperator):
    """An operator out of a function `v ↦ A v`: for tests, closed forms and one-offs.

    Args:
        function: `v ↦ A v`, linear and symmetric; what needs it so tries it by three products. It may write into its v, a copy,
            and give the same tensor, filled anew, every time: what it gives is copied.
        size: P.
        block: `V ↦ A V`, `(P, b)`, all columns at once; one by one when None.
        dtype: of v and of A v.
        device: of both.

    Examples:
        >>> import torch, orograph as og
        >>> og.FunctionOperator(lambda v: 3 * v, size=4) @ torch.ones(4)
        tensor([3., 3., 3., 3.])
    """

    function: Callable[[Tensor], Tensor]
    size: int
    dtype: torch.dtype
    device: torch.device

    exact_products = False  # nobody knows
    block: Callable[[Tensor], Tensor] | None = None
    called = "the function of an operator"
    remarkable = _DEVIATION  # what asymmetry is said
    _examined = False

    @checked
    def __init__(
        self,
        function: Callable[[Tensor], Tensor],
        size: int,
        *,
        block: Callable[[Tensor], Tensor] | None = None,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        self.function, self.size, self.dtype, self.device = function, size, dtype, torch.device(device)
        self.block = block

    def product(self, vector: Float[Tensor, " P"]) -> Float[Tensor, " P"]:
        """A v, as the function has it.

        Args:
            vector: v, `(P,)`.

        Returns:
            `(P,)`, in the operator's dtype.

        Raises:
            ConfigurationError: the function gives something else than so many real numbers on the device of v.
        """
        return self._given(self.function, vector)

    def block_product(self, block: Float[Tensor, "P b"]) -> Float[Tensor, "P b"]:
        """A V, as the function of blocks has it, or column by column.

        Args:
            block: V, `(P, b)`, one vector a column.

        Returns:
            `(P, b)`, in the operator's dtype.

        Raises:
            ConfigurationError: the function gives something else than so many real numbers on the device of V.
        """
        return super().block_product(block) if self.block is None else self._given(self.block, block)

    def _given(self, function: Callable[[Tensor], Any], operand: Tensor) -> Tensor:
        result = function(operand.to(self.dtype, copy=True))
        shape = tuple(operand.shape)
        if not isinstance(result, Tensor):
            raise ConfigurationError(f"{self.called} must give a tensor {shape}, not {type(result).__name__}.")
        if result.shape != operand.shape or not result.is_floating_point() or result.device != operand.device:
            raise ConfigurationError(
                f"{self.called} must give a floating tensor {shape} on {operand.device}, not "
                f"{str(result.dtype).removeprefix('torch.')} of shape {tuple(result.shape)} on {result.device}."
            )
        return result.detach().to(self.dtype, copy=True)  # the function may write into its own again, and graphs need no keeping

    def examine(self) -> None:
        """Tries the function on two random unit vectors and their sum, once; it is called three times, which is not counted.

        Raises:
            ConfigurationError: A(u + v) is not A u + A v, or uᵀA v is not vᵀA u.
        """
        if self._examined:
            return
        drawn = torch.randn(2, self.size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        u, v = (drawn / drawn.norm(dim=1, keepdim=True)).to(self.device, self.dtype)
        with uncast():
            of_u, of_v = self.block_product(torch.stack([u, v], dim=1)).double().unbind(1)  # blocks are of the same matrix, too
            of_sum = self.product(u + v).double()
        size = of_u.norm() + of_v.norm()
        if (of_sum - of_u - of_v).norm() > _DEVIATION * (size + of_sum.norm()):
            raise ConfigurationError(
                f"{self.called} is not linear: A(u + v) differs from A u + A v; give one that is, without chance."
            )
        # Of unit vectors at random uᵀA v is about ‖A v‖/√P.
        apart = (u.double() @ of_v - v.double() @ of_u).abs() * self.size**0.5
        if apart > _DEVIATION * size:
            raise ConfigurationError(
                f"{self.called} is not symmetric: uᵀA v differs from vᵀA u; give (A + Aᵀ)/2 or AᵀA, as is meant."
            )
        if apart > self.remarkable * size:
            warnings.warn(
                f"{self.called} is symmetric to {(apart / size).item():.0e} alone: uᵀA v differs from vᵀA u by so much; "
                "eigenvalues are known no better.",
                OrographWarning,
                stacklevel=2,
            )
        self._examined = True


class TrustedOperator(FunctionOperator):
    """Out of a function that is symmetric because what it multiplies by is: not tried by products of its own."""

    exact_products = True
    _examined = True


class MatrixOperator(LinearOperator):
    """A dense symmetric matrix as an operator.

    Args:
        matrix: A, `(P, P)`; products are in its dtype, on its device.

    Raises:
        ConfigurationError: it is no square of floating numbers, or not symmetric within rounding.

    Examples:
        >>> import torch, orograph as og
        >>> og.MatrixOperator(torch.tensor([[2.0, 1.0], [1.0, 2.0]])) @ torch.tensor([1.0, 0.0])
        tensor([2., 1.])
    """

    size: int
    dtype: torch.dtype
    device: torch.device

    @checked
    def __init__(self, matrix: Float[Tensor, "P P"]) -> None:
        norm, off = (float(torch.linalg.vector_norm(each, dtype=torch.float64)) for each in (matrix, matrix - matrix.T))
        # Entries are sums of products, each rounded; a matrix in half precision would be granted everything.
        if off > min(100 * torch.finfo(matrix.dtype).eps * len(matrix) ** 0.5, 0.1) * norm:
            raise ConfigurationError(
                f"the matrix of an operator is not symmetric: ‖A − Aᵀ‖ is {off / norm:.2g}·‖A‖; give (A + A.T) / 2 or "
                "A.T @ A, as is meant."
            )
        self.matrix = matrix
        self.size, self.dtype, self.device = len(matrix), matrix.dtype, matrix.device

    def double(self) -> LinearOperator:
        """The same matrix in float64.

        Returns:
            `(P, P)`.
        """
        other = copy.copy(self)  # symmetric as far as this one is
        other.matrix, other.dtype, other.products = self.matrix.double(), torch.float64, 0
        return other

    def product(self, vector: Float[Tensor, " P"]) -> Float[Tensor, " P"]:
        """A v, by the dense matrix.

        Args:
            vector: v, `(P,)`.

        Returns:
            `(P,)`.
        """
        return self.matrix @ vector

    def block_product(self, block: Float[Tensor, "P b"]) -> Float[Tensor, "P b"]:
        """A V, by the dense matrix.

        Args:
            block: V, `(P, b)`, one vector a column.

        Returns:
            `(P, b)`.
        """
        return self.matrix @ block
