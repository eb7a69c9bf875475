"""The stopping rule on made-up sequences whose outcome is worked out by hand."""

import math

import pytest

from orograph.training.stopping import Outcome, Stopping

BEST, WORSE, DROP = Outcome.IMPROVED, Outcome.WORSE, Outcome.DROP


def follow(values: list[float], *, start: float | None = None, **limits: int) -> tuple[Stopping, list[Outcome]]:
    stopping = Stopping(**{"epochs": 50, "patience": 2, "drops": 1, **limits})
    if start is not None:
        stopping.start(start)
    verdicts = []
    for value in values:
        assert stopping.stopped is None
        verdicts.append(stopping.observe(value))
    return stopping, verdicts


def test_patience_counts_epochs_since_the_best_then_drops_then_stops() -> None:
    stopping, verdicts = follow([3, 2, 2.5, 2.4, 1.9, 2, 2])
    assert verdicts == [BEST, BEST, WORSE, DROP, BEST, WORSE, WORSE]
    assert (stopping.stopped, stopping.best, stopping.best_epoch, stopping.epoch) == ("patience", 1.9, 5, 7)


def test_the_start_counts_as_a_state_to_beat() -> None:
    stopping, verdicts = follow([3, 2, 1.5, 1.2], start=1.0)
    assert verdicts == [WORSE, DROP, WORSE, WORSE]
    assert (stopping.stopped, stopping.best, stopping.best_epoch) == ("patience", 1.0, 0)


def test_an_equal_value_is_no_improvement() -> None:
    assert follow([1.0, 1.0, 1.0], drops=0)[0].stopped == "patience"


def test_the_last_epoch_ends_training_even_where_a_drop_is_due() -> None:
    stopping, verdicts = follow([1, 2, 2], epochs=3)
    assert verdicts == [BEST, WORSE, WORSE]
    assert stopping.stopped == "epochs"


def test_no_drops_means_the_first_lost_patience_ends() -> None:
    assert follow([1, 2, 2], drops=0)[0].stopped == "patience"


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_not_finite_fails_at_once(bad: float) -> None:
    stopping, _ = follow([1, bad])
    assert (stopping.stopped, stopping.epoch, stopping.best_epoch) == ("failed", 2, 1)


def test_a_start_that_is_not_finite_fails_before_the_first_epoch() -> None:
    stopping, _ = follow([], start=math.nan)
    assert (stopping.stopped, stopping.epoch) == ("failed", 0)
