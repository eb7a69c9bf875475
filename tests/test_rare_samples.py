"""One sample among many decides what a module or a loss does with its batch: no budget of memory may change a number."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import orograph as og

BUDGETS = ("4GiB", "40kB", "20kB")  # all at once; and in parts of dozens of samples, of which one alone holds the rare one


@pytest.fixture(autouse=True)
def _short_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is tried is as long as the budget allows, as it is of larger data."""
    monkeypatch.setattr("orograph.meaning._LEAST", 0)


class Clipped(nn.Module):
    """An outlier makes the whole batch be scaled."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        largest = x.abs().amax()
        out: Tensor = self.a(x if largest <= 5 else x * (5 / largest))
        return out


class Trimmed(nn.Module):
    """Averages over positions up to the longest of the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.e, self.o = nn.Embedding(7, 3), nn.Linear(3, 3)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        out: Tensor = self.o(torch.tanh(self.e(x[:, : int(lengths.max())])).mean(1))
        return out


class Counting(nn.Module):
    """A mean over targets that are no class below 0, which says so by nothing but `reduction`."""

    def __init__(self, reduction: str = "mean") -> None:
        super().__init__()
        self.reduction = reduction

    def forward(self, out: Tensor, target: Tensor) -> Tensor:
        counted = target >= 0
        each = F.cross_entropy(out, target.clamp(min=0), reduction="none") * counted
        return each if self.reduction == "none" else each.sum() / counted.sum()


def outlying() -> tuple[Tensor, Tensor]:
    x = torch.randn(480, 4, generator=torch.Generator().manual_seed(0)).clamp(-4, 4)
    x[301, 2] = 20
    return x, torch.arange(480) % 3


@pytest.mark.parametrize("memory", BUDGETS)
@pytest.mark.parametrize("size", [480, 48])
def test_a_batch_that_one_outlier_scales_stays_whole(memory: str, size: int) -> None:
    x, y = outlying()
    torch.manual_seed(0)
    model = Clipped()
    batches = list(zip(x.split(size), y.split(size), strict=True))
    objective = og.Objective(model, nn.CrossEntropyLoss(), batches, memory=memory)
    with torch.no_grad():
        right = sum(F.cross_entropy(model(a), b).item() for a, b in batches) / len(batches)
    assert "mixes the samples" in objective.whole
    assert objective.loss(objective.theta) == pytest.approx(right, rel=1e-5)  # float32


@pytest.mark.parametrize("memory", BUDGETS)
def test_a_batch_that_one_sample_makes_longer_stays_whole(memory: str) -> None:
    x, y = torch.randint(1, 7, (400, 6), generator=torch.Generator().manual_seed(0)), torch.arange(400) % 3
    lengths = torch.full((400,), 4)
    lengths[305] = 6
    batches = [((x[i : i + 100], lengths[i : i + 100]), y[i : i + 100]) for i in range(0, 400, 100)]
    torch.manual_seed(0)
    model = Trimmed()
    objective = og.Objective(model, nn.CrossEntropyLoss(), batches, memory=memory)
    with torch.no_grad():
        right = sum(F.cross_entropy(model(*a), b).item() for a, b in batches) / 4
    assert objective.loss(objective.theta) == pytest.approx(right, rel=1e-5)  # float32


class Pooled(Clipped):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).mean(1)


def test_a_rare_sample_among_batches_of_two_shapes_is_found() -> None:
    x, y = outlying()
    longer = torch.randn(50, 5, 4, generator=torch.Generator().manual_seed(1)).clamp(-4, 4)
    batches = [(longer, y[:50]), (x.view(480, 1, 4)[280:320], y[280:320])]
    assert "mixes the samples" in og.Objective(Pooled(), nn.CrossEntropyLoss(), batches).whole


@pytest.mark.parametrize("memory", BUDGETS)
@pytest.mark.parametrize("rare", [[301], [7, 301], [*range(260, 300)]], ids=str)
def test_a_loss_that_leaves_a_rare_target_out_of_its_mean_is_that_of_whole_batches(memory: str, rare: list[int]) -> None:
    x, y = torch.randn(480, 4, generator=torch.Generator().manual_seed(0)), torch.arange(480) % 3
    y[rare] = -1
    torch.manual_seed(0)
    model = nn.Linear(4, 3)
    objective = og.Objective(model, Counting(), [(x, y)], memory=memory)
    assert objective.over == "batches"
    with torch.no_grad():
        assert objective.loss(objective.theta) == pytest.approx(Counting()(model(x), y).item(), rel=1e-5)  # float32


def test_data_that_are_read_again_are_all_gone_through() -> None:
    x, y = outlying()
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=16)
    objective = og.Objective(Clipped(), nn.CrossEntropyLoss(), loader, memory="5kB")
    assert objective.streamed
    assert "mixes the samples" in objective.whole


class Signed(nn.Module):
    def __init__(self, reduction: str = "mean") -> None:
        super().__init__()
        self.reduction = reduction

    def forward(self, out: Tensor, target: Tensor) -> Tensor:
        each = (out * target).sum(1)
        return each if self.reduction == "none" else each.mean()


def test_losses_that_cancel_in_the_mean_are_still_those_of_samples() -> None:
    x = torch.randn(4000, 4, generator=torch.Generator().manual_seed(0))
    signs = (1 - 2 * (torch.arange(4000) % 2)).float()[:, None]
    x[1::2] = x[::2] * (1 + 1e-6)
    assert og.Objective(nn.Linear(4, 3, bias=False), Signed(), [(x, signs.expand(-1, 3))]).per_sample
