"""What measures will cost at a point: a pass, a product and a few steps of chains, timed and multiplied."""

import contextlib
import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from orograph.arguments import checked
from orograph.blockwise.kronecker import kfac_operator
from orograph.blockwise.parts import partition
from orograph.curvature.ggn import GaussNewtonOperator
from orograph.curvature.hessian import HessianOperator
from orograph.degeneracy.sampling import langevin
from orograph.errors import OrographError
from orograph.geometry.classes import class_gradients, class_labels
from orograph.geometry.directional import sample_slopes
from orograph.geometry.finite_radius import rounding
from orograph.measures import table
from orograph.measures.settings import chosen
from orograph.objective import Objective
from orograph.problem import Groups
from orograph.response.third_order import curvature_gradients
from orograph.spectral.eigenpairs import lanczos
from orograph.work.timing import seconds_of

_OF_LARGEST = {"layers", "llc", "sharpening", "asymmetry"}  # which begin with the pair of λ_max
_PAIR = 22  # products of one largest pair, of a network or of a block, its certificate among them
_DRAWS = 16  # evaluations of the loss that `rounding` takes, nearly all of what a measure at a finite radius takes
_STEPS = 16  # of chains that are timed
_SOLVE = (7.0, 1.2)  # products of one solve for the influence on a class, a + b/√λ; seen on mnist-5k and digits
_STOPPED = 30  # products after which a solve ends at a direction of negative curvature, where a point is no minimum
_KFAC = (25, 25, 17, 22)  # products of spectra: of G, of G − K, and of those of one layer's block


@checked
def seconds(
    names: Sequence[str],
    objective: Objective,
    hessian: HessianOperator,
    *,
    known: bool = False,
    on: Objective | None = None,
    groups: Groups | None = None,
) -> float:
    """How long measures of one point will take, from what their parts take here and now.

    Args:
        names: as `take` has them.
        objective: with its data and penalty; timed where it stands.
        hessian: of its loss.
        known: whether the largest pairs will be known.
        on: the loss on test data, which `influence` is on; None where there are none.
        groups: of the samples, in place of classes.

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
    unknown = not known and not _OF_LARGEST.isdisjoint(taken)
    pair = _pair(hessian) if "layers" in taken or unknown else 0.0
    probes, steps = table.QUADRATURE
    walk = table.DRAWS + table.BURN_IN

    def near() -> float:
        return seconds_of(lambda: rounding(plain, theta)) * (1 + 3 / _DRAWS) + product

    def coefficient() -> float:
        return probes * min(steps, len(theta)) * product + walk * _step(objective, theta)

    price: dict[str, Callable[[], float]] = {
        "layers": lambda: len(partition(plain.layout, "module")) * (table.PROBES * product + pair),
        "llc": coefficient,
        "llc-layers": lambda: len(partition(plain.layout, "module")) * coefficient(),
        "sharpening": lambda: seconds_of(lambda: curvature_gradients(plain, theta, vector[None])),
        "sam": near,
        "asymmetry": near,
        "influence": lambda: _influence(objective, on, groups, product),
        "kfac": lambda: _kfac(plain),
    }
    total = pair if unknown else 0.0
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


def _influence(objective: Objective, on: Objective | None, groups: Groups | None, product: float) -> float:
    """A solve for each class, their right-hand sides, and slopes of all samples along the solutions; without a penalty a part of
    one solve, which finds no minimum there."""
    if on is None:
        return 0.0
    labels = class_labels(on, groups.test if groups else None)
    beside = seconds_of(lambda: class_gradients(on, objective.theta, labels=labels))
    if not objective.strength:
        return _STOPPED * product + beside
    classes, (least, rate) = len(labels.unique()), _SOLVE
    each = min(table.SOLVE_PRODUCTS, least + rate / math.sqrt(objective.strength))
    directions = torch.randn(classes, len(objective.theta), dtype=objective.dtype, device=objective.device)
    return classes * each * product + beside + seconds_of(lambda: sample_slopes(objective, objective.theta, directions))


def _kfac(plain: Objective) -> float:
    """The factors, and spectra of G, G − K and of each layer's blocks of these."""
    factors = kfac_operator(plain)  # and what torch prepares once
    made = seconds_of(lambda: kfac_operator(plain), warm=False)
    exact = GaussNewtonOperator.of(plain)
    difference, vector = exact - factors, torch.randn_like(plain.theta)
    one, other = seconds_of(lambda: exact @ vector), seconds_of(lambda: difference @ vector)
    layers = len(partition(plain.layout, "module"))
    top, apart, own, own_apart = _KFAC
    return made + (top + layers * own) * one + (apart + layers * own_apart) * other
