"""A loss at many parameter vectors at once: losses, accuracies and margins of M models on the same data.

Models are mapped over with `vmap`, which multiplies the inputs they share by all their first layers in one wide product; where it
cannot, they come one after the other (`mapping`). The work is cut into blocks of models × samples: small enough to stay in the
cache of a CPU, as large as the memory budget on an accelerator. Blocks depend on the objective and on M only, so that a repeated
evaluation repeats its last bits.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from orograph.arguments import checked
from orograph.autocast import uncast
from orograph.boundary import explained
from orograph.brief import brief
from orograph.calling import call, evaluation_mode, guarded
from orograph.errors import ConfigurationError, DataError
from orograph.geometry.mapping import many, require_still
from orograph.geometry.shared import SharedLayers
from orograph.intake import Inputs
from orograph.memory import chunk_length
from orograph.metrics import are_classes, class_margins, correct, is_classification
from orograph.objective import Objective

CPU_BLOCK = 16 * 2**20  # bytes of activations: on the published MLP 1.1 × the time of its bare products, 1.6 × when whole
FEW_SAMPLES = 2  # on which a mapping is tried
FEWEST_MODELS = 4  # per block, so that shared inputs are multiplied by wide matrices


class ParameterSet(ABC):
    """M parameter vectors that are made a few at a time, when they are evaluated."""

    @abstractmethod
    def __len__(self) -> int:
        """M."""

    @abstractmethod
    def __getitem__(self, part: slice) -> Float[Tensor, "m P"]:
        """Some of them."""


@dataclass(frozen=True)
class Points(ParameterSet):
    """Parameter vectors `base + coefficients @ directions`.

    Attributes:
        base: `(P,)`.
        directions: `(k, P)`.
        coefficients: `(M, k)`.
    """

    base: Float[Tensor, " P"]
    directions: Float[Tensor, "k P"]
    coefficients: Float[Tensor, "M k"]

    def __len__(self) -> int:
        return len(self.coefficients)

    @uncast()
    def __getitem__(self, part: slice) -> Float[Tensor, "m P"]:
        return torch.addmm(self.base, self.coefficients[part].to(self.base), self.directions)


Thetas = Float[Tensor, "M P"] | ParameterSet
Statistics = Mapping[str, Tensor]  # buffers by name with a leading dimension M, in place of the objective's own


@brief
@dataclass(frozen=True)
class Evaluation:
    """What M models achieve on one data set.

    Attributes:
        losses: `(M,)` float64, L(θ) without penalty.
        accuracies: `(M,)` float64, the fraction of samples classified correctly; NaN where targets are no classes. Samples whose
            target the loss ignores do not count.
        margins: `(M,)` float64, the mean over the same samples of the true class's output minus the largest other; NaN likewise.
    """

    losses: Float[Tensor, " M"]
    accuracies: Float[Tensor, " M"]
    margins: Float[Tensor, " M"]


@dataclass(frozen=True)
class Block:
    """What some of the models give on some of the samples.

    Attributes:
        models: which.
        samples: which.
        losses: `(m, n)` of a loss with one value a sample, `(m,)` of a mean.
        scores: `(m, n, …)`, the output that the loss reads; None where it reads several.
        targets: `(n, …)`.
    """

    models: slice
    samples: slice
    losses: Tensor
    scores: Tensor | None
    targets: Tensor


def in_blocks(objective: Objective, thetas: Thetas, statistics: Statistics | None = None) -> Iterator[Block]:
    """All models on all samples, block by block."""
    require_still(objective)
    statistics = statistics or {}
    affine = isinstance(thetas, Points) and len(thetas) > len(thetas.directions) + 1
    shared = SharedLayers(objective, thetas.base, thetas.directions) if affine else None  # type: ignore[union-attr]

    def of(inputs: Inputs, targets: Tensor, chunk: int, shared: SharedLayers | None) -> Any:
        def one(theta: Tensor, coefficients: Tensor, buffers: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
            parameters = objective.layout.arguments(theta)
            with nullcontext() if shared is None else shared.combined(coefficients, parameters, chunk):
                outputs = call(objective.model, {**objective.constants, **parameters, **buffers}, guarded(inputs))
            scores = objective.readout.scores(outputs)
            losses = objective.output_losses(outputs, targets)
            return (losses,) if scores is None else (losses, scores)

        return one

    def arguments(models: slice) -> tuple[Any, ...]:
        part = thetas[models]
        coefficients = thetas.coefficients[models].to(part) if isinstance(thetas, Points) else part[:, :0]
        return part, coefficients, {name: values[models] for name, values in statistics.items()}

    def trial() -> Any:
        one = of(*next(objective.batches(FEW_SAMPLES)), 0, None)
        return one, one, arguments(slice(0, 2))

    group, length = block_of(objective, len(thetas))
    groups = [slice(first, min(first + group, len(thetas))) for first in range(0, len(thetas), group)]
    # Data that are read again are read once: all models see a chunk before the next one comes.
    for together in [groups] if objective.streamed else [[models] for models in groups]:
        part, start = None, 0
        for inputs, targets in objective.batches(length):
            samples = slice(start, start + len(targets))
            one, plain = (of(inputs, targets, start, way) for way in (shared, None))
            doing = "the loss cannot be computed"
            for models in together:
                if part is None or len(together) > 1:
                    part = arguments(models)
                with torch.no_grad(), evaluation_mode(objective.model), explained(objective.model, doing):
                    losses, *scores = many(objective, "losses", one, part, trial, plain)
                yield Block(models, samples, losses, scores[0] if scores else None, targets)
            start = samples.stop


@checked
def evaluate(objective: Objective, thetas: Thetas, statistics: Statistics | None = None) -> Evaluation:
    """Loss, accuracy and margin at many parameter vectors.

    Args:
        objective: gives model, loss and data; its own θ plays no part.
        thetas: `(M, P)`, or a `ParameterSet`, which need not fit into memory.
        statistics: buffers of each model, as `normalisation.reestimated` gives them; the objective's own when None.

    Returns:
        Losses, accuracies (fractions) and margins, `(M,)` each.

    Examples:
        >>> import torch, orograph as og
        >>> objective = og.Objective(torch.nn.Linear(4, 2), torch.nn.CrossEntropyLoss(), [(torch.eye(4), torch.arange(4) % 2)])
        >>> og.evaluate(objective, torch.zeros(3, 10)).losses  # log 2
        tensor([0.6931, 0.6931, 0.6931], dtype=torch.float64)
    """
    totals, ignored = torch.zeros(3, len(thetas), dtype=torch.float64, device=objective.device), objective.ignored
    for block in in_blocks(objective, thetas, statistics):
        models, scores, targets = block.models, block.scores, block.targets
        totals[0, models] += _summed(objective, block)
        if scores is not None and is_classification(scores, targets) and are_classes(scores, targets, ignored):
            totals[1, models] += correct(scores, targets, ignored).sum(-1)
            totals[2, models] += class_margins(scores, targets, ignored).sum(-1, dtype=torch.float64)
        else:
            totals[1:, models] = torch.nan
    totals[0] /= objective.count
    totals[1:] /= objective.counted
    return Evaluation(*totals.unbind(0))


@checked
def losses_at(objective: Objective, thetas: Thetas) -> Float[Tensor, " M"]:
    """L at many parameter vectors, accumulated over samples in float64.

    Args:
        objective: gives model, loss and data; its own θ plays no part.
        thetas: `(M, P)`, or a `ParameterSet`, which need not fit into memory.

    Returns:
        `(M,)` float64, in the loss's unit.
    """
    totals = torch.zeros(len(thetas), dtype=torch.float64, device=objective.device)
    for block in in_blocks(objective, thetas):
        totals[block.models] += _summed(objective, block)
    return totals / objective.count


def told(losses: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Losses around a point, of which some at least are numbers.

    Args:
        losses: of any shape.

    Returns:
        The same.

    Raises:
        DataError: every one is NaN.
    """
    if losses.isnan().all():
        raise DataError("the loss is NaN wherever it was evaluated; look for NaN in the parameters, the data or the loss.")
    return losses


@checked
def predictions_at(objective: Objective, thetas: Thetas, statistics: Statistics | None = None) -> Tensor:
    """The class that each model gives each sample, `(M, N)` int64.

    Args:
        objective: gives model and data; its own θ plays no part.
        thetas: `(M, P)`, or a `ParameterSet`, which need not fit into memory.
        statistics: buffers of each model, as `reestimated` gives them; the objective's own when None.

    Returns:
        `(M, N)` int64.

    Raises:
        ConfigurationError: the targets are no classes.
    """
    result = torch.empty(len(thetas), objective.count, dtype=torch.int64, device=objective.device)
    for block in in_blocks(objective, thetas, statistics):
        result[block.models, block.samples] = class_scores(block.scores, block.targets).argmax(-1)
    return result


def class_scores(scores: Tensor | None, targets: Tensor) -> Tensor:
    """The scores; raises ConfigurationError unless the targets are classes and these are theirs."""
    if scores is None:
        raise ConfigurationError("the loss reads several outputs of the model; this needs one tensor of class scores.")
    if not is_classification(scores, targets):
        raise ConfigurationError(
            f"this needs class scores and one int64 class a sample, not outputs {tuple(scores.shape)} "
            f"and {targets.dtype} targets {tuple(targets.shape)}."
        )
    return scores


def classifies(objective: Objective) -> bool:
    """Whether the model's outputs are scores of the classes that the targets name, as two samples have it."""
    inputs, targets = next(objective.batches(FEW_SAMPLES))
    with torch.no_grad():
        scores = objective.readout.scores(objective.outputs(objective.theta, inputs))
    return scores is not None and is_classification(scores, targets)


def block_of(objective: Objective, models: int) -> tuple[int, int]:
    """How many models (or directions) and how many samples are evaluated together."""
    theta_bytes = objective.layout.size * objective.dtype.itemsize
    # Every block reads all its weights: where these are large there must be samples enough to be worth it.
    on_cpu = min(max(CPU_BLOCK, FEWEST_MODELS * theta_bytes), objective.memory)
    budget = on_cpu if objective.device.type == "cpu" else objective.memory // 2
    per_sample = objective.activation_bytes()
    length = chunk_length(objective.count, min(models, FEWEST_MODELS) * per_sample, budget)
    group = min(budget // (length * per_sample), objective.memory // (4 * theta_bytes))
    return max(1, min(models, group)), length


def _summed(objective: Objective, block: Block) -> Float[Tensor, " m"]:
    if objective.per_sample:
        return block.losses.sum(-1, dtype=torch.float64)
    return block.losses.double() * len(block.targets)
