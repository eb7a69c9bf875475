"""Deep linear networks: products of matrices, whose loss landscapes are known in closed form (see `orograph verify`)."""

import itertools
import math
from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from orograph.models.mlp import hidden_widths


class DeepLinear(nn.Module):
    """`fc1`, `fc2`, … without biases and with nothing between them.

    Args:
        input_shape: of one sample; it is flattened.
        classes: number of outputs.
        widths: of the hidden layers, first to last.

    Raises:
        ConfigurationError: no width, or one below 1.
    """

    def __init__(self, input_shape: Sequence[int] = (1, 28, 28), classes: int = 10, *, widths: Sequence[int] = (128,)) -> None:
        super().__init__()
        sizes = [math.prod(input_shape), *hidden_widths(widths, None), classes]
        for index, (inner, outer) in enumerate(itertools.pairwise(sizes), start=1):
            self.add_module(f"fc{index}", nn.Linear(inner, outer, bias=False))

    def forward(self, inputs: Float[Tensor, "n ..."]) -> Float[Tensor, "n classes"]:
        """The outputs of a batch.

        Args:
            inputs: `(n, …)`, flattened from the second dimension on.

        Returns:
            `(n, classes)`.
        """
        values = inputs.flatten(1)
        for layer in self.children():
            values = layer(values)
        return values
