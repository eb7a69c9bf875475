"""On a device other than the CPU, without one: every tensor lies where it should, and the host waits only where it must.

`elsewhere` says what the device is. Numbers are those of the CPU, for it is the CPU that computes them.
"""

import copy
import doctest
import importlib
import itertools
import statistics
import types
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import orograph as og
from curvature import cases
from elsewhere import DEVICE, Elsewhere, Guard, guarded
from orograph import cli
from orograph.curvature.cohort import CohortHessian
from orograph.spectral import lanczos_cohort
from orograph.training import train_cohort

EXAMPLES = [
    "noise_robustness",
    "relative_flatness",
    "scalar_curvature",
    "worst_case",
    "loss_increase",
    "sharpness",
    "class_gradients",
    "class_shares",
    "class_accuracies",
    "fisher_rao_norm",
    "ensemble",
    "align",
    "connect",
    "nudged_elastic_band",
    "surface",
    "plane",
    "train_own",
    "fit",
    "polish",
    "follow",
]


def problem() -> tuple[nn.Module, Any, Any]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3))
    return model, nn.CrossEntropyLoss(), [(torch.randn(40, 6), torch.randint(0, 3, (40,)))]


def nothing(guard: Guard) -> bool:
    """Whether nothing went to or fro."""
    return not guard.trips and not guard.uploads


def values(tensor: Tensor) -> Tensor:
    assert isinstance(tensor, Elsewhere)
    return tensor.values


def test_a_sum_of_tensors_on_two_devices_fails() -> None:
    with guarded(), pytest.raises(RuntimeError, match=r"aten\.add.*one device"):
        torch.ones(3).to(DEVICE) + torch.ones(3)


def test_what_the_host_asks_for_and_what_it_sends_is_counted() -> None:
    with guarded() as guard:
        there = torch.ones(3).to(DEVICE)
        assert guard.uploads.total() == 1
        assert not guard.trips
        there.sum().item()
        there.cpu()
        there[there > 0]
        assert guard.trips.total() == 3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "case"),
    [(og.HessianOperator, case) for case in (cases.mlp, cases.cnn, cases.resnet, cases.transformer)]
    + [(og.GaussNewtonOperator, cases.cnn), (og.EmpiricalFisherOperator, cases.cnn)],
    ids=lambda given: getattr(given, "__name__", None),
)
def test_a_product_neither_waits_for_the_device_nor_sends_it_anything(kind: Any, case: Any) -> None:
    torch.manual_seed(0)
    model, loss, data = case()
    model = model.double()
    here = kind(copy.deepcopy(model), loss, data)
    vectors = torch.randn(here.size, 3, dtype=torch.float64)
    expected = here @ vectors
    with guarded() as guard:
        model.to(DEVICE)
        if case is cases.transformer:
            model.output.weight = model.embedding.weight  # as torch would leave it
        operator = kind(model, loss, data)
        assert operator.method == here.method == "traced"
        there = vectors.to(DEVICE)
        for given, wanted in ((there[:, 0].contiguous(), expected[:, 0]), (there, expected)):
            operator @ given  # the first looks whether the module is what it was, and traces the block
            guard.clear()
            product = operator @ given
            assert nothing(guard), (guard.trips, guard.uploads)
            # other orders of summation at most
            torch.testing.assert_close(values(product), wanted, rtol=1e-10, atol=1e-13)


@pytest.mark.slow
def test_a_product_of_a_cohort_neither_waits_for_the_device_nor_sends_it_anything() -> None:
    with guarded() as guard:
        model, loss, data = problem()
        objective = og.Objective(model.to(DEVICE), loss, data)
        operators = CohortHessian(objective, torch.stack([objective.theta, 1.1 * objective.theta]))
        operators @ operators.thetas
        guard.clear()
        operators @ operators.thetas
        assert nothing(guard), (guard.trips, guard.uploads)


@pytest.mark.slow
@pytest.mark.parametrize("published", [False, True])
@pytest.mark.parametrize("optimizer", ["Adam", "AdamW", "SGD"])
def test_a_step_of_training_neither_waits_for_the_device_nor_sends_it_anything(optimizer: Any, published: bool) -> None:
    model, loss, data = problem()
    with guarded() as guard:
        objective = og.Objective(model.to(DEVICE), loss, data)
        anchored = objective.penalised(0.1, 0.5 * objective.theta)
        counted = []
        for batch_size in (20, 5, 20, 5):  # the first two trace
            settings = og.TrainingSettings(epochs=2, batch_size=batch_size, optimizer=optimizer, published=published)
            guard.clear()
            og.train(anchored, objective.theta, settings, order_seed=0)
            counted.append((dict(guard.trips), dict(guard.uploads)))
        assert counted[2] == counted[3]  # in 4 and in 16 steps


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [0, [0, 1]], ids=["one stream", "a stream each"])
def test_a_step_of_a_cohort_neither_waits_for_the_device_nor_sends_it_anything(seeds: Any) -> None:
    model, loss, data = problem()
    with guarded() as guard:
        objective = og.Objective(model.to(DEVICE), loss, data)
        thetas = torch.stack([objective.theta, 1.1 * objective.theta])
        counted = []
        for batch_size in (20, 5, 20, 5):
            settings = og.TrainingSettings(epochs=2, batch_size=batch_size)
            guard.clear()
            train_cohort(objective, thetas, settings, strengths=[0.0, 0.1], anchors=0.5 * thetas, order_seeds=seeds)
            counted.append((dict(guard.trips), dict(guard.uploads)))
        assert counted[2] == counted[3]


@pytest.mark.slow
def test_spectra_one_by_one_and_in_step_agree_with_those_of_the_cpu() -> None:
    model, loss, data = problem()
    expected = og.lanczos(og.HessianOperator(copy.deepcopy(model), loss, data), k=3).eigenvalues
    with guarded():
        objective = og.Objective(model.to(DEVICE), loss, data)
        operator = og.HessianOperator.of(objective)
        hessians = CohortHessian(objective, torch.stack([objective.theta] * 2))
        together = lanczos_cohort([operator] * 2, hessians.__matmul__, k=3)
        for found in (og.lanczos(operator, k=3), *together):
            # float32 residuals of 1e-3 give eigenvalues of 1e-6
            torch.testing.assert_close(found.eigenvalues, expected, rtol=1e-4, atol=1e-6)


def steps(ask: Callable[..., Any]) -> list[Counter[str]]:
    """How often the host waited between one report of products and the next, from the second report on."""
    model, loss, data = problem()
    with guarded() as guard:
        objective = og.Objective(model.to(DEVICE), loss, data)
        operator = og.HessianOperator.of(objective)
        seen: list[Counter[str]] = []

        def told(_: str, products: int) -> None:
            seen.append(guard.trips.copy())

        ask(operator, on_product=told)
    return [after - before for before, after in itertools.pairwise(seen)][1:]


WAITS = {
    # the new row of the projection, its norms and whether it is finite; where convergence is looked at, residuals too
    "lanczos": (lambda operator, **told: og.lanczos(operator, k=3, max_products=20, **told), 5, 10),
    # the rows of the recurrence, of all probes at once
    "density": (lambda operator, **told: og.density(operator, probes=2, steps=10, **told), 6, 6),
    # blocks of eight; between two kinds of block the small matrices go to the host
    "trace": (lambda operator, **told: og.trace(operator, probes=24, **told), 1, 5),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", WAITS)
def test_between_two_products_the_host_waits_for_small_things_only_and_as_often_as_stated(name: str) -> None:
    ask, typical, most = WAITS[name]
    waits = [each.total() for each in steps(ask)]
    assert statistics.median(waits) <= typical
    assert max(waits) <= most


@pytest.mark.slow
def test_newton_s_method_waits_for_numbers_and_sends_nothing() -> None:
    model, loss, data = problem()
    with guarded() as guard:
        objective = og.Objective(model.to(DEVICE), loss, data).penalised(0.05)
        hessian = og.HessianOperator.of(objective)
        hessian @ objective.theta
        guard.clear()
        found = og.polish(objective, objective.theta, hessian=hessian, tolerance=1e-4, max_products=60)
    assert found.converged
    assert not guard.uploads
    assert set(guard.trips) == {"aten._local_scalar_dense.default"}  # no vector
    # three a product (curvature, residual, length), the rest by steps: losses, gradients, the trust region
    assert guard.trips.total() <= 5 * found.products + 20 * found.steps


@pytest.mark.slow
def test_a_surface_waits_as_often_whatever_its_points_and_shares_lie_where_eigenvalues_do() -> None:
    model, loss, data = problem()
    with guarded() as guard:
        objective = og.Objective(model.to(DEVICE), loss, data)
        waits: list[Counter[str]] = []
        for points in (4, 3, 5):  # in the first, a block of points is tried against single ones
            guard.clear()
            og.surface(objective, objective.theta, og.random_orthonormal(objective.theta, count=2), points=points)
            waits.append(guard.trips.copy())
        assert waits[1] == waits[2]
        spectrum = og.lanczos(og.HessianOperator.of(objective), k=3)
        guard.clear()
        shares = og.class_shares(objective, objective.theta, spectrum)
        assert guard.trips.total() < 40  # by class and chunk
        gradients = og.class_gradients(objective, objective.theta)
    assert isinstance(gradients.gradients, Elsewhere)
    here = [shares.shares, shares.gauss_newton, shares.sample_shares, shares.defect, gradients.cosines, spectrum.eigenvalues]
    assert not any(isinstance(each, Elsewhere) for each in here)


class Placing:
    """A package whose functions and classes give what lies on the device."""

    def __init__(self, package: Any) -> None:
        self._package = package

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._package, name)
        if isinstance(found, types.ModuleType):
            return Placing(found)
        if isinstance(found, torch.dtype) or not callable(found):
            return found

        def made(*args: Any, **kwargs: Any) -> Any:
            result = found(*args, **kwargs)
            return result.to(DEVICE) if isinstance(result, Tensor | nn.Module) else result

        return made


@pytest.mark.slow
@pytest.mark.parametrize("name", EXAMPLES)
def test_the_example_of_the_reference_runs_where_its_tensors_lie_elsewhere(name: str) -> None:
    examples = doctest.DocTestParser().get_examples(getattr(og, name).__doc__)
    assert examples
    with guarded():
        known: dict[str, Any] = {"torch": Placing(torch), "og": og}
        for example in examples:
            exec(example.source.removeprefix("import torch, orograph as og"), known)


@pytest.mark.slow
def test_a_sweep_runs_where_its_tensors_lie_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("orograph.work.bench", "orograph.sweep.cost"):
        monkeypatch.setattr(importlib.import_module(module), "choose_device", lambda name: DEVICE)
    small = "--dataset digits --subset-size 200 --widths 5 --epochs 2 --k 2 --points 2 --max 0.01 --start fresh --threads 1"
    with guarded() as guard:
        assert cli.main(["sweep", *small.split(), "--quiet", "--out", str(tmp_path / "run")]) == 0
        assert guard.uploads
