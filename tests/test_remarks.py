"""What a command says beside its answer is said once, by the first process."""

import warnings

import pytest
import torch
from torch import nn

import orograph as og
from orograph.errors import OrographWarning
from orograph.remarks import told


@pytest.mark.parametrize(("ranks", "rank", "said"), [("1", "0", True), ("2", "0", True), ("2", "1", False), ("1", "7", True)])
def test_of_several_processes_the_first_alone_tells_warnings(
    ranks: str, rank: str, said: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WORLD_SIZE", ranks)
    monkeypatch.setenv("RANK", rank)
    with told(own=True, others=True):
        warnings.warn("something is so", OrographWarning, stacklevel=1)
    assert capsys.readouterr().err == ("warning: something is so\n" if said else "")


@pytest.mark.slow
def test_a_missing_batching_rule_is_not_the_users_to_hear_of() -> None:
    class Binned(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.last = nn.Linear(4, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            scores = self.last(x)
            return scores + torch.segment_reduce(scores.T.contiguous(), "sum", lengths=torch.tensor([1, 2])).sum(0)[:, None]

    inputs, targets = torch.randn(6, 4, generator=torch.Generator().manual_seed(0)), torch.arange(6) % 3
    objective = og.Objective(Binned(), nn.CrossEntropyLoss(), [(inputs, targets)])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        og.evaluate(objective, torch.stack([objective.theta] * 5))
    assert not [each for each in caught if "batching rule" in str(each.message)]
