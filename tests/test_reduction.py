"""What a loss averages over is kept: value and gradient are torch's own over all data, however they are batched and cut.

The truth is the user's loss on all outputs at once, in float64; where a mean exists only for a batch, the mean of batches
by size.
"""

import functools
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from orograph.curvature.fisher import EmpiricalFisherOperator
from orograph.curvature.ggn import GaussNewtonOperator
from orograph.curvature.hessian import HessianOperator
from orograph.errors import ConfigurationError, DataError, OrographWarning
from orograph.objective import Objective

CLASSES = 3
WEIGHTS = torch.tensor([0.2, 1.0, 5.0])


def focal(outputs: Tensor, targets: Tensor, gamma: float = 2.0, reduction: str = "mean") -> Tensor:
    """A loss of one's own that follows torch's convention."""
    log = outputs.log_softmax(1).gather(1, targets[:, None])[:, 0]
    values = -((1 - log.exp()) ** gamma) * log
    return {"none": values, "mean": values.mean(), "sum": values.sum()}[reduction]


def masked(outputs: Tensor, targets: Tensor, reduction: str = "mean") -> Tensor:
    """Says `reduction` and means something else: the mean over positive targets."""
    values = F.cross_entropy(outputs, targets, reduction="none") * (targets > 0)
    return values if reduction == "none" else values.sum() / (targets > 0).sum()


class Tokens(nn.Module):
    """Scores `(n, C)`, or `(n, C, T)` where inputs have positions."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(2, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x).movedim(-1, 1)


# name: the loss as passed, and what it averages over when some targets are -100 (which only some losses can ignore)
IGNORING: dict[str, tuple[Any, str]] = {
    "the default": (nn.CrossEntropyLoss(), "counted targets"),
    "a function": (F.cross_entropy, "counted targets"),
    "smoothed": (nn.CrossEntropyLoss(label_smoothing=0.1), "counted targets"),
    "weighed": (nn.CrossEntropyLoss(weight=WEIGHTS), "class weights"),
    "weighed in a partial of a partial": (
        functools.partial(functools.partial(F.cross_entropy, weight=WEIGHTS), label_smoothing=0.2),
        "class weights",
    ),
    "summed": (functools.partial(F.cross_entropy, reduction="sum"), "sum"),
    "summed and weighed": (nn.CrossEntropyLoss(weight=WEIGHTS, reduction="sum"), "sum"),
}


def in_double(loss: Any) -> Callable[[Tensor, Tensor], Tensor]:
    if isinstance(loss, nn.Module):
        return type(loss)(
            **{
                key: value.double() if isinstance(value, Tensor) else value
                for key in ("weight", "reduction", "label_smoothing", "ignore_index")
                for value in (getattr(loss, key),)
            }
        )
    if isinstance(loss, functools.partial):
        words = {key: value.double() if isinstance(value, Tensor) else value for key, value in loss.keywords.items()}
        return functools.partial(in_double(loss.func), **words)
    return loss


def check(objective: Objective, model: nn.Module, truth: Tensor) -> None:
    expected = torch.cat([g.reshape(-1) for g in torch.autograd.grad(truth, list(model.parameters()))])
    assert objective.loss(objective.theta) == pytest.approx(truth.item(), rel=1e-12)  # rounding of sums in another order
    torch.testing.assert_close(objective.gradient(objective.theta), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.slow
@settings(max_examples=40)
@given(
    st.sampled_from(sorted(IGNORING)),
    st.integers(2, 9),
    st.integers(0, 4),
    st.floats(0, 0.9),
    st.integers(0, 2**31),
    st.sampled_from(["4GiB", "3kB", "300B"]),
)
def test_ignored_targets_and_weights_mean_what_they_mean_in_torch(
    name: str, count: int, positions: int, share: float, seed: int, memory: str
) -> None:
    generator = torch.Generator().manual_seed(seed)
    shape = (count, positions) if positions else (count,)
    x = torch.randn(*shape, 2, generator=generator, dtype=torch.float64)
    y = torch.randint(CLASSES, shape, generator=generator)
    y[torch.rand(shape, generator=generator) < share] = -100
    y.view(-1)[int(torch.randint(y.numel(), (), generator=generator))] = 1  # one at least counts
    cut = int(torch.randint(1, count, (), generator=generator))
    torch.manual_seed(seed)
    model, (loss, over) = Tokens().double(), IGNORING[name]
    objective = Objective(model, loss, [(x[:cut], y[:cut]), (x[cut:], y[cut:])], memory=memory)
    check(objective, model, in_double(loss)(model(x), y))
    assert objective.per_sample
    assert objective.over == ("samples" if over == "counted targets" and (y >= 0).all() else over)


def next_token(outputs: Tensor, targets: Tensor, reduction: str = "mean", ignore_index: int = -100) -> Tensor:
    return F.cross_entropy(outputs[:, :, :-1], targets[:, 1:], reduction=reduction, ignore_index=ignore_index)


def test_a_loss_of_the_next_token_is_a_mean_over_the_targets_that_it_counts() -> None:
    """Over batches of unequal padding, whose first targets count for nothing."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(9, 5, 2, generator=generator, dtype=torch.float64)
    y = torch.randint(CLASSES, (9, 5), generator=generator)
    y[torch.arange(5) >= torch.randint(2, 6, (9, 1), generator=generator)] = -100
    model = Tokens().double()
    objective = Objective(model, next_token, [(x[:4], y[:4]), (x[4:], y[4:])])
    check(objective, model, next_token(model(x), y))
    assert objective.per_sample
    full = Objective(model, next_token, [(x, y.clamp_min(0))])
    check(full, model, next_token(model(x), y.clamp_min(0)))
    assert full.over == "samples"


def floats(n: int) -> Tensor:
    return torch.rand(n, CLASSES, dtype=torch.float64)


def classes(n: int) -> Tensor:
    return torch.randint(CLASSES, (n,))


LOSSES: dict[str, tuple[Any, Callable[[int], Tensor], str]] = {
    "KLDivLoss with batchmean": (nn.KLDivLoss(reduction="batchmean"), floats, "samples, positions summed"),
    "kl_div with batchmean in a partial": (
        functools.partial(F.kl_div, reduction="batchmean", log_target=True),
        floats,
        "samples, positions summed",
    ),
    "KLDivLoss with mean": (nn.KLDivLoss(), floats, "samples"),
    "MSELoss": (nn.MSELoss(), floats, "samples"),
    "MSELoss with sum": (nn.MSELoss(reduction="sum"), floats, "sum"),
    "SmoothL1Loss with sum": (nn.SmoothL1Loss(reduction="sum"), floats, "sum"),
    "BCE with weights of both kinds": (
        nn.BCEWithLogitsLoss(weight=WEIGHTS.double(), pos_weight=WEIGHTS.flip(0).double()),
        lambda n: floats(n).round(),
        "samples",
    ),
    "cross-entropy of probabilities with weights": (
        nn.CrossEntropyLoss(weight=WEIGHTS.double()),
        lambda n: floats(n).softmax(1),
        "samples",
    ),
    "one's own": (focal, classes, "samples"),
    "one's own, summed": (functools.partial(focal, reduction="sum", gamma=1.0), classes, "sum"),
    "one value a sample": (lambda z, y: F.cross_entropy(z, y, reduction="none"), classes, "samples"),
    "a sum that says nothing": (lambda z, y: F.mse_loss(z, y, reduction="sum"), floats, "sum"),
    "a sum over 64, whatever the batch": (lambda z, y: F.cross_entropy(z, y, reduction="sum") / 64, classes, "sum"),
}


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("memory", ["4GiB", "600B"])
def test_reductions_are_torchs_own(name: str, memory: str) -> None:
    torch.manual_seed(2)
    loss, targets, over = LOSSES[name]
    model = nn.Sequential(nn.Linear(4, CLASSES), nn.LogSoftmax(1)).double()
    x, y = torch.randn(11, 4, dtype=torch.float64), targets(11)
    objective = Objective(model, loss, [(x[:7], y[:7]), (x[7:], y[7:])], memory=memory)
    truth = loss(model(x), y)
    check(objective, model, truth.mean() if truth.ndim else truth)
    assert objective.over == over


def mined(outputs: Tensor, targets: Tensor, reduction: str = "mean", hardest: int = 32) -> Tensor:
    """The mean over the hardest samples of a batch: the plain mean of small batches."""
    values = F.cross_entropy(outputs, targets, reduction="none")
    return values if reduction == "none" else values.topk(min(hardest, len(values))).values.mean()


@pytest.mark.parametrize("sizes", [(60, 60), (60,), (10, 60), (33, 20)])
def test_a_loss_that_means_something_else_of_large_batches_is_used_as_it_was_passed(sizes: tuple[int, ...]) -> None:
    torch.manual_seed(2)
    model = nn.Linear(4, CLASSES).double()
    parts = [(torch.randn(n, 4, dtype=torch.float64), torch.arange(n) % CLASSES) for n in sizes]
    objective = Objective(model, mined, parts)
    check(objective, model, sum(len(y) * mined(model(x), y) for x, y in parts) / sum(sizes))
    assert (objective.over, objective.per_sample) == ("batches", False)


@pytest.mark.parametrize("memory", ["4GiB", "50kB", "5kB"])
def test_a_small_budget_does_not_hide_what_a_loss_means_of_large_batches(memory: str) -> None:
    torch.manual_seed(2)
    model = nn.Linear(4, CLASSES).double()
    x, y = torch.randn(600, 4, dtype=torch.float64), torch.arange(600) % CLASSES

    def loss(outputs: Tensor, targets: Tensor, reduction: str = "mean") -> Tensor:
        return mined(outputs, targets, reduction, hardest=500)

    objective = Objective(model, loss, [(x, y)], memory=memory)
    assert objective.over == "batches"
    assert objective.loss(objective.theta) == pytest.approx(loss(model(x), y).item())


SEEN: list[int] = []  # a global: what a loss encloses is put back


def test_a_loss_of_large_batches_is_tried_within_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orograph.meaning._LEAST", 0)
    torch.manual_seed(2)

    def loss(outputs: Tensor, targets: Tensor, reduction: str = "mean") -> Tensor:
        SEEN.append(len(outputs))
        return F.cross_entropy(outputs, targets, reduction=reduction)

    model = nn.Linear(4, CLASSES).double()
    for memory, most in (("4GiB", 600), ("50kB", 50_000 // (16 * 8 * CLASSES))):
        SEEN.clear()
        Objective(model, loss, [(torch.randn(600, 4, dtype=torch.float64), classes(600))], memory=memory)
        assert max(SEEN) == most


@pytest.mark.parametrize("loss", [masked, lambda z, y: F.cross_entropy(z, y)], ids=["masked", "mean only"])
def test_a_loss_that_is_no_mean_of_its_values_is_used_as_it_was_passed(loss: Any) -> None:
    torch.manual_seed(2)
    model = nn.Linear(4, CLASSES).double()
    parts = [(torch.randn(n, 4, dtype=torch.float64), classes(n)) for n in (6, 4)]
    objective = Objective(model, loss, parts)
    check(objective, model, sum(len(y) * loss(model(x), y) for x, y in parts) / 10)
    assert (objective.over, objective.per_sample) == ("batches", False)
    with pytest.raises(ConfigurationError, match="only a mean"):
        EmpiricalFisherOperator.of(objective)


def test_a_mean_over_something_else_than_samples_is_told_where_it_is_taken_over_several_batches() -> None:
    torch.manual_seed(2)
    model = Tokens().double()

    def of_tokens(outputs: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(outputs, targets, ignore_index=-100)

    def of_samples(outputs: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(outputs, targets)

    parts = [(torch.randn(n, 3, 2, dtype=torch.float64), torch.randint(CLASSES, (n, 3))) for n in (6, 4)]
    full = [(inputs, targets.clone()) for inputs, targets in parts]
    parts[0][1][:3, 1:] = -100  # in half of the samples one of three positions counts
    with pytest.warns(OrographWarning, match="of_tokens of a batch is no mean over its samples, and over 2 batches each weighs"):
        objective = Objective(model, of_tokens, parts)
    check(objective, model, sum(len(y) * of_tokens(model(x), y) for x, y in parts) / 10)  # as it says
    with warnings.catch_warnings():
        warnings.simplefilter("error", OrographWarning)
        Objective(model, of_tokens, parts[:1])  # that of torch
        Objective(model, of_samples, full)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [HessianOperator, GaussNewtonOperator])
def test_curvature_is_that_of_the_loss_over_counted_targets(kind: Any) -> None:
    torch.manual_seed(0)
    model = Tokens().double()  # linear: the Hessian is the Gauss–Newton matrix
    x, y = torch.randn(6, 3, 2, dtype=torch.float64), torch.randint(CLASSES, (6, 3))
    y[0, 1:] = y[4, 2:] = -100
    loss = nn.CrossEntropyLoss(weight=WEIGHTS.double())

    def value(theta: Tensor) -> Tensor:
        return loss((x @ theta[:6].view(3, 2).T + theta[6:]).movedim(-1, 1), y)

    operator = kind(model, loss, [(x[:4], y[:4]), (x[4:], y[4:])])
    expected = torch.autograd.functional.hessian(value, operator.theta)
    torch.testing.assert_close(operator @ torch.eye(9, dtype=torch.float64), expected, rtol=1e-9, atol=1e-12)
    assert "class weights" in operator.plan


def test_the_loss_of_some_samples_is_averaged_over_what_counts_among_them() -> None:
    torch.manual_seed(0)
    model, loss = Tokens().double(), nn.CrossEntropyLoss()
    x, y = torch.randn(6, 3, 2, dtype=torch.float64), torch.randint(CLASSES, (6, 3))
    y[0, 1:] = y[4, 2:] = -100
    whole, some = Objective(model, loss, [(x, y)]), torch.tensor([4, 0, 1])
    part = whole.subset(some)
    assert part.loss(part.theta) == pytest.approx(loss(model(x[some]), y[some]).item(), rel=1e-12)
    shares = [whole.subset(each, weighed=False) for each in torch.arange(6).split(4)]
    total = sum(each.loss(each.theta) * each.count for each in shares) / 6
    assert total == pytest.approx(whole.loss(whole.theta), rel=1e-12)


def test_no_target_that_counts_is_refused() -> None:
    with pytest.raises(DataError, match="no target counts"):
        Objective(nn.Linear(2, CLASSES), nn.CrossEntropyLoss(), [(torch.randn(4, 2), torch.full((4,), -100))])


@pytest.mark.parametrize(
    ("loss", "outputs", "targets"),
    [
        (nn.MSELoss(), 1, ()),
        (F.l1_loss, 1, ()),
        (functools.partial(F.huber_loss, delta=2.0), 1, ()),
        (lambda z, y: F.mse_loss(z, y), 1, ()),
        (nn.MSELoss(reduction="sum"), 1, ()),
    ],
)
def test_outputs_that_meet_every_target_are_refused(loss: Any, outputs: int, targets: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match=r"outputs of shape \(8, 1\) and targets of shape \(8,\) are broadcast"):
        Objective(nn.Linear(4, outputs), loss, [(torch.randn(8, 4), torch.randn(8, *targets))])


@pytest.mark.parametrize(
    "loss",
    [
        lambda z, y: F.cross_entropy(z.detach(), y),
        lambda z, y: (z.argmax(1) == y).float().mean(),
        lambda z, y: torch.tensor(1.0),
    ],
)
def test_a_loss_without_gradient_is_refused(loss: Any) -> None:
    with pytest.raises(ConfigurationError, match="no gradient by the outputs"):
        Objective(nn.Linear(4, CLASSES), loss, [(torch.randn(8, 4), classes(8))])


def test_tensors_that_a_loss_holds_follow_the_dtype_and_stay_as_they_are() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = WEIGHTS.clone()

        def forward(self, z: Tensor, y: Tensor) -> Tensor:
            return ((z * self.scale) @ self.scale.to(z.dtype)).square().mean()

    model, x = nn.Linear(4, CLASSES), torch.randn(8, 4)
    for loss in (nn.CrossEntropyLoss(weight=WEIGHTS.clone()), functools.partial(F.cross_entropy, weight=WEIGHTS), Scaled()):
        single = Objective(model, loss, [(x, classes(8))])
        assert single.to(torch.float64).loss(single.theta.double()) == pytest.approx(single.loss(single.theta), rel=1e-5)
        assert (
            Objective(model, loss, [(x, classes(8))], dtype=torch.float64).gradient(single.theta.double()).dtype == torch.float64
        )
        held = loss.scale if isinstance(loss, Scaled) else loss.weight if isinstance(loss, nn.Module) else loss.keywords["weight"]
        assert held.dtype == torch.float32


def test_a_minimum_at_which_only_rounding_is_left_does_not_look_like_mixing() -> None:
    torch.manual_seed(0)
    x = torch.randn(64, 4)
    model = nn.Linear(4, 2)
    y = model(x).detach()  # losses of zero and of rounding
    assert Objective(model, nn.MSELoss(), [(x, y)]).per_sample
    sure = nn.Linear(4, CLASSES)
    sure.weight.data.mul_(40)  # losses of about 1e-8
    assert Objective(sure, nn.CrossEntropyLoss(), [(x, sure(x).argmax(1))]).per_sample


@pytest.mark.parametrize(("value", "words"), [(1, "a value of type int"), (0.5, "a value of type float"), (None, "None")])
def test_a_loss_that_gives_no_tensor_is_told(value: object, words: str) -> None:
    with pytest.raises(ConfigurationError, match=f"must give a tensor that depends on the outputs, not {words}"):
        HessianOperator(nn.Linear(3, 1), lambda outputs, targets: value, [(torch.ones(4, 3), torch.ones(4, 1))])
