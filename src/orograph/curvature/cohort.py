"""The Hessians of many models of one architecture at once: θ is `(M, P)`, and so is a tangent, and so is a product.

The traced graph of one model gets a leading model dimension. The inputs are shared, so the first layer of all models is one
wide GEMM. This is not a linear operator on one space but M of them side by side.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from orograph.curvature.determinism import check_model
from orograph.curvature.engine import Engine
from orograph.curvature.formulas import HESSIAN
from orograph.curvature.precision import Precision
from orograph.curvature.standing import Standing
from orograph.errors import ConfigurationError
from orograph.objective import Objective


class CohortHessian(Standing):
    """H_m = ∇²L(θ_m) for m = 1 … M, of the loss without penalty.

    Args:
        objective: the loss and data that the models share; its own θ plays no part.
        thetas: `(M, P)`, one θ a row.
        precision: `fast` rounds the operands of GEMMs to TF32 or BF16 where the device can.

    Attributes:
        models: M.
        size: P.
        products: rows multiplied so far.

    Raises:
        ConfigurationError: rows of the wrong length, or a model that gives two outputs for one input.
    """

    models: int
    size: int
    products: int

    formula = HESSIAN

    def __init__(self, objective: Objective, thetas: Float[Tensor, "M P"], *, precision: Precision = "high") -> None:
        if thetas.shape[1] != objective.layout.size:
            raise ConfigurationError(f"θ has {thetas.shape[1]} entries a model; this architecture has {objective.layout.size}.")
        check_model(objective)
        self.models, self.size = thetas.shape
        engine = Engine(objective, self.formula, models=self.models)
        self._stand(engine, thetas.to(dtype=objective.dtype, device=objective.device), precision)

    def at(self, thetas: Float[Tensor, "M P"]) -> "CohortHessian":
        """The same models elsewhere: one pass over the data, no new trace.

        Args:
            thetas: `(M, P)`, one θ a row.

        Returns:
            Another operator, which shares the graphs of this one.
        """
        return self._moved(thetas)

    def __matmul__(self, vectors: Float[Tensor, "M P"]) -> Float[Tensor, "M P"]:
        """Row m times H_m."""
        if vectors.shape != self.thetas.shape:
            raise ConfigurationError(f"cannot multiply {self.models} matrices of size {self.size} with {tuple(vectors.shape)}.")
        self.products += self.models
        return self._multiply(vectors)

    @property
    def thetas(self) -> Float[Tensor, "M P"]:
        """Where they stand."""
        return self._point.theta

    @property
    def gradients(self) -> Float[Tensor, "M P"]:
        """∇L(θ_m)."""
        return self._engine.gradient(self._point)

    @property
    def losses(self) -> Float[Tensor, " M"]:
        """L(θ_m), in float64."""
        return self._engine.loss(self._point)

    @property
    def dtype(self) -> torch.dtype:
        return self.thetas.dtype

    @property
    def plan(self) -> str:
        """What was chosen, in one line."""
        return f"{self.models} models, {self.method}, {self._engine.plan}"
