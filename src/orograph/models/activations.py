"""Activations by name."""

from collections.abc import Callable

from torch import nn

from orograph.errors import unknown
from orograph.models.names import ACTIVATIONS

_MODULES: dict[str, Callable[[], nn.Module]] = {
    "sigmoid": nn.Sigmoid,
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "softplus": nn.Softplus,
    "tanh": nn.Tanh,
    "linear": nn.Identity,
}


def activation_module(name: str) -> nn.Module:
    """A fresh module of the named activation.

    Raises:
        ConfigurationError: an unknown name.
    """
    if name not in ACTIVATIONS:
        raise unknown("activation", name, ACTIVATIONS)
    return _MODULES[name]()
