"""A small convolutional network in the manner of LeNet-5 (LeCun et al., 1998).

Pooling is by averages, so that the network is as smooth as its activation.
"""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from orograph.errors import ConfigurationError
from orograph.models.activations import activation_module


class CNN(nn.Module):
    """`conv1`, `conv2` (5 × 5, each halved by 2 × 2 average pooling), `fc1`, `fc2`.

    Args:
        input_shape: `(C, H, W)`, at least 4 × 4 pixels.
        classes: number of outputs.
        channels: of the two convolutions.
        hidden_size: width of `fc1`.
        activation: one of `orograph.models.names.ACTIVATIONS`.
        batch_norm: normalise after each convolution.

    Raises:
        ConfigurationError: a size out of range, or an unknown activation.
    """

    conv1: nn.Conv2d
    conv2: nn.Conv2d
    bn1: nn.Module
    bn2: nn.Module
    fc1: nn.Linear
    fc2: nn.Linear
    activation: nn.Module

    def __init__(
        self,
        input_shape: Sequence[int] = (1, 28, 28),
        classes: int = 10,
        *,
        channels: Sequence[int] = (6, 16),
        hidden_size: int = 84,
        activation: str = "relu",
        batch_norm: bool = False,
    ) -> None:
        super().__init__()
        depth, height, width = input_shape
        if min(height, width) < 4:
            raise ConfigurationError(f"images of {height} × {width} pixels are too small for this CNN; it needs 4 × 4 or more.")
        if len(channels) != 2 or min(*channels, hidden_size) < 1:
            raise ConfigurationError(
                f"channels {list(channels)} and hidden size {hidden_size} must be two numbers and one, all 1 or more."
            )
        first, second = channels
        self.conv1 = nn.Conv2d(depth, first, 5, padding=2)
        self.conv2 = nn.Conv2d(first, second, 5, padding=2)
        self.bn1 = nn.BatchNorm2d(first) if batch_norm else nn.Identity()
        self.bn2 = nn.BatchNorm2d(second) if batch_norm else nn.Identity()
        self.fc1 = nn.Linear(second * (height // 4) * (width // 4), hidden_size)
        self.fc2 = nn.Linear(hidden_size, classes)
        self.activation = activation_module(activation)

    def forward(self, inputs: Float[Tensor, "n C H W"]) -> Float[Tensor, "n classes"]:
        """The scores of a batch of images.

        Args:
            inputs: `(n, C, H, W)`.

        Returns:
            Logits, `(n, classes)`.
        """
        values = F.avg_pool2d(self.activation(self.bn1(self.conv1(inputs))), 2)
        values = F.avg_pool2d(self.activation(self.bn2(self.conv2(values))), 2)
        return self.fc2(self.activation(self.fc1(values.flatten(1))))
