"""How high the ground rises on the way from one minimum to another.

The barrier of a quantity ℓ along a curve is max_t [ℓ(γ(t)) − ((1−t)ℓ(γ(0)) + tℓ(γ(1)))], its excess over the straight
interpolation of the two ends (Entezari et al., 2022); never negative, since both ends have none. It is taken at the positions
looked at: between them the curve may rise higher. The published barrier is another number: the largest test loss on the
curve less the smaller of its ends.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from orograph.arguments import checked
from orograph.brief import brief
from orograph.connectivity.curves import Curve
from orograph.errors import ConfigurationError
from orograph.geometry.evaluation import Evaluation, evaluate
from orograph.geometry.normalisation import reestimated
from orograph.objective import Objective


@brief
@dataclass(frozen=True)
class Barriers:
    """Barriers along one curve; NaN where there are no test data or no classes.

    Attributes:
        train_loss: of the training loss.
        test_loss: of the test loss.
        train_error: of the fraction of training samples classified wrongly.
        test_error: of the fraction of test samples.
        objective: of L_eff on the training data.
        published: max − min of the ends, of the test loss.
        largest_test_loss: on the curve.
    """

    train_loss: float
    test_loss: float
    train_error: float
    test_error: float
    objective: float
    published: float
    largest_test_loss: float


@brief
@dataclass(frozen=True)
class CurveProfile:
    """What is achieved along a curve.

    Attributes:
        positions: `(T,)` float64, t from 0 to 1.
        train: on the training data.
        test: on the test data, if any.
        objective: `(T,)` float64, L_eff on the training data, with the penalty.
        barriers: along it.
    """

    positions: Float[Tensor, " T"]
    train: Evaluation
    test: Evaluation | None
    objective: Float[Tensor, " T"]
    barriers: Barriers


@checked
def barrier(values: Float[Tensor, " T"], positions: Float[Tensor, " T"]) -> float:
    """The largest excess of values over the straight interpolation of the first and the last.

    max_t [ℓ(t) − ((1 − t)ℓ(0) + tℓ(1))] (Frankle et al., 2020); never negative, since both ends have none.

    Args:
        values: ℓ along a curve, `(T,)`, the ends included.
        positions: t of each value, `(T,)`, ascending.

    Returns:
        The excess in the unit of the values (nat for a cross-entropy).

    Raises:
        ConfigurationError: no positions, as many as there are not values, or not ascending.

    Examples:
        >>> import torch, orograph as og
        >>> og.barrier(torch.tensor([1.0, 3.0, 2.0]), torch.tensor([0.0, 0.5, 1.0]))
        1.5
    """
    if not len(positions):
        raise ConfigurationError("`positions` are none; give those of both ends at least, ascending, with a value each.")
    if not (positions.diff() >= 0).all():
        raise ConfigurationError("`positions` must ascend along the curve; sort them, and the `values` with them.")
    return (values - ((1 - positions) * values[0] + positions * values[-1])).max().item()


@checked
def published_barrier(values: Float[Tensor, " T"]) -> float:
    """The largest value less the smaller of the two ends.

    Args:
        values: test losses along a curve, `(T,)`, the ends included.

    Returns:
        The excess in the unit of the values.
    """
    return (values.max() - torch.minimum(values[0], values[-1])).item()


@checked
def curve_profile(train: Objective, curve: Curve, *, test: Objective | None = None, points: int = 21) -> CurveProfile:
    """Losses and accuracies at equally spaced positions of a curve, and its barriers.

    Where the model has BatchNorm its statistics are estimated anew from the training data at every position, ends included.

    Args:
        train: objective on the training data.
        curve: between two minima.
        test: objective of the same model on the test data.
        points: how many positions, the two ends included.

    Returns:
        Losses and accuracies at each position, and the barriers along the curve, in nat where losses are cross-entropies.

    Raises:
        ConfigurationError: fewer than two points.

    Examples:
        >>> import torch, orograph as og
        >>> objective = og.Objective(torch.nn.Linear(4, 2), torch.nn.CrossEntropyLoss(), [(torch.eye(4), torch.arange(4) % 2)])
        >>> found = og.curve_profile(objective, og.line(objective.theta, -objective.theta), points=5)
        >>> found.objective.shape, found.barriers.train_loss < 1e-6  # a convex loss has none
        (torch.Size([5]), True)
    """
    if points < 2:
        raise ConfigurationError(f"`points` {points} must be at least 2, the two ends.")
    positions = torch.linspace(0, 1, points, dtype=torch.float64)
    thetas = curve.at(positions)
    statistics = reestimated(train, thetas)
    along_train = _on_host(evaluate(train, thetas, statistics))
    along_test = None if test is None else _on_host(evaluate(test, thetas, statistics))
    penalties = [train.penalty(thetas[index : index + 1][0]) if train.strength else 0.0 for index in range(points)]
    objective = along_train.losses + torch.tensor(penalties, dtype=torch.float64)
    nothing = torch.full_like(positions, torch.nan)
    test_losses, test_accuracies = (nothing, nothing) if along_test is None else (along_test.losses, along_test.accuracies)
    barriers = Barriers(
        train_loss=barrier(along_train.losses, positions),
        test_loss=barrier(test_losses, positions),
        train_error=barrier(1 - along_train.accuracies, positions),
        test_error=barrier(1 - test_accuracies, positions),
        objective=barrier(objective, positions),
        published=published_barrier(test_losses),
        largest_test_loss=test_losses.max().item(),
    )
    return CurveProfile(positions, along_train, along_test, objective, barriers)


def _on_host(found: Evaluation) -> Evaluation:
    return Evaluation(found.losses.cpu(), found.accuracies.cpu(), found.margins.cpu())
