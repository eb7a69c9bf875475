"""The loss on both sides of θ at finite radii: curvature with its rounding, and how unequal the sides of a valley are.

With L± = L(θ ± rd) the even part L₊ + L₋ − 2L is r²dᵀHd + r⁴D⁴L/12 + …, the odd part L₊ − L₋ is 2r∇Lᵀd + r³D³L/3 + …, where DⁿL
is the n-th derivative along d. So the curvature C(r) = (L₊ + L₋ − 2L)/r² tends to dᵀHd where the loss is C⁴, with an error of
order r² that two radii take out (Richardson, 1911). Where the loss has kinks, as with ReLU, autograd's H leaves them out and
C(r) sees those within r: it is a number of its own at each r, without a limit that means more (one kink on the way gives 1/r).

Rounding: a loss is known to a noise σ only, and C(r) to √6σ/r². σ is measured: how much L scatters where the entries of θ move
by a unit in their last place, which is more than θ ± rd are rounded by, and draws the rounding within the network anew. So errors
are too large, two to three times in float32 networks that were tried, rather than too small.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from orograph.arguments import checked
from orograph.brief import brief
from orograph.curvature.hessian import HessianOperator
from orograph.errors import ConfigurationError
from orograph.geometry.evaluation import ParameterSet, Points, losses_at, told
from orograph.geometry.perturbations import seeded
from orograph.geometry.smoothness import FINITE_RADIUS, is_smooth
from orograph.objective import Objective

STEPS = (1.0, 2.0, 4.0, 8.0)  # of `FINITE_RADIUS`: the radii where none are given
_DRAWS = 16  # of rounding: its standard deviation is known to 18 %


@brief
@dataclass(frozen=True, eq=False)
class FiniteCurvature:
    """Curvature along k directions at R radii.

    Attributes:
        radii: `(R,)` float64, ascending.
        curvatures: `(k, R)` float64, C(r).
        errors: `(k, R)` float64, one standard error of rounding.
        limits: `(k,)` float64, C(r → 0) from the two smallest radii; NaN where the loss is not C², or there is one radius.
        limit_errors: `(k,)` float64, of rounding, and what the next two radii say otherwise (with two radii: what they differ).
        exact: `(k,)` float64, dᵀHd by Hessian products; NaN where the loss is not C², or they were not asked for.
        smooth: whether the loss is C² in θ.
        noise: σ of the loss.
    """

    radii: Float64[Tensor, " R"]
    curvatures: Float64[Tensor, "k R"]
    errors: Float64[Tensor, "k R"]
    limits: Float64[Tensor, " k"]
    limit_errors: Float64[Tensor, " k"]
    exact: Float64[Tensor, " k"]
    smooth: bool
    noise: float

    @property
    def resolved(self) -> Tensor:
        """`(k, R)` booleans, whether a curvature differs from zero by more than two standard errors."""
        return self.curvatures.abs() > 2 * self.errors


@brief
@dataclass(frozen=True, eq=False)
class ValleyAsymmetry:
    """How unequal both sides of θ are along k directions at R radii.

    Attributes:
        radii: `(R,)` float64, ascending.
        rises: `(2, k, R)` float64, L(θ + rd) − L and L(θ − rd) − L.
        asymmetries: `(k, R)` float64, their difference by their sum; between −1 and 1 where both are positive.
        errors: `(k, R)` float64, one standard error of rounding.
        slopes: `(k,)` float64, ∇Lᵀd.
        without_slope: `(k, R)` float64, the same with 2r∇Lᵀd taken off the difference: rD³L/(3dᵀHd) at small r.
        without_slope_errors: `(k, R)` float64, one standard error of rounding of these; on a slope far below `errors`.
    """

    radii: Float64[Tensor, " R"]
    rises: Float64[Tensor, "2 k R"]
    asymmetries: Float64[Tensor, "k R"]
    errors: Float64[Tensor, "k R"]
    slopes: Float64[Tensor, " k"]
    without_slope: Float64[Tensor, "k R"]
    without_slope_errors: Float64[Tensor, "k R"]


@checked
def finite_radius_curvature(
    objective: Objective,
    theta: Float[Tensor, " P"],
    directions: Float[Tensor, "k P"],
    *,
    radii: tuple[float, ...] = (),
    products: bool = True,
    seed: int = 0,
) -> FiniteCurvature:
    """C(r) = [L(θ + rd) + L(θ − rd) − 2L(θ)]/r² along directions, with its rounding; and beside dᵀHd where the loss is C².

    Costs 2kR + 17 evaluations of L, and k Hessian products. It is no eigenvalue: d is what was given, and stays.

    Args:
        objective: loss and data; its penalty plays no part.
        theta: `(P,)`, the middle.
        directions: `(k, P)`, one d a row; of unit length for C to be in the unit of an eigenvalue, and r in that of θ.
        radii: r, absolute; 1, 2, 4 and 8 thousandths of ‖θ‖ where none are given.
        products: whether to take dᵀHd, too.
        seed: of the rounding that is drawn.

    Returns:
        Curvatures and their errors, `(k, R)`, and where the loss is C² what they tend to.

    Raises:
        ConfigurationError: radii that are not positive, or none where θ is zero.
        DataError: the loss is NaN everywhere.

    Examples:
        >>> import torch, orograph as og
        >>> objective = og.Objective(torch.nn.Linear(2, 1, bias=False), torch.nn.MSELoss(), [(torch.eye(2), torch.zeros(2, 1))])
        >>> found = og.finite_radius_curvature(objective, torch.tensor([3.0, 4.0]), torch.eye(2))
        >>> found.exact.tolist(), bool((found.limits - found.exact).abs().max() < 3 * found.limit_errors.max())
        ([1.0, 1.0], True)
    """
    chosen = _ascending(radii, theta)
    centre, plus, minus, noise = _sides(objective, theta, directions, chosen, seed)
    curvatures = (plus + minus - 2 * centre) / chosen**2
    errors = (6**0.5 * noise / chosen**2).expand_as(curvatures)
    smooth = is_smooth(objective)
    nothing = torch.full((len(directions),), torch.nan, dtype=torch.float64)
    limits, limit_errors = _limit(chosen, curvatures, errors) if smooth and len(chosen) > 1 else (nothing, nothing)
    exact = nothing
    if smooth and products:
        hessian = HessianOperator.of(objective.penalised(0.0).moved(theta))
        exact = torch.stack([torch.dot(each.double(), (hessian @ each).double()) for each in directions.to(theta)]).cpu()
    return FiniteCurvature(chosen, curvatures, errors, limits, limit_errors, exact, smooth, noise)


@checked
def valley_asymmetry(
    objective: Objective,
    theta: Float[Tensor, " P"],
    directions: Float[Tensor, "k P"],
    *,
    radii: tuple[float, ...] = (),
    seed: int = 0,
) -> ValleyAsymmetry:
    """A(r) = [L(θ + rd) − L(θ − rd)]/[L(θ + rd) + L(θ − rd) − 2L(θ)]: 0 of a symmetric valley, 1 where −d is flat.

    Valleys that are steep on one side and flat on the other are those of He, Huang & Yuan (2019), who define them by slopes over
    a whole range; the steeper side rises (1 + |A|)/(1 − |A|) times as high. Beyond ±1 one side falls: θ is no minimum along d.
    Away from a critical point A ≈ 2∇Lᵀd/(r dᵀHd) says nothing of the valley; `without_slope` does. Costs 2kR + 17 evaluations
    of L and a gradient.

    Args:
        objective: loss and data; its penalty plays no part.
        theta: `(P,)`, the middle.
        directions: `(k, P)`, one d a row.
        radii: r, absolute; 1, 2, 4 and 8 thousandths of ‖θ‖ where none are given.
        seed: of the rounding that is drawn.

    Returns:
        Asymmetries and their errors, `(k, R)`; NaN where L does not change at all.

    Raises:
        ConfigurationError: radii that are not positive, or none where θ is zero.
        DataError: the loss is NaN everywhere.

    Examples:
        >>> import torch, orograph as og
        >>> objective = og.Objective(torch.nn.Linear(1, 1, bias=False), lambda z, y: z**2 + z**3, [(torch.ones(1, 1),) * 2])
        >>> found = og.valley_asymmetry(objective, torch.zeros(1), torch.ones(1, 1), radii=(0.5,))
        >>> found.asymmetries.item()  # r² + r³ on one side, r² − r³ on the other
        0.5
    """
    chosen = _ascending(radii, theta)
    centre, plus, minus, noise = _sides(objective, theta, directions, chosen, seed)
    even, odd = plus + minus - 2 * centre, plus - minus
    slopes = (directions.to(theta).double() @ objective.penalised(0.0).gradient(theta).double()).cpu()
    asymmetries, without = odd / even, (odd - 2 * chosen * slopes[:, None]) / even
    rises = torch.stack([plus - centre, minus - centre])
    errors, further = _of_ratio(asymmetries, even, noise), _of_ratio(without, even, noise)
    return ValleyAsymmetry(chosen, rises, asymmetries, errors, slopes, without, further)


def _of_ratio(ratio: Float64[Tensor, "k R"], even: Float64[Tensor, "k R"], noise: float) -> Float64[Tensor, "k R"]:
    """The error of a = (L₊ − L₋ − c)/(L₊ + L₋ − 2L) to first order, by what each of the losses adds: 1 − a, 1 + a and 2a of it.

    A slope's own rounding, ε of the slope, is nothing beside that of the losses, ε of these.
    """
    return noise * (2 + 6 * ratio**2).sqrt() / even.abs()


def rounding(objective: Objective, theta: Float[Tensor, " P"], seed: int = 0) -> float:
    """σ of L(θ): its scatter where the entries of θ move by a unit in the last place, at random; never less than what it takes
    to write the loss of each sample."""
    losses = told(losses_at(objective, _Neighbours(theta, seed))).cpu()
    least = torch.finfo(objective.dtype).eps * losses.abs().max().item() / objective.count**0.5
    return max(losses.std().item(), least)


@dataclass(frozen=True)
class _Neighbours(ParameterSet):
    """θ with half of its entries moved to the next number below or above."""

    theta: Float[Tensor, " P"]
    seed: int

    def __len__(self) -> int:
        return _DRAWS

    def __getitem__(self, part: slice) -> Float[Tensor, "m P"]:
        return torch.stack([self._moved(index) for index in range(*part.indices(len(self)))])

    def _moved(self, index: int) -> Float[Tensor, " P"]:
        sides = torch.randint(-1, 3, (len(self.theta),), generator=seeded(self.seed, index)).to(self.theta)  # −1, 0, 1 or 2
        far = torch.where(sides < 0, -torch.inf, torch.inf).to(self.theta)
        return torch.where((sides == 0) | (sides == 2), self.theta, torch.nextafter(self.theta, far))


def _ascending(radii: tuple[float, ...], theta: Float[Tensor, " P"]) -> Float64[Tensor, " R"]:
    norm = torch.linalg.vector_norm(theta.double()).item()
    if not norm < float("inf"):
        raise ConfigurationError(f"`theta` has the norm {norm:g}; give finite parameters.")
    chosen = sorted(set(radii or (FINITE_RADIUS * norm * step for step in STEPS)))
    if not all(0 < each < float("inf") for each in chosen):
        why = f"`radii` {', '.join(f'{each:g}' for each in chosen)} must be positive and finite"
        raise ConfigurationError(f"{why}; θ is zero, so give them." if not radii else f"{why}.")
    return torch.tensor(chosen, dtype=torch.float64)


def _sides(
    objective: Objective, theta: Float[Tensor, " P"], directions: Float[Tensor, "k P"], radii: Float64[Tensor, " R"], seed: int
) -> tuple[float, Float64[Tensor, "k R"], Float64[Tensor, "k R"], float]:
    """L(θ), L(θ + rd), L(θ − rd) and the noise of all, on the CPU."""
    k = len(directions)
    if not k or not bool(directions.isfinite().all()) or not bool(directions.any(dim=1).all()):
        raise ConfigurationError("`directions` must be one row or more of finite numbers, none of them zeros alone.")
    steps = torch.cat([radius * torch.eye(k, dtype=torch.float64) for radius in radii.tolist()])  # radius by radius
    every = torch.cat([torch.zeros_like(steps[:1]), steps, -steps])
    losses = told(losses_at(objective, Points(theta, directions.to(theta), every))).cpu()
    plus, minus = (half.view(len(radii), k).T for half in losses[1:].chunk(2))
    return losses[0].item(), plus, minus, rounding(objective, theta, seed)


def _limit(
    radii: Float64[Tensor, " R"], values: Float64[Tensor, "k R"], errors: Float64[Tensor, "k R"]
) -> tuple[Float64[Tensor, " k"], Float64[Tensor, " k"]]:
    """c of c + ar² through the two smallest radii, and its error."""

    def through(first: int) -> tuple[Tensor, Tensor]:
        near, far = radii[first] ** 2, radii[first + 1] ** 2
        shares = far / (far - near), -near / (far - near)
        value = shares[0] * values[:, first] + shares[1] * values[:, first + 1]
        return value, (shares[0] * errors[:, first]).hypot(shares[1] * errors[:, first + 1])

    limit, noise = through(0)
    other = through(1)[0] if len(radii) > 2 else values[:, 0]
    return limit, noise.hypot(limit - other)
