"""Callbacks that are told of products: one signature, and what becomes of the former one."""

import functools
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch

from orograph.curvature.counting import counter, renamed
from orograph.curvature.operator import MatrixOperator
from orograph.geometry.ricci import scalar_curvature
from orograph.geometry.scale import relative_flatness
from orograph.parameters import Layout
from orograph.spectral.cg import conjugate_gradient
from orograph.spectral.densities import density
from orograph.spectral.eigenpairs import lanczos
from orograph.spectral.splitting import split
from orograph.spectral.traces import trace

MATRIX = torch.diag(torch.arange(1.0, 31.0, dtype=torch.float64))
PAIRS = lanczos(MatrixOperator(MATRIX), 9)
CALLS: dict[str, Callable[..., Any]] = {
    "spectrum": lambda **given: lanczos(MatrixOperator(MATRIX), 2, **given),
    "density": lambda **given: density(MatrixOperator(MATRIX), probes=2, steps=5, **given),
    "trace": lambda **given: trace(MatrixOperator(MATRIX), probes=3, **given),
    "conjugate gradients": lambda **given: conjugate_gradient(MatrixOperator(MATRIX), torch.ones(30).double(), **given),
    "split": lambda **given: split(MatrixOperator(MATRIX), MatrixOperator(MATRIX), PAIRS, **given),
    "scalar curvature": lambda **given: scalar_curvature(MatrixOperator(MATRIX), MATRIX[0], probes=4, **given),
    "relative flatness": lambda **given: relative_flatness(
        MatrixOperator(MATRIX), MATRIX.diagonal(), Layout(("weight",), (torch.Size([5, 6]),)), "weight", probes=8, **given
    ),
}


@pytest.mark.parametrize("stage", CALLS)
def test_every_computation_names_itself_and_counts_its_products(stage: str) -> None:
    told: list[tuple[str, int]] = []
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)
        result = CALLS[stage](on_product=lambda *facts: told.append(facts))
    assert {name for name, _ in told} == {stage}
    counts = [count for _, count in told]
    assert counts == sorted(counts)
    assert counts[-1] == result.products


@pytest.mark.parametrize("stage", CALLS)
def test_a_callback_of_the_count_alone_still_works_with_a_warning(stage: str) -> None:
    counts: list[int] = []
    with pytest.warns(DeprecationWarning, match=r"on_product\(stage, count\)"):
        result = CALLS[stage](on_product=counts.append)
    assert counts[-1] == result.products


def test_arguments_with_defaults_are_a_former_callbacks_own() -> None:
    counts: list[int] = []

    def append(count: int, into: list[int] = counts, *, twice: bool = False) -> None:
        into.append(count)

    with pytest.warns(DeprecationWarning, match=r"on_product\(stage, count\)"):
        counter(append, "trace")(7)
    assert counts == [7]


def test_a_callback_of_any_number_of_arguments_is_told_both(capsys: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)
        counter(print, "trace")(7)
    assert capsys.readouterr().out == "trace 7\n"


class _Bar:
    def __init__(self) -> None:
        self.told: list[Any] = []

    def update(self, stage: str, count: int) -> None:
        self.told.append((stage, count))

    def __call__(self, stage: str, count: int, colour: str = "red") -> None:
        self.update(stage, count)


def test_methods_partial_and_callable_objects_are_told_stage_and_count() -> None:
    bar = _Bar()
    for callback in (bar, bar.update, functools.partial(bar, colour="blue"), lambda *facts: bar.update(*facts)):
        counter(callback, "trace")(3)
    renamed_callback = renamed(bar, "λ_min")
    assert renamed_callback is not None
    counter(renamed_callback, "spectrum")(4)
    assert bar.told == [("trace", 3)] * 4 + [("λ_min", 4)]
    assert renamed(None, "λ_min") is None
    counter(None, "trace")(1)
