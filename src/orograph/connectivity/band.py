"""The nudged elastic band: pivots that roll down across the band and are kept apart along it.

Each pivot follows the component of the gradient that is perpendicular to the band's tangent; the tangent points to the higher
neighbour (Henkelman & Jónsson, 2000). Instead of springs the pivots are put back at equal distances after each step, and where
the loss between two pivots rises above them new ones are inserted (Draxler et al., 2018).
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from orograph.arguments import checked
from orograph.connectivity.curves import chain, displaced, through
from orograph.connectivity.minibatches import minibatches, value, value_and_gradient
from orograph.connectivity.paths import TrainedCurve
from orograph.errors import ConfigurationError
from orograph.geometry.evaluation import evaluate
from orograph.geometry.normalisation import reestimated
from orograph.geometry.perturbations import seeded
from orograph.objective import Objective

RISE = 0.2  # of the band's range of losses: what the loss may rise between two pivots before one is inserted


@checked
def nudged_elastic_band(
    objective: Objective,
    first: Float[Tensor, " P"],
    second: Float[Tensor, " P"],
    *,
    pivots: int = 5,
    cycles: int = 4,
    steps: int = 200,
    batch_size: int | None = 128,
    learning_rate: float = 1e-3,
    most_pivots: int = 20,
    seed: int = 0,
    on_step: Callable[[int], None] | None = None,
) -> TrainedCurve:
    """A chain whose pivots minimise L_eff perpendicular to it, from the straight line.

    Args:
        objective: on the training data.
        first: a minimum, `(P,)`; it stays.
        second: the other, `(P,)`.
        pivots: between them, at first.
        cycles: of training; between two of them pivots are inserted, and the learning rate is halved.
        steps: in each cycle; each takes one mini-batch gradient for each pivot.
        batch_size: None is all data.
        learning_rate: of Adam.
        most_pivots: never more than this.
        seed: of batches and the small displacement that breaks symmetry.
        on_step: called with the steps so far, after each.

    Returns:
        The chain through the last pivots, with its largest L_eff at each step and the gradients spent.

    Raises:
        ConfigurationError: no pivots or no cycles.

    Examples:
        >>> import torch, orograph as og
        >>> objective = og.Objective(torch.nn.Linear(4, 2), torch.nn.CrossEntropyLoss(), [(torch.eye(4), torch.arange(4) % 2)])
        >>> band = og.nudged_elastic_band(objective, objective.theta, -objective.theta, pivots=2, cycles=1, steps=5)
        >>> band.curve.kind, band.gradients >= 10
        ('chain', True)
    """
    if pivots < 1 or cycles < 1:
        raise ConfigurationError(f"a band needs at least one pivot and one cycle, not {pivots} and {cycles}.")
    generator = seeded(seed)
    batches = minibatches(objective, batch_size, generator)
    straight = chain(first, second, bends=pivots).controls
    band = torch.cat([first[None], displaced(straight, generator), second[None]])
    history: list[float] = []
    spent = 0
    for cycle in range(cycles):
        if cycle:
            band = _insert(objective, band, most_pivots)
        inner = band[1:-1].clone()
        optimiser = torch.optim.Adam([inner], lr=learning_rate / 2**cycle, fused=True)
        values = torch.empty(len(band), dtype=torch.float64)
        for _ in range(steps):
            batch = next(batches)
            slopes = torch.empty_like(inner)
            values[0], values[-1] = value(objective, first, batch), value(objective, second, batch)
            for index, pivot in enumerate(band[1:-1]):
                values[index + 1], slopes[index] = value_and_gradient(objective, pivot, batch)
            tangents = _tangents(band, values)
            inner.copy_(band[1:-1])
            inner.grad = _across(slopes, tangents)
            optimiser.step()
            # Adam's scaling turns the step; what it gained along the band goes again.
            band[1:-1] += _across(inner.sub_(band[1:-1]), tangents)
            _spread(band)
            history.append(values.max().item())
            spent += len(inner)
            if on_step is not None:
                on_step(len(history))
    return TrainedCurve(through(band), tuple(history), spent)


def _tangents(band: Float[Tensor, "K P"], values: Float[Tensor, " K"]) -> Float[Tensor, "inner P"]:
    """Unit tangents at the inner pivots: towards the higher neighbour, a weighted mean of both at an extremum."""
    heights = values.tolist()
    shares = torch.zeros(len(band) - 2, len(band) - 1, dtype=torch.float64)  # of the steps from pivot to pivot
    for index, (before, here, after) in enumerate(zip(heights, heights[1:], heights[2:], strict=False)):
        rise, fall = after - here, before - here
        larger, smaller = max(abs(rise), abs(fall)), min(abs(rise), abs(fall))
        lesser = 0.0 if rise * fall < 0 else (smaller / larger if larger else 1.0)  # of the two steps
        pair = (lesser, 1.0) if after > before else (1.0, lesser)
        shares[index, index : index + 2] = torch.tensor(pair, dtype=torch.float64)
    tangents = shares.to(band) @ band.diff(dim=0)
    return tangents.div_(torch.linalg.vector_norm(tangents, dim=1, keepdim=True))


def _across(vectors: Float[Tensor, "inner P"], tangents: Float[Tensor, "inner P"]) -> Float[Tensor, "inner P"]:
    """The vectors, overwritten by what of each is perpendicular to its tangent."""
    along = torch.linalg.vecdot(vectors, tangents)
    return vectors.addcmul_(along[:, None], tangents, value=-1)


def _spread(band: Float[Tensor, "K P"]) -> None:
    """Puts the pivots at equal distances along the chain, in place."""
    positions = torch.linspace(0, 1, len(band), dtype=torch.float64)
    band[1:-1] = through(band).at(positions)[slice(1, len(band) - 1)]


def _insert(objective: Objective, band: Float[Tensor, "K P"], most: int) -> Float[Tensor, "more P"]:
    """The band with new pivots in the middle of the segments on which the loss rises most above its ends."""
    middles = (band[1:] + band[:-1]) / 2
    points = torch.cat([band, middles])
    losses = evaluate(objective, points, reestimated(objective, points)).losses.cpu()
    ends, between = losses[: len(band)], losses[len(band) :]
    excess = between - torch.maximum(ends[1:], ends[:-1])
    wanted = excess > RISE * (losses.max() - losses.min())
    room = max(0, most - (len(band) - 2))
    chosen = set(excess.argsort(descending=True)[:room].tolist()) & set(wanted.nonzero()[:, 0].tolist())
    rows = []
    for index, pivot in enumerate(band):
        rows.append(pivot)
        if index in chosen:
            rows.append(middles[index])
    return torch.stack(rows)
