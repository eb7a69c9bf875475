"""What moves from one evaluation to the next is refused by name; what merely looks random is not."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from orograph.curvature.ggn import GaussNewtonOperator
from orograph.curvature.hessian import HessianOperator
from orograph.errors import ConfigurationError, DataError
from orograph.objective import Objective


class Noise(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + 0.1 * torch.randn_like(x)


class AlwaysDropping(nn.Module):
    """Drops by itself, in front of a layer that is innocent."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(F.dropout(x, 0.5, training=True))


def samples(count: int = 12) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(count, 4, generator=generator), torch.randint(0, 3, (count,), generator=generator)


@pytest.mark.parametrize(
    ("model", "culprit"),
    [
        (nn.Sequential(nn.Linear(4, 4), Noise(), nn.Linear(4, 3)), r"'1 \(Noise\)' is random"),
        (nn.Sequential(nn.Identity(), AlwaysDropping()), r"'1 \(AlwaysDropping\)' is random"),
    ],
)
def test_a_model_that_moves_is_refused_and_the_layer_named(model: nn.Module, culprit: str) -> None:
    with pytest.raises(ConfigurationError, match=culprit):
        HessianOperator(model, F.cross_entropy, [samples()])
    with pytest.raises(ConfigurationError, match=culprit):
        GaussNewtonOperator.of(Objective(model, F.cross_entropy, [samples()]))


@pytest.mark.slow
def test_dropout_and_batchnorm_stand_still_and_the_random_state_is_left_alone() -> None:
    model = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Dropout(0.5), nn.Linear(5, 3)).train()
    statistics = model[1].running_mean.clone()
    torch.manual_seed(7)
    HessianOperator(model, F.cross_entropy, [samples()])
    after = torch.rand(3)
    torch.manual_seed(7)
    assert torch.equal(after, torch.rand(3))
    assert torch.equal(model[1].running_mean, statistics)
    assert model.training


class Augmenting:
    """Adds noise to the inputs at each iteration."""

    def __iter__(self):
        x, y = samples()
        return iter([(x + torch.rand(1), y)])


class Shrinking:
    """Has fewer samples each time."""

    def __init__(self) -> None:
        self.count = 12

    def __iter__(self):
        self.count -= 1
        return iter([samples(self.count)])


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (DataLoader(TensorDataset(*samples(64)), batch_size=8, shuffle=True), "another order.*shuffle=False"),
        (Augmenting(), "another content"),
        (Shrinking(), "the first time and .* the second"),
    ],
)
def test_data_that_move_are_refused(data: object, words: str) -> None:
    with pytest.raises(DataError, match=words):
        HessianOperator(nn.Linear(4, 3), F.cross_entropy, data)


@pytest.mark.slow
@pytest.mark.parametrize("loss", [F.cross_entropy, lambda z, y: F.cross_entropy(z, y)])
def test_an_ordered_loader_is_accepted(loss: object) -> None:
    loader = DataLoader(TensorDataset(*samples()), batch_size=5)
    assert HessianOperator(nn.Linear(4, 3), loss, loader).shape == (15, 15)
