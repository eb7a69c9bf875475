"""The path of minima {θ(λ)} of L + λ‖θ − θ_ref‖², θ_ref being another minimum (Ersoy et al., arXiv 2512.11866).

It begins at a minimum of L, λ = 0, and ends at θ_ref, λ = ∞. Of all paths between both it is the one that a penalty pulls along:
each of its points is a critical point of L_eff, and where it is smooth L rises along it as λ does, dL/dλ = −λ dq/dλ with
q = ‖θ − θ_ref‖² falling. Strengths are placed where they are needed: so that no step is much longer than the way by the number
of points. Where even a small step in λ is a long one the branch ends: the path jumps there, and between is a straight line.

What it is not: the lowest path, nor one along which L stays low. Its barrier is one more number beside that of the line and of
trained curves.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from orograph.arguments import checked
from orograph.brief import brief
from orograph.connectivity.curves import Curve, through
from orograph.curvature.counting import OnProduct, renamed
from orograph.curvature.hessian import HessianOperator
from orograph.errors import ConfigurationError
from orograph.objective import Objective
from orograph.spectral.eigenpairs import lanczos
from orograph.training.polishing import polish

_FIRST = 1e-3  # of λ_max/2: the first strength that is tried
_LEAST = 1e-12  # likewise: none is smaller
_NEAR = 0.02  # of ‖θ_a − θ_ref‖: nearer than that the path goes straight
_GROWTH = 2.0  # of λ from point to point, at first; `_FASTEST` at most
_FASTEST = 16.0
_FINEST = 1.02  # where a step of that is still too long the path jumps
TRIALS = 50  # times what one point may take, of all together; then the path goes straight; trained networks took 9 to 23
_LONG, _SHORT = 2.0, 0.5  # times the known way by `points`: longer steps are halved, after shorter ones they grow


@brief
@dataclass(frozen=True, eq=False)
class AnchoredPath:
    """Critical points on the way from one minimum to another.

    Attributes:
        curve: the chain through them, from the first minimum to θ_ref.
        strengths: `(n,)` float64, λ of its points but the first, where λ = 0, and the last, where it is infinite.
        distances: `(n,)` float64, ‖θ(λ) − θ_ref‖.
        converged: of each of the n points, whether it is a critical point within the tolerance.
        jumps: λ before and behind each step that stays long however small it is in λ, and its length.
        products: Hessian-vector products spent.
        complete: whether it was followed to θ_ref; if not, products were spent before, and behind its last point it is straight.
    """

    curve: Curve
    strengths: Float64[Tensor, " n"]
    distances: Float64[Tensor, " n"]
    converged: tuple[bool, ...]
    jumps: tuple[tuple[float, float, float], ...]
    products: int
    complete: bool

    @property
    def length(self) -> float:
        """Of the chain, in parameter space."""
        return self.curve.length


@checked
def anchored_path(
    objective: Objective,
    start: Float[Tensor, " P"],
    reference: Float[Tensor, " P"],
    *,
    points: int = 12,
    tolerance: float = 1e-6,
    max_products: int = 1000,
    on_product: OnProduct | None = None,
) -> AnchoredPath:
    """Follows the minimum of L + λ‖θ − θ_ref‖² from a minimum of L to θ_ref, as λ grows.

    Args:
        objective: L and its data; its own penalty is left out.
        start: `(P,)`, a minimum of L.
        reference: θ_ref, `(P,)`, the other end.
        points: into about how many equal ways the path is divided.
        tolerance: τ of ‖∇L_eff‖ at each point; see `polish`.
        max_products: of each point; of all together, those that were too far and tried again among them, 50 times as many.
        on_product: called with "anchored path" and the products of the point so far.

    Returns:
        The path as a chain, to be evaluated by `curve_profile` beside others.

    Raises:
        ConfigurationError: both ends are one, fewer than 2 points, or no positive curvature to choose λ by.

    Examples:
        >>> import torch, orograph as og
        >>> data = [(torch.eye(2), torch.tensor([[1.0], [-1.0]]))]
        >>> objective = og.Objective(torch.nn.Linear(2, 1, bias=False), torch.nn.MSELoss(), data)
        >>> found = og.connectivity.anchored_path(objective, torch.tensor([1.0, -1.0]), torch.tensor([3.0, 1.0]))
        >>> round(found.length / 8**0.5, 3), found.jumps  # of a round valley the path is straight
        (1.0, ())
    """
    first, end = start.detach().to(objective.theta), reference.detach().to(objective.theta)
    whole = torch.linalg.vector_norm((first - end).double()).item()
    if not 0 < whole < float("inf") or points < 2:
        raise ConfigurationError(
            f"an anchored path takes two different ends of finite numbers, not {whole:g} apart, and 2 `points` at least, "
            f"not {points}."
        )
    hessian = HessianOperator.of(objective.penalised(0.0).moved(first))
    sharpest = lanczos(hessian, 1, which="LA", tolerance=1e-2, on_product=renamed(on_product, "anchored path"))
    scale, spent = sharpest.eigenvalues[0].item() / 2, sharpest.products
    if not scale > 0:
        raise ConfigurationError(f"the largest eigenvalue at the start, {2 * scale:.3g}, is not positive: this is no minimum.")
    growth, gone, budget = _GROWTH, 0.0, TRIALS * max_products

    def met(strength: float, near: Tensor) -> tuple[Tensor, bool, int]:
        told = renamed(on_product, "anchored path")
        anchored, most = objective.penalised(strength, end), min(max_products, budget - spent)
        found = polish(anchored, near, hessian=hessian, tolerance=tolerance, max_products=most, on_product=told)
        return found.theta, found.converged, found.products

    here, strength, begins = first, 0.0, _FIRST * scale
    kept, jumps = [first], list[tuple[float, float, float]]()
    strengths, distances, converged = list[float](), list[float](), list[bool]()
    while _apart(here, end) > _NEAR * whole and spent < budget:
        to = strength * growth or begins
        theta, good, products = met(to, here)
        spent, step = spent + products, _apart(theta, here)
        way = (gone + _apart(here, end)) / points  # of all that the path takes, which from a start that is no minimum leads away
        long, finest = step > _LONG * way, growth <= _FINEST if strength else begins <= _LEAST * scale
        if long and not finest:
            growth, begins = (growth**0.5, begins) if strength else (growth, begins / 10)
            continue
        if long:
            jumps.append((strength, to, step))
        elif step < _SHORT * way:
            growth = min(growth**2, _FASTEST)
        gone += step
        if step > 0 and _apart(theta, end) > 0:
            kept.append(theta)
            strengths.append(to)
            distances.append(_apart(theta, end))
            converged.append(good)
        here, strength = theta, to
    controls = torch.stack([*kept, end])
    return AnchoredPath(
        through(controls),
        torch.tensor(strengths, dtype=torch.float64),
        torch.tensor(distances, dtype=torch.float64),
        tuple(converged),
        tuple(jumps),
        spent,
        _apart(here, end) <= _NEAR * whole,
    )


def _apart(one: Tensor, other: Tensor) -> float:
    return torch.linalg.vector_norm((one - other).double()).item()
