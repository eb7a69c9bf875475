"""ε-sharpness: how much the loss can rise within a small distance of a minimum.

Sampled on the sphere of radius ε‖θ‖, and maximised by projected ascent in the ball (Keskar et al., 2017; Foret et al., 2021).
The adaptive form measures perturbations relative to each weight, u = |θ|∘w with ‖w‖ ≤ ε√P (Kwon et al., 2021); the factor √P
gives a random adaptive perturbation the same expected length ε‖θ‖. Ascent finds some maximum: a lower bound of the largest one.
"""

import math
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from orograph.arguments import checked
from orograph.brief import brief
from orograph.geometry.evaluation import losses_at, told
from orograph.geometry.perturbations import SpherePairs, even_and_odd, known_rises
from orograph.objective import Objective
from orograph.spectral.intervals import Estimate, estimate, estimate_fields, heavy_tailed
from orograph.spectral.spectrum import Spectrum

RADIUS = 0.02  # ε, relative to ‖θ‖
TRACE_PAIRS = 15  # for the trace at a finite radius
STEPS = (16.0, 4.0, 1.0, 0.25, 0.0625)  # of one ascent, in radii; the longest is nearly a step of the power method


@brief
@dataclass(frozen=True)
class SampledSharpness:
    """The rise of the loss at random perturbations ±u.

    Attributes:
        perturbations: where it was sampled; its `radius` is ρ.
        loss: L(θ).
        increases: `(2·pairs,)` float64, L(θ+u) − L(θ) in the order +u₁, −u₁, +u₂, …
        largest: the published ε-sharpness, the largest sampled increase.
        even: mean of [L(θ+u) + L(θ−u)]/2 − L(θ), the curvature's part.
        odd: root mean square of [L(θ+u) − L(θ−u)]/2, the gradient's part (its mean is zero).
        curvature: E[L(θ+u) + L(θ−u) − 2L(θ)]/ρ², which at small ρ is tr H / P; it sees the kinks of ReLU, which autograd does
            not.
        gradient_norm: √(P·E[odd²])/ρ, which at small ρ is ‖∇L‖; for the plain sphere only, NaN for the adaptive form.
    """

    perturbations: SpherePairs
    loss: float
    increases: Float[Tensor, " samples"]
    largest: float
    even: Estimate
    odd: Estimate
    curvature: Estimate
    gradient_norm: float


@brief
@dataclass(frozen=True)
class WorstCase:
    """The largest rise of the loss that was found, a lower bound of the largest there is.

    Attributes:
        increase: L(θ+u) − L(θ), never less than the largest sampled one.
        perturbation: `(P,)`, u.
        start: from where ascent found it: `sample`, `+gradient`, `-gradient`, `+top` or `-top`.
        gradients: how many gradients were spent.
    """

    increase: float
    perturbation: Float[Tensor, " P"]
    start: str
    gradients: int


@checked
def sharpness(
    objective: Objective,
    theta: Float[Tensor, " P"],
    *,
    radius: float = RADIUS,
    pairs: int = 50,
    seed: int = 0,
    adaptive: bool = False,
    spectrum: Spectrum | None = None,
) -> SampledSharpness:
    """Sample the loss at `pairs` pairs ±u on the sphere of radius `radius`·‖θ‖ (adaptive: `radius`·√P in w).

    Costs `2·pairs + 1` evaluations of the loss. Known pairs of the Hessian (`spectrum`) make the means of even parts sharper.

    ε-sharpness (Keskar et al., 2017), sampled; adaptive as of Kwon et al. (2021).

    Args:
        objective: loss and data.
        theta: `(P,)`, the middle of the sphere.
        radius: ε, relative to ‖θ‖.
        pairs: how many ±u.
        seed: of the draws, the same on every device.
        adaptive: perturbations relative to each weight, u = |θ|∘w.
        spectrum: pairs of the Hessian at θ, which make the means sharper and leave their expectation as it is.

    Returns:
        The `2·pairs` rises of the loss, in its unit (nat for a cross-entropy), with their largest, their even and their odd part.

    Raises:
        ConfigurationError: θ is zero, or a number is not positive.

    Examples:
        >>> import torch, orograph as og
        >>> objective = og.Objective(torch.nn.Linear(4, 2), torch.nn.CrossEntropyLoss(), [(torch.eye(4), torch.arange(4) % 2)])
        >>> found = og.sharpness(objective, objective.theta, pairs=4)
        >>> found.increases.shape, bool(found.largest == found.increases.max())
        (torch.Size([8]), True)
    """
    length = radius * (math.sqrt(len(theta)) if adaptive else torch.linalg.vector_norm(theta.double()).item())
    perturbations = SpherePairs(theta, length, pairs, seed, scale=theta.abs() if adaptive else None)
    losses = told(losses_at(objective, perturbations)).cpu()
    increases = losses[1:] - losses[0]
    even, odd = even_and_odd(losses)
    even = even + known_rises(perturbations, spectrum)
    squares = estimate(odd.square())
    odd_size = math.sqrt(squares.value)
    # few directions may hold most of the curvature, unless they are known
    curved = partial(heavy_tailed, floor=0.0) if spectrum is None else estimate
    return SampledSharpness(
        perturbations,
        loss=losses[0].item(),
        increases=increases,
        largest=increases.max().item(),
        even=curved(even),
        odd=Estimate(odd_size, squares.error / (2 * odd_size) if odd_size else 0.0, degrees=squares.degrees),
        curvature=curved(2 * even / length**2),
        gradient_norm=math.nan if adaptive else odd_size * math.sqrt(len(theta)) / length,
    )


def finite_trace(objective: Objective, theta: Float[Tensor, " P"], *, seed: int = 0) -> dict[str, float]:
    """tr H at a finite radius of 2 % of ‖θ‖, P·E[L(θ+u) + L(θ−u) − 2L(θ)]/R², as a record keeps it; nothing at θ = 0.

    Args:
        objective: the loss.
        theta: `(P,)`.
        seed: of the perturbations.

    Returns:
        `finite_trace` with its standard error and margin, and the radius.
    """
    if not theta.any():
        return {}
    sampled = sharpness(objective, theta, radius=RADIUS, pairs=TRACE_PAIRS, seed=seed)
    return estimate_fields("finite_trace", sampled.curvature, len(theta)) | {"finite_trace_radius": sampled.perturbations.radius}


@checked
def worst_case(
    objective: Objective,
    sampled: SampledSharpness,
    *,
    top: Float[Tensor, " P"] | None = None,
    steps: int = 10,
    tolerance: float = 0.0,
) -> WorstCase:
    """Maximise L(θ+u) over the ball of the sampled sharpness, by projected gradient ascent.

    From the best sample, from ±∇L and, where given, from ± the top eigenvector one step each; the one that is highest then goes
    on, for `steps` gradients at most, and stops when no step length improves. In w, where u = s∘w, the gradient is s∘∇L.

    Args:
        objective: the loss.
        sampled: gives θ, the radius, whether adaptive, and the best sample.
        top: `(P,)`, the eigenvector v₁ of the largest eigenvalue.
        steps: gradients for the one that goes on, its first included.
        tolerance: an ascent ends too when a step gains less than this share of the rise.

    Returns:
        The largest rise found, in the loss's unit, and the perturbation `(P,)` that gives it: a lower bound (Foret et al., 2021).

    Examples:
        >>> import torch, orograph as og
        >>> objective = og.Objective(torch.nn.Linear(4, 2), torch.nn.CrossEntropyLoss(), [(torch.eye(4), torch.arange(4) % 2)])
        >>> sampled = og.sharpness(objective, objective.theta, pairs=4)
        >>> og.worst_case(objective, sampled, steps=5).increase >= sampled.largest
        True
    """
    sphere = sampled.perturbations
    theta, radius = sphere.theta, sphere.radius
    scale = torch.ones_like(theta) if sphere.scale is None else sphere.scale

    def onto_sphere(vector: Tensor) -> Tensor:
        return vector * (radius / torch.linalg.vector_norm(vector).clamp_min(torch.finfo(vector.dtype).tiny))

    best_index = int(sampled.increases.argmax())
    sample = sphere.perturbation(best_index + 1)
    slope = onto_sphere(scale * objective.gradient(theta))
    starts = {"sample": torch.where(scale > 0, sample / scale, 0), "+gradient": slope, "-gradient": -slope}
    if top is not None:
        along = onto_sphere(scale * top.to(theta))
        starts |= {"+top": along, "-top": -along}

    names = list(starts)
    values = (losses_at(objective, theta + scale * torch.stack([starts[name] for name in names])) - sampled.loss).tolist()

    def climbed(point: Tensor, value: float) -> tuple[Tensor, float]:
        """The best of a step of any length; where none rises, the point itself."""
        direction = scale * objective.gradient(theta + scale * point)
        length = torch.linalg.vector_norm(direction)
        if not length > 0:
            return point, value
        moved = torch.stack([point + step * radius * direction / length for step in STEPS])
        norms = torch.linalg.vector_norm(moved, dim=1, keepdim=True)
        moved = moved * (radius / norms).clamp_max(1)
        increases = losses_at(objective, theta + scale * moved) - sampled.loss
        index = int(increases.argmax())
        return (moved[index].clone(), increases[index].item()) if increases[index] > value else (point, value)

    first = [(starts[name], value) for name, value in zip(names, values, strict=True)]
    spent = 1
    if steps:
        first = [climbed(point, value) for point, value in first]
        spent += len(first)
    best = max(range(len(names)), key=lambda i: first[i][1])
    (point, value), before = first[best], values[best]
    for _ in range(steps - 1):
        if not value - before > max(0.0, tolerance * value):
            break
        before = value
        point, value = climbed(point, value)
        spent += 1
    if value > sampled.largest:
        return WorstCase(value, scale * point, names[best], spent)
    return WorstCase(sampled.largest, sample, "sample", spent)
