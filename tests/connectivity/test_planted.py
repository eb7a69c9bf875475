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


def randomised(model: nn.Module, generator: torch.Generator) -> nn.Module:
    """No two units alike: normalisations begin with ones and zeros."""
    model.double()
    with torch.no_grad():
        for name, tensor in {**dict(model.named_parameters()), **dict(model.named_buffers())}.items():
            if tensor.is_floating_point():
                noise = torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
                tensor.add_(0.3 * noise.abs() if "var" in name else 0.3 * noise)
    return model


def permuted(state: State, kinds: list[Kind], generator: torch.Generator) -> State:
    """Units of every kind in another order; a flattened image moves in blocks, a channel each."""
    found = dict(state)
    for kind in kinds:
        order = torch.randperm(len(state[kind[0][0]]), generator=generator)
        for name, dimension in kind:
            whole = found[name].unflatten(dimension, (len(order), -1))
            found[name] = whole.index_select(dimension, order).reshape(found[name].shape)
    return found


def check(name: str, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    model, kinds = BUILD[name]()
    randomised(model, generator)
    data = images(6) if any(isinstance(module, nn.Conv2d) for module in model.modules()) else clusters(6)
    objective = objective_of(model, data)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    second = permuted(before, kinds, generator)
    theta = objective.layout.flatten(second)
    assert torch.linalg.vector_norm(theta - objective.theta) > 1  # it was moved
    found = align(objective, objective.theta, theta)
    assert found.distance == 0 == found.least_distance
    assert torch.equal(found.theta, objective.theta)
    back = found.reordered(second)
    for each in before:  # running statistics too
        assert torch.equal(back[each], before[each])
        assert torch.equal(model.state_dict()[each], before[each])
    model.eval()
    with torch.no_grad():
        torch.testing.assert_close(
            functional_call(model, back, data[0]), functional_call(model, second, data[0]), rtol=1e-9, atol=1e-9
        )
    assert len(found.permutations) == len(kinds)
    assert not found.held


@pytest.mark.parametrize("name", BUILD)
def test_a_planted_permutation_is_found_on_weights_and_statistics(name: str) -> None:
    for seed in range(3):
        check(name, seed)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in BUILD if name != "resnet"])
def test_it_is_found_in_a_hundred_of_a_hundred(name: str) -> None:
    for seed in range(100):
        check(name, seed)
