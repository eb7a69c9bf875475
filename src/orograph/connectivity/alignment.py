"""Alignment of two networks: the order of hidden units that brings the second nearest to the first (Ainsworth et al., 2023).

Units of one layer may change places together with their incoming and outgoing weights without a change of the function. Which
ones go together in a network of any kind, with residual streams, normalisations or heads of attention, is read from its forward
pass (`freedom.py`). Weight matching maximises ⟨θ₁, g(θ₂)⟩ over these, one group with the others fixed (`matching.py`); from the
better of two guesses: nothing moved, and a pass from input to output that matches each layer by its incoming weights (exact where
the second network is a moved copy of the first). Activation matching pairs units by the correlation of what they compute (Li et
al., 2016). That a random element of the symmetries leaves the outputs as they are is checked before anything is matched.

Either brings weights or activations together, not losses: the barrier of the line to g(θ₂) is mostly lower than that of the line
to θ₂, but nothing says that it is.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from orograph.arguments import checked
from orograph.brief import brief
from orograph.calling import call, evaluation_mode, guarded
from orograph.connectivity.activity import matched_by_activity
from orograph.connectivity.elements import Element, drawn, identity, moved
from orograph.connectivity.freedom import Freedom, Inner, freedom_of
from orograph.connectivity.matching import climbed, least_distance, matched_forwards, similarity
from orograph.errors import ConfigurationError, unknown
from orograph.geometry.mapping import require_still
from orograph.geometry.perturbations import seeded
from orograph.objective import Objective

_WAYS = ("weights", "activations")
_MIXINGS = ("orthogonal", "invertible")
_SAMPLES = 512  # at most, whose activations are compared


@brief
@dataclass(frozen=True, eq=False)
class Alignment:
    """The second network in the first one's order.

    Attributes:
        theta: `(P,)`, g(θ₂); the same function as θ₂.
        permutations: `(units,)`, of each kind of units, by the name of the weight in which they are first met; unit a of the
            first network is unit π[a] of the second. Of heads and groups of channels it is these that change places.
        inner_permutations: `(groups, units)`, by that name, of what each group orders by itself: channels within groups, and
            heads of queries that share keys and values.
        rotations: `(heads, n, n)`, by that name, what is rotated within each head, or within the network for one head: of
            queries and keys, and of values and outputs.
        mixings: `(heads, n, n)`, likewise, invertible A where these are asked for: of that weight; A⁻ᵀ goes to what a product
            sums over with it.
        distance_before: ‖θ₁ − θ₂‖.
        distance: ‖θ₁ − g(θ₂)‖.
        least_distance: no element of these symmetries brings the two nearer than this.
        sweeps: rounds over the groups until nothing changed; 0 where activations were matched.
        held: why hidden units stay where they are, by the name of a weight; empty where all move.
        freedom: the symmetries as they were read from the network.
        element: of these, that which takes θ₂ to g(θ₂).
    """

    theta: Float[Tensor, " P"]
    permutations: dict[str, Int[Tensor, " units"]]
    inner_permutations: dict[str, list[Int[Tensor, "_ _"]]]
    rotations: dict[str, list[Float[Tensor, "_ _ _"]]]
    mixings: dict[str, list[Float[Tensor, "_ _ _"]]]
    distance_before: float
    distance: float
    least_distance: float
    sweeps: int
    held: dict[str, str]
    freedom: Freedom
    element: Element

    def reordered(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Named parameters and buffers of the second network, such as its state dict, in the first one's order.

        BatchNorm's running statistics move with their units, so that the function stays as it is.

        Args:
            tensors: by name; those that do not move are the same objects in the result.

        Returns:
            All of them.
        """
        first = self.freedom.first_names
        found = moved({first.get(name, name): each for name, each in tensors.items()}, self.freedom, self.element)
        return {name: found[first.get(name, name)] for name in tensors}


@checked
def align(
    objective: Objective,
    first: Float[Tensor, " P"],
    second: Float[Tensor, " P"],
    *,
    by: str = "weights",
    mixing: str = "orthogonal",
    restarts: int = 0,
    seed: int = 0,
) -> Alignment:
    """Move the second network's hidden units to match the first's.

    BatchNorm's running statistics are no part of θ: estimate them anew where g(θ₂) is evaluated, as all functions of paths do, or
    take `reordered` of those that belong to θ₂.

    Args:
        objective: gives model and data, on which the units are found and a random order is tried.
        first: θ₁, `(P,)`, which stays.
        second: θ₂, `(P,)`, whose units are put in order.
        by: `weights` climbs to where no group can be matched better with the others fixed; `activations` pairs units by the
            correlation of what they compute on the first samples, and looks at no weight.
        mixing: of what is read and written by products alone, as queries and keys, or values and outputs. `orthogonal`
            matrices leave norms as they are, and the best is found exactly with all else fixed. `invertible` ones, a larger
            group, bring the networks nearer; they are kept to condition numbers of 1000, so that the function changes by rounding
            alone, about 1e-13 of its size in float64 and 1e-4 in float32 at most. A moved copy is found; else the lowest of
            several local minima.
        restarts: more starts of weight matching, each at a random order; the nearest is returned.
        seed: of the order in which groups are gone through, and of further starts.

    Returns:
        The second network in the first one's order, how it came there, and the distances before and after.

    Raises:
        ConfigurationError: a model without a graph of its own, or in which nothing can move; θ leaves out what would have to;
            parameters or outputs that are not finite.

    Examples:
        >>> import torch, orograph as og
        >>> model = og.build_model("mlp", input_shape=(4,), classes=2, widths=[3])
        >>> objective = og.Objective(model, torch.nn.CrossEntropyLoss(), [(torch.eye(4), torch.arange(4) % 2)])
        >>> found = og.align(objective, objective.theta, objective.theta.flip(0))
        >>> assert found.least_distance <= found.distance <= found.distance_before
    """
    if by not in _WAYS:
        raise unknown("way of matching", by, _WAYS)
    if mixing not in _MIXINGS:
        raise unknown("way of mixing", mixing, _MIXINGS)
    if restarts < 0:
        raise ConfigurationError(f"`restarts` {restarts} must be 0 or more.")
    for name, theta in (("first", first), ("second", second)):
        if not bool(theta.isfinite().all()):
            raise ConfigurationError(f"`{name}` holds NaN or infinity, which no order brings nearer; give finite parameters.")
    require_still(objective)
    inputs = next(objective.batches(2 if by == "weights" else min(_SAMPLES, objective.chunk)))[0]
    key = ("freedom", by, mixing)
    if key not in objective.traces:
        objective.traces[key] = freedom_of(objective, inputs, invertible=mixing == "invertible")
    freedom: Freedom = objective.traces[key]
    _check_invariance(objective, freedom, second)
    one, other = objective.layout.unflatten(first), objective.layout.unflatten(second)
    sweeps, generator = 0, seeded(seed)
    if by == "activations":
        element = matched_by_activity(objective, freedom, inputs, first, second)
    else:
        starts = [identity(freedom), matched_forwards(one, other, freedom)]
        start = max(starts, key=lambda found: similarity(one, other, freedom, found))
        element, sweeps = climbed(one, other, freedom, start, generator)
        for _ in range(restarts):
            again, more = climbed(one, other, freedom, drawn(freedom, generator), generator)
            sweeps += more
            element = max(element, again, key=lambda found: similarity(one, other, freedom, found))
    theta = objective.layout.flatten(moved(other, freedom, element))
    return Alignment(
        theta,
        {group.name: element[group.kind] for group in freedom.groups if group.kind is not None and not group.stays},
        _within(freedom, element, lambda inner: not (inner.rotates or inner.mixes)),
        _within(freedom, element, lambda inner: inner.rotates),
        _within(freedom, element, lambda inner: inner.mixes),
        _distance(first, second),
        _distance(first, theta),
        min(_distance(first, theta), least_distance(one, other, freedom)),
        sweeps,
        freedom.held,
        freedom,
        element,
    )


def _distance(one: Float[Tensor, " P"], other: Float[Tensor, " P"]) -> float:
    return torch.linalg.vector_norm((one - other).double()).item()


def _within(freedom: Freedom, element: Element, chosen: Callable[[Inner], bool]) -> dict[str, list[Tensor]]:
    """As the first network's hosts hold it, and the weight in which it is first met has it."""
    found: dict[str, list[Tensor]] = {}
    for group in freedom.groups:
        for inner in filter(chosen, group.inner):
            what = element[inner.kind]
            if group.stays and group.kind in element:
                what = what[element[group.kind]]
            first = next(block for block in freedom.blocks if inner.kind in block.kinds)
            if inner.mixes and first.duals[first.kinds.index(inner.kind)]:
                what = torch.linalg.inv(what).mT
            found.setdefault(group.name, []).append(what)
    return found


def _check_invariance(objective: Objective, freedom: Freedom, theta: Float[Tensor, " P"]) -> None:
    """A random element must leave the outputs as they are: that the forward pass was read rightly is not taken for granted."""
    tensors = {**objective.constants, **objective.layout.arguments(theta)}
    inputs = next(objective.batches(4))[0]
    with torch.no_grad(), evaluation_mode(objective.model):
        outputs, turned = (
            torch.cat([each.reshape(-1) for each in objective.readout.read(call(objective.model, given, guarded(inputs)))[0]])
            for given in (tensors, moved(tensors, freedom, drawn(freedom, seeded(0))))
        )
    if not bool(outputs.isfinite().all()):
        raise ConfigurationError(
            "the second network's outputs hold NaN or infinity on the first samples, so that no two orders of its units can be "
            "compared; give samples and weights of which outputs are finite."
        )
    # Sums in another order differ by rounding only; a wrong permutation changes the outputs by their own size.
    if not (turned - outputs).abs().max() <= 1e-3 * outputs.abs().max() + 1e-6:
        raise ConfigurationError(
            "permuting this model's hidden units changes its outputs, which its forward pass on other samples does not show: it "
            "cannot be aligned unless it does the same with all inputs."
        )
