"""BatchNorm's statistics at a point are those of one training pass over all data, whatever the memory."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

import orograph as og
from orograph.errors import ConfigurationError
from orograph.geometry.normalisation import reestimated


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv1d(1, 3, 2),
        nn.BatchNorm1d(3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(9, 4),
        nn.BatchNorm1d(4, affine=False),
        nn.Linear(4, 3),
    )


@pytest.mark.slow
@given(chunk=st.integers(1, 25), count=st.sampled_from([2, 13, 25]))
@settings(max_examples=15)
def test_the_statistics_are_those_of_all_data_whatever_the_chunk(chunk: int, count: int) -> None:
    model, generator = network().double(), torch.Generator().manual_seed(count)
    x = torch.randn(count, 1, 4, generator=generator).double() * 3 + 100  # a mean far from zero, where sums of squares cancel
    objective = og.Objective(model, F.cross_entropy, [(x, torch.arange(count) % 3)])
    objective.chunk = chunk
    theta = objective.theta + 0.1 * torch.randn(len(objective.theta), generator=generator).double()
    twin = copy.deepcopy(model)
    twin.load_state_dict({**twin.state_dict(), **objective.layout.unflatten(theta)})
    for layer in (twin[1], twin[5]):
        layer.momentum = 1.0
    twin.train()(x)
    found = reestimated(objective, theta[None])
    assert found is not None
    for name, values in found.items():
        # Rounding of float64 in two orders of summation, which the square of a mean of 100 raises by 1e4.
        assert torch.allclose(values[0], twin.state_dict()[name], rtol=1e-9, atol=1e-9), name


def test_a_single_sample_has_no_variance_and_is_refused() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 2))
    objective = og.Objective(model, F.cross_entropy, [(torch.randn(1, 4), torch.tensor([1]))])
    with pytest.raises(ConfigurationError, match=r"statistics|variance"):
        reestimated(objective, objective.theta[None])


@pytest.mark.parametrize("memory", ["4GiB", "5kB", "1kB"])
def test_losses_along_a_path_do_not_depend_on_the_memory(memory: str) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3))
    x, y = torch.randn(25, 4) * 2 + 1, torch.randint(3, (25,))
    objective = og.Objective(model, F.cross_entropy, [(x, y)], memory=memory)
    first = objective.theta
    second = first + 0.5 * torch.randn(len(first), generator=torch.Generator().manual_seed(1))
    right = []
    for theta in (first, (first + second) / 2, second):
        twin = copy.deepcopy(model)
        twin.load_state_dict({**twin.state_dict(), **objective.layout.unflatten(theta)})
        h = twin[0](x)
        twin[1].running_mean, twin[1].running_var = h.mean(0).detach(), h.var(0).detach()
        right.append(F.cross_entropy(twin.eval()(x), y).item())
    found = og.curve_profile(objective, og.line(first, second), points=3).train.losses
    assert found.tolist() == pytest.approx(right, rel=1e-4)
