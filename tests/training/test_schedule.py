"""Learning rates against PyTorch's own schedulers, stepped once a mini-batch; nothing of theirs is used by the code."""

import math

import pytest
import torch
from torch.optim import lr_scheduler as theirs

from orograph.training.rates import rate, warmup_steps
from orograph.training.settings import FitSettings

TOTAL = 137
LR, LEAST = 0.02, 3e-4


def course(name: str, total: int = TOTAL) -> list[float]:
    settings = FitSettings(scheduler=name, lr=LR, min_lr=LEAST)
    return [rate(settings, step, total) for step in range(total)]


def stepped(make: object, total: int = TOTAL) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=LR)
    scheduler = make(optimizer)  # type: ignore[operator]
    rates = []
    for _ in range(total):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


def test_none_keeps_the_rate() -> None:
    assert course("none") == [LR] * TOTAL


def test_cosine_is_pytorchs() -> None:
    assert course("cosine") == pytest.approx(stepped(lambda o: theirs.CosineAnnealingLR(o, TOTAL, LEAST)), rel=1e-9)


def test_steps_are_pytorchs() -> None:
    milestones = [math.ceil(TOTAL / 2), math.ceil(3 * TOTAL / 4)]
    assert course("step") == pytest.approx(
        [max(each, LEAST) for each in stepped(lambda o: theirs.MultiStepLR(o, milestones))], rel=1e-9
    )


@pytest.mark.parametrize("total", [TOTAL, 40, 11])
def test_onecycle_is_pytorchs(total: int) -> None:
    def make(optimizer: torch.optim.Optimizer) -> object:
        return theirs.OneCycleLR(optimizer, LR, total, cycle_momentum=False, final_div_factor=LR / 25 / LEAST)

    settings = FitSettings(scheduler="onecycle", lr=LR, min_lr=LEAST)
    mine = [rate(settings, step, total) for step in range(total)]
    assert mine[:-1] == pytest.approx(stepped(make, total - 1), rel=1e-9)  # PyTorch refuses to step beyond the last
    assert mine[-1] == pytest.approx(LEAST, rel=1e-9)


def test_warmup_then_cosine_is_pytorchs() -> None:
    warm = warmup_steps(TOTAL)

    def make(optimizer: torch.optim.Optimizer) -> object:
        rise = theirs.LinearLR(optimizer, 1 / warm, 1.0, warm - 1)
        fall = theirs.CosineAnnealingLR(optimizer, TOTAL - warm, LEAST)
        return theirs.SequentialLR(optimizer, [rise, fall], [warm])

    assert warm > 1
    assert course("warmup-cosine") == pytest.approx(stepped(make), rel=1e-9)


@pytest.mark.parametrize("name", ["none", "cosine", "step", "onecycle", "warmup-cosine"])
@pytest.mark.parametrize("total", [1, 2, 3, 4, 7])
def test_short_trainings_have_rates_between_the_bounds(name: str, total: int) -> None:
    assert all(LEAST <= each <= LR for each in course(name, total))
