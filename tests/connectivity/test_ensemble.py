"""Ensembles and disagreement against a plain loop, and the case of a network and itself."""

import pytest
import torch
from networks import clusters, mlp, objective_of

from orograph.connectivity.curves import line
from orograph.connectivity.ensembles import disagreement_along, ensemble


@pytest.fixture
def objective():
    torch.manual_seed(0)
    return objective_of(mlp(), clusters(50), memory=20_000)


def test_the_ensemble_averages_probabilities(objective) -> None:
    thetas = objective.theta + torch.randn(3, objective.layout.size, generator=torch.Generator().manual_seed(0)).double()
    found = ensemble(objective, thetas)
    outputs = torch.stack([objective.all_outputs(theta) for theta in thetas])
    probabilities = outputs.softmax(-1).mean(0)
    targets = objective.targets
    assert found.accuracy == (probabilities.argmax(1) == targets).double().mean().item()
    assert found.loss == pytest.approx(-probabilities[range(50), targets].log().mean().item(), rel=1e-12)
    classes = outputs.argmax(-1)
    torch.testing.assert_close(found.member_accuracies, (classes == targets).double().mean(1))
    assert found.disagreement[0, 2].item() == pytest.approx((classes[0] != classes[2]).double().mean().item())
    assert (torch.diagonal(found.disagreement) == 0).all()
    assert torch.equal(found.disagreement, found.disagreement.T)


def test_disagreement_starts_at_zero_on_either_end(objective) -> None:
    second = -objective.theta
    found = disagreement_along(objective, line(objective.theta, second), points=5)
    ends = torch.stack([objective.all_outputs(theta).argmax(-1) for theta in (objective.theta, second)])
    assert found[0, 0] == found[1, -1] == 0
    assert found[0, -1].item() == found[1, 0].item() == pytest.approx((ends[0] != ends[1]).double().mean().item())


def test_a_network_agrees_with_itself_all_along_the_way_and_batch_statistics_may_come_from_training_data() -> None:
    torch.manual_seed(0)
    train = objective_of(mlp(normalised=True), clusters(40))
    test = objective_of(train.model, clusters(30, seed=1))
    theta = train.theta
    nearly = theta * (1 + 1e-9)
    assert disagreement_along(test, line(theta, nearly), points=3, train=train).abs().max() == 0
