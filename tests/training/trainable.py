"""Small problems of different kinds, shared by the tests of training; nothing here is imported from the code under test."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Perceptron(nn.Module):
    """The published network in small: sigmoid, three layers."""

    def __init__(self, inputs: int = 12, hidden: int = 16, classes: int = 4) -> None:
        super().__init__()
        self.fc1, self.fc2, self.fc3 = nn.Linear(inputs, hidden), nn.Linear(hidden, hidden), nn.Linear(hidden, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc3(torch.sigmoid(self.fc2(torch.sigmoid(self.fc1(x.flatten(1))))))


class Convolutional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 3, 3)
        self.norm = nn.GroupNorm(1, 3)
        self.head = nn.Linear(12, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.max_pool2d(F.relu(self.norm(self.conv(x.reshape(-1, 1, 6, 6)))), 2).flatten(1))


class Attention(nn.Module):
    """Attention, LayerNorm, a frozen parameter and a tied one."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(6, 8)
        self.block = nn.TransformerEncoderLayer(8, 2, dim_feedforward=8, dropout=0.0, batch_first=True)
        self.head = nn.Linear(6, 4)
        self.frozen = nn.Parameter(torch.randn(8), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.block(self.embed(x.reshape(-1, 6, 6)) * self.frozen)
        return self.head(F.linear(hidden.mean(1), self.embed.weight.t()))


def problem(
    model: type[nn.Module] = Perceptron, count: int = 70, inputs: int = 12, seed: int = 0, dtype: torch.dtype = torch.float64
) -> tuple[nn.Module, tuple[Tensor, Tensor]]:
    """A network and labelled data in four overlapping classes."""
    torch.manual_seed(seed)
    network = model().to(dtype)
    targets = torch.randint(0, 4, (count,))
    samples = torch.randn(count, inputs) + 1.5 * F.one_hot(targets, inputs)
    return network, (samples.to(dtype), targets)
