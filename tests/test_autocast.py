"""Autocast around a caller changes no number of any public function, and is on again after it."""

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import orograph as og

torch.manual_seed(0)
MODEL = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
DATA = [(torch.randn(12, 4), torch.arange(12) % 2)]
MATRIX = torch.randn(9, 9) @ torch.diag(torch.linspace(1, 2, 9)) @ torch.randn(9, 9)
SYMMETRIC = og.MatrixOperator(MATRIX @ MATRIX.T + torch.eye(9))
OBJECTIVE = og.Objective(MODEL, F.cross_entropy, DATA, strength=0.1)
HESSIAN = og.HessianOperator.of(OBJECTIVE)
THETA, ALONG = OBJECTIVE.theta, torch.linspace(-1, 1, len(OBJECTIVE.theta))
ROWS = torch.randn(3, len(THETA))
SPECTRUM = og.lanczos(HESSIAN, 2)
PACKAGES = [og, og.connectivity, og.curvature, og.geometry, og.ladder, og.spectral, og.training]

CALLS: dict[str, Callable[[], Any]] = {
    "an objective": lambda: og.Objective(MODEL, F.cross_entropy, DATA).loss(THETA),
    "an operator": lambda: og.HessianOperator(MODEL, F.cross_entropy, DATA) @ ALONG,
    "Gauss-Newton": lambda: og.GaussNewtonOperator.of(OBJECTIVE) @ ALONG,
    "Fisher": lambda: og.EmpiricalFisherOperator.of(OBJECTIVE) @ ALONG[:, None],
    "loss and gradient": lambda: [HESSIAN.loss, HESSIAN.gradient, OBJECTIVE.value(THETA), OBJECTIVE.value_gradient(THETA)],
    "a matrix": lambda: [SYMMETRIC @ torch.ones(9), (2 * SYMMETRIC).shifted(0.1) @ torch.eye(9)],
    "a function": lambda: og.FunctionOperator(lambda v: MATRIX @ v, size=9) @ torch.ones(9),
    "lanczos": lambda: og.lanczos(SYMMETRIC, 2),
    "trace": lambda: [og.trace(SYMMETRIC, method=method, probes=6) for method in ("hutchinson", "hutch++", "xtrace")],
    "density": lambda: og.density(SYMMETRIC, probes=3, steps=6),
    "conjugate gradients": lambda: og.conjugate_gradient(SYMMETRIC, torch.ones(9)),
    "sharpness": lambda: og.sharpness(OBJECTIVE, THETA, pairs=4),
    "worst case": lambda: og.worst_case(OBJECTIVE, og.sharpness(OBJECTIVE, THETA, pairs=2), steps=3),
    "loss increase": lambda: og.loss_increase(OBJECTIVE, THETA),
    "class shares": lambda: og.class_shares(OBJECTIVE, THETA, SPECTRUM),
    "class gradients": lambda: og.class_gradients(OBJECTIVE, THETA),
    "class means": lambda: og.geometry.cross_class_means(OBJECTIVE, THETA),
    "overlap": lambda: og.geometry.subspace_overlap(ROWS / ROWS.norm(dim=1, keepdim=True), ROWS[:2]),
    "relative flatness": lambda: og.relative_flatness(HESSIAN, THETA, OBJECTIVE.layout, "2.weight", probes=4),
    "split": lambda: og.split(HESSIAN, og.GaussNewtonOperator.of(OBJECTIVE), SPECTRUM),
    "curvature at a radius": lambda: og.geometry.finite_curvatures(OBJECTIVE, THETA, ROWS, 0.1),
    "scalar curvature": lambda: og.scalar_curvature(HESSIAN, ALONG, probes=4),
    "surface": lambda: og.surface(OBJECTIVE, THETA, ROWS[:2], points=3),
    "profile": lambda: og.profile(OBJECTIVE, THETA, ALONG, points=3),
    "a filter-normalised direction": lambda: og.filter_normalised(OBJECTIVE.layout, THETA),
    "a plane": lambda: og.plane(OBJECTIVE, THETA + ROWS, points=3),
    "orthonormal rows": lambda: og.connectivity.orthonormalised(ROWS),
    "a line": lambda: og.curve_profile(OBJECTIVE, og.line(THETA, -THETA), points=3),
    "a curve": lambda: og.bezier(THETA, ALONG).at(torch.tensor([0.3, 0.6]))[slice(0, 2)],
    "alignment": lambda: og.align(OBJECTIVE, THETA, THETA.flip(0)),
    "polishing": lambda: og.polish(OBJECTIVE, THETA, hessian=HESSIAN, tolerance=1e-2, max_products=20),
    "training": lambda: og.train(OBJECTIVE, THETA, og.TrainingSettings(epochs=1), order_seed=0),
    "measure": lambda: og.measure(MODEL, F.cross_entropy, DATA, k=2, steps=5, probes=3),
}


def numbers_of(value: Any) -> Any:
    """What is a number in a result, exactly."""
    if isinstance(value, Tensor | np.ndarray):
        return value.tolist()
    if isinstance(value, Mapping):
        return {key: numbers_of(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [numbers_of(each) for each in value]
    if dataclasses.is_dataclass(value):
        return [numbers_of(getattr(value, each.name)) for each in dataclasses.fields(value)]
    return repr(value) if isinstance(value, int | float | str | None) else type(value).__name__  # NaN beside NaN


SLOW = ("measure", "an operator", "Gauss-Newton", "Fisher", "trace", "split", "scalar curvature", "polishing")


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in CALLS])
def test_autocast_around_a_call_changes_no_number(name: str) -> None:
    outside = numbers_of(CALLS[name]())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert numbers_of(CALLS[name]()) == outside
        assert torch.is_autocast_enabled("cpu")


@pytest.mark.slow
def test_every_public_function_that_takes_tensors_or_what_holds_them_switches_it_off() -> None:
    kinds = ("Tensor", "Objective", "LinearOperator", "Module", "Thetas", "Layout")
    functions = {each for package in PACKAGES for name in dir(package) if inspect.isfunction(each := getattr(package, name))}
    taking = [
        each
        for each in functions
        if each is not og.load_checkpoint  # which computes nothing
        and any(kind in str(p.annotation) for p in inspect.signature(each).parameters.values() for kind in kinds)
    ]
    assert len(taking) > 30
    assert [each.__name__ for each in taking if not hasattr(each, "__wrapped__")] == []
