"""The base of the curvature matrices of a data set's mean loss: Hessian, Gauss–Newton and empirical Fisher."""

from collections.abc import Iterable
from typing import Any, ClassVar, TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from orograph.curvature.determinism import check_data, check_model
from orograph.curvature.engine import Engine, Point
from orograph.curvature.formulas import Formula
from orograph.curvature.operator import LinearOperator
from orograph.curvature.precision import Precision, fast_kind
from orograph.errors import ConfigurationError
from orograph.memory import DEFAULT_MEMORY
from orograph.objective import Loss, Objective

# Not typing.Self: the runtime checker of the tests sees functions one by one and cannot resolve it.
Kind = TypeVar("Kind", bound="CurvatureOperator")


class CurvatureOperator(LinearOperator):
    """A curvature matrix of the mean loss L at one θ, plus 2λI if it is to be that of L + λ‖θ − θ_ref‖².

    A new θ is `op.at(theta)`: one pass over the data, no new trace. Residuals are held for one θ at a time, so moving to and
    fro between two operators made by `at` repeats that pass.
    """

    formula: ClassVar[Formula]

    def __init__(
        self,
        model: nn.Module,
        loss: Loss,
        data: Iterable[Any],
        *,
        parameters: str = "*",
        strength: float = 0.0,
        anchor: Float[Tensor, " P"] | None = None,
        memory: str | int = DEFAULT_MEMORY,
        dtype: torch.dtype | None = None,
        samples: Int[Tensor, " n"] | None = None,
        precision: Precision = "high",
    ) -> None:
        """Args:
        model: any module; evaluated in eval mode.
        loss: `(output, target) → ` one value per sample, or a mean; standard losses are re-reduced.
        data: re-iterable of `(inputs, targets)`.
        parameters: comma-separated globs of the names of the parameters that make up θ.
        strength: λ; adds 2λI.
        anchor: θ_ref, `(P,)`; it moves the minimum, not the curvature.
        memory: budget for residuals and temporaries, in bytes or like `4GiB`.
        dtype: of θ and all products; the module's own when None.
        samples: indices of the samples whose mean loss is meant; all when None.
        precision: `fast` rounds the operands of GEMMs to TF32 or BF16 where the device can.

        Raises:
            ConfigurationError: a model that gives two outputs for one input, or an argument out of range.
            DataError: data that differ from one iteration to the next, or have no samples.
        """
        objective = Objective(
            model, loss, data, parameters=parameters, strength=strength, anchor=anchor, memory=memory, dtype=dtype
        )
        check_data(data, objective)
        self._begin(objective, samples, 2 * strength, precision)

    @classmethod
    def of(
        cls: type[Kind],
        objective: Objective,
        *,
        samples: Int[Tensor, " n"] | None = None,
        penalised: bool = False,
        precision: Precision = "high",
    ) -> Kind:
        """The operator of an objective at its θ; of the loss alone unless `penalised`."""
        operator = cls.__new__(cls)
        operator._begin(objective, samples, 2 * objective.strength if penalised else 0.0, precision)
        return operator

    def _begin(self, objective: Objective, samples: Tensor | None, shift: float, precision: Precision) -> None:
        if precision not in ("high", "fast"):
            raise ConfigurationError(f"precision '{precision}' is neither 'high' nor 'fast'.")
        check_model(objective)
        whole = objective if samples is None else objective.subset(samples)
        self._become(Engine(whole, self.formula), whole.theta, shift, precision)

    def _become(self, engine: Engine, theta: Tensor, shift: float, precision: Precision) -> None:
        self._engine, self._shift, self.precision = engine, shift, precision
        self._point = Point(theta.detach().contiguous())
        self.size, self.dtype, self.device = theta.shape[-1], theta.dtype, theta.device

    def _sibling(self: Kind, engine: Engine, theta: Tensor, precision: Precision) -> Kind:
        operator = type(self).__new__(type(self))
        operator._become(engine, theta, self._shift, precision)
        return operator

    def at(self: Kind, theta: Float[Tensor, " P"]) -> Kind:
        """The same operator at another θ."""
        if theta.shape != self.theta.shape:
            raise ConfigurationError(f"θ has shape {tuple(theta.shape)}; this operator's has {tuple(self.theta.shape)}.")
        return self._sibling(self._engine, theta.to(self.theta), self.precision)

    def double(self: Kind) -> Kind:
        if self.dtype == torch.float64:
            return self
        return self._sibling(self._engine.double(), self.theta.double(), "high")

    @property
    def verification(self: Kind) -> Kind:
        """This operator with products in full float32."""
        if self.precision == "high":
            return self
        operator = self._sibling(self._engine, self.theta, "high")
        operator._point = self._point
        return operator

    def product(self, vector: Float[Tensor, " P"]) -> Float[Tensor, " P"]:
        result = self._engine.multiply(self._point, vector.to(self.dtype).contiguous(), self.precision)
        return result.add_(vector, alpha=self._shift) if self._shift else result

    def block_product(self, block: Float[Tensor, "P b"]) -> Float[Tensor, "P b"]:
        rows = block.T.to(self.dtype).contiguous()
        result = self._engine.multiply(self._point, rows, self.precision)
        return (result.add_(rows, alpha=self._shift) if self._shift else result).T

    @property
    def theta(self) -> Float[Tensor, " P"]:
        """Where it stands."""
        return self._point.theta

    @property
    def gradient(self) -> Float[Tensor, " P"]:
        """∇L(θ), of the loss without penalty."""
        self._engine.evaluate(self._point)
        assert self._point.gradient is not None
        return self._point.gradient

    @property
    def loss(self) -> float:
        """L(θ), without penalty; summed over chunks in float64."""
        self._engine.evaluate(self._point)
        assert self._point.loss is not None
        return self._point.loss.item()

    @property
    def method(self) -> str:
        """How products are computed: `traced`, `forward-over-reverse` or `double-backward`."""
        return self._engine.method

    @property
    def fallback_reason(self) -> str:
        """Why the method is not `traced`; empty if it is."""
        return self._engine.fallback_reason

    @property
    def traces(self) -> int:
        """How many graphs were recorded so far; a new θ records none."""
        return self._engine.traces

    @property
    def plan(self) -> str:
        """What was chosen, in one line: method, chunks, what is kept, bytes, precision."""
        kind = fast_kind(self.device, self.dtype) if self.precision == "fast" else None
        reason = f" ({self.fallback_reason})" if self.fallback_reason else ""
        return f"{self.method}{reason}, {self._engine.plan}, {kind or str(self.dtype).removeprefix('torch.')} products"
