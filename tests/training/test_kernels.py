"""Replayed kernels against the traced function itself, called eagerly on the same values."""

import gc
import weakref
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from trainable import problem

from orograph.objective import Objective
from orograph.training.kernels import Kernels, Untraceable, trace
from orograph.training.loop import train
from orograph.training.settings import TrainingSettings

WEIGHTS = torch.arange(1.0, 5.0)


def shared_node(x: Tensor, y: Tensor) -> list[Tensor]:
    product = x @ y
    return [product, product, product.t()]


def inputs_and_constants(x: Tensor, y: Tensor) -> list[Tensor]:
    return [x, x.t(), torch.ones_like(y), torch.full((3,), 2.0), WEIGHTS * 2]


def several_results(x: Tensor, y: Tensor) -> list[Tensor]:
    values, places = (x * WEIGHTS).max(dim=1)
    return [values, places.to(x.dtype), F.layer_norm(y, (3,)), torch.nn.functional.gelu(x).sum()]


def changed_in_place(x: Tensor, y: Tensor) -> list[Tensor]:
    z = y.clone()
    z[0] = 1.0
    z.mul_(3).add_(x.sum())
    return [z, z.unsqueeze(0).expand(2, 4, 3), x.repeat(2, 1)]


@pytest.mark.parametrize("function", [shared_node, inputs_and_constants, several_results, changed_in_place])
def test_replaying_gives_what_the_function_gives_on_the_values_of_the_moment(function: Callable[..., list[Tensor]]) -> None:
    x, y = torch.randn(5, 4), torch.randn(4, 3)
    results = [torch.full_like(value, torch.nan) for value in function(x, y)]
    kernels = Kernels(trace(function, [x, y]), [x, y], results)
    for _ in range(2):
        x.normal_()
        y.normal_()
        for result in results:
            result.fill_(torch.nan)
        kernels()
        for result, expected in zip(results, function(x, y), strict=True):
            assert torch.equal(result, expected)


def test_results_go_into_strided_buffers() -> None:
    x, y = torch.randn(2, 5, 4), torch.randn(2, 4, 3)
    whole = torch.zeros(2, 20)
    target = whole[:, :15].view(2, 5, 3)
    Kernels(trace(lambda x, y: [torch.bmm(x, y)], [x, y]), [x, y], [target])()
    assert torch.equal(target, torch.bmm(x, y))
    assert whole[:, 15:].eq(0).all()


def test_a_function_that_draws_random_numbers_is_not_traced() -> None:
    with pytest.raises(Untraceable, match="random"):
        trace(lambda x: [F.dropout(x, 0.5, training=True)], [torch.randn(4)])


@pytest.mark.slow
def test_the_traces_of_an_objective_die_with_it() -> None:
    model, data = problem()
    objective = Objective(model, F.cross_entropy, data)
    train(objective, objective.theta, TrainingSettings(epochs=1), order_seed=0)
    alive = weakref.ref(objective)
    del objective
    gc.collect()
    assert alive() is None
