"""A hard limit on the Hessian products of one minimum, shared out among the parts of its measurement.

Each part may plan with a share of what is left, in proportion to its weight among the parts still to come, so that what one
part leaves over goes to the next. A part that would go beyond the whole limit is stopped. Which parts the limit cut short, and
what is missing of them, is kept to be reported.
"""

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from orograph.curvature.counting import OnProduct
from orograph.curvature.operator import LinearOperator
from orograph.errors import ConfigurationError


class BudgetSpent(Exception):
    """The next product would go beyond the limit."""


@dataclass(eq=False)
class Budget:
    """The products of one minimum.

    Attributes:
        limit: never more than this, products in float64 and those that verify residuals included.
        weights: of the parts, in the order in which they will be measured.
        on_product: told of every product, with the part and what all parts have spent so far.
        spent: by part, so far.
        cut: for each part that the limit cut short, what is missing.
    """

    limit: int
    weights: dict[str, float]
    on_product: OnProduct | None = None
    spent: dict[str, int] = field(default_factory=dict)
    cut: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.limit < 1:
            raise ConfigurationError(f"a budget of {self.limit} Hessian products measures nothing; at least 1 is needed.")

    @property
    def left(self) -> int:
        return self.limit - sum(self.spent.values())

    def share(self, part: str) -> int:
        """How many products a part may plan with; the last part gets all that is left."""
        names = list(self.weights)
        coming = sum(self.weights[name] for name in names[names.index(part) :])
        return math.floor(self.left * self.weights[part] / coming)

    def operator(self, inner: LinearOperator, part: str) -> LinearOperator:
        """The operator with its products counted as those of a part."""
        return _Counted(inner, self, part)

    def spend(self, part: str, products: int) -> None:
        """Counts products before they are made.

        Raises:
            BudgetSpent: there are not so many left.
        """
        if products > self.left:
            raise BudgetSpent
        self.spent[part] = self.spent.get(part, 0) + products
        if self.on_product is not None:
            self.on_product(part, self.limit - self.left)

    def fields(self) -> dict[str, Any]:
        """What the record says of it."""
        return {"limit": self.limit, "spent": self.limit - self.left, "parts": dict(self.spent), "cut": dict(self.cut)}


class _Counted(LinearOperator):
    """An operator whose products are paid for out of a budget."""

    def __init__(self, inner: LinearOperator, budget: Budget, part: str) -> None:
        self.inner, self.budget, self.part = inner, budget, part
        self.size, self.dtype, self.device = inner.size, inner.dtype, inner.device
        self.exact_products = inner.exact_products

    def product(self, vector: Float[Tensor, " P"]) -> Float[Tensor, " P"]:
        self.budget.spend(self.part, 1)
        return self.inner @ vector

    def block_product(self, block: Float[Tensor, "P b"]) -> Float[Tensor, "P b"]:
        self.budget.spend(self.part, block.shape[1])
        return self.inner @ block

    def double(self) -> LinearOperator | None:
        if self.dtype == torch.float64:
            return self
        doubled = self.inner.double()
        return None if doubled is None else _Counted(doubled, self.budget, self.part)

    @property
    def verification(self) -> LinearOperator:
        inner = self.inner.verification
        return self if inner is self.inner else _Counted(inner, self.budget, self.part)
