"""On what a loss depends: on θ, and on no parameter of the module in another way.

The module is called with θ in the place of its parameters. A loss that reads them itself (a penalty on the weights, a second call
of the module), or a forward that keeps them in a list besides, reads what does not move with θ: value right, curvature wrong. In
the graph of the loss such a parameter is a leaf.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from orograph.errors import ConfigurationError
from orograph.parameters import Layout
from orograph.structure import tensors_of

Batch = tuple[Any, Tensor]


def check_dependence(
    model: nn.Module,
    loss: Any,
    layout: Layout,
    theta: Float[Tensor, " P"],
    outputs: Callable[[Tensor, Any], Any],
    summed: Callable[[Any, Tensor], Tensor],
    batches: Iterable[Batch],
) -> None:
    """Tries batches until one's loss depends on θ.

    Args:
        model: whose parameters are named.
        loss: as passed.
        layout: names of the parameters that make up θ.
        theta: where.
        outputs: `(θ, inputs) →` outputs.
        summed: `(outputs, targets) →` loss.
        batches: the smallest first.

    Raises:
        ConfigurationError: no batch's loss depends on θ, whose curvature would be zeros that someone takes for flatness; or
            parameters are read elsewhere too.
    """
    for inputs, targets in batches:
        point = theta.detach().requires_grad_()
        with torch.enable_grad():
            found = outputs(point, inputs)
            value = summed(found, targets)
        require_parted(model, loss, layout, found, value)
        if value.requires_grad and torch.autograd.grad(value, point, allow_unused=True)[0] is not None:
            return
    more = f" and {len(layout.names) - 1} more" if len(layout.names) > 1 else ""
    raise ConfigurationError(
        f"the loss does not depend on the chosen parameters ('{layout.names[0]}'{more}): they take no part in it, or "
        "something between is detached or has no gradient; choose others with parameters=…, or a loss that has one."
    )


def require_parted(model: nn.Module, loss: Any, layout: Layout, outputs: Any, value: Tensor) -> None:
    """Refuses what reads the module's parameters where they do not move with θ.

    Args:
        model: called with θ in the place of its parameters.
        loss: as passed.
        layout: names of the parameters that make up θ.
        outputs: of the module so called.
        value: the loss of these.

    Raises:
        ConfigurationError: naming the parameters.
    """
    own = {id(parameter): name for name, parameter in model.named_parameters() if name in layout.names}
    if isinstance(loss, nn.Module):
        _refuse("the loss", [own[id(each)] for each in loss.parameters() if id(each) in own])
    _refuse("the module's forward", _read(tensors_of(outputs), own))
    _refuse("the loss", _read([value], own))


def _refuse(who: str, names: list[str]) -> None:
    if names:
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        raise ConfigurationError(
            f"{who} reads the parameters '{names[0]}'{more} by itself, where they do not move with θ, so that their part of "
            "the curvature would be missing; let forward compute with them under their own names and return what the loss needs."
        )


def _read(tensors: Iterable[Tensor], own: dict[int, str]) -> list[str]:
    """Names of the parameters that are leaves of the graph."""
    left: list[Any] = [each.grad_fn for each in tensors]
    seen: set[Any] = {None}
    names: list[str] = []
    while left:
        node = left.pop()
        if node in seen:
            continue
        seen.add(node)
        if (name := own.get(id(getattr(node, "variable", None)))) is not None:
            names.append(name)
        left += [each for each, _ in node.next_functions]
    return sorted(names)
