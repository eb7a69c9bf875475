"""A cohort's members against the single loop, and against each other bit for bit in cohorts of other sizes."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from trainable import Convolutional, problem

from orograph.errors import ConfigurationError
from orograph.objective import Objective
from orograph.training.cohort import train_cohort
from orograph.training.loop import train
from orograph.training.settings import TrainingSettings

SETTINGS = TrainingSettings(epochs=40, patience=1, drops=1, lr=0.2, batch_size=16)


def starts(objective: Objective, count: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(count, objective.layout.size, generator=generator, dtype=torch.float64)
    return (objective.theta.double() + 0.3 * noise).to(objective.dtype)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("streams", "published", "anchoring"),
    [("shared", False, "none"), ("shared", True, "one"), pytest.param("own", False, "each", marks=pytest.mark.slow)],
)
def test_members_become_what_they_would_alone(streams: str, published: bool, anchoring: str) -> None:
    model, data = problem()
    objective = Objective(model, F.cross_entropy, data)
    thetas = starts(objective, 5)
    strengths = [0.0, 1e-3, 3e-3, 0.01, 0.1]
    anchors = {"none": None, "one": thetas[0], "each": thetas.flip(0)}[anchoring]
    seeds = 7 if streams == "shared" else [7, 8, 9, 10, 11]
    settings = SETTINGS.model_copy(update={"published": published})
    cohort = train_cohort(objective, thetas, settings, strengths=strengths, anchors=anchors, order_seeds=seeds)
    assert len({member.epochs for member in cohort}) > 1  # some stop early, and the stack shrinks
    for number, member in enumerate(cohort):
        anchor = None if anchors is None else anchors.expand_as(thetas)[number]
        alone = train(
            objective.penalised(strengths[number], anchor),
            thetas[number],
            settings,
            order_seed=7 if streams == "shared" else 7 + number,
        )
        assert (member.epochs, member.best_epoch, member.stopped) == (alone.epochs, alone.best_epoch, alone.stopped)
        torch.testing.assert_close(member.theta, alone.theta, rtol=1e-7, atol=1e-9)
        for mine, theirs in zip(member.history, alone.history, strict=True):
            assert mine == pytest.approx(theirs, rel=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("streams", ["shared", "own"])
def test_convolutional_members_become_what_they_would_alone(streams: str) -> None:
    model, data = problem(Convolutional, inputs=36)
    objective = Objective(model, F.cross_entropy, data, strength=1e-3)
    thetas, settings = starts(objective, 2), SETTINGS.model_copy(update={"epochs": 2})
    seeds = 0 if streams == "shared" else [0, 0]
    for number, member in enumerate(train_cohort(objective, thetas, settings, strengths=[1e-3] * 2, order_seeds=seeds)):
        torch.testing.assert_close(member.theta, train(objective, thetas[number], settings, order_seed=0).theta)


@pytest.mark.slow
@pytest.mark.parametrize("streams", ["shared", "own"])
def test_common_members_of_cohorts_of_different_sizes_agree_bit_for_bit(streams: str) -> None:
    model, data = problem(dtype=torch.float32, count=64)
    objective = Objective(model, F.cross_entropy, data)
    thetas = starts(objective, 8)
    strengths = torch.linspace(0, 0.03, 8).tolist()

    def cohort(chosen: list[int]) -> list[Tensor]:
        seeds = 3 if streams == "shared" else chosen
        given = [strengths[number] for number in chosen]
        return [m.theta for m in train_cohort(objective, thetas[chosen], SETTINGS, strengths=given, order_seeds=seeds)]

    whole = cohort(list(range(8)))
    for chosen in ([0, 3, 7], [5]):
        for number, theta in zip(chosen, cohort(chosen), strict=True):
            assert torch.equal(theta, whole[number])


@pytest.mark.slow
def test_a_failing_member_does_not_disturb_the_others() -> None:
    model, data = problem(dtype=torch.float32, count=64)
    objective = Objective(model, F.cross_entropy, data)
    thetas = starts(objective, 3)
    good = train_cohort(objective, thetas[[0, 2]], SETTINGS, strengths=[0.0, 0.01], order_seeds=0)
    strengths = [0.0, 1e39, 0.01]  # infinite in float32
    mixed = train_cohort(objective, thetas, SETTINGS, strengths=strengths, order_seeds=0)
    assert [member.failed_epoch is None for member in mixed] == [True, False, True]
    assert torch.equal(mixed[1].theta, thetas[1])
    assert torch.equal(mixed[0].theta, good[0].theta)
    assert torch.equal(mixed[2].theta, good[1].theta)


def test_numbers_that_do_not_match_are_refused() -> None:
    model, data = problem()
    objective = Objective(model, F.cross_entropy, data)
    thetas = starts(objective, 3)
    with pytest.raises(ConfigurationError, match="3 models were given 2 strengths"):
        train_cohort(objective, thetas, SETTINGS, strengths=[0.0, 0.1], order_seeds=0)
    with pytest.raises(ConfigurationError, match="2 order seeds"):
        train_cohort(objective, thetas, SETTINGS, strengths=[0.0, 0.1, 0.2], order_seeds=[0, 1])
