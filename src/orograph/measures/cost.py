"""What measures will cost at a point: a pass, a product and a few steps of chains, timed and multiplied."""

import contextlib
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from orograph.arguments import checked
from orograph.blockwise.parts import partition
from orograph.curvature.hessian import HessianOperator
from orograph.degeneracy.sampling import langevin
from orograph.errors import OrographError
from orograph.geometry.finite_radius import rounding
from orograph.measures import table
from orograph.measures.settings import chosen
from orograph.objective import Objective
from orograph.response.third_order import curvature_gradients
from orograph.spectral.eigenpairs import lanczos
from orograph.work.timing import seconds_of

_PAIR = 22  # products of one largest pair, of a network or of a block, its certificate among them
_DRAWS = 16  # evaluations of the loss that `rounding` takes, nearly all of what a measure at a finite radius takes
_STEPS = 16  # of chains that are timed


@checked
def seconds(names: Sequence[str], objective: Objective, hessian: HessianOperator, *, known: bool = False) -> float:
    """How long measures of one point will take, from what their parts take here and now.

    Args:
        names: as `take` has them.
        objective: with its data; timed where it stands.
        hessian: of its loss.
        known: whether the largest pairs will be known.

    Returns:
        Seconds, of one point, without what is prepared once; what this network does not have costs nothing.

    Examples:
        >>> import torch, orograph as og
        >>> objective = og.Objective(torch.nn.Linear(2, 1), torch.nn.MSELoss(), [(torch.eye(2), torch.zeros(2, 1))])
        >>> og.measures.seconds(["sam", "asymmetry"], objective, og.HessianOperator.of(objective)) > 0
        True
    """
    taken = chosen(tuple(names))
    plain, theta = objective.penalised(0.0), objective.theta
    vector = torch.randn_like(theta)
    product = seconds_of(lambda: hessian @ vector) if taken else 0.0
    pair = _pair(hessian) if "layers" in taken or (not known and taken not in ((), ("sam",))) else 0.0
    probes, steps = table.QUADRATURE
    walk = table.DRAWS + table.BURN_IN

    def near() -> float:
        return seconds_of(lambda: rounding(plain, theta)) * (1 + 3 / _DRAWS) + product

    price: dict[str, Callable[[], float]] = {
        "layers": lambda: len(partition(plain.layout, "module")) * (table.PROBES * product + pair),
        "llc": lambda: probes * min(steps, len(theta)) * product + walk * _step(objective, theta),
        "sharpening": lambda: seconds_of(lambda: curvature_gradients(plain, theta, vector[None])),
        "sam": near,
        "asymmetry": near,
    }
    total = 0.0 if known or taken in ((), ("sam",)) else pair
    for name in taken:
        with contextlib.suppress(OrographError):  # what a network does not have costs nothing
            total += price[name]()
    return total


def _pair(hessian: HessianOperator) -> float:
    """Of as many products as a largest pair takes at a minimum, with what Lanczos' method does besides."""
    lanczos(hessian, 1, which="LA", tolerance=table.BLOCK_TOLERANCE)  # after which products are no longer held against gradients
    began = time.perf_counter()
    found = lanczos(hessian, 1, which="LA", tolerance=table.BLOCK_TOLERANCE)
    return (time.perf_counter() - began) * _PAIR / found.products


def _step(objective: Objective, theta: Float[Tensor, " P"]) -> float:
    """Of all chains: the difference of two walks, so that what prepares them is left out."""

    def walk(draws: int) -> float:
        given: dict[str, Any] = {"nbeta": 1.0, "localisation": 1.0, "step": 1e-12, "chains": table.CHAINS, "burn_in": 0}
        began = time.perf_counter()
        langevin(objective, theta, draws=draws, batch_size=table.BATCH, **given)
        return time.perf_counter() - began

    walk(1)
    return max(0.0, walk(1 + _STEPS) - walk(1)) / _STEPS
