"""The envelope identity and the susceptibility in closed form, and on polished float64 networks."""

import math

import numpy as np
import pytest
import torch
from families import outer, second_order

from landscapes import classifier, quadratic, symmetric
from orograph.curvature.hessian import HessianOperator
from orograph.curvature.operator import MatrixOperator
from orograph.ladder.thermodynamics import envelope, response
from orograph.spectral.eigenpairs import lanczos
from orograph.training.polishing import polish


def susceptibilities(order, strengths: np.ndarray) -> list[float]:
    """−dq/dλ by central differences of the closed form."""
    h = 1e-5
    return [-(order(x + h) - order(x - h)) / (2 * h) for x in strengths]


def test_the_identity_holds_on_a_branch_and_the_susceptibilities_sharpen_it() -> None:
    strengths = np.linspace(0.4, 1.4, 11)
    states = [outer(float(x)) for x in strengths]
    chi = susceptibilities(lambda x: outer(x).order, strengths)
    known = (strengths.tolist(), [state.energy for state in states], [state.order for state in states])
    plain, sharp = envelope(*known), envelope(*known, chi)
    assert max(step.defect for step in plain) < 1e-2
    # the next term of Euler and Maclaurin is of fourth order in the step
    assert max(step.defect for step in sharp) < max(step.defect for step in plain) / 10
    assert all(step.outside == 0 and not step.rises for step in sharp)
    for rough, fine in zip(plain, sharp, strict=True):
        assert rough.defect == pytest.approx(fine.error, rel=0.1)  # the correction is what the trapezoid lacks


def test_a_step_across_two_branches_leaves_the_identity() -> None:
    """Two states that belong to different branches and whose energies no envelope joins."""
    low, high = outer(1.5), second_order(1.6)
    (step,) = envelope([1.5, 1.6], [low.energy, high.energy + 2], [low.order, high.order])
    assert step.outside > 0.1
    (step,) = envelope([1.5, 1.6], [0.0, 0.1], [0.5, 1.0])
    assert step.rises


def test_the_response_solves_the_linear_system() -> None:
    hessian, offset = symmetric(30, positive=True), torch.linspace(-1, 1, 30, dtype=torch.float64)
    matrix = hessian + 2 * 0.1 * torch.eye(30, dtype=torch.float64)
    exact = torch.linalg.solve(matrix, offset)
    plain = response(MatrixOperator(hessian), offset, 0.1)
    spectrum = lanczos(MatrixOperator(hessian), 8, tolerance=1e-6)
    helped = response(MatrixOperator(hessian), offset, 0.1, spectrum=spectrum)
    for found in (plain, helped):
        assert found.converged
        torch.testing.assert_close(found.direction, -2 * exact, rtol=1e-3, atol=1e-3)
        assert found.susceptibility == pytest.approx(4 * (offset @ exact).item(), rel=1e-4)
    assert helped.products < plain.products


def test_a_saddle_has_no_susceptibility() -> None:
    hessian = torch.diag(torch.tensor([3.0, 1.0, -1.0], dtype=torch.float64))
    found = response(MatrixOperator(hessian), torch.ones(3, dtype=torch.float64), 0.1)
    assert found.negative_curvature
    assert math.isnan(found.susceptibility)


def test_a_state_at_its_anchor_does_not_move() -> None:
    objective = quadratic(symmetric(4, positive=True), torch.ones(4, dtype=torch.float64))
    found = response(HessianOperator.of(objective), torch.zeros(4, dtype=torch.float64), 0.1)
    assert (found.susceptibility, found.products) == (0.0, 0)


@pytest.mark.slow
def test_the_identity_holds_on_polished_networks_to_a_ten_thousandth() -> None:
    plain = classifier(count=60)
    hessian = HessianOperator.of(plain)
    theta = plain.theta
    strengths = np.linspace(0.01, 0.0102, 4)
    energies, orders, chi = [], [], []
    for strength in strengths:
        objective = plain.penalised(float(strength))
        polished = polish(objective, theta, hessian=hessian, tolerance=1e-9, max_products=5000)
        assert polished.converged
        theta = polished.theta
        energies.append(objective.value(theta))
        orders.append(theta.square().sum().item())
        chi.append(response(hessian.at(theta), theta, float(strength), tolerance=1e-8).susceptibility)
    found = envelope(strengths.tolist(), energies, orders, chi)
    assert max(step.defect for step in found) < 1e-4
    # χ is what the order parameter does between neighbours
    for index in range(len(strengths) - 1):
        slope = (orders[index] - orders[index + 1]) / (strengths[index + 1] - strengths[index])
        assert slope == pytest.approx((chi[index] + chi[index + 1]) / 2, rel=0.05)
