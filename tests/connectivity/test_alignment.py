"""Alignment against permutations that are known because they were made: by hand, on modules, not by the code under test."""

import itertools

import pytest
import torch
from networks import LeNet, clusters, images, mlp, objective_of, trained
from torch import Tensor, nn

from orograph.connectivity.alignment import align
from orograph.connectivity.barriers import curve_profile
from orograph.connectivity.curves import line
from orograph.errors import ConfigurationError
from orograph.objective import Objective


def shuffled_mlp(objective: Objective, theta: Tensor) -> Tensor:
    """The same function with its hidden units in other places."""
    parts = {name: part.clone() for name, part in objective.layout.unflatten(theta).items()}
    generator = torch.Generator().manual_seed(5)
    linear = [name.removesuffix(".weight") for name in parts if parts[name].ndim == 2]
    norm = [name.removesuffix(".weight") for name in parts if parts[name].ndim == 1 and name.endswith("weight")]
    for index, (here, after) in enumerate(itertools.pairwise(linear)):
        order = torch.randperm(len(parts[f"{here}.weight"]), generator=generator)
        for name in (here, *(norm if index == 0 else ())):
            parts[f"{name}.weight"] = parts[f"{name}.weight"][order]
            parts[f"{name}.bias"] = parts[f"{name}.bias"][order]
        parts[f"{after}.weight"] = parts[f"{after}.weight"][:, order]
    return objective.layout.flatten(parts)


def shuffled_cnn(objective: Objective, theta: Tensor) -> Tensor:
    parts = {name: part.clone() for name, part in objective.layout.unflatten(theta).items()}
    generator = torch.Generator().manual_seed(5)
    first, second, hidden = (torch.randperm(size, generator=generator) for size in (6, 5, 10))
    for name in ("first.weight", "first.bias", "norm.weight", "norm.bias"):
        if name in parts:
            parts[name] = parts[name][first]
    parts["second.weight"], parts["second.bias"] = parts["second.weight"][second][:, first], parts["second.bias"][second]
    pixels = torch.cat([torch.arange(4 * channel, 4 * channel + 4) for channel in second.tolist()])
    parts["hidden.weight"], parts["hidden.bias"] = parts["hidden.weight"][hidden][:, pixels], parts["hidden.bias"][hidden]
    parts["last.weight"] = parts["last.weight"][:, hidden]
    return objective.layout.flatten(parts)


def cases() -> list:
    torch.manual_seed(0)
    return [
        pytest.param(objective_of(mlp(), clusters(40)), shuffled_mlp, id="mlp"),
        pytest.param(objective_of(mlp(normalised=True), clusters(40)), shuffled_mlp, id="mlp with BatchNorm"),
        pytest.param(objective_of(LeNet(normalised=False), images(20)), shuffled_cnn, id="cnn"),
        pytest.param(objective_of(LeNet(normalised=True), images(20)), shuffled_cnn, id="cnn with BatchNorm"),
    ]


@pytest.mark.parametrize(("objective", "shuffle"), cases())
def test_the_barrier_to_a_permuted_copy_is_zero_after_alignment(objective: Objective, shuffle) -> None:
    # Random normalisation weights, or all units look alike to them.
    theta = objective.theta + 0.3 * torch.randn(objective.layout.size, generator=torch.Generator().manual_seed(2)).double()
    copy = shuffle(objective, theta)
    before = curve_profile(objective, line(theta, copy), points=7)
    assert before.train.losses[-1].item() == pytest.approx(before.train.losses[0].item(), rel=1e-12)  # the same function
    assert before.train.losses[3].item() != pytest.approx(before.train.losses[0].item(), rel=1e-3)
    found = align(objective, theta, copy)
    assert torch.equal(found.theta, theta)
    assert found.distance == 0 < found.distance_before
    after = curve_profile(objective, line(theta, found.theta), points=7).train.losses
    torch.testing.assert_close(after, after[:1].expand(7), rtol=1e-12, atol=0)


def test_aligning_two_trained_networks_keeps_the_function_and_lowers_the_barrier() -> None:
    torch.manual_seed(0)
    data = clusters(200, dtype=torch.float32)
    model = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 4))
    objective = objective_of(model, data)
    first, second = trained(objective, 1, 150), trained(objective, 2, 150)
    found = align(objective, first, second)
    torch.testing.assert_close(objective.outputs(found.theta, data[0]), objective.outputs(second, data[0]), rtol=1e-4, atol=1e-4)
    straight, aligned = (curve_profile(objective, line(first, end)).barriers.train_loss for end in (second, found.theta))
    assert found.distance < 0.9 * found.distance_before
    assert aligned < straight
    for order in found.permutations.values():
        assert order.sort().values.tolist() == list(range(64))


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(8, 8), nn.Linear(8, 4)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.two(self.one(self.one(inputs)))


class Sorted(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(8, 6), nn.Linear(6, 4)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.two(self.one(inputs).sort(1).values)


class Branching(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(8, 6), nn.Linear(6, 4)

    def forward(self, inputs: Tensor) -> Tensor:
        after = self.one(inputs)
        return self.two(after if after.sum() > 0 else after.sin())


class Across(nn.Module):
    """Attention over channels by a convolution along them."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.along = nn.Linear(8, 6), nn.Linear(6, 4), nn.Conv1d(1, 1, 3, padding=1)

    def forward(self, inputs: Tensor) -> Tensor:
        after = self.one(inputs)
        return self.two(after * self.along(after[:, None]).squeeze(1).sigmoid())


class Partly(nn.Module):
    """One layer whose units are sorted, and one whose units are not."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.three = nn.Linear(8, 6), nn.Linear(6, 5), nn.Linear(5, 4)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.three(torch.tanh(self.two(self.one(inputs).sort(1).values)))


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (Twice(), "all are inputs or outputs"),
        (nn.Linear(8, 4), "no hidden units"),
        (Sorted(), "'one.weight' is held by the operation 'sort'"),
        (Branching(), "has no graph of its own"),
        (Across(), "'one.weight' is held by the positions of a convolution"),
    ],
)
def test_what_cannot_move_is_refused_with_the_reason(model: nn.Module, words: str) -> None:
    objective = objective_of(model, clusters(10))
    with pytest.raises(ConfigurationError, match=words) as caught:
        align(objective, objective.theta, objective.theta)
    assert str(caught.value).startswith("this model cannot be aligned")
    assert len(str(caught.value).splitlines()) == 1


def test_units_that_stay_are_named_where_others_move() -> None:
    objective = objective_of(Partly(), clusters(10))
    found = align(objective, objective.theta, objective.theta)
    assert found.held == {"one.weight": "the operation 'sort'", "one.bias": "the operation 'sort'"}
    assert list(found.permutations) == ["two.weight"]


@pytest.mark.parametrize(("parameters", "missing"), [("0.*", "2.weight"), ("4.*", "2.weight")])
def test_parameters_outside_theta_are_refused(parameters: str, missing: str) -> None:
    objective = objective_of(mlp(), clusters(10), parameters=parameters)
    with pytest.raises(ConfigurationError, match=rf"cannot be aligned.* '{missing}', which is not in θ"):
        align(objective, objective.theta, objective.theta)


@pytest.mark.parametrize("options", [{"by": "magic"}, {"restarts": -1}])
def test_options_that_mean_nothing_are_refused(options: dict) -> None:
    objective = objective_of(mlp(), clusters(10))
    with pytest.raises(ConfigurationError, match=r"way of matching|restarts"):
        align(objective, objective.theta, objective.theta, **options)


def test_parameters_that_are_not_finite_are_told_as_that() -> None:
    objective = objective_of(mlp(), clusters(10))
    holed = objective.theta.clone()
    holed[7] = float("nan")
    for pair, name in (((holed, objective.theta), "first"), ((objective.theta, holed), "second")):
        with pytest.raises(ConfigurationError, match=rf"^`{name}` holds NaN or infinity"):
            align(objective, *pair)
    huge = torch.full_like(holed, torch.finfo(holed.dtype).max)
    with pytest.raises(ConfigurationError, match="outputs hold NaN or infinity"):
        align(objective, objective.theta, huge)
