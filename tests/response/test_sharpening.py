"""Third derivatives against differences of second ones, and the oscillation at the edge of stability against a closed form."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import orograph as og


def network() -> og.Objective:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).double()
    return og.Objective(model, F.cross_entropy, [(torch.randn(30, 4, dtype=torch.float64), torch.arange(30) % 3)])


@pytest.mark.slow
def test_the_gradient_of_a_curvature_is_what_differences_of_products_give() -> None:
    objective = network()
    theta, operator = objective.theta, og.HessianOperator.of(objective)
    directions, step = torch.randn(3, len(theta), dtype=torch.float64), 1e-5
    found = og.curvature_gradients(objective, theta, directions)
    way = torch.randn(len(theta), dtype=torch.float64)

    def curvatures(at: Tensor) -> Tensor:
        return ((operator.at(at) @ directions.T).T * directions).sum(1)

    slopes = (curvatures(theta + step * way) - curvatures(theta - step * way)) / (2 * step)
    assert torch.allclose(found @ way, slopes, rtol=1e-7)  # of a central difference, the square of the step


@pytest.mark.slow
def test_rates_are_those_of_the_eigenvalues_along_the_flow() -> None:
    objective = network()
    theta, operator = objective.theta, og.HessianOperator.of(objective)
    spectrum = og.lanczos(operator, k=3, which="LA", tolerance=1e-10)
    found = og.sharpening(objective, theta, spectrum)
    flow, step = -objective.gradient(theta), 1e-4

    def largest(at: Tensor) -> Tensor:
        return torch.linalg.eigvalsh(operator.at(at) @ torch.eye(len(theta), dtype=torch.float64)).flip(0)[:3]

    differences = (largest(theta + step * flow) - largest(theta - step * flow)) / (2 * step)
    assert not found.clusters
    assert torch.allclose(found.rates, differences, rtol=1e-5)
    assert torch.allclose(found.norms, found.gradients.norm(dim=1), rtol=1e-14)


class Valley(nn.Module):
    """½x²y − y: a valley along y, as sharp as y, down which the flow goes at speed 1."""

    def __init__(self) -> None:
        super().__init__()
        self.xy = nn.Parameter(torch.tensor([0.0, 3.0], dtype=torch.float64))

    def forward(self, inputs: Tensor) -> Tensor:
        x, y = self.xy
        return inputs[:, 0] * (0.5 * x**2 * y - y)


def test_oscillations_that_hold_the_sharpness_are_those_of_the_closed_form() -> None:
    # The mean of ∂L/∂y over oscillations of x, ½⟨x²⟩ − 1, is zero where ⟨x²⟩ = 2.
    objective = og.Objective(Valley(), lambda z, y: z, [(torch.ones(3, 1, dtype=torch.float64), torch.zeros(3))])
    spectrum = og.lanczos(og.HessianOperator.of(objective), k=1, which="LA", tolerance=1e-10)
    found = og.sharpening(objective, objective.theta, spectrum)
    assert found.rates[0].item() == pytest.approx(1.0)
    assert found.oscillation == pytest.approx(2.0)


def test_a_quadratic_is_as_curved_everywhere() -> None:
    torch.manual_seed(0)
    data = [(torch.randn(9, 2, dtype=torch.float64), torch.randn(9, 1, dtype=torch.float64))]
    objective = og.Objective(nn.Linear(2, 1).double(), nn.MSELoss(), data)
    assert not og.curvature_gradients(objective, objective.theta, torch.eye(3, dtype=torch.float64)).any()
