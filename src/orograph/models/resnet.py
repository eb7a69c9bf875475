"""Residual networks for small images (He et al., 2016, section 4.2).

Three stages of n blocks of two 3 × 3 convolutions, between a first convolution and a last linear layer: depth 6n + 2.
"""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from orograph.errors import ConfigurationError
from orograph.models.activations import activation_module

DEPTHS = (8, 14, 20)
_STAGE_CHANNELS = (16, 32, 64)


class Block(nn.Module):
    """Two normalised convolutions around a shortcut, which is a 1 × 1 convolution where the shape changes."""

    def __init__(self, inner: int, outer: int, stride: int, activation: str) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inner, outer, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outer)
        self.conv2 = nn.Conv2d(outer, outer, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outer)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inner != outer:
            self.shortcut = nn.Sequential(nn.Conv2d(inner, outer, 1, stride, bias=False), nn.BatchNorm2d(outer))
        self.activation = activation_module(activation)

    def forward(self, inputs: Float[Tensor, "n C H W"]) -> Float[Tensor, "n K h w"]:
        values = self.activation(self.bn1(self.conv1(inputs)))
        return self.activation(self.bn2(self.conv2(values)) + self.shortcut(inputs))


class ResNet(nn.Module):
    """`conv1`, `bn1`, stages `stage1` … `stage3` of 16, 32 and 64 channels times the width factor, global average, `fc`.

    Args:
        input_shape: `(C, H, W)`.
        classes: number of outputs.
        depth: 8, 14 or 20 layers.
        width_factor: multiplies the channels of every stage.
        activation: one of `orograph.models.names.ACTIVATIONS`.

    Raises:
        ConfigurationError: a depth or width out of range, or an unknown activation.
    """

    conv1: nn.Conv2d
    bn1: nn.BatchNorm2d
    activation: nn.Module
    stage1: nn.Sequential
    stage2: nn.Sequential
    stage3: nn.Sequential
    fc: nn.Linear

    def __init__(
        self,
        input_shape: Sequence[int] = (3, 32, 32),
        classes: int = 10,
        *,
        depth: int = 8,
        width_factor: int = 1,
        activation: str = "relu",
    ) -> None:
        super().__init__()
        if depth not in DEPTHS:
            raise ConfigurationError(
                f"depth {depth} is not 6n + 2 with n from 1 to 3; take one of {', '.join(map(str, DEPTHS))}."
            )
        if width_factor < 1:
            raise ConfigurationError(f"width factor {width_factor} must be at least 1.")
        channels = [width_factor * count for count in _STAGE_CHANNELS]
        self.conv1 = nn.Conv2d(input_shape[0], channels[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels[0])
        self.activation = activation_module(activation)
        blocks = (depth - 2) // 6
        self.stage1 = _stage(channels[0], channels[0], blocks, 1, activation)
        self.stage2 = _stage(channels[0], channels[1], blocks, 2, activation)
        self.stage3 = _stage(channels[1], channels[2], blocks, 2, activation)
        self.fc = nn.Linear(channels[2], classes)

    def forward(self, inputs: Float[Tensor, "n C H W"]) -> Float[Tensor, "n classes"]:
        """The scores of a batch of images.

        Args:
            inputs: `(n, C, H, W)`.

        Returns:
            Logits, `(n, classes)`.
        """
        values = self.activation(self.bn1(self.conv1(inputs)))
        values = self.stage3(self.stage2(self.stage1(values)))
        return self.fc(values.mean((2, 3)))


def _stage(inner: int, outer: int, blocks: int, stride: int, activation: str) -> nn.Sequential:
    rest = [Block(outer, outer, 1, activation) for _ in range(blocks - 1)]
    return nn.Sequential(Block(inner, outer, stride, activation), *rest)
