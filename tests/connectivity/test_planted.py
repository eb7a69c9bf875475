"""Elements of a network's symmetries that were planted by hand, on named weights of modules, are found by alignment.

No part of the code under test says which weights go together: the lists below do. Functions are compared by calling the modules.
"""

import pytest
import torch
from networks import LeNet, clusters, images, objective_of
from torch import Tensor, nn
from torch.func import functional_call

import orograph as og
from orograph.connectivity import align

State = dict[str, Tensor]
Kind = list[tuple[str, int]]  # weights and the dimensions of theirs that run over the same units


def norm(name: str) -> Kind:
    return [(f"{name}.{kind}", 0) for kind in ("weight", "bias", "running_mean", "running_var")]


def mlp(width: int) -> tuple[nn.Module, list[Kind]]:
    model = nn.Sequential(
        nn.Linear(8, width), nn.BatchNorm1d(width), nn.Tanh(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 4)
    )
    first = [("0.weight", 0), ("0.bias", 0), *norm("1"), ("3.weight", 1)]
    return model, [first, [("3.weight", 0), ("3.bias", 0), ("5.weight", 1)]]


def resnet() -> tuple[nn.Module, list[Kind]]:
    model = og.build_model("resnet", input_shape=(2, 12, 12), classes=4)
    first = [("conv1.weight", 0), *norm("bn1")]
    kinds = [first]
    for stage in ("stage1.0", "stage2.0", "stage3.0"):
        own = [(f"{stage}.conv1.weight", 0), *norm(f"{stage}.bn1"), (f"{stage}.conv2.weight", 1)]
        kinds[-1].append((f"{stage}.conv1.weight", 1))
        if stage != "stage1.0":
            kinds[-1].append((f"{stage}.shortcut.0.weight", 1))
            kinds.append([(f"{stage}.shortcut.0.weight", 0), *norm(f"{stage}.shortcut.1")])
        kinds[-1] += [(f"{stage}.conv2.weight", 0), *norm(f"{stage}.bn2")]
        kinds.insert(0, own)
    kinds[-1].append(("fc.weight", 1))
    return model, kinds


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.three = nn.Linear(8, 12), nn.Linear(12, 12), nn.Linear(12, 4)

    def forward(self, inputs: Tensor) -> Tensor:
        after = torch.relu(self.one(inputs))
        return self.three(after + torch.relu(self.two(after)))


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell, self.last = nn.RNN(4, 12, batch_first=True), nn.Linear(12, 4)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.last(self.cell(inputs.view(-1, 2, 4))[0][:, -1])


def lenet() -> tuple[nn.Module, list[Kind]]:
    first = [("first.weight", 0), ("first.bias", 0), *norm("norm"), ("second.weight", 1)]
    hidden = [("hidden.weight", 0), ("hidden.bias", 0), ("last.weight", 1)]
    return LeNet(normalised=True), [first, [("second.weight", 0), ("second.bias", 0), ("hidden.weight", 1)], hidden]


def residual() -> tuple[nn.Module, list[Kind]]:
    names = [("one.weight", 0), ("one.bias", 0), ("two.weight", 0), ("two.weight", 1), ("two.bias", 0), ("three.weight", 1)]
    return Residual(), [names]


def recurrent() -> tuple[nn.Module, list[Kind]]:
    cell = [(f"cell.{name}_l0", 0) for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
    return Recurrent(), [[*cell, ("cell.weight_hh_l0", 1), ("last.weight", 1)]]


def depthwise() -> tuple[nn.Module, list[Kind]]:
    first = [nn.Conv2d(2, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3, groups=8), nn.ReLU()]
    model = nn.Sequential(*first, nn.Conv2d(8, 6, 3), nn.Tanh(), nn.Flatten(), nn.Linear(216, 4))
    through = [("0.weight", 0), ("0.bias", 0), ("2.weight", 0), ("2.bias", 0), ("4.weight", 1)]
    return model, [through, [("4.weight", 0), ("4.bias", 0), ("7.weight", 1)]]


BUILD = {
    "mlp": lambda: mlp(64),
    "cnn": lenet,
    "resnet": resnet,
    "residual": residual,
    "recurrent": recurrent,
    "depthwise": depthwise,
}


def drawn(model: nn.Module, generator: torch.Generator) -> State:
    """No two units alike: normalisations begin with ones and zeros."""
    found = {}
    for name, tensor in model.state_dict().items():
        noise = 0.3 * torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
        found[name] = tensor + (noise.abs() if "var" in name else noise) if tensor.is_floating_point() else tensor
    return found


def permuted(state: State, kinds: list[Kind], generator: torch.Generator) -> State:
    """Units of every kind in another order; a flattened image moves in blocks, a channel each."""
    found = dict(state)
    for kind in kinds:
        order = torch.randperm(len(state[kind[0][0]]), generator=generator)
        for name, dimension in kind:
            whole = found[name].unflatten(dimension, (len(order), -1))
            found[name] = whole.index_select(dimension, order).reshape(found[name].shape)
    return found


def check(name: str, seeds: range) -> None:
    model, kinds = BUILD[name]()
    data = images(6) if any(isinstance(module, nn.Conv2d) for module in model.modules()) else clusters(6)
    objective = objective_of(model.eval(), data)
    own = {each: tensor.clone() for each, tensor in model.state_dict().items()}
    for seed in seeds:
        generator = torch.Generator().manual_seed(seed)
        first = drawn(model, generator)
        second = permuted(first, kinds, generator)
        one, other = objective.layout.flatten(first), objective.layout.flatten(second)
        assert torch.linalg.vector_norm(one - other) > 1  # it was moved
        found = align(objective, one, other)
        assert found.distance == 0 == found.least_distance
        assert torch.equal(found.theta, one)
        back = found.reordered(second)
        assert all(torch.equal(back[each], first[each]) for each in first)  # running statistics too
        with torch.no_grad():
            outputs = [functional_call(model, each, data[0]) for each in (first, second, back)]
        torch.testing.assert_close(outputs[1], outputs[0], rtol=1e-9, atol=1e-9)  # what was planted is a symmetry
        torch.testing.assert_close(outputs[2], outputs[1], rtol=1e-9, atol=1e-9)
        assert len(found.permutations) == len(kinds)
        assert not found.held
    assert all(torch.equal(tensor, own[each]) for each, tensor in model.state_dict().items())


@pytest.mark.slow
@pytest.mark.parametrize("name", BUILD)
def test_a_planted_permutation_is_found_on_weights_and_statistics(name: str) -> None:
    check(name, range(3 if name == "resnet" else 10))


@pytest.mark.slow
@pytest.mark.parametrize("name", BUILD)
def test_it_is_found_in_a_hundred_of_a_hundred(name: str) -> None:
    check(name, range(100))
