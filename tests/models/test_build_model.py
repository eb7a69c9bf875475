"""Named models against PyTorch's own layers put together by hand, against counts from the papers, and against a fixed seed."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from orograph.errors import ConfigurationError
from orograph.models.catalogue import build_model
from orograph.models.names import ACTIVATIONS, MODELS, NAMES


class Net(nn.Module):
    """The published network, written down as the published scripts have it."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(784, 128)
        self.fc2 = nn.Linear(128, 128)
        self.fc3 = nn.Linear(128, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.sigmoid(self.fc1(x.view(-1, 784)))
        return self.fc3(torch.sigmoid(self.fc2(x)))


def count(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def test_the_published_mlp_is_the_published_network() -> None:
    ours, theirs = build_model("mlp", init_seed=3), Net()
    assert list(ours.state_dict()) == list(theirs.state_dict())
    theirs.load_state_dict(ours.state_dict())
    images = torch.randn(7, 1, 28, 28)
    torch.testing.assert_close(ours(images), theirs(images), rtol=0, atol=0)
    assert count(ours) == 118_282


def test_the_seed_alone_decides_and_the_global_generator_is_left_alone() -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = build_model("mlp", init_seed=5)
    assert torch.equal(before, torch.get_rng_state())
    torch.rand(13)
    again, other = build_model("mlp", init_seed=5), build_model("mlp", init_seed=6)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert not torch.equal(first.fc1.weight, other.fc1.weight)


def test_a_seeded_model_is_what_a_global_seed_would_give() -> None:
    torch.manual_seed(5)
    plain = Net()
    ours = build_model("mlp", init_seed=5)
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), ours.parameters(), strict=True))


@pytest.mark.parametrize(
    ("options", "sizes"),
    [
        ({"widths": (5,)}, (5,)),
        ({"widths": (5, 6, 7)}, (5, 6, 7)),
        ({"widths": (5,), "depth": 3}, (5, 5, 5)),
        ({"depth": 1}, (128,)),
        ({"depth": 3}, (128, 128, 128)),
    ],
)
def test_widths_and_depth_give_the_hidden_layers(options: dict, sizes: tuple[int, ...]) -> None:
    model = build_model("mlp", input_shape=(1, 4, 4), **options)
    found = [module.out_features for module in model.modules() if isinstance(module, nn.Linear)]
    assert found == [*sizes, 10]


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations_are_pytorchs(activation: str) -> None:
    model = build_model("mlp", input_shape=(1, 2, 2), widths=(6,), activation=activation)
    inputs = torch.randn(5, 1, 2, 2)
    own = {"sigmoid": torch.sigmoid, "tanh": torch.tanh, "linear": lambda values: values}
    function = own[activation] if activation in own else getattr(F, activation)
    torch.testing.assert_close(model(inputs), model.fc2(function(model.fc1(inputs.flatten(1)))))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("input_shape", [(1, 28, 28), (3, 32, 32), (1, 8, 8)])
def test_every_model_takes_every_image_and_every_parameter_matters(name: str, input_shape: tuple[int, int, int]) -> None:
    model = build_model(name, input_shape=input_shape, classes=4, init_seed=0).eval()
    outputs = model(torch.randn(3, *input_shape))
    assert outputs.shape == (3, 4)
    outputs.square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in model.parameters())


def test_study_perceptrons_have_one_width_and_relu() -> None:
    model = build_model("MLP2", hidden_size=32, batch_norm=True)
    assert [m.out_features for m in model.modules() if isinstance(m, nn.Linear)] == [32, 32, 10]
    assert sum(isinstance(m, nn.BatchNorm1d) for m in model.modules()) == 2
    assert not any(isinstance(m, nn.BatchNorm1d) for m in build_model("mlp2").modules())


def test_lenet_has_the_parameters_counted_by_hand() -> None:
    convolutions = (6 * 25 + 6) + (16 * 6 * 25 + 16)
    assert count(build_model("CNN")) == convolutions + (16 * 49 * 84 + 84) + 850
    assert count(build_model("CNN", batch_norm=True)) == count(build_model("CNN")) + 2 * (6 + 16)


@pytest.mark.parametrize(("depth", "layers"), [(8, 8), (14, 14), (20, 20)])
def test_a_residual_network_has_its_depth_in_weighted_layers(depth: int, layers: int) -> None:
    model = build_model("ResNet", input_shape=(3, 32, 32), depth=depth)
    weighted = [m for m in model.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3)]
    assert len(weighted) + 1 == layers
    wide = build_model("ResNet", input_shape=(3, 32, 32), depth=depth, width_factor=2)
    assert 3.5 < count(wide) / count(model) < 4.1


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("mpl", {}, "unknown model 'mpl'; did you mean 'mlp'"),
        ("mlp", {"activaton": "relu"}, "did you mean 'activation'"),
        ("mlp", {"activation": "rleu"}, "did you mean 'relu'"),
        ("mlp", {"hidden_size": 3}, "unknown option of model mlp 'hidden_size'"),
        ("mlp", {"widths": (0,)}, "widths"),
        ("mlp", {"widths": ()}, "widths"),
        ("mlp", {"depth": 0}, "depth 0"),
        ("mlp", {"widths": (3, 4), "depth": 3}, "does not fit"),
        ("ResNet", {"depth": 9}, "depth 9"),
        ("ResNet", {"width_factor": 0}, "width factor 0"),
        ("CNN", {"channels": (3,)}, "channels"),
        ("CNN", {"input_shape": (1, 3, 3)}, "too small"),
    ],
)
def test_what_cannot_be_built_says_why(name: str, options: dict, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        build_model(name, **options)


def test_the_listed_options_are_those_the_models_take() -> None:
    values = {
        "widths": (4, 4),
        "depth": 8,
        "activation": "tanh",
        "batch_norm": True,
        "hidden_size": 5,
        "channels": (2, 2),
        "width_factor": 1,
    }
    for name, options in MODELS.items():
        for option in options:
            assert count(build_model(name, **{option: values[option]})) > 0
