"""Whether all of the data behave as the few samples do on which products were tested (`acceptance.py`).

A module may compute otherwise on some batches: detach what is long, reach a function of its own where a value is large. So the
product Av of every batch is held, once, against values and gradients of that batch in float64 at θ ± hv:

    slope        (ℓ(θ+hv) − ℓ(θ−hv))/2h = gᵀv,  g the mean of both gradients
    difference   (g(θ+hv) − g(θ−hv))/2h = Av                    (Hessian; of the others `metric`, as of a few samples)

That is two gradients of all data. v has a part along the gradient, which shows what is left out of it. A step may cross the kink
of a ReLU: then a shorter one is tried. Only where both steps agree with one another, yet not with the product, is there an error,
and the tests of the few are then made on that batch. Where they never agree nothing is known of the batch, and it is not counted;
if the gradient jumps as far at the shortest of all steps, θ stands on a kink of it.
"""

import copy
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from orograph.curvature.acceptance import Examination, doubled_of
from orograph.curvature.formulas import Formula
from orograph.intake import Batch
from orograph.objective import Objective
from orograph.replacements import moving

# Of h‖v‖ against 1 + ‖θ‖. Truncation ∝ h² is far below all tolerances; rounding ∝ 1/h is allowed for.
_STEPS = (1e-7, 1e-9)
_SHORTEST = 1e-12  # a jump there is one at θ itself: a kink that happens to lie so near is rarer than a sample in a billion
_ROUNDING = 100 * torch.finfo(torch.float64).eps
_TOLERANCE = 1e-5
_FULL_RATE = {(6, 0), (7, 0), (8, 0), (9, 0), (10, 0)}  # compute capabilities of GPUs with float64 at half the rate of float32


@dataclass(frozen=True, eq=False)
class Finding:
    """What one batch shows.

    Attributes:
        first, last: its samples, counted from 0.
        batch: the batch.
        agrees: with differences; None where these say nothing.
        edge: the parameter by which the gradient jumps most at θ itself; empty where it does not.
    """

    first: int
    last: int
    batch: Batch
    agrees: bool | None
    edge: str = ""


def affordable(device: torch.device) -> bool:
    """Whether float64 is no more than a few times as dear as float32 there."""
    return device.type == "cpu" or (device.type == "cuda" and torch.cuda.get_device_capability(device) in _FULL_RATE)


def exactly(objective: Objective, theta: Tensor) -> Objective:
    """The loss in float64 at θ, to be tried on any batch; of the data hardly any are copied."""
    small = copy.copy(objective)
    if objective.per_sample:
        small = objective.subset(torch.zeros(1, dtype=torch.long, device=objective.device), weighed=False)
    return small.to(torch.float64).moved(theta)


def direction(objective: Objective, gradient: Tensor) -> Tensor:
    """v of length 1, in float64, among the parameters that can move: half along the gradient, half random."""
    drawn = torch.randn(len(gradient), generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(gradient.device)
    drawn *= moving(objective.model, objective.layout).to(drawn)
    drawn /= drawn.norm()
    along = gradient.double()
    if norm := along.norm():
        drawn += along / norm
    return drawn.div_(drawn.norm())


def findings(exact: Objective, formula: Formula, v: Tensor, parts: Iterable[tuple[Batch, Tensor]]) -> Iterator[Finding]:
    """What each batch shows, one after the other.

    Args:
        exact: the loss in float64, at θ.
        formula: of the products.
        v: `(P,)`, of length 1, in float64.
        parts: batches with their products Av, in the dtype of the products.
    """
    first = 0
    for batch, product in parts:
        last = first + len(batch[1]) - 1
        try:
            with sdpa_kernel(SDPBackend.MATH):
                agrees, edge = _compared(exact, formula, v, doubled_of(batch), product)
        except torch.OutOfMemoryError:
            raise
        except Exception:  # what a module cannot do in float64 tells nothing of its products
            agrees, edge = None, ""
        yield Finding(first, last, batch, agrees, edge)
        first = last + 1


def _compared(exact: Objective, formula: Formula, v: Tensor, batch: Batch, product: Tensor) -> tuple[bool | None, str]:
    # Half of the digits of a product in float32 are beyond doubt; one in float64 is known better than a difference.
    tolerance, size = max(10 * torch.finfo(product.dtype).eps ** 0.5, _TOLERANCE), 1 + exact.theta.norm().item()
    if formula.differences != "gradients":
        _, _, slopes = _leap(exact, v, batch, _STEPS[0] * size)
        return slopes and Examination(exact, formula, batch).metric(v, v @ product.double(), tolerance), ""
    leaps, found = [], []
    for h in (step * size for step in _STEPS):
        leap, rounding, slopes = _leap(exact, v, batch, h)
        leaps.append(leap)
        found.append(leap / (2 * h))
        if slopes and (product - found[-1]).norm() <= tolerance * found[-1].norm() + rounding / h:
            return True, ""
    if (found[0] - found[1]).norm() <= tolerance * found[1].norm():
        return False, ""
    shortest, _, _ = _leap(exact, v, batch, _SHORTEST * size)
    if not shortest.norm() > 0.5 * leaps[0].norm():
        return None, ""
    return None, max((float(shortest[part].norm()), name) for name, part in exact.layout.slices().items())[1]


def _leap(exact: Objective, v: Tensor, batch: Batch, h: float) -> tuple[Tensor, float, bool]:
    """How far the gradient goes from one side to the other, its rounding, and whether it is that of the loss."""
    (above, up), (below, down) = (_value_and_gradient(exact, exact.theta + way * v, batch) for way in (h, -h))
    leap, mean = up - down, (up + down) / 2
    defect = ((above - below) / (2 * h) - mean @ v).abs()
    size = mean.norm()
    return leap, _ROUNDING * size.item(), bool(defect <= _TOLERANCE * size + _ROUNDING * above.abs() / h)


def _value_and_gradient(exact: Objective, theta: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
    with torch.enable_grad():
        point = theta.detach().requires_grad_()
        value = exact.summed(point, *batch)
        if not value.requires_grad:
            return value, torch.zeros_like(theta)
        return value.detach(), torch.autograd.grad(value, point, materialize_grads=True)[0]
