"""The Hessians of many models of one architecture at once: θ is `(M, P)`, and so is a tangent, and so is a product.

The traced graph of one model gets a leading model dimension. The inputs are shared, so the first layer of all models is one
wide GEMM. This is not a linear operator on one space but M of them side by side.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from orograph.curvature.determinism import check_model
from orograph.curvature.engine import Engine, Point
from orograph.curvature.formulas import FISHER, GAUSS_NEWTON, HESSIAN, Formula
from orograph.curvature.precision import Precision
from orograph.errors import ConfigurationError
from orograph.objective import Objective


class CohortHessian:
    """H_m = ∇²L(θ_m) for m = 1 … M, of the loss without penalty.

    Attributes:
        models, size: M and P.
        products: rows multiplied so far.
    """

    formula: Formula = HESSIAN

    def __init__(self, objective: Objective, thetas: Float[Tensor, "M P"], *, precision: Precision = "high") -> None:
        """Args:
        objective: the loss and data that the models share; its own θ plays no part.
        thetas: one θ a row.
        precision: `fast` rounds the operands of GEMMs to TF32 or BF16 where the device can.

        Raises:
            ConfigurationError: rows of the wrong length, or a model that gives two outputs for one input.
        """
        if thetas.shape[1] != objective.layout.size:
            raise ConfigurationError(f"θ has {thetas.shape[1]} entries a model; this architecture has {objective.layout.size}.")
        check_model(objective)
        self._engine = Engine(objective, self.formula, models=len(thetas))
        self.precision: Precision = precision
        self._place(thetas)

    def _place(self, thetas: Tensor) -> None:
        objective = self._engine.objective
        self._point = Point(thetas.detach().to(dtype=objective.dtype, device=objective.device).contiguous())
        self.models, self.size = thetas.shape
        self.products = 0

    def at(self, thetas: Float[Tensor, "M P"]) -> "CohortHessian":
        """The same models elsewhere: one pass over the data, no new trace."""
        if thetas.shape != self.thetas.shape:
            raise ConfigurationError(f"θ has shape {tuple(thetas.shape)}; this cohort's has {tuple(self.thetas.shape)}.")
        cohort = type(self).__new__(type(self))
        cohort._engine, cohort.precision = self._engine, self.precision
        cohort._place(thetas)
        return cohort

    def __matmul__(self, vectors: Float[Tensor, "M P"]) -> Float[Tensor, "M P"]:
        """Row m times H_m."""
        if vectors.shape != self.thetas.shape:
            raise ConfigurationError(f"cannot multiply {self.models} matrices of size {self.size} with {tuple(vectors.shape)}.")
        self.products += self.models
        return self._engine.multiply(self._point, vectors.to(self.thetas).contiguous(), self.precision)

    @property
    def thetas(self) -> Float[Tensor, "M P"]:
        """Where they stand."""
        return self._point.theta

    @property
    def gradients(self) -> Float[Tensor, "M P"]:
        """∇L(θ_m)."""
        self._engine.evaluate(self._point)
        assert self._point.gradient is not None
        return self._point.gradient

    @property
    def losses(self) -> Float[Tensor, " M"]:
        """L(θ_m), in float64."""
        self._engine.evaluate(self._point)
        assert self._point.loss is not None
        return self._point.loss

    @property
    def dtype(self) -> torch.dtype:
        return self.thetas.dtype

    @property
    def method(self) -> str:
        """How products are computed: `traced`, `forward-over-reverse` or `double-backward`."""
        return self._engine.method

    @property
    def traces(self) -> int:
        """How many graphs were recorded so far; a new θ records none."""
        return self._engine.traces

    @property
    def plan(self) -> str:
        """What was chosen, in one line."""
        return f"{self.models} models, {self.method}, {self._engine.plan}"


class CohortGaussNewton(CohortHessian):
    """The Gauss–Newton matrices of many models."""

    formula = GAUSS_NEWTON


class CohortFisher(CohortHessian):
    """The empirical Fisher matrices of many models."""

    formula = FISHER
