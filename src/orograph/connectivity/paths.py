"""Low curves between two minima: Bézier curves and polygonal chains trained on their mean loss, and the nudged elastic band.

A curve is trained by stochastic gradients at random positions: ∂L(γ(t))/∂w_k = b_k(t)∇L(γ(t)) (Garipov et al., 2018). Here the
positions follow an additive golden-ratio sequence, which covers [0, 1] more evenly than independent draws. All of it minimises
the objective L_eff; at strength 0 that is the loss.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch

from orograph.arguments import checked
from orograph.brief import brief
from orograph.connectivity.curves import Curve, displaced
from orograph.connectivity.minibatches import minibatches, value_and_gradient
from orograph.errors import ConfigurationError
from orograph.geometry.perturbations import seeded
from orograph.objective import Objective

GOLDEN = (math.sqrt(5) - 1) / 2


@brief
@dataclass(frozen=True)
class TrainedCurve:
    """A curve after training.

    Attributes:
        curve: the trained curve.
        history: L_eff of the mini-batches, one value a step (for a band: its largest over the pivots).
        gradients: how many mini-batch gradients were spent.
    """

    curve: Curve
    history: tuple[float, ...]
    gradients: int


@checked
def train_curve(
    objective: Objective,
    curve: Curve,
    *,
    steps: int = 2000,
    batch_size: int | None = 128,
    learning_rate: float = 1e-3,
    seed: int = 0,
    on_step: Callable[[int], None] | None = None,
) -> TrainedCurve:
    """Minimise the mean of L_eff along a curve over its inner control points, by Adam with a cosine schedule.

    Args:
        objective: on the training data.
        curve: with at least one bend; its ends stay.
        steps: gradients, each at one position on one mini-batch.
        batch_size: None is all data.
        learning_rate: at the start; it falls to zero.
        seed: of batches, positions and the small displacement that breaks symmetry.
        on_step: called with the steps so far, after each.

    Returns:
        The trained curve, L_eff of each step's mini-batch, and how many gradients were spent.

    Raises:
        ConfigurationError: a curve without inner control points.

    Examples:
        >>> import torch, orograph as og
        >>> objective = og.Objective(torch.nn.Linear(4, 2), torch.nn.CrossEntropyLoss(), [(torch.eye(4), torch.arange(4) % 2)])
        >>> straight = og.bezier(objective.theta, -objective.theta)
        >>> og.train_curve(objective, straight, steps=5, batch_size=None).gradients
        5
    """
    if len(curve.controls) < 3:
        raise ConfigurationError("a straight line has nothing to train; pass a curve with at least one bend.")
    generator = seeded(seed)
    controls = curve.controls.clone()
    inner = controls[1:-1]  # a view: what is trained is always in place
    inner.copy_(displaced(curve.controls, generator))
    optimiser = torch.optim.Adam([inner], lr=learning_rate, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, max(1, steps))
    batches = minibatches(objective, batch_size, generator)
    start = torch.rand(1, generator=generator, dtype=torch.float64).item()
    history = []
    for step in range(steps):
        position = torch.tensor([(start + step * GOLDEN) % 1], dtype=torch.float64)
        weights = curve.weights(position)[0].to(inner)
        value, gradient = value_and_gradient(objective, weights @ controls, next(batches))
        inner.grad = torch.outer(weights[1:-1], gradient)
        optimiser.step()
        schedule.step()
        history.append(value)
        if on_step is not None:
            on_step(step + 1)
    return TrainedCurve(curve.with_controls(controls), tuple(history), steps)
