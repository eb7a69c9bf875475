"""Matching beside a search of every permutation, on networks small enough for that; and bounds that no permutation goes below.

The search permutes named weights by hand and knows nothing of groups.
"""

import itertools
import math
from collections.abc import Callable, Iterator

import pytest
import torch
from networks import clusters, images, mlp, objective_of, trained
from test_planted import BUILD, drawn, permuted
from torch import Tensor, nn

from orograph.connectivity import align
from orograph.connectivity.barriers import curve_profile
from orograph.connectivity.curves import line
from orograph.objective import Objective

State = dict[str, Tensor]


def one_layer() -> tuple[nn.Module, Callable[[State], Iterator[State]]]:
    def every(state: State) -> Iterator[State]:
        for order in map(list, itertools.permutations(range(6))):
            yield state | {
                "0.weight": state["0.weight"][order],
                "0.bias": state["0.bias"][order],
                "2.weight": state["2.weight"][:, order],
            }

    return nn.Sequential(nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, 4)), every


def two_layers() -> tuple[nn.Module, Callable[[State], Iterator[State]]]:
    def every(state: State) -> Iterator[State]:
        for one, two in itertools.product(map(list, itertools.permutations(range(4))), repeat=2):
            yield {
                "0.weight": state["0.weight"][one],
                "0.bias": state["0.bias"][one],
                "2.weight": state["2.weight"][two][:, one],
                "2.bias": state["2.bias"][two],
                "4.weight": state["4.weight"][:, two],
                "4.bias": state["4.bias"],
            }

    return nn.Sequential(nn.Linear(8, 4), nn.Tanh(), nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4)), every


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.three = nn.Linear(8, 5), nn.Linear(5, 5), nn.Linear(5, 4)

    def forward(self, inputs: Tensor) -> Tensor:
        after = torch.tanh(self.one(inputs))
        return self.three(after + torch.tanh(self.two(after)))


def residual() -> tuple[nn.Module, Callable[[State], Iterator[State]]]:
    def every(state: State) -> Iterator[State]:
        for order in map(list, itertools.permutations(range(5))):
            yield {
                "one.weight": state["one.weight"][order],
                "one.bias": state["one.bias"][order],
                "two.weight": state["two.weight"][order][:, order],
                "two.bias": state["two.bias"][order],
                "three.weight": state["three.weight"][:, order],
                "three.bias": state["three.bias"],
            }

    return Residual(), every


def groups() -> tuple[nn.Module, Callable[[State], Iterator[State]]]:
    """Three groups of two channels: groups change places, and the two of each."""

    def every(state: State) -> Iterator[State]:
        for hosts, *pairs in itertools.product(itertools.permutations(range(3)), *[((0, 1), (1, 0))] * 3):
            order = [2 * host + each for host, pair in zip(hosts, pairs, strict=True) for each in pair]
            yield {
                name: part[:, order] if name == "3.weight" else part if name == "3.bias" else part[order]
                for name, part in state.items()
            }

    return nn.Sequential(nn.Linear(8, 6), nn.GroupNorm(3, 6), nn.Tanh(), nn.Linear(6, 4)), every


PROVEN = {"one layer": one_layer, "groups": groups}
HEURISTIC = {"two layers": two_layers, "residual": residual}


def searched(objective: Objective, every: Callable[[State], Iterator[State]], one: Tensor, other: Tensor) -> float:
    state = objective.layout.unflatten(other)
    return math.sqrt(min((one - objective.layout.flatten(each)).square().sum().item() for each in every(state)))


@pytest.mark.parametrize("name", PROVEN)
def test_with_one_hidden_layer_the_nearest_of_all_is_found_and_proven(name: str) -> None:
    model, every = PROVEN[name]()
    objective = objective_of(model, clusters(6))
    for seed in range(4):
        one, other = torch.randn(2, objective.layout.size, generator=torch.Generator().manual_seed(seed)).double()
        found, best = align(objective, one, other), searched(objective, every, one, other)
        assert found.distance == pytest.approx(best, rel=1e-12)
        assert found.least_distance == pytest.approx(best, rel=1e-12)


@pytest.mark.parametrize("name", HEURISTIC)
def test_restarts_find_the_nearest_of_all_where_one_start_need_not(name: str) -> None:
    model, every = HEURISTIC[name]()
    objective = objective_of(model, clusters(6))
    missed = 0
    for seed in range(5):
        one, other = torch.randn(2, objective.layout.size, generator=torch.Generator().manual_seed(seed)).double()
        found, best = align(objective, one, other, restarts=10), searched(objective, every, one, other)
        once = align(objective, one, other)
        assert found.least_distance <= best * (1 + 1e-12)
        assert best * (1 - 1e-12) <= found.distance <= once.distance
        missed += found.distance > best * (1 + 1e-12)
    assert missed == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mlp", "cnn", "resnet"])
def test_a_planted_permutation_is_found_by_what_units_compute(name: str) -> None:
    generator = torch.Generator().manual_seed(3)
    model, kinds = BUILD[name]()
    objective = objective_of(model, images(40) if name != "mlp" else clusters(40))
    first = drawn(model, generator)
    one, other = (objective.layout.flatten(each) for each in (first, permuted(first, kinds, generator)))
    found = align(objective, one, other, by="activations")
    assert found.distance == 0 < found.distance_before
    assert found.sweeps == 0


@pytest.mark.slow
def test_what_units_compute_lowers_the_barrier_between_trained_networks() -> None:
    torch.manual_seed(0)
    data = clusters(200, dtype=torch.float32)
    model = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 4))
    objective = objective_of(model, data)
    first, second = trained(objective, 1, 150), trained(objective, 2, 150)
    found = align(objective, first, second, by="activations")
    torch.testing.assert_close(objective.outputs(found.theta, data[0]), objective.outputs(second, data[0]), rtol=1e-4, atol=1e-4)
    straight, aligned = (curve_profile(objective, line(first, end)).barriers.train_loss for end in (second, found.theta))
    assert aligned < straight


def test_linear_layers_with_nothing_between_are_rotated() -> None:
    """Q of ‖A − QB‖² + ‖C − DQᵀ‖² by hand: the polar factor of ABᵀ + CᵀD (Schönemann, 1966)."""
    model = nn.Sequential(nn.Linear(8, 5, bias=False), nn.Linear(5, 4, bias=False))
    objective = objective_of(model, clusters(6))
    one, other = torch.randn(2, objective.layout.size, generator=torch.Generator().manual_seed(0)).double()
    (a, c), (b, d) = (objective.layout.unflatten(theta).values() for theta in (one, other))
    u, sizes, v = torch.linalg.svd(a @ b.T + c.T @ d)
    found = align(objective, one, other)
    torch.testing.assert_close(found.rotations["0.weight"][0][0], u @ v, rtol=0, atol=1e-12)
    assert found.distance**2 == pytest.approx((one @ one + other @ other - 2 * sizes.sum()).item(), rel=1e-12)
    assert found.least_distance == pytest.approx(found.distance, rel=1e-12)
    assert found.permutations == {}


def test_the_same_network_stays_as_it_is_bit_for_bit() -> None:
    for model in (mlp(), nn.Sequential(nn.Linear(8, 5), nn.Linear(5, 4))):
        objective = objective_of(model, clusters(6), dtype=torch.float32)
        found = align(objective, objective.theta, objective.theta)
        assert torch.equal(found.theta, objective.theta)


def test_rotations_that_no_weight_determines_alone_are_found_together() -> None:
    """Hidden layers of linear networks are wider than what goes in: only both sides of a weight tell the whole of a rotation."""
    model = nn.Sequential(nn.Linear(8, 14), nn.Linear(14, 16), nn.Linear(16, 12), nn.Linear(12, 4)).double()
    objective = objective_of(model, clusters(6))
    for seed in range(10):
        generator = torch.Generator().manual_seed(seed)
        first = drawn(model, generator)
        second, before = {}, torch.eye(8, dtype=torch.float64)
        for layer in range(4):
            size = len(first[f"{layer}.bias"])
            turn = torch.linalg.qr(torch.randn(size, size, generator=generator, dtype=torch.float64)).Q
            turn = turn if layer < 3 else torch.eye(4, dtype=torch.float64)  # outputs stay
            second |= {
                f"{layer}.weight": turn @ first[f"{layer}.weight"] @ before.T,
                f"{layer}.bias": turn @ first[f"{layer}.bias"],
            }
            before = turn
        one, other = objective.layout.flatten(first), objective.layout.flatten(second)
        found = align(objective, one, other)
        assert found.distance_before > 1
        # Rounding of singular values, of which the smallest that count are 1e-4 of the largest.
        assert found.distance < 1e-9 * found.distance_before
        for turns in (each for kinds in found.rotations.values() for each in kinds):
            torch.testing.assert_close(turns @ turns.mT, torch.eye(turns.shape[-1]).double()[None], rtol=0, atol=1e-12)
