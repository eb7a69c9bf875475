"""Which modules count as smooth, and second differences against functions whose kinks are known."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from landscapes import classifier, landscape, quadratic, symmetric
from orograph.geometry.smoothness import finite_curvatures, is_smooth, nonsmooth_operations
from orograph.objective import Objective


class Functional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(5, 3)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return F.relu(self.layer(inputs))


@pytest.mark.parametrize(
    ("kind", "smooth"),
    [
        *[(kind, True) for kind in (nn.Tanh, nn.Sigmoid, nn.GELU, nn.SiLU, nn.Softplus, nn.Mish, nn.Identity)],
        *[(kind, False) for kind in (nn.ReLU, nn.LeakyReLU, nn.ReLU6, nn.ELU, nn.SELU, nn.PReLU, nn.Hardswish, nn.Hardtanh)],
    ],
)
def test_activations_are_told_apart(kind, smooth: bool) -> None:
    assert is_smooth(classifier(kind)) is smooth


def test_kinks_are_found_in_functions_pooling_and_losses_too() -> None:
    data = [(torch.randn(4, 5), torch.randint(0, 3, (4,)))]
    assert nonsmooth_operations(Objective(Functional(), F.cross_entropy, data)) == ("relu",)
    pooled = nn.Sequential(nn.Unflatten(1, (1, 5)), nn.MaxPool1d(2), nn.Flatten(), nn.Linear(2, 3))
    assert not is_smooth(Objective(pooled, F.cross_entropy, data))
    assert not is_smooth(Objective(nn.Linear(5, 3), F.l1_loss, [(torch.randn(4, 5), torch.randn(4, 3))]))


def test_second_differences_of_a_quadratic_are_its_curvatures() -> None:
    theta = torch.randn(6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    hessian = symmetric(6)
    directions = torch.linalg.qr(symmetric(6, 1))[0][:3]
    found = finite_curvatures(quadratic(hessian, theta, theta + 0.3), theta, directions, radius=0.1)
    torch.testing.assert_close(found, torch.diagonal(directions @ hessian @ directions.T), rtol=1e-8, atol=1e-10)


def test_second_differences_see_a_kink_that_autograd_does_not() -> None:
    theta = torch.tensor([0.0, 1.0], dtype=torch.float64)
    objective = landscape(lambda point: point[0].abs(), theta)
    found = finite_curvatures(objective, theta, torch.eye(2, dtype=torch.float64), radius=0.1)
    assert found.tolist() == pytest.approx([2 / 0.1, 0.0], abs=1e-12)
