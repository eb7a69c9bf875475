"""Flatness on quadratics with closed forms; robustness against a plain loop over the same perturbations."""

import pytest
import torch
from torch.nn import functional as F

from landscapes import classifier, quadratic, symmetric
from orograph.errors import ConfigurationError
from orograph.geometry.flatness import RADII, loss_increase, noise_robustness
from orograph.geometry.perturbations import SpherePairs


def test_the_loss_rises_with_the_square_of_the_radius_and_the_trace() -> None:
    theta = torch.randn(8, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    hessian = symmetric(8, positive=True)
    found = loss_increase(quadratic(hessian, theta), theta, samples=800)
    mean_eigenvalue = hessian.trace().item() / 8
    for radius, rise in zip(RADII, found.by_radius, strict=True):
        assert abs(rise.value - (radius * theta.norm().item()) ** 2 * mean_eigenvalue / 2) < 4 * rise.error
    expected = theta.norm().item() ** 2 * mean_eigenvalue / 2 * sum(r**2 for r in RADII) / 5
    assert abs(found.loss_increase.value - expected) < 4 * found.loss_increase.error
    assert found.flatness_measure == -found.loss_increase.value


def test_radii_do_not_share_their_perturbations() -> None:
    theta = torch.ones(6, dtype=torch.float64)
    one, other = (SpherePairs(theta, 1.0, 2, seed=0, stream=stream)[slice(1, 2)] for stream in (0, 1))
    assert not torch.allclose(one, other)


def test_robustness_is_the_mean_over_the_noise() -> None:
    objective = classifier()
    theta = objective.theta
    found = noise_robustness(objective, theta, radius=0.3, samples=6)
    inputs, targets = next(objective.batches(objective.count))
    points = SpherePairs(theta, 0.3 * theta.norm().item(), 3)[slice(0, 7)]
    rows = []
    for point in points:
        outputs = objective.outputs(point, inputs).detach()
        others = outputs.masked_fill(F.one_hot(targets, 4).bool(), -torch.inf).amax(1)
        accuracy = (outputs.argmax(1) == targets).double().mean()
        rows.append(torch.stack([F.cross_entropy(outputs, targets), accuracy, (outputs[range(30), targets] - others).mean()]))
    loss, accuracy, margin = (torch.stack(rows[1:]).mean(0) - rows[0]).tolist()
    assert found.loss_rise.value == pytest.approx(loss, rel=1e-9)
    assert found.accuracy_drop.value == pytest.approx(-accuracy, abs=1e-12)
    assert found.margin_drop.value == pytest.approx(-margin, rel=1e-9)


@pytest.mark.parametrize("samples", [0, 3])
def test_samples_come_in_pairs(samples: int) -> None:
    objective = classifier()
    for function in (loss_increase, noise_robustness):
        with pytest.raises(ConfigurationError, match="even number"):
            function(objective, objective.theta, samples=samples)
