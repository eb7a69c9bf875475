"""Paths between minima whose answer is known: a permuted copy, a double well with a known valley; and what cannot be had."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from landscapes import classifier, landscape
from orograph.connectivity.barriers import barrier, published_barrier
from orograph.errors import DataError
from orograph.metrics import metric
from orograph.objective import Objective
from orograph.study.pairs import connect
from orograph.study.settings import PATHS, ConnectivitySettings

SCALE = 20.0  # coordinates so small that Adam's steps of 1e-3 reach the valley soon


def trained(objective: Objective) -> Tensor:
    """Full-batch Adam until hidden units have their own parts to play."""
    theta = objective.theta.clone()
    optimiser = torch.optim.Adam([theta], lr=0.05)
    for _ in range(200):
        theta.grad = objective.gradient(theta)
        optimiser.step()
    return theta.detach()


def permuted(objective: Objective, theta: Tensor) -> Tensor:
    """The same function: the hidden units of `classifier` in another order."""
    parts = {name: part.clone() for name, part in objective.layout.unflatten(theta).items()}
    order = torch.tensor([3, 0, 5, 1, 2, 4])
    for name in ("0.weight", "0.bias"):
        parts[name] = parts[name][order]
    parts["2.weight"] = parts["2.weight"][:, order]
    return objective.layout.flatten(parts)


def curved_valley() -> Objective:
    """Wells at (±1, 0)/SCALE; the valley floor y = 1 − x² between them is a quadratic Bézier curve, its pass 0.1 high."""

    def loss(point: Tensor) -> Tensor:
        x, y, z = SCALE * point
        return 0.1 * (x**2 - 1) ** 2 + 3 * (y - 1 + x**2) ** 2 + z**2

    return landscape(loss, torch.tensor([-1.0, 0.0, 0.0], dtype=torch.float64) / SCALE)


def test_a_permuted_copy_is_the_same_network_after_matching() -> None:
    objective = classifier(count=60)
    theta = trained(objective)
    settings = ConnectivitySettings(paths=("linear", "aligned"))
    found = connect(objective, objective, theta, permuted(objective, theta), settings=settings).scalars
    assert found["linear_barrier"] > 1e-3
    assert found["aligned_barrier"] == pytest.approx(0, abs=1e-12)
    aligned = found["paths"]["aligned"]
    assert (aligned["distance"], aligned["moved_units"], aligned["units"]) == (0, 6, 6)
    assert found["distance"] > 0
    assert found["disagreement"] == 0
    assert found["ensemble_accuracy"] == pytest.approx(found["member_accuracies"][0])
    assert found["failures"] == {}


@pytest.mark.slow
def test_a_bezier_curve_finds_the_valley_of_a_double_well_and_a_chain_lowers_the_barrier_too() -> None:
    objective = curved_valley()
    settings = ConnectivitySettings(paths=("linear", "bezier", "chain"), path_epochs=900, curve_points=41)
    found = connect(objective, objective, objective.theta, -objective.theta, settings=settings)
    scalars = found.scalars
    np.testing.assert_allclose(SCALE * found.arrays["bezier_bend"], [[0, 2, 0]], atol=0.05)
    assert scalars["linear_barrier"] > 3
    assert scalars["bezier_barrier"] == pytest.approx(0.1, abs=0.01)
    assert scalars["chain_barrier"] < 0.5
    assert scalars["paths"]["bezier"]["gradients"] == 900
    # No classes: what needs them is left out, and the paths stand.
    assert scalars["failures"] == {}
    assert "disagreement" not in scalars
    assert "test_accuracy" not in scalars["paths"]["linear"]


def test_every_path_has_its_curves_and_barriers() -> None:
    train, test = classifier(count=60), classifier(count=20)
    second = train.theta.flip(0)
    steps: list[tuple[str, int]] = []
    settings = ConnectivitySettings(path_epochs=8, curve_points=5)
    found = connect(train, test, train.theta, second, settings=settings, on_step=lambda *step: steps.append(step)).scalars
    assert tuple(found["paths"]) == PATHS
    assert {name for name, _ in steps} == set(PATHS)
    for path in found["paths"].values():
        lengths = {len(path[name]) for name in ("positions", "train_loss", "test_loss", "train_accuracy", "test_accuracy")}
        assert lengths == {5}
        losses, positions = (torch.tensor(path[name], dtype=torch.float64) for name in ("test_loss", "positions"))
        assert path["barriers"]["published"] == pytest.approx(published_barrier(losses))
        assert path["barriers"]["test_loss"] == pytest.approx(barrier(losses, positions))
        assert path["train_loss"][0] == pytest.approx(train.loss(train.theta), rel=1e-9)
    assert found["cosine"] == pytest.approx(F.cosine_similarity(train.theta, second, dim=0).item())
    assert found["disagreement"] == pytest.approx(found["disagreement_from_first"][-1])
    assert found["disagreement_from_first"][0] == found["disagreement_from_second"][-1] == 0


class Residual(nn.Module):
    def __init__(self, *, sorts: bool) -> None:
        super().__init__()
        self.one, self.two, self.three = nn.Linear(5, 8), nn.Linear(8, 8), nn.Linear(8, 4)
        self.norm, self.sorts = nn.BatchNorm1d(8), sorts

    def forward(self, inputs: Tensor) -> Tensor:
        after = F.relu(self.norm(self.one(inputs)))
        both = after + F.relu(self.two(after))
        return self.three(both.sort(1).values if self.sorts else both)


def residual(*, sorts: bool) -> Objective:
    torch.manual_seed(0)
    inputs, targets = torch.randn(40, 5).double(), torch.randint(0, 4, (40,))
    return Objective(Residual(sorts=sorts).double(), F.cross_entropy, [(inputs, targets)])


def test_residual_networks_are_aligned() -> None:
    objective = residual(sorts=False)
    settings = ConnectivitySettings(paths=("linear", "aligned"), curve_points=3)
    found = connect(objective, objective, objective.theta, -objective.theta, settings=settings).scalars
    assert found["failures"] == {}
    assert found["paths"]["aligned"]["units"] == 8
    assert found["paths"]["aligned"]["distance"] <= found["distance"]


def test_a_path_that_cannot_be_had_is_recorded_with_its_reason() -> None:
    objective = residual(sorts=True)
    settings = ConnectivitySettings(paths=("linear", "band", "aligned"), path_epochs=8, curve_points=3)
    found = connect(objective, objective, objective.theta, -objective.theta, settings=settings).scalars
    assert set(found["paths"]) == {"linear", "band"}
    assert "'sort'" in found["failures"]["aligned"]
    assert "aligned_barrier" not in found


def test_the_same_seed_gives_the_same_paths() -> None:
    objective = classifier()
    settings = ConnectivitySettings(path_epochs=4, curve_points=3)
    one, same = (connect(objective, objective, objective.theta, -objective.theta, settings=settings) for _ in range(2))
    assert str(one.scalars) == str(same.scalars)


def test_a_diverged_network_is_refused_in_one_sentence() -> None:
    objective = classifier()
    with pytest.raises(DataError, match="second minimum"):
        connect(objective, objective, objective.theta, objective.theta * math.inf, settings=ConnectivitySettings())


def test_metrics_of_ones_own_are_taken_along_the_straight_line() -> None:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(30, 5, generator=generator, dtype=torch.float64)
    targets = inputs[:, :2] * inputs[:, 2:3]
    model = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 2)).double()
    objective = Objective(model, F.mse_loss, [(inputs, targets)])
    settings = ConnectivitySettings(paths=("linear",), curve_points=3)
    given = {"settings": settings, "metrics": [metric("rmse")]}
    path = connect(objective, None, objective.theta, -objective.theta, **given).scalars["paths"]["linear"]
    assert path["train_rmse"] == pytest.approx(np.sqrt(path["train_loss"]), rel=1e-9)  # statistics estimated anew for both
    assert "test_rmse" not in path


def test_a_study_may_ask_for_the_anchored_path_too() -> None:
    assert "anchored" not in ConnectivitySettings().paths
    settings = ConnectivitySettings(paths=("linear", "anchored"), curve_points=5)
    bowl = landscape(lambda point: (point**2).sum() / 2, torch.tensor([1.0, 0.0], dtype=torch.float64))
    found = connect(bowl, None, bowl.theta * 0, bowl.theta, settings=settings).scalars
    assert found["failures"] == {}
    # Of a round valley the path is straight; its points lie between 0 and θ_ref, where L is below the straight line of its ends.
    assert found["anchored_barrier"] == pytest.approx(0.0, abs=1e-9)
    assert found["paths"]["anchored"]["train_loss"][-1] == pytest.approx(0.5)
