"""Whether two minima are the same function: disagreement of predictions, and what the ensemble gains (Fort et al., 2019)."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from orograph.arguments import checked
from orograph.brief import brief
from orograph.connectivity.curves import Curve
from orograph.geometry.evaluation import Statistics, Thetas, class_scores, in_blocks, predictions_at
from orograph.geometry.normalisation import reestimated
from orograph.metrics import correct
from orograph.objective import Objective


@brief
@dataclass(frozen=True)
class Ensemble:
    """M models and the mean of their probabilities on one data set.

    Attributes:
        accuracy: of the mean of the softmax outputs.
        loss: mean negative log of the mean probability of the true class.
        member_accuracies: `(M,)` float64.
        disagreement: `(M, M)` float64, the fraction of samples that two members classify differently.
    """

    accuracy: float
    loss: float
    member_accuracies: Float[Tensor, " M"]
    disagreement: Float[Tensor, "M M"]


@checked
def ensemble(objective: Objective, thetas: Thetas, statistics: Statistics | None = None) -> Ensemble:
    """The ensemble of models at M parameter vectors, usually of the test set's objective.

    Args:
        objective: on the data to compare on; its own θ plays no part.
        thetas: `(M, P)`, or a `ParameterSet`, which need not fit into memory.
        statistics: BatchNorm's buffers of each model, as `reestimated` gives them; the objective's own when None.

    Returns:
        Accuracy (a fraction) and loss (in nat) of the mean of the softmax outputs (Fort et al., 2019), beside its members'.

    Raises:
        ConfigurationError: the targets are no classes.

    Examples:
        >>> import torch, orograph as og
        >>> objective = og.Objective(torch.nn.Linear(4, 2), torch.nn.CrossEntropyLoss(), [(torch.eye(4), torch.arange(4) % 2)])
        >>> og.ensemble(objective, torch.stack([objective.theta, objective.theta])).disagreement.max().item()
        0.0
    """
    count = len(thetas)
    mean: Tensor | None = None
    predictions = torch.empty(count, objective.count, dtype=torch.int64, device=objective.device)
    right = torch.empty_like(predictions, dtype=torch.bool)
    for block in in_blocks(objective, thetas, statistics):
        scores = class_scores(block.scores, block.targets)
        if mean is None:
            mean = torch.zeros(objective.count, scores.shape[-1], dtype=torch.float64, device=objective.device)
        mean[block.samples] += scores.double().softmax(-1).sum(0) / count
        predictions[block.models, block.samples] = scores.argmax(-1)
        right[block.models, block.samples] = correct(scores, block.targets, objective.ignored)
    assert mean is not None
    targets = objective.targets
    some: Any = slice(None) if objective.ignored is None else targets != objective.ignored
    targets, mean = targets[some], mean[some]
    differing = torch.stack([(predictions != each).double().mean(1) for each in predictions])
    return Ensemble(
        accuracy=correct(mean, targets).double().mean().item(),
        loss=-mean.gather(1, targets[:, None]).log().mean().item(),
        member_accuracies=right[:, some].double().mean(1),
        disagreement=differing,
    )


@checked
def disagreement_along(
    objective: Objective, curve: Curve, *, points: int = 21, train: Objective | None = None
) -> Float[Tensor, "2 T"]:
    """The fraction of samples that a point of the curve classifies differently from its start (first row) and its end.

    Args:
        objective: on the data to compare on.
        curve: between two minima.
        points: how many positions, the two ends included.
        train: gives BatchNorm its statistics; `objective` itself when None.

    Returns:
        `(2, T)` fractions, the first row against the start and the second against the end.

    Raises:
        ConfigurationError: the targets are no classes.
    """
    thetas = curve.at(torch.linspace(0, 1, points, dtype=torch.float64))
    predictions = predictions_at(objective, thetas, reestimated(train or objective, thetas))
    return torch.stack([(predictions != predictions[end]).double().mean(1) for end in (0, -1)])
