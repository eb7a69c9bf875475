"""Alignment of two networks: the order of hidden units that brings the second nearest to the first (Ainsworth et al., 2023).

Units of one layer may change places together with their incoming and outgoing weights without a change of the function. Weight
matching maximises ⟨θ₁, π(θ₂)⟩ over the permutations π of all hidden layers, one layer at a time with the others fixed, which is
a linear assignment problem each. It starts from the better of two guesses: no permutation, and a pass from input to output
that matches each layer by its incoming weights (exact where the second network is a permuted copy of the first).

For chains of Linear, convolution and normalisation layers. The units are found by running the model once; that a random
permutation leaves the outputs as they are is checked before anything is matched.
"""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from orograph.arguments import checked
from orograph.calling import call, evaluation_mode, guarded
from orograph.errors import ConfigurationError
from orograph.geometry.mapping import require_still
from orograph.geometry.perturbations import seeded
from orograph.objective import Objective

MIXING = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
SCALING = (_BatchNorm, nn.LayerNorm, nn.GroupNorm, nn.PReLU)
Permutations = list[Tensor]  # `(units,)` int64 of each hidden layer: unit a of the first network is unit π[a] of the second


@dataclass(frozen=True)
class Axis:
    """One dimension of a parameter or buffer that runs over the units of a hidden layer.

    Attributes:
        name: of the parameter or buffer.
        dimension: which of its dimensions.
        layer: index of the hidden layer.
        incoming: whether it belongs to what makes the layer's units (else to what reads them).
    """

    name: str
    dimension: int
    layer: int
    incoming: bool


@dataclass(frozen=True)
class Alignment:
    """The second network in the first one's order.

    Attributes:
        theta: `(P,)`, π(θ₂); the same function as θ₂.
        permutations: `(units,)`, of each hidden layer, by the name of its weight.
        distance_before: ‖θ₁ − θ₂‖.
        distance: ‖θ₁ − π(θ₂)‖.
        sweeps: rounds over the layers until nothing changed.
    """

    theta: Float[Tensor, " P"]
    permutations: dict[str, Int[Tensor, " units"]]
    distance_before: float
    distance: float
    sweeps: int


@checked
def align(objective: Objective, first: Float[Tensor, " P"], second: Float[Tensor, " P"], *, seed: int = 0) -> Alignment:
    """Permute the second network's hidden units to match the first's weights.

    BatchNorm's running statistics are no parameters: estimate them anew where π(θ₂) is evaluated.

    Args:
        objective: gives model and data, on which the units are found and a permutation is tried.
        first: θ₁, `(P,)`, which stays.
        second: θ₂, `(P,)`, whose units are put in order.
        seed: of the order in which layers are gone through.

    Returns:
        The second network in the first one's order, its permutations, and the distances before and after.

    Raises:
        ConfigurationError: a model that is no chain of Linear, convolution and normalisation layers, or θ leaves some of their
            parameters out.

    Examples:
        >>> import torch, orograph as og
        >>> model = og.build_model("mlp", input_shape=(4,), classes=2, widths=[3])
        >>> objective = og.Objective(model, torch.nn.CrossEntropyLoss(), [(torch.eye(4), torch.arange(4) % 2)])
        >>> found = og.align(objective, objective.theta, objective.theta.flip(0))
        >>> assert found.distance <= found.distance_before
    """
    require_still(objective)
    axes, weights = hidden_axes(objective)
    sizes = [len(objective.model.get_parameter(name)) for name in weights]
    _check_invariance(objective, axes, sizes, second)
    one, other = objective.layout.unflatten(first), objective.layout.unflatten(second)
    identity = [torch.arange(size) for size in sizes]
    starts = [identity, _matched_forwards(one, other, axes, identity)]
    permutations = max(starts, key=lambda found: _similarity(one, permuted(other, axes, found)))
    sweeps, generator, unsettled = 0, seeded(seed), set(range(len(sizes)))
    while unsettled:
        sweeps += 1
        for layer in torch.randperm(len(sizes), generator=generator).tolist():
            if layer not in unsettled:  # neither it nor a neighbour has changed since it was assigned
                continue
            unsettled.remove(layer)
            found = _assignment(one, other, axes, permutations, layer)
            if not torch.equal(found, permutations[layer]):
                permutations[layer] = found
                unsettled |= {layer - 1, layer + 1} & set(range(len(sizes)))
    theta = objective.layout.flatten(permuted(other, axes, permutations))
    return Alignment(
        theta,
        dict(zip(weights, permutations, strict=True)),
        torch.linalg.vector_norm((first - second).double()).item(),
        torch.linalg.vector_norm((first - theta).double()).item(),
        sweeps,
    )


def hidden_axes(objective: Objective) -> tuple[list[Axis], list[str]]:
    """Every axis that runs over hidden units, and the name of the weight that makes each hidden layer.

    Layers are taken in the order in which the model calls them.

    Raises:
        ConfigurationError: no hidden layer, a layer that is called twice, or parameters of other kinds of layers.
    """
    names: dict[nn.Module, str] = {
        module: name for name, module in objective.model.named_modules() if isinstance(module, MIXING + SCALING)
    }
    order: list[nn.Module] = []
    hooks = [module.register_forward_pre_hook(lambda module, _: order.append(module)) for module in names]
    try:
        with torch.no_grad():
            objective.outputs(objective.theta, next(objective.batches(2))[0])
    finally:
        for hook in hooks:
            hook.remove()
    if len(set(order)) < len(order):
        raise ConfigurationError("a layer of this model is called more than once; only plain chains of layers can be aligned.")
    mixing = [module for module in order if isinstance(module, MIXING)]
    if len(mixing) < 2:
        raise ConfigurationError("this model has no hidden layer whose units could be permuted.")
    axes, layer, last = [], -1, len(mixing) - 1
    rows = [len(weight) if (weight := module._parameters.get("weight")) is not None else -1 for module in mixing]
    known = set()
    tensors = {**dict(objective.model.named_parameters()), **dict(objective.model.named_buffers())}
    for module in order:
        layer += isinstance(module, MIXING)
        own = [f"{names[module]}.{kind}".lstrip(".") for kind in ("weight", "bias", "running_mean", "running_var")]
        own = [name for name in own if name in tensors]
        known.update(own)
        for name in own:
            if tensors[name].ndim > 1 and layer > 0 and isinstance(module, MIXING):
                axes.append(Axis(name, 1, layer - 1, incoming=False))
            if 0 <= layer < last and len(tensors[name]) == rows[layer]:
                axes.append(Axis(name, 0, layer, incoming=True))
    strange = [name for name in objective.layout.names if name not in known]
    missing = [axis.name for axis in axes if axis.name not in objective.layout.names and "running" not in axis.name]
    if strange or missing:
        raise ConfigurationError(
            f"'{(strange + missing)[0]}' cannot be aligned: the model must be a chain of Linear, convolution and normalisation "
            "layers, and θ must hold all of their parameters."
        )
    return axes, [f"{names[module]}.weight".lstrip(".") for module in mixing[:-1]]


def permuted(tensors: dict[str, Tensor], axes: list[Axis], permutations: Permutations) -> dict[str, Tensor]:
    """Named tensors with the units of every hidden layer in a new order; a flattened image moves in blocks, a channel each."""
    result = dict(tensors)
    for axis in axes:
        if axis.name in result:
            result[axis.name] = _reordered(result[axis.name], axis.dimension, permutations[axis.layer])
    return result


def _reordered(tensor: Tensor, dimension: int, order: Int[Tensor, " units"]) -> Tensor:
    blocks = tensor.unflatten(dimension, (len(order), -1))
    return blocks.index_select(dimension, order.to(tensor.device)).reshape(tensor.shape)


def _rows(tensor: Tensor, axis: Axis, units: int) -> Float[Tensor, "units rest"]:
    """One row for each unit of an axis."""
    return tensor.unflatten(axis.dimension, (units, -1)).movedim(axis.dimension, 0).reshape(units, -1)


def _assignment(
    one: dict[str, Tensor],
    other: dict[str, Tensor],
    axes: list[Axis],
    permutations: Permutations,
    layer: int,
    *,
    incoming_only: bool = False,
) -> Int[Tensor, " units"]:
    """The best permutation of one layer while all others stay; the one it has, where none is better by more than rounding."""
    from scipy.optimize import linear_sum_assignment  # half a second, which workers of sweeps do without

    units = len(permutations[layer])
    rest = [axis for axis in axes if axis.layer != layer]
    fixed = permuted(other, rest, permutations)
    gain = sum(
        _rows(one[axis.name], axis, units) @ _rows(fixed[axis.name], axis, units).T
        for axis in axes
        if axis.layer == layer and axis.name in one and (axis.incoming or not incoming_only)
    )
    assert isinstance(gain, Tensor)
    table, here = gain.cpu().double(), permutations[layer]
    found = torch.as_tensor(linear_sum_assignment(table.numpy(), maximize=True)[1])
    rows, rounding = torch.arange(units), 8 * torch.finfo(gain.dtype).eps * table.abs().amax(1).sum()
    return found if (table[rows, found] - table[rows, here]).sum() > rounding else here


def _matched_forwards(one: dict[str, Tensor], other: dict[str, Tensor], axes: list[Axis], identity: Permutations) -> Permutations:
    found = list(identity)
    for layer in range(len(identity)):
        found[layer] = _assignment(one, other, axes, found, layer, incoming_only=True)
    return found


def _similarity(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    return sum(torch.dot(one[name].double().reshape(-1), other[name].double().reshape(-1)).item() for name in one)


def _flat(objective: Objective, outputs: Any) -> Tensor:
    """All that the loss reads of the outputs."""
    return torch.cat([each.reshape(-1) for each in objective.readout.read(outputs)[0]])


def _check_invariance(objective: Objective, axes: list[Axis], sizes: list[int], theta: Float[Tensor, " P"]) -> None:
    """Permuting the units found must leave the outputs as they are: residual connections and groups do not."""
    generator = seeded(0)
    shuffled = [torch.randperm(size, generator=generator) for size in sizes]
    tensors = {**objective.constants, **objective.layout.arguments(theta)}
    inputs = next(objective.batches(4))[0]
    with torch.no_grad(), evaluation_mode(objective.model):
        outputs = _flat(objective, call(objective.model, tensors, guarded(inputs)))
        try:
            moved = _flat(objective, call(objective.model, permuted(tensors, axes, shuffled), guarded(inputs)))
        except RuntimeError:  # the units found do not even fit each other
            moved = torch.full_like(outputs, torch.nan)
    # Sums in another order differ by rounding only; a wrong permutation changes the outputs by their own size.
    if not (moved - outputs).abs().max() <= 1e-3 * outputs.abs().max() + 1e-6:
        raise ConfigurationError(
            "permuting this model's hidden units changes its outputs: only plain chains of Linear, convolution and "
            "normalisation layers can be aligned, without residual connections or groups."
        )
