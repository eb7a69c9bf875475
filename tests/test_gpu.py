"""On a CUDA device: what the pretended one of `elsewhere` cannot tell, kernels and graphs that are the device's own."""

from pathlib import Path

import pytest
import torch
from torch import nn

import orograph as og
from orograph import cli
from orograph.training import train_cohort

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")]


def objective(device: str) -> og.Objective:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.GELU(), nn.Flatten(), nn.Linear(4 * 36, 12), nn.Tanh(), nn.Linear(12, 5))
    data = [(torch.randn(96, 1, 8, 8), torch.randint(0, 5, (96,)))]
    return og.Objective(model.to(device), nn.CrossEntropyLoss(), data)


def close(there: torch.Tensor, here: torch.Tensor) -> None:
    """Within float32 sums in other orders."""
    torch.testing.assert_close(there.cpu(), here, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("kind", [og.HessianOperator, og.GaussNewtonOperator, og.EmpiricalFisherOperator])
def test_products_are_those_of_the_cpu(kind: type[og.HessianOperator]) -> None:
    here, there = kind.of(objective("cpu")), kind.of(objective("cuda"))
    vectors = torch.randn(here.size, 5)
    assert there.method == "traced"
    close(there @ vectors[:, 0].cuda(), here @ vectors[:, 0])
    close(there @ vectors.cuda(), here @ vectors)


def test_pairs_density_and_trace_are_those_of_the_cpu() -> None:
    here, there = og.HessianOperator.of(objective("cpu")), og.HessianOperator.of(objective("cuda"))
    close(og.lanczos(there, k=4).eigenvalues, og.lanczos(here, k=4).eigenvalues)
    assert og.trace(there).value == pytest.approx(og.trace(here).value, rel=1e-3)
    assert og.density(there).mass(0.1, 100) == pytest.approx(og.density(here).mass(0.1, 100), abs=1e-3)


def test_fast_products_have_residuals_that_full_ones_verify() -> None:
    exact = og.HessianOperator.of(objective("cuda"))
    found = og.lanczos(og.HessianOperator.of(objective("cuda"), precision="fast"), k=2)
    vector = found.eigenvectors[0]
    residual = (exact @ vector - found.eigenvalues[0].to(vector) * vector).norm().item()
    assert residual == pytest.approx(found.residuals[0].item(), rel=0.5, abs=1e-5)


def test_training_alone_and_in_a_cohort_goes_the_way_of_the_cpu() -> None:
    settings = og.TrainingSettings(epochs=3, batch_size=32)
    here, there = objective("cpu"), objective("cuda")
    alone = [og.train(each, each.theta, settings, order_seed=0).theta for each in (here, there)]
    close(alone[1], alone[0])
    thetas = torch.stack([here.theta, 1.1 * here.theta])
    given = {"strengths": [0.0, 0.01], "order_seeds": 0}
    together = [train_cohort(each, thetas.to(each.device), settings, **given) for each in (here, there)]
    for mine, theirs in zip(*together, strict=True):
        close(theirs.theta, mine.theta)


@pytest.mark.slow
def test_a_sweep_ends(tmp_path: Path) -> None:
    small = "--dataset digits --widths 6 --epochs 4 --k 3 --points 5 --max 0.01 --device cuda --quiet"
    assert cli.main(["sweep", *small.split(), "--out", str(tmp_path)]) == 0
    assert og.open_run(tmp_path).sizes["strength"] == 5
