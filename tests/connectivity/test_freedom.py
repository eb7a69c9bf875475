"""What may move in a network: that it may is seen by calling the module, how much there is was counted by hand."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from orograph.connectivity.axes import Axes
from orograph.connectivity.elements import drawn, moved
from orograph.connectivity.freedom import Freedom, freedom_of
from orograph.geometry.perturbations import seeded
from orograph.objective import Objective


class Last(nn.Module):
    """A body on sequences, the last of whose outputs counts."""

    def __init__(self, body: nn.Module, width: int) -> None:
        super().__init__()
        self.body, self.out = body, nn.Linear(width, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        found = self.body(inputs)
        return self.out((found[0] if isinstance(found, tuple) else found)[:, -1])


class Dense(nn.Module):
    """Every layer reads all before it, normalised."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(6, 5, 3, padding=1)
        self.norm, self.out = nn.BatchNorm2d(11), nn.Linear(11 * 9, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        both = torch.cat([inputs, F.relu(self.one(inputs))], 1)
        return self.out(F.avg_pool2d(self.norm(torch.cat([both, self.two(both)], 1)), 2).flatten(1))


class Shared(nn.Module):
    """Four heads of queries on two of keys and values, as repeated by expanding them."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Linear(4, 6), nn.LayerNorm(6)
        self.query, self.key, self.value, self.back = nn.Linear(6, 12), nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(12, 6)

    def forward(self, inputs: Tensor) -> Tensor:
        count, length, _ = inputs.shape
        given = self.norm(self.first(inputs))
        query = self.query(given).view(count, length, 4, 3).transpose(1, 2)
        pairs = (layer(given).view(count, length, 2, 1, 3).permute(0, 2, 3, 1, 4) for layer in (self.key, self.value))
        key, value = (each.expand(-1, -1, 2, -1, -1).reshape(count, 4, length, 3) for each in pairs)
        found = (query @ key.mT / math.sqrt(3)).softmax(-1) @ value
        return given + self.back(found.transpose(1, 2).reshape(count, length, 12))


class Gated(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(4, 12), nn.Linear(6, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.two(F.glu(self.one(inputs), -1))


class Mixer(nn.Module):
    """Products over tokens and over channels."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.tokens, self.back = nn.Linear(4, 6), nn.Linear(5, 7), nn.Linear(7, 5)
        self.norm, self.out = nn.LayerNorm(6), nn.Linear(6, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        given = self.norm(self.first(inputs))
        return self.out((given + self.back(F.gelu(self.tokens(given.mT))).mT).mean(1))


def vectors() -> Tensor:
    return torch.randn(4, 4, generator=torch.Generator().manual_seed(0)).double()


def sequences() -> Tensor:
    return torch.randn(4, 5, 4, generator=torch.Generator().manual_seed(0)).double()


def pictures() -> Tensor:
    return torch.randn(4, 2, 6, 6, generator=torch.Generator().manual_seed(0)).double()


# Of each kind of hosts how many there are, whether they stay, and what each holds: the number, and R for rotations.
CASES = {
    "lstm": (Last(nn.LSTM(4, 6, 2, batch_first=True), 6), sequences, ["6", "6"]),
    "gru, both ways": (Last(nn.GRU(4, 6, batch_first=True, bidirectional=True), 12), sequences, ["6", "6"]),
    "dense": (Dense(), pictures, ["4", "5"]),
    "heads that share keys": (
        nn.Sequential(Shared(), nn.Flatten(), nn.Linear(30, 3)),
        sequences,
        ["6", "2: 3R, 3R", "stays 2: 2"],
    ),
    "gate": (Gated(), vectors, ["6"]),
    "mixer": (Mixer(), sequences, ["6", "7"]),
    "groups": (nn.Sequential(nn.Linear(4, 8), nn.GroupNorm(2, 8), nn.Tanh(), nn.Linear(8, 3)), vectors, ["2: 4"]),
    "groups of a convolution": (
        nn.Sequential(nn.Conv2d(2, 6, 3, groups=2), nn.ReLU(), nn.Flatten(), nn.Linear(96, 3)),
        pictures,
        ["stays 2: 3"],
    ),
    "transposed convolution": (
        nn.Sequential(nn.Conv2d(2, 5, 3), nn.ReLU(), nn.ConvTranspose2d(5, 4, 2), nn.ReLU(), nn.Flatten(), nn.Linear(100, 3)),
        pictures,
        ["5", "4"],
    ),
    "an embedding": (
        nn.Sequential(nn.Embedding(9, 6), nn.LayerNorm(6), nn.Flatten(), nn.Linear(30, 3)),
        lambda: torch.arange(20).reshape(4, 5) % 9,
        ["6"],
    ),
    "PReLU, one slope a unit": (nn.Sequential(nn.Linear(4, 6), nn.PReLU(6), nn.Linear(6, 3)), vectors, ["6"]),
    "weight norm": (
        nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(4, 6)), nn.Tanh(), nn.Linear(6, 3)),
        vectors,
        ["6"],
    ),
}


def counted(freedom: Freedom) -> list[str]:
    found = []
    for group in freedom.groups:
        inner = ", ".join(f"{each.size}{'R' * each.rotates}" for each in group.inner)
        found.append(f"{'stays ' * group.stays}{group.size}{': ' * bool(inner)}{inner}")
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_what_moves_leaves_the_function_as_it_is_and_all_of_it_is_found(name: str) -> None:
    torch.manual_seed(0)
    model, inputs, expected = CASES[name]
    given = inputs()
    objective = Objective(model.double(), F.cross_entropy, [(given, torch.arange(4) % 3)])
    freedom = freedom_of(objective, next(objective.batches(2))[0])
    assert sorted(counted(freedom)) == sorted(expected)
    tensors = {**objective.constants, **objective.layout.arguments(objective.theta)}
    model.eval()
    for seed in range(3):
        turned = moved(tensors, freedom, drawn(freedom, seeded(seed)))
        assert any(not torch.equal(turned[each], tensors[each]) for each in tensors)
        with torch.no_grad():
            outputs = [torch.func.functional_call(model, each, given) for each in (tensors, turned)]
        torch.testing.assert_close(outputs[1], outputs[0], rtol=1e-9, atol=1e-9)


def test_a_sum_behind_a_factor_holds_the_factor() -> None:
    axes = Axes()
    factor, whole = axes.fresh(3), axes.fresh(5)
    axes.cut(whole, 0, 2, "")  # whole = 2 + 3
    joined = axes.joined([factor, axes.resolved(whole)])
    assert [axes.length(segment) for segment in joined] == [2, 3] * 3
    assert axes.atoms(factor) <= axes.reasons.keys()
    assert not axes.atoms(whole) & axes.reasons.keys()


def test_factors_are_found_in_one_another() -> None:
    axes = Axes()
    wide, pair = axes.fresh(12), axes.joined([axes.fresh(4), axes.fresh(3)])
    axes.unify(wide, pair, "")
    assert axes.resolved(wide) == axes.resolved(pair)
    assert [axes.length((atom,)) for atom in axes.resolved(wide)[0]] == [4, 3]
    assert not axes.reasons


def test_what_does_not_fit_is_held() -> None:
    axes = Axes()
    one, other = (axes.joined([axes.fresh(a), axes.fresh(b)]) for a, b in ((4, 3), (3, 4)))
    axes.unify(one, other, "the reason")
    assert set(axes.reasons.values()) == {"the reason"}
    assert axes.atoms(one) | axes.atoms(other) == axes.reasons.keys()
