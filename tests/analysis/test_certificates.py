"""Verdicts on what a point is, from numbers whose verdict is plain."""

import math

import pytest

from orograph.analysis.parts.certificates import verdict
from orograph.spectral.morse_index import Index


def low(value: float, residual: float = 0.0, count: int = 0, undecided: int = 0) -> Index:
    return Index(value, residual, count, undecided, False)


@pytest.mark.parametrize(
    ("norm", "lowest", "noise", "expected"),
    [
        (1e-6, low(0.1), 1e-3, "minimum"),
        (1e-6, low(0.1), math.nan, "minimum"),
        (1e-6, low(-0.1, count=2), 1e-3, "saddle"),
        (1e-6, low(0.1, residual=0.2), 1e-3, "undecided"),
        (1e-6, low(1e-4), 1e-3, "undecided"),
        (1e-6, low(-1e-4, undecided=1), 1e-5, "undecided"),
        (1e-3, low(0.1), 1e-3, "not converged"),
        (math.nan, low(0.1), 1e-3, "not converged"),
    ],
)
def test_what_a_point_is(norm: float, lowest: Index, noise: float, expected: str) -> None:
    assert verdict(norm, 1e-5, lowest, noise, 0.01) == expected


def test_without_a_penalty_there_is_no_minimum() -> None:
    assert verdict(1e-9, 1e-5, low(0.1), 0.0, 0.0) == "no penalty"
