"""Numbers that multiply parameters must be held by the run's arithmetic; bounds, which are compared in float64, need not."""

import re
from typing import Any

import pytest

from orograph.errors import OrographError
from orograph.settings.base import LARGEST, SMALLEST
from orograph.study.settings import StudySettings
from orograph.sweep.settings import SweepSettings

USED: list[tuple[type, str, str]] = [
    (SweepSettings, "ladder", "strengths"),
    (SweepSettings, "ladder", "max"),
    (SweepSettings, "training", "lr"),
    (SweepSettings, "training", "weight_decay"),
    (StudySettings, "optimisation", "lr"),
    (StudySettings, "optimisation", "weight_decay"),
]


def settings_with(kind: type, group: str, name: str, value: float, dtype: str) -> Any:
    several = name == "strengths" or kind is StudySettings
    given = {name: (value,) if several else value} | ({"min": 0.0} if name == "max" else {})
    given |= {"scheduler": ("none",)} if kind is StudySettings else {}
    return kind(**{group: given, "numerics": {"dtype": dtype}})


@pytest.mark.parametrize(("kind", "group", "name"), USED)
@pytest.mark.parametrize("value", [1e-46, 1e-39, 1e38])
def test_what_float32_does_not_hold_is_refused_with_a_way_out_that_works(kind: type, group: str, name: str, value: float) -> None:
    with pytest.raises((OrographError, ValueError), match=rf"`{name}` {re.escape(str(value))} is .* float32.*or `dtype` float64"):
        settings_with(kind, group, name, value, "float32")
    settings_with(kind, group, name, value, "float64")
    settings_with(kind, group, name, SMALLEST["float32"] if value < 1 else LARGEST["float32"], "float32")


@pytest.mark.parametrize(("kind", "group", "name"), USED)
@pytest.mark.parametrize("value", [1e-320, 1e305])
def test_what_float64_does_not_hold_is_refused_without_a_way_that_is_none(
    kind: type, group: str, name: str, value: float
) -> None:
    for dtype in ("float32", "float64"):
        with pytest.raises((OrographError, ValueError), match=rf"`{name}` {re.escape(str(value))} is .*{dtype}") as refused:
            settings_with(kind, group, name, value, dtype)
        assert "`dtype`" not in str(refused.value)


def test_bounds_and_what_is_not_used_may_be_as_small_as_can_be_written() -> None:
    assert StudySettings(optimisation={"min_lr": 1e-40, "scheduler": ("cosine",)}).optimisation.min_lr == 1e-40
    assert SweepSettings(ladder={"strengths": (0.0, 0.1), "min": 1e-40}).ladder.min == 1e-40
    assert SweepSettings(training={"polish_tolerance": 1e-40}) is not None
