"""The update against the unfused optimisers of `torch.optim` with the penalty differentiated by autograd."""

import pytest
import torch
from torch import Tensor

from orograph.training.settings import TrainingSettings
from orograph.training.update import Update, initial_state, rows

CHOICES = [
    {"optimizer": "Adam"},
    {"optimizer": "Adam", "weight_decay": 0.1},
    {"optimizer": "AdamW", "weight_decay": 0.1},
    {"optimizer": "SGD"},
    {"optimizer": "SGD", "momentum": 0.85, "weight_decay": 0.01},
]
STRENGTHS = [0.0, 0.3, 0.02]


def plain(settings: TrainingSettings, theta: Tensor, gradients: list[Tensor], strength: float, anchor: Tensor | None) -> Tensor:
    """The course of torch's own optimiser on the gradients given plus that of λ‖θ − θ_ref‖²."""
    point = theta.clone().requires_grad_()
    extra = {"momentum": settings.momentum} if settings.optimizer == "SGD" else {}
    kind = getattr(torch.optim, settings.optimizer)
    optimizer = kind([point], lr=settings.lr, weight_decay=settings.weight_decay, foreach=False, **extra)
    for gradient in gradients:
        optimizer.zero_grad()
        offset = point if anchor is None else point - anchor
        (strength * offset.square().sum() + gradient @ point).backward()
        optimizer.step()
    return point.detach()


@pytest.mark.parametrize("options", CHOICES)
@pytest.mark.parametrize("anchored", [False, True])
@pytest.mark.parametrize("by_model", [False, True])
def test_each_row_follows_torchs_own_optimiser(options: dict, anchored: bool, by_model: bool) -> None:
    torch.manual_seed(0)
    settings = TrainingSettings(lr=0.05, **options)
    start, anchors = torch.randn(3, 19).double(), torch.randn(3, 19).double()
    chosen = list(anchors) if anchored else [None] * 3
    theta, gradient = rows(3, start), rows(3, start)
    theta.copy_(start)
    update = Update(settings, theta, gradient, STRENGTHS, chosen, by_model=by_model)
    update.prepare([settings.lr] * 3)
    course = torch.randn(7, 3, 19).double()
    for step in course:
        gradient.copy_(step)
        update()
    for model in range(3):
        expected = plain(settings, start[model], list(course[:, model]), STRENGTHS[model], chosen[model])
        # the fused kernels order their roundings differently; a relative error of a few ε grows over 7 steps
        torch.testing.assert_close(theta[model], expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("by_model", [False, True])
def test_a_model_is_the_same_bits_in_any_company(by_model: bool) -> None:
    torch.manual_seed(0)
    start, course = torch.randn(3, 19), torch.randn(7, 3, 19)

    def trained(models: list[int]) -> Tensor:
        theta, gradient = rows(len(models), start), rows(len(models), start)
        theta.copy_(start[models])
        update = Update(
            TrainingSettings(), theta, gradient, [STRENGTHS[m] for m in models], [None] * len(models), by_model=by_model
        )
        update.prepare([0.01] * len(models))
        for step in course:
            gradient.copy_(step[models])
            update()
        return theta

    together = trained([0, 1, 2])
    for model in range(3):
        assert torch.equal(trained([model])[0], together[model])


def test_a_state_restored_continues_as_if_nothing_had_happened() -> None:
    torch.manual_seed(0)
    theta, gradient = rows(1, torch.zeros(9)), rows(1, torch.zeros(9))
    update = Update(TrainingSettings(), theta, gradient, [0.1], [None])
    update.prepare([0.01])

    def steps(count: int) -> Tensor:
        for number in range(count):
            gradient.copy_(torch.arange(9.0) - number)
            update()
        return theta[0].clone()

    steps(3)
    state = update.state(0)
    first = steps(4)
    update.restore(0, state)
    assert torch.equal(steps(4), first)


def test_the_initial_state_is_that_of_an_update_without_steps() -> None:
    for options in CHOICES:
        settings = TrainingSettings(**options)
        theta = rows(1, torch.zeros(9))
        state = Update(settings, theta, rows(1, theta), [0.0], [None]).state(0)
        given = initial_state(settings, torch.zeros(9))
        assert len(state) == len(given)
        assert all(torch.equal(a, b) for a, b in zip(state, given, strict=True))


def test_a_model_without_a_learning_rate_stays() -> None:
    theta, gradient = rows(2, torch.zeros(5)), rows(2, torch.zeros(5))
    update = Update(TrainingSettings(), theta, gradient, [0.0, 0.0], [None, None])
    update.prepare([None, 0.01])
    gradient.fill_(1.0)
    update()
    assert theta[0].eq(0).all()
    assert theta[1].ne(0).all()


def test_rows_start_at_multiples_of_64_bytes() -> None:
    for dtype in (torch.float32, torch.float64):
        assert all(row.data_ptr() % 64 == 0 for row in rows(5, torch.zeros(13, dtype=dtype)))
