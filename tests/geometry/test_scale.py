"""Scale-aware companions against dense Hessians and per-sample gradients, and their invariances."""

import pytest
import torch
from torch import nn

from landscapes import classifier, dense_hessians
from orograph.curvature.operator import MatrixOperator
from orograph.errors import ConfigurationError
from orograph.geometry.scale import fisher_rao_norm, relative_flatness, scaled_sharpness
from orograph.objective import Objective
from orograph.spectral.intervals import Estimate


def rescaled(objective: Objective) -> torch.Tensor:
    theta = objective.theta.clone()
    for name, factor in (("0.weight", 5.0), ("0.bias", 5.0), ("2.weight", 0.2)):
        theta[objective.layout.slices()[name]] *= factor
    return theta


def exact_relative_flatness(objective: Objective, theta: torch.Tensor, name: str) -> float:
    shape = dict(zip(objective.layout.names, objective.layout.shapes, strict=True))[name]
    place = objective.layout.slices()[name]
    block = dense_hessians(objective, theta).mean(0)[place, place].view(*shape, *shape)
    weight = theta[place].view(shape)
    return torch.einsum("si,ti,sjtj->", weight, weight, block).item()


@pytest.mark.parametrize("name", ["0.weight", "2.weight"])
def test_relative_flatness_is_that_of_the_dense_blocks(name: str) -> None:
    objective = classifier()
    operator = MatrixOperator(dense_hessians(objective, objective.theta).mean(0))
    found = relative_flatness(operator, objective.theta, objective.layout, name, probes=12)
    assert (
        abs(found.value - exact_relative_flatness(objective, objective.theta, name)) < 4 * found.margin
    )  # twice as far as 95 % allow for


@pytest.mark.slow
def test_relative_flatness_does_not_change_when_a_relu_network_is_rescaled() -> None:
    objective = classifier(nn.ReLU)
    one, other = (exact_relative_flatness(objective, point, "2.weight") for point in (objective.theta, rescaled(objective)))
    estimates = [
        relative_flatness(MatrixOperator(dense_hessians(objective, point).mean(0)), point, objective.layout, "2.weight").value
        for point in (objective.theta, rescaled(objective))
    ]
    assert one == pytest.approx(other, rel=1e-9)
    assert estimates[0] == pytest.approx(estimates[1], rel=1e-9)


def test_a_bias_has_no_relative_flatness() -> None:
    objective = classifier()
    operator = MatrixOperator(torch.eye(objective.layout.size, dtype=torch.float64))
    with pytest.raises(ConfigurationError, match="unknown weight"):
        relative_flatness(operator, objective.theta, objective.layout, "2.bias")


def test_the_fisher_rao_norm_is_that_of_the_per_sample_gradients() -> None:
    objective = classifier(nn.ReLU)
    inputs, targets = next(objective.batches(objective.count))

    def expected(theta: torch.Tensor) -> float:
        squares = []
        for n in range(objective.count):
            point = theta.clone().requires_grad_()
            gradient = torch.autograd.grad(objective.summed(point, inputs[n : n + 1], targets[n : n + 1]), point)[0]
            squares.append((gradient @ theta).square())
        return torch.stack(squares).mean().sqrt().item()

    found = fisher_rao_norm(objective, objective.theta)
    assert found == pytest.approx(expected(objective.theta), rel=1e-10)
    assert found == pytest.approx(fisher_rao_norm(objective, rescaled(objective)), rel=1e-10)


def test_eigenvalue_and_trace_are_scaled_by_the_squared_norm() -> None:
    theta = torch.tensor([3.0, 4.0], dtype=torch.float64)
    found = scaled_sharpness(theta, largest=2.0, trace=3.0, trace_error=0.1)
    assert (found.squared_norm, found.scaled_largest, found.scaled_trace) == (25.0, 50.0, Estimate(75.0, 2.5))
