"""What a plan says of polishing and following: which points, and how products go with strengths and steps."""

from typing import Any

import pytest

from orograph.sweep.critical_cost import ways
from orograph.sweep.settings import SweepSettings


def chosen(*, end: str, anchor: str = "origin", polish: bool = False, start: str = "previous", **ladder: Any) -> SweepSettings:
    return SweepSettings.model_validate(
        {
            "ending": {"end": end},
            "ladder": ladder,
            "anchor": {"anchor": anchor, "start": start},
            "training": {"polish": polish, "polish_products": 700},
        }
    )


@pytest.mark.parametrize(
    ("settings", "trained", "critical"),
    [
        (chosen(end="newton", strengths=(0.0, 0.01, 0.02, 0.03)), 2, 3),  # at 0 and after it there is no branch
        (chosen(end="newton", strengths=(0.01, 0.02, 0.03)), 1, 3),
        (chosen(end="newton", strengths=(0.01, 0.02), direction="both"), 1, 4),  # the way down goes on from its end
        (chosen(end="train", strengths=(0.01, 0.02, 0.03)), 3, 0),
        (chosen(end="train", strengths=(0.0, 0.01), polish=True), 2, 2),
        (chosen(end="train", strengths=(0.01, 0.02), polish=True, start="fresh"), 2, 2),
    ],
)
def test_points_are_trained_or_followed_as_the_schedule_has_them(settings: SweepSettings, trained: int, critical: int) -> None:
    found = ways(settings)
    assert (found.trained, found.critical) == (trained, critical)
    assert (found.products > 0) == (critical > 0)
    assert found.products <= 700 * critical


def test_short_steps_and_a_trained_anchor_take_fewer_products() -> None:
    coarse = ways(chosen(end="newton", points=3, min=0.01, max=0.05)).each
    fine = ways(chosen(end="newton", points=300, min=0.01, max=0.05)).each
    near = ways(chosen(end="newton", points=3, min=0.01, max=0.05, anchor="train:1")).each
    assert near < fine < coarse
