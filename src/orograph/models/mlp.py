"""The multilayer perceptron of the published sweeps: linear layers `fc1`, `fc2`, … with one activation between them."""

import itertools
import math
from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from orograph.errors import ConfigurationError
from orograph.models.activations import activation_module

PUBLISHED_WIDTHS = (128, 128)


class MLP(nn.Module):
    """`fc1` … `fc{depth + 1}`, each but the last followed by the activation (and by `bn1`, … before it, if asked for).

    Args:
        input_shape: of one sample; it is flattened.
        classes: number of outputs.
        widths: of the hidden layers, first to last.
        depth: number of hidden layers; a single width, or equal ones, are repeated that often. None: as many as `widths`.
        activation: one of `orograph.models.names.ACTIVATIONS`.
        batch_norm: normalise before each activation.

    Raises:
        ConfigurationError: a width or depth out of range, or an unknown activation.
    """

    depth: int
    activation: nn.Module

    def __init__(
        self,
        input_shape: Sequence[int] = (1, 28, 28),
        classes: int = 10,
        *,
        widths: Sequence[int] = PUBLISHED_WIDTHS,
        depth: int | None = None,
        activation: str = "sigmoid",
        batch_norm: bool = False,
    ) -> None:
        super().__init__()
        hidden = hidden_widths(widths, depth)
        sizes = [math.prod(input_shape), *hidden, classes]
        self.depth = len(hidden)
        self.activation = activation_module(activation)
        self.batch_norm = batch_norm
        for index, (inner, outer) in enumerate(itertools.pairwise(sizes), start=1):
            self.add_module(f"fc{index}", nn.Linear(inner, outer))
            if batch_norm and index <= self.depth:
                self.add_module(f"bn{index}", nn.BatchNorm1d(outer))

    def forward(self, inputs: Float[Tensor, "n ..."]) -> Float[Tensor, "n classes"]:
        """The scores of a batch.

        Args:
            inputs: `(n, …)`, flattened from the second dimension on.

        Returns:
            Logits, `(n, classes)`.
        """
        values = inputs.flatten(1)
        for index in range(1, self.depth + 1):
            values = self.get_submodule(f"fc{index}")(values)
            if self.batch_norm:
                values = self.get_submodule(f"bn{index}")(values)
            values = self.activation(values)
        return self.get_submodule(f"fc{self.depth + 1}")(values)


def hidden_widths(widths: Sequence[int], depth: int | None) -> tuple[int, ...]:
    """One width for each hidden layer.

    Raises:
        ConfigurationError: no width, one below 1, or a depth that does not fit them.
    """
    if not widths or min(widths) < 1:
        raise ConfigurationError(f"widths {list(widths)} must name at least one hidden layer, each of width 1 or more.")
    if depth is None:
        return tuple(widths)
    if depth < 1:
        raise ConfigurationError(f"depth {depth} must be at least 1.")
    if len(set(widths)) > 1 and len(widths) != depth:
        raise ConfigurationError(
            f"depth {depth} does not fit the {len(widths)} widths {list(widths)}; give one width, or {depth}."
        )
    return tuple(widths) if len(widths) == depth else (widths[0],) * depth
