"""A block A_BB on the diagonal of an operator, as an operator of its own."""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from orograph.arguments import checked
from orograph.curvature.operator import LinearOperator
from orograph.errors import ConfigurationError


class BlockOperator(LinearOperator):
    """A_BB: rows and columns of A in one set of places. Each product costs one of A.

    Args:
        operator: A.
        places: `(p,)` int64, which entries, each once.

    Raises:
        ConfigurationError: no places, one outside A or one twice.

    Examples:
        >>> import torch, orograph as og
        >>> A = og.MatrixOperator(torch.tensor([[2.0, 1.0, 0.0], [1.0, 3.0, 0.0], [0.0, 0.0, 4.0]]))
        >>> og.blockwise.BlockOperator(A, torch.tensor([0, 2])) @ torch.ones(2)
        tensor([2., 4.])
    """

    whole: LinearOperator
    places: Tensor
    size: int
    dtype: torch.dtype
    device: torch.device
    group: Any

    @checked
    def __init__(self, operator: LinearOperator, places: Int[Tensor, " p"]) -> None:
        if not len(places) or not 0 <= int(places.min()) <= int(places.max()) < operator.size:
            raise ConfigurationError(f"a block needs at least one place, each between 0 and {operator.size - 1}.")
        if len(places.unique()) < len(places):
            raise ConfigurationError("a block holds each place once; remove those given twice.")
        self.whole, self.places = operator, places.to(operator.device)
        self.size, self.dtype, self.device, self.group = len(places), operator.dtype, operator.device, operator.group
        self.exact_products = operator.exact_products

    def double(self) -> "BlockOperator | None":
        """The same block of the operator in float64.

        Returns:
            `(p, p)`; None where there is none.
        """
        doubled = self.whole.double()
        return None if doubled is None else BlockOperator(doubled, self.places)

    @property
    def verification(self) -> LinearOperator:
        """The same block of what certifies the operator's residuals."""
        return BlockOperator(self.whole.verification, self.places)

    def examine(self) -> None:
        """Tries the whole operator.

        Raises:
            ConfigurationError: it is not linear, or not symmetric.
        """
        self.whole.examine()

    def product(self, vector: Float[Tensor, " p"]) -> Float[Tensor, " p"]:
        """A_BB v.

        Args:
            vector: v, `(p,)`.

        Returns:
            `(p,)`.
        """
        return (self.whole @ spread(vector, self.places, self.whole.size))[self.places]

    def block_product(self, block: Float[Tensor, "p b"]) -> Float[Tensor, "p b"]:
        """A_BB V.

        Args:
            block: V, `(p, b)`, one vector a column.

        Returns:
            `(p, b)`.
        """
        return (self.whole @ spread(block, self.places, self.whole.size))[self.places]


def spread(values: Float[Tensor, "p *b"], places: Int[Tensor, " p"], size: int) -> Float[Tensor, "P *b"]:
    """Zero but in some places."""
    return values.new_zeros(size, *values.shape[1:]).index_copy_(0, places, values)
