"""Which classes a network gives up, and which it learns, on the way from one minimum to another.

A class counts as known where half of its samples and more are classified correctly: it is lost where its accuracy falls through
a half as t grows, and found where it rises through it. Between two positions the accuracy is taken as a straight line. A class
that is known at both ends may be lost and found again: those are what separates two minima that do the same.
"""

import itertools
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from orograph.arguments import checked
from orograph.brief import brief
from orograph.connectivity.curves import Curve
from orograph.errors import ConfigurationError, DataError
from orograph.geometry.classes import class_labels
from orograph.geometry.evaluation import predictions_at
from orograph.geometry.normalisation import reestimated
from orograph.objective import Objective

HALF = 0.5  # of a class's samples: a class with fewer right ones is lost


@brief
@dataclass(frozen=True)
class ClassChange:
    """Where a class is lost or found along a curve.

    Attributes:
        label: of the class.
        position: t, between 0 and 1.
        found: whether it is found; else it is lost.
    """

    label: int
    position: float
    found: bool


@checked
def classes_along(
    objective: Objective,
    curve: Curve,
    *,
    labels: Int[Tensor, " N"] | None = None,
    classes: int | None = None,
    train: Objective | None = None,
    points: int = 21,
) -> Float[Tensor, "T C"]:
    """The fraction of each class's samples that is classified correctly, at equally spaced positions of a curve.

    Args:
        objective: on the data meant, whose targets are classes.
        curve: between two minima.
        labels: the class of every sample, or another group that it is in, `(N,)`; the targets when None.
        classes: C; one more than the largest label when None.
        train: of the same model on the training data, from which BatchNorm's statistics are estimated; `objective` when None.
        points: T, how many positions, the two ends included.

    Returns:
        `(T, C)` float64 fractions on the CPU, NaN for a class without samples; of the same positions as `curve_profile`.

    Raises:
        ConfigurationError: fewer than two points, the targets are no classes, or fewer classes than labels.
        DataError: labels that are not one for each sample.

    Examples:
        >>> import torch, orograph as og
        >>> model = torch.nn.Linear(2, 2, bias=False)
        >>> objective = og.Objective(model, torch.nn.CrossEntropyLoss(), [(torch.eye(2), torch.arange(2))])
        >>> right, first = torch.tensor([1.0, 0.0, 0.0, 1.0]), torch.tensor([2.0, 2.0, 0.0, 0.0])  # the second knows one class
        >>> og.connectivity.classes_along(objective, og.line(right, first), points=3).tolist()
        [[1.0, 1.0], [1.0, 0.0], [1.0, 0.0]]
    """
    if points < 2:
        raise ConfigurationError(f"`points` {points} must be at least 2, the two ends.")
    if labels is not None and len(labels) != objective.count:
        raise DataError(f"{len(labels)} labels are not one for each of the {objective.count} samples; pass as many.")
    known = class_labels(objective)  # −1 where the loss ignores the target
    members = (known if labels is None else labels.to(known).masked_fill(known < 0, -1)).cpu()
    least = int(members.max()) + 1
    if classes is not None and classes < least:
        raise ConfigurationError(f"`classes` {classes} are too few: there is a label {least - 1}; give at least {least}.")
    thetas = curve.at(torch.linspace(0, 1, points, dtype=torch.float64))
    predicted = predictions_at(objective, thetas, reestimated(train or objective, thetas))
    right = (predicted == known).double().cpu()
    of_class = torch.nn.functional.one_hot(members[members >= 0], classes or least).double()
    return right[:, members >= 0] @ of_class / of_class.sum(0)


@checked
def lost_and_found(accuracies: Float[Tensor, "T C"], positions: Float[Tensor, " T"]) -> tuple[ClassChange, ...]:
    """Every place where a class's accuracy falls or rises through a half, in the order of t.

    Args:
        accuracies: `(T, C)`, fractions, as `classes_along` gives them.
        positions: t of each row, `(T,)`, ascending.

    Returns:
        The changes; none of a class whose accuracy is NaN.

    Raises:
        ConfigurationError: not as many positions as rows.

    Examples:
        >>> import torch, orograph as og
        >>> shares = torch.tensor([[1.0], [0.0], [0.5]])
        >>> [(each.position, each.found) for each in og.connectivity.lost_and_found(shares, torch.tensor([0.0, 0.5, 1.0]))]
        [(0.25, False), (1.0, True)]
    """
    found = []
    for label, course in enumerate(accuracies.T.tolist()):
        for (before, first), (after, second) in itertools.pairwise(zip(course, positions.tolist(), strict=True)):
            if min(before, after) < HALF <= max(before, after):  # never of NaN
                share = (HALF - before) / (after - before)
                found.append(ClassChange(label, first + share * (second - first), after > before))
    return tuple(sorted(found, key=_place))


def _place(change: ClassChange) -> tuple[float, int]:
    return change.position, change.label
