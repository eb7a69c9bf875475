"""The loss L(θ) of a module over a data set, and the objective L_eff(θ) = L(θ) + λ‖θ − θ_ref‖².

θ is the flat vector of the module's trainable parameters. L is the mean over all samples, summed in float64; what one batch adds
to it stands in `BatchLoss`.
"""

import copy
import math
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from orograph.arguments import checked
from orograph.batch_loss import BatchLoss
from orograph.boundary import explained
from orograph.calling import apart, check_modes, differentiable, forget
from orograph.dependence import check_dependence
from orograph.errors import ConfigurationError
from orograph.intake import Batch
from orograph.keeping import rewound
from orograph.leftovers import require_outputs_alone
from orograph.losses import require_loss
from orograph.meaning import read
from orograph.memory import DEFAULT_MEMORY, chunk_length, parse_bytes
from orograph.parameters import follow
from orograph.readout import Readout, readout_of
from orograph.reduction import Loss, Reduction, ignored_by, in_dtype
from orograph.samples import chosen, stacked, take
from orograph.streaming import Streamed, chunked, held_or_streamed


class Objective(BatchLoss):
    """L(θ) and L_eff(θ) of one module, loss and data set.

    Args:
        model: any module; evaluated in eval mode.
        loss: `(output, target) → ` one value per sample, a mean or a sum; what a standard loss averages over is kept.
        data: re-iterable of `(inputs, targets)`.
        parameters: comma-separated globs of the parameter names that make up θ.
        strength: λ ≥ 0.
        anchor: θ_ref, `(P,)`; None is the origin.
        memory: budget for activations, in bytes or like `4GiB`. Data of more bytes are not held, but read again at each pass;
            three quarters of the budget are then for the batches in hand.
        dtype: of θ and all evaluations, float32 or float64; the widest of the module's own when None, float32 for half precision.

    Attributes:
        layout: names and shapes of θ.
        theta: `(P,)`, the module's parameters when this was made.
        count: N, the number of samples.
        per_sample: whether every sample has a loss of its own; if not, batches stay as they came.
        whole: why batches stay as they came, in words; empty if they do not.
        mixed: whether the module is why; if not, the loss.
        strength: λ of the penalty; another one is another objective: `penalised`.
        anchor: θ_ref of the penalty; None is the origin.
        ignored: the target that the loss leaves out, of no class; None where there is none among the data.
        streamed: whether the data are read again at each pass, being larger than the memory budget.
        traces: what others traced of this loss on these data and keep for later calls, by key; all penalties share it.

    Examples:
        >>> import torch, orograph as og
        >>> data = [(torch.eye(4), torch.arange(4) % 2)]
        >>> objective = og.Objective(torch.nn.Linear(4, 2), torch.nn.CrossEntropyLoss(), data, strength=0.5)
        >>> objective.value(torch.zeros(10)) == objective.loss(torch.zeros(10))  # no penalty at the origin
        True
    """

    count: int
    whole: str
    mixed: bool
    reduction: Reduction
    ignored: int | None

    @checked
    @apart()
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
    ) -> None:
        super().__init__(model, parameters, dtype)
        self._strength, self._anchor = _penalty(strength, anchor, self.theta)
        self.traces: dict[Any, Any] = {}
        self.memory: int = parse_bytes(memory)
        self._batches = held_or_streamed(data, device=self.device, dtype=self.dtype, budget=self.memory)
        self.streamed: bool = isinstance(self._batches, Streamed)
        self.memory = max(1, self.memory // 4) if self.streamed else self.memory
        require_loss(loss)
        forget(self.model)
        with rewound(self.model, loss):
            self._read(loss)

    def _read(self, loss: Loss) -> None:
        """Finds what the loss means on these data, and how many samples are computed at once."""
        model, held = self.model, self._batches
        batches, self.count = (held.head, held.count) if isinstance(held, Streamed) else (held, sum(len(y) for _, y in held))
        own = in_dtype(loss, self.dtype, self.device)
        require_outputs_alone(self, (loss, own), batches[0])
        with explained(model, "model, loss and data do not go together"), self._in_dtype():
            reading = read(model, self.outputs, self.theta, own, batches, self.memory, held)
            check_modes(model, batches[0][0], lambda: self.outputs(self.theta, batches[0][0]), self.dtype)
        self.whole, self.mixed = reading.whole, reading.mixed
        self._batches = held if isinstance(held, Streamed) else reading.batches
        self._weigh(reading.reduction)
        with explained(model, "the gradient cannot be computed"):
            inputs, targets = self._batches[0] if self.whole else take(self._batches[0], slice(0, 2))
            with torch.no_grad():
                outputs = self.outputs(self.theta, inputs)
            self.readout: Readout = readout_of(outputs, lambda given: self.summed_of(given, targets))
            self.chunk: int = chunk_length(self.count, 3 * self.activation_bytes(), self.memory)
            check_dependence(model, loss, self.layout, self.theta, self.outputs, self.summed_of, self._tried())

    def _tried(self) -> Iterator[Batch]:
        """Two samples, or a batch that stays whole; then all that there is."""
        return chain([self._batches[0] if self.whole else take(self._batches[0], slice(0, 2))], self.batches())

    def _weigh(self, reduction: Reduction) -> None:
        self.reduction, self._factor = reduction.over_data((targets for _, targets in self._batches), self.count)
        self.ignored = ignored_by(reduction.loss, (targets for _, targets in self._batches))

    @property
    def counted(self) -> int:
        """How many targets are not ignored; N where none is, and the targets are classes."""
        if self.ignored is None:
            return self.count
        return sum(int((targets != self.ignored).sum()) for _, targets in self._batches)

    @property
    def strength(self) -> float:
        """λ."""
        return self._strength

    @property
    def anchor(self) -> Float[Tensor, " P"] | None:
        """θ_ref; None is the origin."""
        return self._anchor

    def penalised(self, strength: float, anchor: Float[Tensor, " P"] | None = None) -> "Objective":
        """L + λ‖θ − θ_ref‖² with this L: everything but the penalty is shared, nothing is copied or traced anew.

        Args:
            strength: λ ≥ 0.
            anchor: θ_ref, `(P,)`; None is the origin. It is taken in θ's dtype.

        Returns:
            Another objective, at the same θ.

        Raises:
            ConfigurationError: λ is negative or not finite, or θ_ref is no finite vector of θ's length.
        """
        other = copy.copy(self)
        other._strength, other._anchor = _penalty(strength, anchor, self.theta)
        return other

    def moved(self, theta: Float[Tensor, " P"]) -> "Objective":
        """The same objective elsewhere.

        Args:
            theta: `(P,)`; taken in this objective's dtype, on its device.

        Returns:
            Another objective, whose `theta` is there; everything else is shared.

        Raises:
            ConfigurationError: θ is of another length.
        """
        if theta.shape != self.theta.shape:
            raise ConfigurationError(f"θ of shape {tuple(theta.shape)} is no vector of the {len(self.theta)} parameters.")
        other = copy.copy(self)
        other.theta = theta.detach().to(self.theta)
        return other

    @differentiable()
    def to(self, dtype: torch.dtype) -> "Objective":
        """The same objective at the same θ in another floating dtype.

        Args:
            dtype: float32 or float64.

        Returns:
            Another objective, whose data, constants, θ and θ_ref are copies in that dtype.
        """

        def cast(leaf: Any) -> Any:
            return follow(leaf, dtype) if isinstance(leaf, Tensor) else leaf

        other = copy.copy(self)
        other.dtype, other.theta = dtype, cast(self.theta)
        other._anchor = None if self.anchor is None else cast(self.anchor)
        other.traces = {}
        other.constants = {name: cast(tensor) for name, tensor in self.constants.items()}
        other.reduction = self.reduction.to(dtype, self.device)
        held = self._batches
        other._batches = held.cast(cast) if isinstance(held, Streamed) else [(tree_map(cast, x), cast(y)) for x, y in held]
        return other

    @differentiable()
    def subset(self, samples: Int[Tensor, " n"], *, weighed: bool = True) -> "Objective":
        """The same objective over some of the samples.

        Args:
            samples: `(n,)` indices.
            weighed: whether its L is that of these samples alone; if not, each sample keeps the loss that it has among all.

        Returns:
            Another objective, whose `count` is n.

        Raises:
            ConfigurationError: no samples, an index outside the data, or samples without a loss of their own.
        """
        self.require_samples("a subset of samples needs")
        if not len(samples) or not 0 <= int(samples.min()) <= int(samples.max()) < self.count:
            raise ConfigurationError(f"samples must be at least one index between 0 and {self.count - 1}.")
        other = copy.copy(self)
        held, other.streamed = self._batches, False
        other._batches = held.chosen(samples) if isinstance(held, Streamed) else chosen(held, samples)
        other.count, other.traces = len(samples), {}
        other.chunk = min(self.chunk, other.count)
        if weighed:
            other._weigh(self.reduction)
        return other

    def batches(self, length: int | None = None) -> Iterator[Batch]:
        """All samples in order, in chunks, or in batches as they came where these stay whole.

        Args:
            length: of a chunk at most, in samples; `chunk`, which the memory budget allows, when None.

        Returns:
            Pairs of inputs and targets, `(n, …)` each, or structures of such.
        """
        if not self.per_sample:
            yield from self._batches
            return
        yield from chunked(self._batches, length or self.chunk)

    @differentiable()
    def activation_bytes(self) -> int:
        """What a gradient keeps of a sample, counted on a forward pass of a few.

        Returns:
            Bytes per sample.
        """
        batch = self._batches[0]
        if self.whole:
            return max(self.dtype.itemsize, self._kept_bytes(batch) // len(batch[1]))
        few = max(1, len(batch[1]) // 2 if len(batch[1]) < 4 else 2)
        sizes = [self._kept_bytes(take(batch, slice(0, length))) for length in (few, 2 * few)]
        return max(self.dtype.itemsize, (sizes[1] - sizes[0]) // few)

    def all_outputs(self, theta: Float[Tensor, " P"]) -> Tensor:
        """Every sample's output: of several, the one that the loss reads.

        Args:
            theta: θ, `(P,)`.

        Returns:
            `(N, …)`, in the order of the data.

        Raises:
            ConfigurationError: the loss reads several.
            DataError: their shapes differ from batch to batch.
        """
        found = []
        with torch.no_grad(), explained(self.model, "the outputs cannot be computed"):
            for inputs, _ in self.batches():
                scores = self.readout.scores(self.outputs(theta, inputs))
                if scores is None:
                    raise ConfigurationError("the loss reads several outputs of the model; this needs one tensor of scores.")
                found.append(scores)
        return stacked(found, "outputs")

    @property
    def targets(self) -> Tensor:
        """Every sample's target, `(N, …)`.

        Raises:
            DataError: their shapes differ from batch to batch.
        """
        return stacked([targets for _, targets in self.batches()], "targets")

    def loss(self, theta: Float[Tensor, " P"], *, chunk: int | None = None) -> float:
        """L(θ), accumulated in float64.

        Args:
            theta: θ, `(P,)`.
            chunk: samples at a time, at most; what the memory budget allows when None, and never more.

        Returns:
            L(θ), in the unit of the loss (nat for a cross entropy).

        Raises:
            ConfigurationError: the module or the loss fails on the data.
        """
        with torch.no_grad(), explained(self.model, "the loss cannot be computed"):
            parts = [
                self.losses(theta, *batch).double().sum() if self.per_sample else self.summed(theta, *batch).double()
                for batch in self.batches(min(self.chunk, chunk or self.chunk))
            ]
            return torch.stack(parts).sum().item() / self.count

    @differentiable()
    def gradient(self, theta: Float[Tensor, " P"]) -> Float[Tensor, " P"]:
        """∇L(θ).

        Args:
            theta: θ, `(P,)`.

        Returns:
            `(P,)`, in the dtype of θ.

        Raises:
            ConfigurationError: the module or the loss fails on the data, or has no gradient.
        """
        total = torch.zeros_like(theta)
        with explained(self.model, "the gradient cannot be computed"):
            for batch in self.batches():
                point = theta.detach().requires_grad_()
                total += slope(self.summed(point, *batch), point)
        return total / self.count

    def offset(self, theta: Float[Tensor, " P"]) -> Float[Tensor, " P"]:
        """θ − θ_ref.

        Args:
            theta: θ, `(P,)`.

        Returns:
            `(P,)`.
        """
        return theta if self.anchor is None else theta - self.anchor

    def penalty(self, theta: Float[Tensor, " P"]) -> float:
        """λ‖θ − θ_ref‖², in float64.

        Args:
            theta: θ, `(P,)`.

        Returns:
            The penalty, in the unit of the loss.
        """
        return self.strength * self.offset(theta).double().square().sum().item() if self.strength else 0.0

    def value(self, theta: Float[Tensor, " P"]) -> float:
        """L_eff(θ) = L(θ) + λ‖θ − θ_ref‖².

        Args:
            theta: θ, `(P,)`.

        Returns:
            The objective, in the unit of the loss.
        """
        return self.loss(theta) + self.penalty(theta)

    def value_gradient(self, theta: Float[Tensor, " P"]) -> Float[Tensor, " P"]:
        """∇L_eff(θ) = ∇L(θ) + 2λ(θ − θ_ref).

        Args:
            theta: θ, `(P,)`.

        Returns:
            `(P,)`, in the dtype of θ.
        """
        return self.gradient(theta) + 2 * self.strength * self.offset(theta)


def _penalty(
    strength: float, anchor: Float[Tensor, "..."] | None, theta: Float[Tensor, " P"]
) -> tuple[float, Float[Tensor, " P"] | None]:
    """λ and θ_ref as they are used beside θ; raises ConfigurationError where they cannot be."""
    if not (math.isfinite(strength) and strength >= 0):
        raise ConfigurationError(f"`strength` {strength} must be a finite number, 0 or more.")
    if anchor is None:
        return strength, None
    placed = torch.as_tensor(anchor).detach().to(theta)
    if placed.shape != theta.shape:
        raise ConfigurationError(f"`anchor` of shape {tuple(placed.shape)} must have that of θ, {tuple(theta.shape)}.")
    if not placed.isfinite().all():
        raise ConfigurationError("`anchor` holds NaN or infinity in the dtype of θ; give finite parameters.")
    return strength, placed


def slope(value: Float[Tensor, ""], point: Float[Tensor, " P"]) -> Float[Tensor, " P"]:
    """∇value; zero where it does not depend on the point, as of a batch that leaves a branch of the model out."""
    if not value.requires_grad:
        return torch.zeros_like(point)
    return torch.autograd.grad(value, point, materialize_grads=True)[0]
