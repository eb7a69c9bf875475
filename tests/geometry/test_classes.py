"""Shares of classes and samples against dense per-sample Hessians; data in which one class alone makes the top direction."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from landscapes import classifier, dense_hessians
from orograph.errors import ConfigurationError, DataError
from orograph.geometry import directional
from orograph.geometry.classes import class_accuracies, class_gradients, class_shares
from orograph.geometry.cross_means import class_means, cross_class_means, subspace_overlap
from orograph.geometry.directional import sample_derivatives, sample_slopes
from orograph.objective import Objective
from orograph.spectral.spectrum import Spectrum


def spectrum_of(hessian: Tensor, count: int, clusters: tuple[tuple[int, int], ...] = ()) -> Spectrum:
    values, vectors = torch.linalg.eigh(hessian)
    values, vectors = values.flip(0)[:count], vectors.T.flip(0)[:count].contiguous()
    none = torch.zeros(count, dtype=torch.float64)
    true = torch.ones(count, dtype=torch.bool)
    return Spectrum(values, vectors, none, math.nan, true, ~true, clusters, False, none, values.sign().long(), 0, "LA", 1e-3)


def gauss_newton(objective: Objective, theta: Tensor) -> Tensor:
    """`(N, P, P)`, JᵀCJ with the closed form of the softmax cross-entropy's C."""
    inputs, _ = next(objective.batches(objective.count))
    jacobian = torch.func.jacrev(lambda point: objective.outputs(point, inputs))(theta)
    p = objective.outputs(theta, inputs).detach().softmax(-1)
    middle = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
    return torch.einsum("ncp,ncd,ndq->npq", jacobian, middle, jacobian)


@pytest.mark.parametrize("activation", [nn.Tanh, nn.ReLU])
def test_sample_curvatures_are_the_quadratic_forms_of_the_dense_hessians(activation) -> None:
    objective = classifier(activation)
    theta = objective.theta
    directions = torch.randn(5, len(theta), generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    found = sample_derivatives(objective, theta, directions)
    for values, matrices in (
        (found.curvatures, dense_hessians(objective, theta)),
        (found.gauss_newton, gauss_newton(objective, theta)),
    ):
        torch.testing.assert_close(values, torch.einsum("kp,npq,kq->kn", directions, matrices, directions))
    slopes = sample_slopes(objective, theta, directions)
    torch.testing.assert_close(found.slopes, slopes)
    torch.testing.assert_close(slopes.mean(1), directions @ objective.gradient(theta))


@pytest.mark.slow
@pytest.mark.parametrize("activation", [nn.Tanh, nn.ReLU])
def test_the_trace_agrees_with_what_is_not_traced(activation, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 6), activation(), nn.BatchNorm1d(6), nn.Linear(6, 4)).double()
    objective = Objective(model, F.cross_entropy, [(torch.randn(30, 5).double(), torch.randint(0, 4, (30,)))], memory=100_000)
    directions = torch.randn(9, objective.layout.size, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    plain = sample_derivatives(objective, objective.theta, directions)
    calls = []
    trace = directional._trace
    monkeypatch.setattr(directional, "_trace", lambda *args: calls.append(args[2]) or trace(*args))
    monkeypatch.setattr(directional, "WORTH_TRACING", 0)
    traced = sample_derivatives(objective, objective.theta, directions)
    moved = sample_derivatives(objective, objective.theta + 1, directions)
    assert sorted(set(calls)) == [1, 8]  # two widths, and no new trace for the new θ
    assert len(calls) <= 4
    assert all(product.__name__ == "product" for key, product in objective.traces.items() if key[0] == "samples")
    monkeypatch.setattr(directional, "WORTH_TRACING", 10**9)
    expected = sample_derivatives(objective, objective.theta + 1, directions)
    for name in ("slopes", "curvatures", "gauss_newton"):
        torch.testing.assert_close(getattr(traced, name), getattr(plain, name), rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(getattr(moved, name), getattr(expected, name), rtol=1e-9, atol=1e-12)


def test_sample_curvatures_exist_for_convolutions_and_other_losses() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Softplus(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8, 3))
    for loss, targets in ((F.mse_loss, torch.randn(4, 3).double()), (nn.CrossEntropyLoss(), torch.randint(0, 3, (4,)))):
        objective = Objective(model.double(), loss, [(torch.randn(4, 1, 6, 6).double(), targets)])
        theta = objective.theta
        direction = torch.randn(1, len(theta), dtype=torch.float64)
        found = sample_derivatives(objective, theta, direction).curvatures[0]
        expected = torch.einsum("p,npq,q->n", direction[0], dense_hessians(objective, theta), direction[0])
        torch.testing.assert_close(found, expected)


def test_shares_of_all_classes_sum_to_the_eigenvalue() -> None:
    objective = classifier()
    theta = objective.theta
    each = dense_hessians(objective, theta)
    spectrum = spectrum_of(each.mean(0), 6, clusters=((1, 3), (4, 6)))
    found = class_shares(objective, theta, spectrum)
    torch.testing.assert_close(found.shares.sum(0), spectrum.eigenvalues, rtol=1e-10, atol=1e-12)
    assert found.defect.abs().max() < 1e-12
    targets = objective.targets
    vectors = spectrum.eigenvectors
    for index in range(4):
        share = each[targets == index].sum(0) / objective.count
        torch.testing.assert_close(found.shares[index], torch.diagonal(vectors @ share @ vectors.T), rtol=1e-9, atol=1e-12)
        for column, (start, stop) in enumerate(spectrum.clusters):
            block = vectors[start:stop]
            assert found.cluster_shares[index, column].item() == pytest.approx((block @ share @ block.T).trace().item())
    torch.testing.assert_close(found.sample_shares.sum(0), spectrum.eigenvalues, rtol=1e-10, atol=1e-12)
    assert (found.gauss_newton >= 0).all()
    assert found.counts.tolist() == torch.bincount(targets, minlength=4).tolist()
    best = found.top_samples(3)
    assert best.shape == (6, 3)
    assert torch.equal(best[0], found.sample_shares[:, 0].argsort(descending=True)[:3])


def test_cluster_shares_do_not_depend_on_the_basis_of_the_cluster() -> None:
    objective = classifier()
    spectrum = spectrum_of(dense_hessians(objective, objective.theta).mean(0), 4, clusters=((1, 4),))
    turn = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64))[0]
    turned = Spectrum(
        **{**spectrum.__dict__, "eigenvectors": torch.cat([spectrum.eigenvectors[:1], turn @ spectrum.eigenvectors[1:]])}
    )
    one, other = (class_shares(objective, objective.theta, each) for each in (spectrum, turned))
    assert not torch.allclose(one.shares, other.shares)
    torch.testing.assert_close(one.cluster_shares, other.cluster_shares)


def test_the_class_that_alone_makes_the_top_direction_is_found() -> None:
    torch.manual_seed(0)
    targets = torch.arange(3).repeat_interleave(10)
    inputs = 0.01 * torch.randn(30, 4).double()
    inputs[targets == 1, 2] += 5  # only class 1 has a large input, along which the loss is curved
    objective = Objective(nn.Linear(4, 3).double(), F.cross_entropy, [(inputs, targets)])
    hessian = dense_hessians(objective, objective.theta).mean(0)
    found = class_shares(objective, objective.theta, spectrum_of(hessian, 1))
    assert found.shares[1, 0] / found.shares[:, 0].sum() > 0.95
    assert set(found.top_samples(10)[0].tolist()) == set(range(10, 20))


def test_missing_classes_have_no_share_and_no_gradient() -> None:
    objective = classifier()
    found = class_shares(
        objective, objective.theta, spectrum_of(dense_hessians(objective, objective.theta).mean(0), 2), classes=6
    )
    assert found.shares.shape == (6, 2)
    assert (found.shares[4:] == 0).all()
    gradients = class_gradients(objective, objective.theta, classes=6)
    assert (gradients.gradients[4:] == 0).all()
    assert torch.isnan(gradients.cosines[4]).all()


def test_class_gradients_are_those_of_each_class_alone_and_average_to_the_gradient() -> None:
    objective = classifier()
    theta = objective.theta
    found = class_gradients(objective, theta)
    inputs, targets = next(objective.batches(objective.count))
    for index in range(4):
        alone = Objective(objective.model, F.cross_entropy, [(inputs[targets == index], targets[targets == index])])
        torch.testing.assert_close(found.gradients[index], alone.gradient(theta))
    total = (found.counts.double() / 30) @ found.gradients
    torch.testing.assert_close(total, objective.gradient(theta))
    expected = F.cosine_similarity(found.gradients[0], found.gradients[2], dim=0)
    assert found.cosines[0, 2].item() == pytest.approx(expected.item())
    expected = F.cosine_similarity(found.gradients[1], objective.gradient(theta), dim=0)
    assert found.cosines_with_total[1].item() == pytest.approx(expected.item())


def test_class_accuracies_average_to_the_accuracy() -> None:
    objective = classifier()
    found = class_accuracies(objective, objective.theta, classes=5)
    counts = torch.bincount(objective.targets, minlength=5)
    right = (objective.all_outputs(objective.theta).argmax(1) == objective.targets).double().mean()
    assert (found[:4] * counts[:4]).sum().item() / 30 == pytest.approx(right.item())
    assert torch.isnan(found[4])


def test_labels_can_be_given_where_targets_are_no_classes() -> None:
    torch.manual_seed(0)
    objective = Objective(nn.Linear(3, 2).double(), F.mse_loss, [(torch.randn(6, 3).double(), torch.randn(6, 2).double())])
    spectrum = spectrum_of(dense_hessians(objective, objective.theta).mean(0), 2)
    with pytest.raises(DataError, match="pass `labels`"):
        class_shares(objective, objective.theta, spectrum)
    labels = torch.tensor([0, 1, 0, 1, 2, 2])
    assert class_shares(objective, objective.theta, spectrum, labels=labels).defect.abs().max() < 1e-12
    with pytest.raises(ConfigurationError, match="at least 3"):
        class_shares(objective, objective.theta, spectrum, labels=labels, classes=2)


def test_a_mean_only_loss_has_no_classes() -> None:
    objective = Objective(nn.Linear(3, 2), lambda o, t: F.cross_entropy(o, t), [(torch.randn(6, 3), torch.tensor([0, 1] * 3))])
    with pytest.raises(ConfigurationError, match="only a mean"):
        class_gradients(objective, objective.theta)


def test_cross_class_means_are_those_of_the_dense_jacobians() -> None:
    objective = classifier()
    theta = objective.theta
    inputs, targets = next(objective.batches(objective.count))
    jacobian = torch.func.jacrev(lambda point: objective.outputs(point, inputs))(theta)
    p = objective.outputs(theta, inputs).detach().softmax(-1)
    centred = jacobian - torch.einsum("nc,ncp->np", p, jacobian)[:, None]
    all_of_them = p.sqrt()[:, :, None] * centred
    found = cross_class_means(objective, theta)
    torch.testing.assert_close(torch.einsum("ncp,ncq->pq", all_of_them, all_of_them), gauss_newton(objective, theta).sum(0))
    for index in range(4):
        torch.testing.assert_close(found[index], all_of_them[targets == index].mean(0))
    others = [found[2, other] for other in (0, 1, 3)]
    torch.testing.assert_close(class_means(found)[2], torch.stack(others).sum(0))


def test_overlap_is_the_squared_length_of_the_projection() -> None:
    spanning = torch.tensor([[2.0, 0, 0, 0], [1.0, 1, 0, 0], [3.0, 1, 0, 0]], dtype=torch.float64)
    vectors = torch.tensor([[0.0, 1, 0, 0], [0, 0, 1, 0], [0.6, 0, 0.8, 0]], dtype=torch.float64)
    torch.testing.assert_close(subspace_overlap(vectors, spanning), torch.tensor([1.0, 0.0, 0.36], dtype=torch.float64))
