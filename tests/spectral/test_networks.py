"""Spectra of real networks: against ARPACK on plain double backward, and at collapsed points, whose spectra theory gives.

At θ = 0 all hidden units are alike, so that eigenvalues come in copies, and with two hidden layers and the output bias at the
classes' log-frequencies the Hessian has nine eigenvalues (those of the softmax, times 1 + ‖h‖²) and is otherwise exactly zero.
"""

import numpy as np
import pytest
import torch
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import nn
from torch.nn import functional as F

from orograph.curvature.hessian import HessianOperator
from orograph.data.catalogue import load_data
from orograph.errors import ConfigurationError
from orograph.measures.measurement import measure
from orograph.models.catalogue import build_model
from orograph.objective import Objective
from orograph.spectral.eigenpairs import lanczos


def dense(objective: Objective) -> np.ndarray:
    """The Hessian in float64, by autograd of autograd."""
    exact = objective.to(torch.float64)
    (batch,) = exact.batches(exact.count)
    return torch.func.hessian(lambda theta: exact.summed(theta, *batch) / exact.count)(exact.theta).numpy()


def collapsed(widths: tuple[int, ...]) -> Objective:
    data = load_data("digits")
    model = build_model("mlp", input_shape=data.input_shape, classes=10, init_seed=0, widths=widths)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        frequencies = torch.bincount(data.train_targets, minlength=10) / len(data.train_targets)
        list(model.parameters())[-1].copy_(frequencies.log())
    return Objective(model, F.cross_entropy, data.train)


@pytest.mark.slow
def test_thirty_pairs_of_the_published_network_are_those_of_arpack() -> None:
    data = load_data("mnist-5k", subset_size=500)
    model = build_model("mlp", input_shape=data.input_shape, classes=10, init_seed=0)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.003)
    for _ in range(60):
        optimiser.zero_grad()
        F.cross_entropy(model(data.train_inputs), data.train_targets).backward()
        optimiser.step()
    parameters = list(model.parameters())

    def product(vector: np.ndarray) -> np.ndarray:
        loss = F.cross_entropy(model(data.train_inputs), data.train_targets)
        gradient = torch.autograd.grad(loss, parameters, create_graph=True)
        flat = torch.cat([g.reshape(-1) for g in gradient])
        weighted = flat @ torch.from_numpy(vector.reshape(-1).astype(np.float32))
        return torch.cat([h.reshape(-1) for h in torch.autograd.grad(weighted, parameters)]).numpy()

    size = sum(p.numel() for p in parameters)
    expected = np.sort(eigsh(LinearOperator((size, size), product, dtype=np.float32), k=30, which="LM", tol=1e-4)[0])[::-1]
    found = lanczos(HessianOperator(model, F.cross_entropy, data.train), 30)
    assert found.converged.all()
    # Weyl: each is within its residual of an eigenvalue; 1e-4 is ARPACK's own, 1e-5·λ₁ the rounding of float32 products.
    np.testing.assert_array_less(
        np.abs(found.eigenvalues.numpy() - expected),
        found.residuals.numpy() + 1e-4 * np.abs(expected) + 1e-5 * np.abs(expected).max(),
    )


@pytest.mark.slow
@pytest.mark.parametrize("width", [6, 17])
def test_every_copy_at_a_collapsed_point_with_one_hidden_layer_is_found(width: int) -> None:
    objective = collapsed((width,))
    exact = np.linalg.eigvalsh(dense(objective))
    found = lanczos(HessianOperator.of(objective), 3 * width)
    wanted = np.sort(exact[np.argsort(-np.abs(exact), kind="stable")[: 3 * width]])[::-1]
    # ± pairs have equal magnitude, so that which of them the last place takes is arbitrary: magnitudes are compared.
    np.testing.assert_allclose(
        np.sort(found.eigenvalues.abs().numpy()), np.sort(np.abs(wanted)), rtol=1e-3, atol=1e-5 * np.abs(wanted).max()
    )
    assert any(stop - start >= width - 1 for start, stop in found.clusters)
    assert found.products <= objective.layout.size  # quickly


@pytest.mark.slow
def test_what_is_only_rounding_at_a_collapsed_point_is_marked_and_ends_the_search() -> None:
    objective = collapsed((8, 8))
    found = lanczos(HessianOperator.of(objective), 30)
    exact = np.sort(np.linalg.eigvalsh(dense(objective)))[::-1]
    assert exact[9] < 1e-7 < 1e-3 < exact[8]  # exactly zero, but for the rounding of the logarithms to float32
    np.testing.assert_allclose(found.eigenvalues[~found.noise].numpy(), exact[:9], rtol=1e-3)
    assert found.noise.sum() == 21
    assert found.converged.all()
    assert (found.signs[found.noise] == 0).all()
    assert found.products <= 200


@pytest.mark.slow
def test_a_network_of_one_parameter_is_measured() -> None:
    model, x = nn.Linear(1, 1, bias=False).double(), torch.arange(1.0, 10.0, dtype=torch.float64)[:, None]
    found = measure(model, nn.MSELoss(), [(x, x)], k=1)
    curvature = 2 * x.square().mean().item()  # of mean (wx − x)²
    assert found.spectrum.eigenvalues.tolist() == pytest.approx([curvature])
    assert found.lowest.eigenvalues.tolist() == pytest.approx([curvature])
    assert found.trace.value == pytest.approx(curvature)
    with pytest.raises(ConfigurationError, match="no more than P = 1"):
        measure(model, nn.MSELoss(), [(x, x)])
