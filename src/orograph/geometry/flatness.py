"""Flatness as the mean rise of the loss around a minimum, and the robustness of accuracy and margins to noise."""

import math
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from orograph.arguments import checked
from orograph.brief import brief
from orograph.errors import ConfigurationError
from orograph.geometry.evaluation import evaluate, losses_at, told
from orograph.geometry.perturbations import SpherePairs, even_and_odd, known_rises
from orograph.objective import Objective
from orograph.spectral.intervals import Estimate, estimate, heavy_tailed, welch_degrees
from orograph.spectral.spectrum import Spectrum

RADII = (0.01, 0.02, 0.03, 0.04, 0.05)


@brief
@dataclass(frozen=True)
class LossIncrease:
    """The mean rise of the loss over spheres around θ.

    Attributes:
        radii: relative to ‖θ‖.
        by_radius: the mean rise on each sphere.
        loss_increase: the mean over radii.
    """

    radii: tuple[float, ...]
    by_radius: tuple[Estimate, ...]
    loss_increase: Estimate

    @property
    def flatness_measure(self) -> float:
        """−loss_increase: the sign with which flatter minima score higher, as the published correlations imply."""
        return -self.loss_increase.value


@brief
@dataclass(frozen=True)
class NoiseRobustness:
    """What noise of norm `radius`·‖θ‖ costs on average; positive where noise hurts.

    Attributes:
        radius: relative to ‖θ‖.
        loss_rise: mean rise of the loss.
        accuracy_drop: mean fall of the accuracy, as a fraction.
        margin_drop: mean fall of the margin.
    """

    radius: float
    loss_rise: Estimate
    accuracy_drop: Estimate
    margin_drop: Estimate


@checked
def loss_increase(
    objective: Objective,
    theta: Float[Tensor, " P"],
    *,
    radii: tuple[float, ...] = RADII,
    samples: int = 10,
    seed: int = 0,
    spectrum: Spectrum | None = None,
) -> LossIncrease:
    """Mean of L(θ+u) − L(θ) over spheres of radius r‖θ‖, `samples` perturbations each, as pairs ±u.

    The pairs of a radius are its own, so that the error of the mean over radii follows from theirs. Known pairs of the Hessian
    (`spectrum`) make the means sharper and leave their expectation as it is.

    Args:
        objective: loss and data.
        theta: `(P,)`, the middle of the spheres.
        radii: r of each sphere, relative to ‖θ‖.
        samples: perturbations on each sphere, an even number.
        seed: of the draws, the same on every device.
        spectrum: pairs of the Hessian at θ, which make the means sharper and leave their expectation as it is.

    Returns:
        The mean rise over all radii and on each, in the loss's unit (nat for a cross-entropy), with standard errors.

    Raises:
        ConfigurationError: an odd or non-positive number of samples, or θ is zero.

    Examples:
        >>> import torch, orograph as og
        >>> objective = og.Objective(torch.nn.Linear(4, 2), torch.nn.CrossEntropyLoss(), [(torch.eye(4), torch.arange(4) % 2)])
        >>> found = og.loss_increase(objective, objective.theta, radii=(0.01, 0.05))
        >>> len(found.by_radius)
        2
    """
    if samples < 2 or samples % 2:
        raise ConfigurationError(f"{samples} samples cannot be pairs ±u; take an even number, at least 2.")
    norm = torch.linalg.vector_norm(theta.double()).item()
    # few directions may hold most of the rise, unless they are known
    floor, rise = (0.0, partial(heavy_tailed, floor=0.0)) if spectrum is None else (-math.inf, estimate)
    found = []
    for index, radius in enumerate(radii):
        around = SpherePairs(theta, radius * norm, samples // 2, seed, stream=index)
        losses = told(losses_at(objective, around)).cpu()
        found.append(rise(even_and_odd(losses)[0] + known_rises(around, spectrum)))
    value = sum(each.value for each in found) / len(found)
    error = sum(each.error**2 for each in found) ** 0.5 / len(found)
    degrees = welch_degrees([each.error for each in found], [each.degrees for each in found])
    return LossIncrease(tuple(radii), tuple(found), Estimate(value, error, degrees=degrees, floor=floor))


@checked
def noise_robustness(
    objective: Objective, theta: Float[Tensor, " P"], *, radius: float = 0.01, samples: int = 10, seed: int = 0
) -> NoiseRobustness:
    """Mean loss of accuracy, margin and loss under noise of norm `radius`·‖θ‖, usually of the test set's objective.

    Args:
        objective: loss and data, usually of the test set.
        theta: `(P,)`, without noise.
        radius: norm of the noise, relative to ‖θ‖.
        samples: how many perturbations, an even number, as pairs ±u.
        seed: of the draws, the same on every device.

    Returns:
        Mean fall of the accuracy (a fraction) and of the margin, mean rise of the loss, each with its standard error.

    Raises:
        ConfigurationError: an odd or non-positive number of samples, or θ is zero.

    Examples:
        >>> import torch, orograph as og
        >>> objective = og.Objective(torch.nn.Linear(4, 2), torch.nn.CrossEntropyLoss(), [(torch.eye(4), torch.arange(4) % 2)])
        >>> found = og.noise_robustness(objective, objective.theta, samples=4)
        >>> assert abs(found.loss_rise.value) < 0.01
    """
    if samples < 2 or samples % 2:
        raise ConfigurationError(f"{samples} samples cannot be pairs ±u; take an even number, at least 2.")
    norm = torch.linalg.vector_norm(theta.double()).item()
    found = evaluate(objective, SpherePairs(theta, radius * norm, samples // 2, seed))

    def rise(values: Tensor) -> Tensor:
        return (values[1::2] + values[2::2]) / 2 - values[0]

    return NoiseRobustness(
        radius,
        loss_rise=heavy_tailed(rise(told(found.losses)), floor=0.0),
        accuracy_drop=heavy_tailed(-rise(found.accuracies)),
        margin_drop=heavy_tailed(-rise(found.margins)),
    )
