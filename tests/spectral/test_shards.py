"""Several processes find what one finds: eigenvalues, residuals and the spaces, with their share of the basis each.

The truth is the dense matrix, or the same computation in one process. The processes are real, joined by gloo.
"""

import functools
import socket
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed
from torch import nn
from torch.nn import functional as F

from forked import CONTEXT
from orograph.curvature.ggn import GaussNewtonOperator
from orograph.curvature.hessian import HessianOperator
from orograph.curvature.operator import MatrixOperator
from orograph.curvature.shards import Shards
from orograph.errors import ConfigurationError
from orograph.objective import Objective
from orograph.spectral.eigenpairs import lanczos


def together(work: Callable[[], Any], ranks: int) -> list[Any]:
    """What each of so many processes returns."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with CONTEXT.Pool(ranks) as pool:
        return [each.get(300) for each in [pool.apply_async(_joined, (work, rank, ranks, port)) for rank in range(ranks)]]


def _joined(work: Callable[[], Any], rank: int, ranks: int, port: int) -> Any:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=ranks)
    torch.distributed.barrier()  # or one leaves while others still connect
    try:
        return work()
    finally:
        torch.distributed.destroy_process_group()


def objective(dtype: torch.dtype = torch.float64) -> Objective:
    """A small network on 61 samples, a number that no count of processes divides."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3)).to(dtype)
    inputs, targets = torch.randn(61, 5, dtype=dtype), torch.randint(3, (61,))
    return Objective(model, F.cross_entropy, [(inputs, targets)])


def matrix() -> torch.Tensor:
    """Clustered, repeated and negative extremes."""
    generator = torch.Generator().manual_seed(1)
    vectors, _ = torch.linalg.qr(torch.randn(203, 203, dtype=torch.float64, generator=generator))
    values = torch.cat([torch.tensor([9.0, 5.0, 5.0, 5.0, 4.999, -6.0, -6.0]), torch.linspace(-1, 2, 196)]).double()
    return vectors @ torch.diag(values) @ vectors.T


def products() -> tuple[np.ndarray, np.ndarray, float, np.ndarray]:
    whole = objective()
    operator = HessianOperator.of(whole, group=torch.distributed.group.WORLD)
    vectors = torch.eye(operator.size, dtype=torch.float64)
    return (operator @ vectors).numpy(), operator.gradient.numpy(), operator.loss, (operator @ vectors[0]).numpy()


def spectrum_of_network() -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    found = lanczos(GaussNewtonOperator.of(objective(), group=torch.distributed.group.WORLD), 6, tolerance=1e-9)
    return found.eigenvalues.numpy(), found.residuals.numpy(), found.eigenvectors.numpy(), found.basis_bytes


def spectrum_of_matrix() -> tuple[np.ndarray, np.ndarray, int]:
    operator = MatrixOperator(matrix())
    operator.group = torch.distributed.group.WORLD  # every process has the same matrix: the products agree
    found = lanczos(operator, 7, tolerance=1e-8)
    return found.eigenvalues.numpy(), found.eigenvectors.numpy(), found.basis_bytes


def too_many() -> str:
    model = nn.Linear(2, 2)
    try:
        few = Objective(model, F.cross_entropy, [(torch.randn(1, 2), torch.tensor([0]))])
        HessianOperator.of(few, group=torch.distributed.group.WORLD)
    except ConfigurationError as error:
        return str(error)
    return ""


class Late(nn.Module):
    """Takes a factor for a constant where a sample is far from the others."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(5, 7), nn.Linear(7, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.first(x)
        far = x.mean(1, keepdim=True) > 4
        return self.last(torch.tanh(hidden * torch.where(far, hidden.detach(), torch.ones_like(hidden))))


def of_the_last_samples(shift: float, place: int) -> tuple[str, str]:
    """What is said of a network that does otherwise on the last samples alone, and on what it was tested."""
    torch.manual_seed(0)
    inputs, targets = torch.randn(61, 5, dtype=torch.float64), torch.randint(3, (61,))
    inputs[place] += shift
    whole = Objective(Late().double(), F.cross_entropy, [(inputs, targets)])
    try:
        operator = HessianOperator.of(whole, group=torch.distributed.group.WORLD)
        operator.examine()
    except ConfigurationError as error:
        return str(error), ""
    return "", operator.tested_on


@pytest.mark.slow
@pytest.mark.parametrize(("shift", "place"), [(0.0, 0), (9.0, 59), (9.0, 60)])  # 59 is among the few that are tried at first
def test_what_one_process_finds_wrong_with_its_samples_all_refuse(shift: float, place: int) -> None:
    for said, tested in together(functools.partial(of_the_last_samples, shift, place), 2):
        assert ("is something detached" in said) == (shift > 0)
        assert tested == ("" if shift else "all batches")


@pytest.mark.slow
def test_products_gradient_and_loss_are_those_of_all_samples() -> None:
    alone = HessianOperator.of(objective())
    dense = (alone @ torch.eye(alone.size, dtype=torch.float64)).numpy()
    for product, gradient, loss, column in together(products, 3):
        np.testing.assert_allclose(product, dense, atol=1e-13)  # sums of 61 terms in another order
        np.testing.assert_allclose(gradient, alone.gradient.numpy(), atol=1e-14)
        np.testing.assert_allclose(column, dense[:, 0], atol=1e-13)
        assert loss == pytest.approx(alone.loss, rel=1e-14)


@pytest.mark.slow
def test_shared_lanczos_finds_every_copy_with_a_share_of_the_basis() -> None:
    truth = np.linalg.eigvalsh(matrix().numpy())
    wanted = np.sort(truth[np.argsort(-np.abs(truth))[:7]])[::-1]
    alone = lanczos(MatrixOperator(matrix()), 7, tolerance=1e-8)
    parts = together(spectrum_of_matrix, 2)
    for values, _, size in parts:
        np.testing.assert_allclose(values, wanted, atol=1e-12 * 9)
        assert abs(size - alone.basis_bytes / 2) <= alone.basis_bytes / 203  # a column more or less
    vectors = np.concatenate([part for _, part, _ in parts], axis=1)
    np.testing.assert_allclose(vectors @ vectors.T, np.eye(7), atol=1e-12)
    residual = vectors @ matrix().numpy() - parts[0][0][:, None] * vectors
    assert np.abs(residual).max() < 1e-7


@pytest.mark.slow
def test_all_processes_get_the_same_bits() -> None:
    first, second = together(spectrum_of_network, 2)
    alone = lanczos(GaussNewtonOperator.of(objective()), 6, tolerance=1e-9)
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])
    np.testing.assert_allclose(first[0], alone.eigenvalues.numpy(), rtol=1e-9)


@pytest.mark.slow
def test_more_processes_than_samples_are_refused() -> None:
    assert all("2 processes cannot share 1 samples" in message for message in together(too_many, 2))


def test_one_process_holds_everything() -> None:
    shards = Shards(11)
    rows = torch.randn(3, 11)
    assert shards.width == 11
    assert shards.local(shards.whole(rows)).equal(rows)
    torch.testing.assert_close(shards.norms(rows), rows.double().norm(dim=1))
