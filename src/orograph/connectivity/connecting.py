"""Two minima of a problem connected by paths that have names, each with its losses and barriers.

Straight line; quadratic Bézier curve and polygonal chain (Garipov et al., 2018) and nudged elastic band (Draxler et al., 2018),
trained from it; straight line to the second minimum with its units in the first one's order (Entezari et al., 2022); and the
path of minima of L + λ‖θ − θ_ref‖² with the second one as θ_ref (Ersoy et al., 2025).
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from orograph.arguments import checked
from orograph.brief import brief
from orograph.connectivity.alignment import align
from orograph.connectivity.anchored import anchored_path
from orograph.connectivity.band import nudged_elastic_band
from orograph.connectivity.barriers import Barriers, CurveProfile, curve_profile
from orograph.connectivity.curves import Curve, bezier, chain, line
from orograph.connectivity.names import PATHS, WAYS
from orograph.connectivity.paths import train_curve
from orograph.errors import ConfigurationError, OrographError, unknown
from orograph.objective import Objective
from orograph.problem import Problem

BATCH = 128  # samples of a mini-batch with which a path is trained
BENDS = 3  # of a chain
PIVOTS = 5  # of a band, at first
MOST_PIVOTS = 20
CYCLES = 4
BAND_BYTES = 5 * 2**30  # for the band: about `_COPIES` vectors a pivot
PRODUCTS = 1000  # of a point of an anchored path
_COPIES = 9


@brief
@dataclass(frozen=True, eq=False)
class Connection:
    """What lies between two minima.

    Attributes:
        profiles: of each path that was found, by its name: losses and accuracies along it.
        curves: likewise, the paths themselves.
        failures: why a path was not found, by its name.
        distance: ‖θ_b − θ_a‖.
    """

    profiles: dict[str, CurveProfile]
    curves: dict[str, Curve]
    failures: dict[str, str]
    distance: float

    @property
    def positions(self) -> Float[Tensor, " T"]:
        """t of all values along a path, `(T,)` from 0 to 1; the same for every path."""
        return next(iter(self.profiles.values())).positions

    @property
    def barriers(self) -> dict[str, Barriers]:
        """Of each path, by its name."""
        return {name: each.barriers for name, each in self.profiles.items()}


@checked
def connect(
    problem: Problem,
    a: Any,
    b: Any,
    *,
    paths: Iterable[str] = PATHS,
    points: int = 21,
    epochs: int = 10,
    seed: int = 0,
    strength: float = 0.0,
) -> Connection:
    """Paths between two minima of a problem, the losses along them and their barriers.

    Args:
        problem: network, loss and data.
        a: where the paths begin: a state dict, the path of one, a module that has the weights, or θ `(P,)`.
        b: where they end, likewise.
        paths: of `linear`, `bezier`, `chain`, `band`, `aligned`, and `anchored`, which takes Hessian products.
        points: positions at which a path is evaluated, the two ends included.
        epochs: for which a path is trained.
        seed: of mini-batches and small displacements.
        strength: λ of the penalty λ‖θ‖² that paths are trained with.

    Returns:
        Profiles, barriers and curves by the name of the path; a path that cannot be had is among the failures, with the reason.

    Raises:
        ConfigurationError: a path that nobody knows.
        DataError: the weights are not those of this network, or not finite.

    Examples:
        >>> import torch, orograph as og
        >>> problem = og.Problem(torch.nn.Linear(4, 2), torch.nn.CrossEntropyLoss(), train=(torch.eye(4), torch.arange(4) % 2))
        >>> found = og.connect(problem, torch.zeros(10), torch.ones(10), paths=["linear", "bezier"], points=5, epochs=1)
        >>> found.barriers["linear"].train_loss < 1e-6, found.positions.tolist()  # a convex loss has none
        (True, [0.0, 0.25, 0.5, 0.75, 1.0])
    """
    chosen = tuple(dict.fromkeys((paths,) if isinstance(paths, str) else paths))
    for name in chosen:
        if name not in WAYS:
            raise unknown("path", name, WAYS)
    if not chosen or points < 2 or epochs < 1:
        raise ConfigurationError(
            f"connecting takes a path, 2 points and 1 epoch at least, not {len(chosen)}, {points} and {epochs}."
        )
    train = problem.objective(a, strength=strength)
    test = None if problem.test is None else problem.objective(a, test=True)
    first, second = train.theta, train.moved(b if isinstance(b, Tensor) else end_of(problem.network(b), train)).theta
    require_finite(first, second)
    profiles: dict[str, CurveProfile] = {}
    curves: dict[str, Curve] = {}
    failures: dict[str, str] = {}
    for name in chosen:
        try:
            curve, _ = named_curve(name, train, first, second, epochs=epochs, seed=seed, told=lambda step: None)
            profiles[name] = curve_profile(train, curve, test=test, points=points)
            curves[name] = curve
        except OrographError as error:
            failures[name] = str(error)
    return Connection(profiles, curves, failures, torch.linalg.vector_norm((second - first).double()).item())


def require_finite(first: Float[Tensor, " P"], second: Float[Tensor, " P"]) -> None:
    """Refuses minima that are none.

    Raises:
        ConfigurationError: naming which.
    """
    for name, theta in (("a", first), ("b", second)):
        if not torch.isfinite(theta).all():
            raise ConfigurationError(f"`{name}` holds NaN or infinity: its training has diverged; give another minimum.")


def end_of(network: nn.Module, train: Objective) -> Float[Tensor, " P"]:
    """θ of the network at the other end, which is that of the first but for θ and buffers: statistics are estimated anew."""
    named = dict(network.named_parameters())
    for name, each in train.constants.items():
        if name in named and not torch.equal(named[name].detach().to(each), each):
            raise ConfigurationError(
                f"`a` and `b` differ in '{name}', which is not in θ: a path between them is of no network; give minima that "
                "differ in `parameters` alone, or a problem with more of these."
            )
    return train.layout.flatten(named)


def named_curve(
    name: str,
    train: Objective,
    first: Float[Tensor, " P"],
    second: Float[Tensor, " P"],
    *,
    epochs: int,
    seed: int,
    told: Callable[[int], None],
    products: int = PRODUCTS,
) -> tuple[Curve, dict[str, Any]]:
    """A path by its name, and what is worth knowing of how it came about."""
    steps = math.ceil(epochs * train.count / min(BATCH, train.count))
    if name == "linear":
        return line(first, second), {}
    if name == "aligned":
        found = align(train, first, second, seed=seed)
        moved = sum(int((order != torch.arange(len(order))).sum()) for order in found.permutations.values())
        units = sum(len(order) for order in found.permutations.values())
        return line(first, found.theta), {"distance": found.distance, "moved_units": moved, "units": units}
    if name == "anchored":
        pulled = anchored_path(train, first, second, max_products=products, on_product=lambda stage, count: told(count))
        details: dict[str, Any] = {"controls": len(pulled.curve.controls), "spent_products": pulled.products}
        details |= {"critical_points": sum(pulled.converged), "path_strengths": pulled.strengths.tolist()}
        details["path_jumps"] = [list(each) for each in pulled.jumps]
        return pulled.curve, details
    if name == "band":
        most = max(1, min(MOST_PIVOTS, BAND_BYTES // (_COPIES * len(first) * first.element_size()) - 2))
        pivots = min(PIVOTS, most)
        # Every pivot takes half as many gradients as a curve takes in all.
        trained = nudged_elastic_band(
            train,
            first,
            second,
            pivots=pivots,
            most_pivots=most,
            cycles=CYCLES,
            steps=max(1, steps // (2 * CYCLES)),
            batch_size=BATCH,
            seed=seed,
            on_step=told,
        )
    else:
        start = bezier(first, second) if name == "bezier" else chain(first, second, bends=BENDS)
        trained = train_curve(train, start, steps=steps, batch_size=BATCH, seed=seed, on_step=told)
    return trained.curve, {"gradients": trained.gradients, "controls": len(trained.curve.controls)}
