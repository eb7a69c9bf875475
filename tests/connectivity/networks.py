"""Small trained and untrained networks for tests of what lies between two of them."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from orograph.objective import Objective


class LeNet(nn.Module):
    """Registered in another order than it is called."""

    def __init__(self, *, normalised: bool) -> None:
        super().__init__()
        self.last = nn.Linear(10, 4)
        self.hidden = nn.Linear(5 * 4, 10)
        self.second = nn.Conv2d(6, 5, 3)
        self.first = nn.Conv2d(2, 6, 3, padding=1)
        self.norm = nn.BatchNorm2d(6) if normalised else nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        after = F.max_pool2d(F.relu(self.norm(self.first(images))), 2)
        after = F.max_pool2d(F.relu(self.second(after)), 2)
        return self.last(F.relu(self.hidden(after.flatten(1))))


def mlp(*, normalised: bool = False) -> nn.Module:
    norm = [nn.BatchNorm1d(12)] if normalised else []
    return nn.Sequential(nn.Linear(8, 12), *norm, nn.Tanh(), nn.Linear(12, 9), nn.Tanh(), nn.Linear(9, 4))


def images(count: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    targets = torch.randint(0, 4, (count,), generator=generator)
    return torch.randn(count, 2, 12, 12, generator=generator, dtype=dtype), targets


def clusters(count: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """Four noisy clusters in eight dimensions; the centres are the same for every seed."""
    centres = 1.2 * torch.randn(4, 8, generator=torch.Generator().manual_seed(99), dtype=dtype)
    generator = torch.Generator().manual_seed(seed)
    targets = torch.randint(0, 4, (count,), generator=generator)
    return centres[targets] + torch.randn(count, 8, generator=generator, dtype=dtype), targets


def objective_of(model: nn.Module, data: tuple[Tensor, Tensor], **options) -> Objective:
    return Objective(model.to(data[0].dtype), F.cross_entropy, [data], **options)


def trained(objective: Objective, seed: int, steps: int = 300) -> Tensor:
    """A minimum, nearly: full-batch Adam from a random start."""
    theta = 0.5 * torch.randn(objective.layout.size, generator=torch.Generator().manual_seed(seed)).to(objective.theta)
    optimiser = torch.optim.Adam([theta], lr=0.03)
    for _ in range(steps):
        theta.grad = objective.gradient(theta)
        optimiser.step()
    return theta.detach()
