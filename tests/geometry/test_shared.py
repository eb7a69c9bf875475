"""Models of an affine family, whose first layers are shared, against the same models without sharing."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from orograph.geometry.evaluation import Points, evaluate
from orograph.objective import Objective


class Branches(nn.Module):
    """Two layers read the data, one of them twice."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.last = nn.Linear(8, 5), nn.Linear(8, 5, bias=False), nn.Linear(5, 3)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.last(torch.tanh(self.one(inputs) * self.two(inputs) + self.one(-inputs)))


def conv() -> nn.Module:
    return nn.Sequential(nn.Unflatten(1, (2, 4)), nn.Conv1d(2, 3, 3, padding=1), nn.Tanh(), nn.Flatten(), nn.Linear(12, 3))


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, 3))


@pytest.mark.slow
@pytest.mark.parametrize("memory", ["4GiB", 30_000, 2_000])
@pytest.mark.parametrize(("kind", "parameters"), [(mlp, "*"), (mlp, "*.weight"), (mlp, "2.*"), (conv, "*"), (Branches, "*")])
def test_sharing_changes_nothing(kind, parameters: str, memory) -> None:
    torch.manual_seed(0)
    data = [(torch.randn(21, 8).double(), torch.randint(0, 3, (21,)))]
    objective = Objective(kind().double(), F.cross_entropy, data, parameters=parameters, memory=memory)
    directions = torch.randn(2, objective.layout.size).double()
    points = Points(objective.theta, directions, torch.randn(9, 2).double())
    shared, alone = evaluate(objective, points), evaluate(objective, points[slice(0, 9)])
    torch.testing.assert_close(shared.losses, alone.losses, rtol=1e-12, atol=0)
    torch.testing.assert_close(shared.accuracies, alone.accuracies)
    torch.testing.assert_close(shared.margins, alone.margins, rtol=1e-11, atol=1e-13)
