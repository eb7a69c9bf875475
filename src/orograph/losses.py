"""Losses of this program's own, by name, beside those of `torch.nn.functional`; and what can be a loss."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from orograph.autocast import uncast
from orograph.errors import ConfigurationError


@uncast()
def half_squared(outputs: Tensor, targets: Tensor) -> Tensor:
    """½‖y − f(x)‖² of each sample: that of the closed forms of linear networks.

    Args:
        outputs: `(n, m)`.
        targets: as many numbers a sample, or classes `(n,)`, which stand for the m numbers 0 … 1 … 0.

    Returns:
        `(n,)`.

    Raises:
        ConfigurationError: there are other targets than outputs.

    Examples:
        >>> import torch, orograph as og
        >>> og.half_squared(torch.zeros(2, 3), torch.tensor([0, 2])).tolist()
        [0.5, 0.5]
    """
    if not targets.is_floating_point():
        targets = (targets[:, None] == torch.arange(outputs.shape[-1], device=outputs.device)).to(outputs)
    if outputs.numel() != targets.numel():  # which would be repeated to match
        raise ConfigurationError(
            f"`loss` squared needs targets like the outputs, not {tuple(targets.shape)} for {tuple(outputs.shape)}."
        )
    return 0.5 * (outputs - targets.reshape(outputs.shape)).square().flatten(1).sum(1)


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"squared": half_squared}
"""Every one of them by its name."""


def require_loss(loss: Any) -> None:
    """Refuses what cannot be called with outputs and targets: a name, or the class of a loss in place of one.

    Raises:
        ConfigurationError: saying what it is.
    """
    if isinstance(loss, type):
        raise ConfigurationError(
            f"`loss` must be a function of outputs and targets, not the class {loss.__name__}; give an instance."
        )
    if not callable(loss):
        kind = type(loss).__name__
        raise ConfigurationError(
            f"`loss` must be a function of outputs and targets, not a {kind}; as torch.nn.functional.mse_loss."
        )


def comes_with_torch(loss: Any) -> bool:
    """Whether a loss is one of torch's own, which holds each output against the target of its own place."""
    while isinstance(loss, functools.partial):
        loss = loss.func
    return (getattr(loss if inspect.isroutine(loss) else type(loss), "__module__", "") or "").startswith("torch.nn")
