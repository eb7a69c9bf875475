"""The base of the curvature matrices of a data set's mean loss: Hessian, Gauss–Newton and empirical Fisher."""

import copy
import warnings
from collections.abc import Iterable
from typing import Any, TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from orograph.arguments import checked
from orograph.boundary import explained
from orograph.calling import apart
from orograph.curvature.determinism import check_data, check_model
from orograph.curvature.distributed import SharedEngine, share_of
from orograph.curvature.engine import Engine
from orograph.curvature.operator import LinearOperator
from orograph.curvature.precision import Precision, fast_kind
from orograph.curvature.standing import Standing
from orograph.curvature.watch import Data, Held, Watch
from orograph.errors import ConfigurationError
from orograph.memory import DEFAULT_MEMORY
from orograph.objective import Objective
from orograph.reduction import Loss, Over
from orograph.streaming import columns

Kind = TypeVar("Kind", bound="CurvatureOperator")

_MANY = 32  # products, to which an examination adds little


class CurvatureOperator(Standing, LinearOperator):
    """A curvature matrix of the mean loss L at one θ. That of L + λ‖θ − θ_ref‖² is `op.shifted(2 * λ)`, whatever θ_ref is.

    A new θ is `op.at(theta)`: one pass over the data, no new trace. Residuals are held for one θ at a time, so moving to and
    fro between two operators made by `at` repeats that pass.
    """

    size: int
    dtype: torch.dtype
    device: torch.device
    group: Any

    @checked
    def __init__(
        self,
        model: nn.Module,
        loss: Loss,
        data: Iterable[Any],
        *,
        parameters: str = "*",
        strength: float | None = None,
        anchor: Float[Tensor, " P"] | None = None,
        memory: str | int = DEFAULT_MEMORY,
        dtype: torch.dtype | None = None,
        samples: Int[Tensor, " n"] | None = None,
        precision: Precision = "high",
    ) -> None:
        """Of a module, a loss and data, at the module's parameters.

        Args:
            model: any module; evaluated in eval mode.
            loss: `(output, target) → ` one value per sample, a mean or a sum; what a standard loss averages over is kept.
            data: re-iterable of `(inputs, targets)`.
            parameters: comma-separated globs of the names of the parameters that make up θ.
            memory: budget for residuals and temporaries, in bytes or like `4GiB`.
            dtype: of θ and all products, float32 or float64; the module's widest when None, float32 for half precision.
            samples: `(n,)` indices of the samples whose mean loss is meant; all when None.
            precision: `fast` rounds the operands of GEMMs to TF32 or BF16 where the device can.
            strength: deprecated: shifts the matrix by 2·strength.
            anchor: deprecated: without effect, for it moves the minimum, not the curvature.

        Raises:
            ConfigurationError: a model that gives two outputs for one input, or an argument out of range.
            DataError: data that differ from one iteration to the next, or have no samples.
        """
        if strength is not None or anchor is not None:
            warnings.warn(
                f"strength= and anchor= are deprecated: write {type(self).__name__}(…).shifted(2 * strength) for the matrix of "
                "the penalised loss; an anchor does not change it.",
                DeprecationWarning,
                stacklevel=3,  # past the check of the arguments
            )
        objective = Objective(model, loss, data, parameters=parameters, memory=memory, dtype=dtype)
        check_data(data, objective)
        objective.penalised(strength or 0.0, anchor)  # refuses what no penalty has
        self._begin(objective, samples, precision, None)
        self._watch = Watch(objective.model, objective.layout, objective.theta)
        self._held = Held(objective.model, objective.layout)
        self._shift = 2 * (strength or 0.0)

    _shift = 0.0
    _watch: Watch | None = None  # of the module where θ is what it was; None where θ was given
    _held: Held | None = None  # of the rest of the module, wherever this stands
    _data: Data

    @classmethod
    def of(
        cls: type[Kind],
        objective: Objective,
        *,
        samples: Int[Tensor, " n"] | None = None,
        precision: Precision = "high",
        group: Any = None,
        penalised: bool | None = None,
    ) -> Kind:
        """The operator of an objective's loss, without its penalty, at its θ.

        Args:
            objective: the loss and its data.
            samples: `(n,)` indices of the samples whose mean loss is meant; all when None.
            precision: as of the constructor.
            group: the `torch.distributed` process group whose processes share the samples, each holding the same objective;
                None for one process.
            penalised: deprecated: shifts the matrix by 2λ of the objective.

        Returns:
            The operator, `(P, P)`, of the objective's θ and dtype.

        Raises:
            ConfigurationError: an argument out of range, or more processes than samples.
        """
        operator = cls.__new__(cls)
        operator._begin(objective, samples, precision, group)
        if penalised is not None:
            warnings.warn(
                f"penalised= is deprecated: write {cls.__name__}.of(objective).shifted(2 * objective.strength) for the matrix "
                "of the penalised loss.",
                DeprecationWarning,
                stacklevel=2,
            )
            operator._shift = 2 * objective.strength if penalised else 0.0
        return operator

    @apart()
    def _begin(self, objective: Objective, samples: Tensor | None, precision: Precision, group: Any) -> None:
        if precision not in ("high", "fast"):
            raise ConfigurationError(f"`precision` '{precision}' is neither 'high' nor 'fast'.")
        check_model(objective)
        whole = objective if samples is None else objective.subset(samples)
        with explained(objective.model, f"the {self.formula.name} cannot be computed"):
            if group is None:
                engine = Engine(whole, self.formula)
            else:
                mine = share_of(whole.count, group)
                engine = SharedEngine(whole.subset(mine, weighed=False), self.formula, share=len(mine) / whole.count, group=group)
        self._stand(engine, whole.theta, precision)
        self._data = Data([] if whole.streamed else [leaf for batch in whole.batches(whole.count) for leaf in columns(batch)])

    def _stand(self, engine: Engine, theta: Tensor, precision: Precision) -> None:
        super()._stand(engine, theta, precision)
        self.size, self.dtype, self.device, self.group = theta.shape[-1], theta.dtype, theta.device, engine.group

    def at(self: Kind, theta: Float[Tensor, " P"]) -> Kind:
        """The same operator at another θ.

        Args:
            theta: `(P,)`.

        Returns:
            Another operator, which shares the graphs of this one.
        """
        other = self._moved(theta)
        other._watch = None
        return other

    def shifted(self: Kind, shift: float) -> Kind:
        """A + shift·I, here and wherever `at` moves it; `gradient` and `loss` stay those of the loss.

        Args:
            shift: added to the diagonal; 2λ makes the matrix of L that of L + λ‖θ − θ_ref‖².

        Returns:
            Another operator, which shares the graphs of this one; its `products` count from 0.
        """
        other = copy.copy(self)
        other.products, other._shift = 0, self._shift + shift
        return other

    def double(self: Kind) -> Kind | None:
        """The same operator in float64.

        Returns:
            Another operator, or this one if it is in float64; None where the module cannot follow (it makes float32 tensors by
            itself).
        """
        if self.dtype == torch.float64:
            return self
        if not self._engine.doubles:
            return None
        return self._sibling(self._engine.double(), self.theta.double(), "high")

    @property
    def verification(self: Kind) -> Kind:
        """This operator with products in full float32. A shifted one has its residuals certified by products made for it, as
        combinations of operators have: three more, and what earlier runs recorded is what is found again.
        """
        if self.precision == "high" and not self._shift:
            return self
        operator = self._sibling(self._engine, self.theta, "high")
        operator._point = self._point
        return operator

    def examine(self) -> None:
        """Holds the products of all batches against differences of gradients, once for all that share its graphs.

        A few samples were tried when it was made; on others a module may behave otherwise. It costs about as much as a handful
        of products, which are not counted; so it is done before spectra and densities, and after many products.

        Raises:
            ConfigurationError: on some of the data there is no right product.
        """
        with explained(self._engine.objective.model, f"the {self.formula.name} cannot be computed"):
            self._engine.examine(self._point)

    def product(self, vector: Float[Tensor, " P"]) -> Float[Tensor, " P"]:
        """A v, summed over all data in chunks that the memory budget holds.

        Args:
            vector: v, `(P,)`.

        Returns:
            `(P,)`.

        Raises:
            ConfigurationError: the module or the loss fails on the data.
        """
        self._look()
        with explained(self._engine.objective.model, f"the {self.formula.name} cannot be computed"):
            result = self._multiply(vector)
        return self._shift * vector + result if self._shift else result

    def block_product(self, block: Float[Tensor, "P b"]) -> Float[Tensor, "P b"]:
        """A V, all columns in one pass over the data.

        Args:
            block: V, `(P, b)`, one vector a column.

        Returns:
            `(P, b)`.

        Raises:
            ConfigurationError: the module or the loss fails on the data.
        """
        self._look()
        with explained(self._engine.objective.model, f"the {self.formula.name} cannot be computed"):
            result = self._multiply(block.T).T
        return self._shift * block + result if self._shift else result

    def _look(self) -> None:
        if self.products >= _MANY:
            self.examine()
        if self._watch is not None:
            self._watch.look()
        if self._held is not None:
            self._held.look()
        self._data.look()

    @property
    def theta(self) -> Float[Tensor, " P"]:
        """Where it stands."""
        return self._point.theta

    @property
    def gradient(self) -> Float[Tensor, " P"]:
        """∇L(θ), of the loss without penalty."""
        self._look()
        return self._engine.gradient(self._point)

    @property
    def loss(self) -> float:
        """L(θ), without penalty; summed over chunks in float64."""
        self._look()
        return self._engine.loss(self._point).item()

    @property
    def over(self) -> Over:
        """What the loss is averaged over, in words: samples, counted targets, class weights, batches; `sum`: nothing."""
        return self._engine.objective.over

    @property
    def plan(self) -> str:
        """What was chosen, in one line: method, chunks, what is kept, bytes, precision."""
        kind = fast_kind(self.device, self.dtype) if self.precision == "fast" else None
        reason = f" ({self.fallback_reason})" if self.fallback_reason else ""
        together = self._engine.together
        over = "" if self.over == "samples" else f", over {self.over}"
        tests = f", tested: {', '.join(self.certificate)}, on {self.tested_on}" if self.certificate else ""
        products = f"{kind or str(self.dtype).removeprefix('torch.')} products"
        return f"{together}{self.method}{reason}, {self._engine.plan}, {products}{over}{tests}"
