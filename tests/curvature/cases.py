"""One list of models, losses and data for all curvature operators, small enough for dense float64 matrices.

Dense matrices are made from whole batches by plain autograd or `torch.func` on the flat parameters of the module itself, in
eval mode under the MATH attention kernel: nothing of the package takes part but the order of the parameters.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

Batches = list[tuple[Any, Tensor]]


@dataclass(frozen=True)
class Case:
    """`per_sample` gives one loss value a sample; `loss` is what a user would pass."""

    name: str
    make: Callable[[], tuple[nn.Module, Any, Batches]]
    per_sample: Callable[[Tensor, Tensor], Tensor] = lambda z, y: F.cross_entropy(z, y, reduction="none")
    mean_only: bool = False

    def build(self) -> tuple[nn.Module, Any, Batches]:
        torch.manual_seed(0)
        model, loss, batches = self.make()
        return model.double().train(), loss, batches

    def __str__(self) -> str:
        return self.name


def features(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def labels(count: int, classes: int) -> Tensor:
    return torch.randint(0, classes, (count,))


def mlp() -> tuple[nn.Module, Any, Batches]:
    model = nn.Sequential(
        nn.Flatten(), nn.Linear(6, 5), nn.Sigmoid(), nn.Dropout(0.5), nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3)
    )
    return model, F.cross_entropy, [(features(n, 2, 3), labels(n, 3)) for n in (8, 8, 3)]


def linear_regression() -> tuple[nn.Module, Any, Batches]:
    return nn.Linear(5, 1), nn.MSELoss(), [(features(n, 5), features(n, 1)) for n in (7, 4)]


def softmax_regression() -> tuple[nn.Module, Any, Batches]:
    return nn.Linear(4, 3), nn.CrossEntropyLoss(label_smoothing=0.1), [(features(9, 4), labels(9, 3))]


def cnn() -> tuple[nn.Module, Any, Batches]:
    model = nn.Sequential(
        nn.Conv2d(2, 3, 3, padding=1), nn.SiLU(), nn.MaxPool2d(2), nn.Conv2d(3, 4, 2, stride=2, bias=False),
        nn.GELU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(4, 3),
    )  # fmt: skip
    return model, nn.CrossEntropyLoss(), [(features(5, 2, 8, 8), labels(5, 3)), (features(4, 2, 8, 8), labels(4, 3))]


class Residual(nn.Module):
    """A BatchNorm ResNet of one block, its running statistics away from zero and one."""

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, channels, 3, padding=1, bias=False)
        self.norm1, self.norm2 = nn.BatchNorm2d(channels), nn.BatchNorm2d(channels)
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.head = nn.Linear(channels, 3)
        for norm in (self.norm1, self.norm2):
            nn.init.uniform_(norm.running_mean, -0.5, 0.5)
            nn.init.uniform_(norm.running_var, 0.5, 2)
            nn.init.uniform_(norm.weight, 0.5, 1.5)

    def forward(self, inputs: Tensor) -> Tensor:
        x = F.softplus(self.norm1(self.stem(inputs)))
        x = F.softplus(x + self.norm2(self.conv(x)))
        return self.head(x.mean((2, 3)))


def resnet() -> tuple[nn.Module, Any, Batches]:
    return Residual(), F.cross_entropy, [(features(6, 1, 5, 5), labels(6, 3))]


class Transformer(nn.Module):
    """Embedding, one encoder layer (LayerNorm, default attention, dropout), output tied to the embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(7, 6)
        self.layer = nn.TransformerEncoderLayer(6, 2, 5, dropout=0.1, activation="gelu", batch_first=True)
        self.output = nn.Linear(6, 7, bias=False)
        self.output.weight = self.embedding.weight

    def forward(self, tokens: Tensor) -> Tensor:
        return self.output(self.layer(self.embedding(tokens)))


def next_token(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(outputs.flatten(0, 1), targets.flatten(), reduction="none").view_as(targets)


def transformer() -> tuple[nn.Module, Any, Batches]:
    return Transformer(), next_token, [(torch.randint(0, 7, (n, 4)), torch.randint(0, 7, (n, 4))) for n in (4, 3)]


def frozen() -> tuple[nn.Module, Any, Batches]:
    model = nn.Sequential(nn.Linear(5, 6), nn.Softplus(), nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 2))
    model[2].weight.requires_grad_(False)
    model[0].bias.requires_grad_(False)
    return model, nn.MSELoss(), [(features(8, 5), features(8, 2))]


class Recurrent(nn.Module):
    """An LSTM whose last state is classified."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(3, 4, batch_first=True)
        self.head = nn.Linear(4, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(self.lstm(inputs)[0][:, -1])


def lstm() -> tuple[nn.Module, Any, Batches]:
    return Recurrent(), F.cross_entropy, [(features(5, 4, 3), labels(5, 3))]


def group_norm() -> tuple[nn.Module, Any, Batches]:
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.GroupNorm(2, 4), nn.ELU(), nn.Flatten(), nn.Linear(16, 2))
    return model, F.cross_entropy, [(features(6, 1, 4, 4), labels(6, 2))]


def relu() -> tuple[nn.Module, Any, Batches]:
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 5), nn.LeakyReLU(0.1), nn.Linear(5, 3))
    return model, F.cross_entropy, [(features(10, 4), labels(10, 3))]


class TwoInputs(nn.Module):
    """Two inputs and a third power: a model that is no chain of layers."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(3, 4), nn.Linear(2, 4)
        self.scale = nn.Parameter(torch.tensor(0.7))

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return (self.scale * torch.sin(self.left(a)) * self.right(b) ** 3).cumsum(1)[:, 1:3]


def two_inputs() -> tuple[nn.Module, Any, Batches]:
    return TwoInputs(), nn.MSELoss(), [((features(n, 3), features(n, 2)), features(n, 2)) for n in (5, 6)]


def mean_only() -> tuple[nn.Module, Any, Batches]:
    model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))
    return model, lambda z, y: F.cross_entropy(z, y), [(features(n, 4), labels(n, 3)) for n in (6, 6, 2)]


def squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs - targets).square().flatten(1).mean(1)


CASES = [
    Case("mlp", mlp),
    Case("linear regression", linear_regression, squared_error),
    Case("softmax regression", softmax_regression, lambda z, y: F.cross_entropy(z, y, reduction="none", label_smoothing=0.1)),
    Case("cnn", cnn),
    Case("batchnorm resnet", resnet),
    Case("transformer", transformer, lambda z, y: next_token(z, y).mean(1)),
    Case("frozen parameters", frozen, squared_error),
    Case("lstm", lstm),
    Case("groupnorm", group_norm),
    Case("relu", relu),
    Case("two inputs", two_inputs, squared_error),
    Case("mean only", mean_only, mean_only=True),
]


class Dense:
    """Float64 matrices of a case, from one whole batch."""

    def __init__(self, case: Case, model: nn.Module, batches: Batches, samples: Tensor | None = None) -> None:
        self.model, self.case = model.eval(), case
        first = batches[0][0]
        self.targets = torch.cat([targets for _, targets in batches])
        many = isinstance(first, tuple)
        columns = zip(*(b[0] if many else (b[0],) for b in batches), strict=True)
        self.inputs = tuple(torch.cat(column) for column in columns)
        if samples is not None:
            self.targets, self.inputs = self.targets[samples], tuple(x[samples] for x in self.inputs)
        self.parameters = {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}
        self.theta = torch.cat([p.reshape(-1) for p in self.parameters.values()])

    def outputs(self, theta: Tensor) -> Tensor:
        parts = theta.split([p.numel() for p in self.parameters.values()])
        named = {name: part.view_as(p) for (name, p), part in zip(self.parameters.items(), parts, strict=True)}
        with sdpa_kernel(SDPBackend.MATH):
            return functional_call(self.model, named, self.inputs)

    def losses(self, theta: Tensor) -> Tensor:
        return self.case.per_sample(self.outputs(theta), self.targets)

    def loss(self, theta: Tensor) -> Tensor:
        return self.losses(theta).mean()

    def gradient(self, theta: Tensor) -> Tensor:
        point = theta.clone().requires_grad_()
        return torch.autograd.grad(self.loss(point), point)[0]

    def hessian(self, theta: Tensor) -> Tensor:
        """Row by row by double backward."""
        return torch.autograd.functional.hessian(self.loss, theta)

    def gauss_newton(self, theta: Tensor) -> Tensor:
        """JᵀH_zJ with the dense Jacobian and the dense Hessian in all outputs of all samples."""
        z = self.outputs(theta).detach()
        bend = torch.autograd.functional.hessian(lambda out: self.case.per_sample(out, self.targets).mean(), z)
        jacobian = torch.autograd.functional.jacobian(self.outputs, theta).reshape(z.numel(), -1)
        return jacobian.T @ bend.reshape(z.numel(), z.numel()) @ jacobian

    def fisher(self, theta: Tensor) -> Tensor:
        """Mean outer product of the rows of the dense Jacobian of the losses."""
        rows = torch.autograd.functional.jacobian(self.losses, theta)
        return rows.T @ rows / len(rows)
