"""KFAC as a measure: of a linear network with a squared error its blocks are exact, so that its error is what lies between them;
and what is said where the package or the network is missing."""

import importlib.util
import sys

import pytest
import torch
from torch import nn
from torch.func import functional_call, jacrev

import orograph as og
from orograph.measures import seconds, take

COUNT, SIZES = 25, (4, 5, 3)


def linear() -> og.Objective:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(SIZES[0], SIZES[1]), nn.Linear(SIZES[1], SIZES[2])).double()
    return og.Objective(model, nn.MSELoss(), [(torch.randn(COUNT, 4).double(), torch.randn(COUNT, 3).double())])


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("curvlinops") is None, reason="curvlinops is not installed")
def test_the_error_is_what_lies_between_layers_where_blocks_are_exact() -> None:
    objective = linear()
    theta = 0.7 * objective.theta + 0.1  # where the measure is taken, not where the module stands
    found, failures = take(["kfac", "layers"], objective, theta)
    assert failures == {}
    parameters = objective.layout.unflatten(theta)
    inputs, _ = next(objective.batches(COUNT))
    rows = jacrev(lambda named: functional_call(objective.model, named, (inputs,)))(parameters)
    jacobian = torch.cat([each.flatten(2) for each in rows.values()], 2).flatten(0, 1)
    whole = 2 * jacobian.T @ jacobian / (COUNT * SIZES[-1])
    first = (SIZES[0] + 1) * SIZES[1]
    between = whole.clone()
    between[:first, :first] = between[first:, first:] = 0
    exact = (torch.linalg.matrix_norm(between, 2) / torch.linalg.matrix_norm(whole, 2)).item()
    assert exact > 0.1
    assert abs(found["kfac_error"] - exact) <= found["kfac_residual"]
    assert found["kfac_residual"] < 0.05
    assert found["kfac_block_error"] < 1e-10
    assert max(found["block_kfac_error"]) < 1e-10
    assert found["block_names"] == "0, 1"
    assert len(found["block_lambda_max"]) == len(found["block_kfac_error"]) == 2
    vectors = torch.linalg.eigh(whole)[1]
    blocks = torch.linalg.eigh(whole - between)[1]
    overlap = (vectors[:, -5:].T @ blocks[:, -5:]).square().sum().item() / 5
    assert bool(found["kfac_cut"]) or found["kfac_overlap"] == pytest.approx(overlap, abs=0.02)
    assert found["kfac_products"] > 10
    assert seconds(["kfac"], objective, og.HessianOperator.of(objective)) > 0


@pytest.mark.slow
def test_without_the_package_the_extra_is_named_and_the_rest_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "curvlinops", None)
    objective = linear()
    found, failures = take(["kfac", "sam"], objective, objective.theta)
    assert "pip install 'orograph[kfac]'" in failures["kfac"]
    assert "sam_rise" in found
    assert seconds(["kfac"], objective, og.HessianOperator.of(objective)) == 0.0


def test_a_loss_without_kronecker_factors_is_one_sentence() -> None:
    pytest.importorskip("curvlinops")
    objective = og.Objective(nn.Linear(2, 2), nn.L1Loss(), [(torch.eye(2), torch.ones(2, 2))])
    assert "L1Loss has no KFAC here" in take(["kfac"], objective, objective.theta)[1]["kfac"]
