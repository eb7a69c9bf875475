"""Properties that hold whatever the vectors are: symmetry, linearity, a semi-definite Gauss–Newton matrix and Fisher matrix."""

import functools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from curvature.cases import CASES
from orograph.curvature.fisher import EmpiricalFisherOperator
from orograph.curvature.ggn import GaussNewtonOperator
from orograph.curvature.hessian import HessianOperator
from orograph.curvature.matrix import CurvatureOperator

KINDS = [HessianOperator, GaussNewtonOperator, EmpiricalFisherOperator]


@functools.cache
def operator(kind: type[CurvatureOperator]) -> CurvatureOperator:
    model, loss, batches = CASES[0].build()
    return kind(model, loss, batches)


SIZE = operator(HessianOperator).size
numbers = st.floats(-1e3, 1e3, allow_subnormal=False).map(lambda x: x if abs(x) > 1e-6 else 0.0)
vectors = arrays(np.float64, SIZE, elements=numbers).map(torch.from_numpy)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=30)
@given(u=vectors, v=vectors)
def test_products_are_symmetric(kind: type[CurvatureOperator], u: torch.Tensor, v: torch.Tensor) -> None:
    a = operator(kind)
    scale = 1 + u.norm() * v.norm() + (a @ u).norm() * v.norm() + (a @ v).norm() * u.norm()
    assert abs(u @ (a @ v) - v @ (a @ u)) <= 1e-13 * scale


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=30)
@given(u=vectors, v=vectors, factor=st.floats(-10, 10))
def test_products_are_linear(kind: type[CurvatureOperator], u: torch.Tensor, v: torch.Tensor, factor: float) -> None:
    a = operator(kind)
    expected = a @ u + factor * (a @ v)
    scale = 1 + (a @ u).norm() + abs(factor) * (a @ v).norm() + u.norm() + abs(factor) * v.norm()
    assert (a @ (u + factor * v) - expected).norm() <= 1e-13 * scale


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS[1:])
@settings(max_examples=30)
@given(v=vectors)
def test_gauss_newton_and_fisher_bend_no_direction_downwards(kind: type[CurvatureOperator], v: torch.Tensor) -> None:
    assert v @ (operator(kind) @ v) >= -1e-14 * (1 + v @ v)
