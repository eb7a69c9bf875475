"""A network whose units are equal in groups has the L, the q and the eigenvalues of the one of full width."""

import numpy as np
import pytest
import torch
from torch import nn

import merged
import orograph as og

SIZES = {"inputs": 3, "classes": 3}
COUNTS = ((3, 2), (4, 1))


@pytest.fixture
def data() -> list[tuple[torch.Tensor, torch.Tensor]]:
    torch.manual_seed(0)
    return [(torch.randn(20, 3, dtype=torch.float64), torch.arange(20) % 3)]


@pytest.fixture
def state() -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    return {name: torch.randn_like(value).double() for name, value in merged.Merged(COUNTS, **SIZES).state_dict().items()}


def objective(model: nn.Module, state: dict[str, torch.Tensor], data: list[tuple[torch.Tensor, torch.Tensor]]) -> og.Objective:
    model.double().load_state_dict(state)
    return og.Objective(model, nn.CrossEntropyLoss(), data, strength=0.1, dtype=torch.float64)


def eigenvalues(given: og.Objective) -> np.ndarray:
    hessian = torch.autograd.functional.hessian(lambda theta: _loss(given, theta), given.theta)
    return torch.linalg.eigvalsh(hessian).numpy()


def _loss(given: og.Objective, theta: torch.Tensor) -> torch.Tensor:
    ((inputs, targets),) = given.batches()
    outputs = torch.func.functional_call(given.model, given.layout.unflatten(theta), (inputs,))
    return nn.functional.cross_entropy(outputs, targets)


def test_loss_and_distance_are_those_of_the_network_of_full_width(state, data) -> None:
    small = objective(merged.Merged(COUNTS, **SIZES), state, data)
    model = og.build_model("mlp", input_shape=(3,), classes=3, widths=(5, 5))
    full = objective(model, merged.turned(state, merged.spread(COUNTS, merged.whole(COUNTS))), data)
    for measure in (_loss, lambda _, theta: theta.square().sum(), _slope):  # float64
        assert measure(small, small.theta).item() == pytest.approx(measure(full, full.theta).item(), rel=1e-12)


def _slope(given: og.Objective, theta: torch.Tensor) -> torch.Tensor:
    theta = theta.detach().requires_grad_()
    return torch.autograd.grad(_loss(given, theta), theta)[0].norm()


def test_a_division_into_one_and_the_rest_has_every_eigenvalue(state, data) -> None:
    parts = merged.divided(COUNTS)
    small = objective(merged.Merged(parts, **SIZES), merged.turned(state, merged.spread(COUNTS, parts)), data)
    every = merged.whole(COUNTS)
    full = objective(merged.Merged(every, **SIZES), merged.turned(state, merged.spread(COUNTS, every)), data)
    few, many = eigenvalues(small), eigenvalues(full)
    assert len(few) < len(many)
    apart = np.abs(few[:, None] - many[None])
    assert apart.min(axis=0).max() < 1e-12  # of the full width, each is there; float64, eigenvalues below 1
    assert apart.min(axis=1).max() < 1e-12  # and no other


def test_joining_undoes_what_spreading_does(state) -> None:
    every = merged.whole(COUNTS)
    wide = merged.turned(state, merged.spread(COUNTS, every))
    groups = [np.repeat(np.arange(len(layer)), layer) for layer in COUNTS]
    rows, counts = merged.joined(every, groups)
    assert counts == COUNTS
    back = merged.turned(wide, rows)
    assert all(torch.allclose(back[name], state[name], rtol=0, atol=1e-14) for name in state)


def test_equal_units_are_found_in_a_network_of_full_width(state) -> None:
    for parts, found in ((merged.whole(COUNTS), [[2, 3], [1, 4]]), (merged.divided(COUNTS), [[2, 2], [1, 2]])):
        wide = merged.turned(state, merged.spread(COUNTS, parts))
        assert [sorted(np.bincount(merged.grouped(wide, parts, layer, 1e-6))) for layer in (1, 2)] == found


def test_a_network_is_named_by_its_counts() -> None:
    name = merged.name_of(COUNTS)
    assert name == "units_3_2_then_4_1"
    assert getattr(merged, name)(input_shape=(3,), classes=3).fc2.weight.shape == (2, 2)
