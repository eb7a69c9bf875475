"""Every metric of a minimum on a quadratic, where all have closed forms; then limits, levels, kinks and failures on networks."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from landscapes import classifier, dense_hessians, quadratic, symmetric
from orograph.curvature.hessian import HessianOperator
from orograph.curvature.operator import MatrixOperator
from orograph.errors import DataError
from orograph.geometry.flatness import RADII
from orograph.geometry.scale import relative_flatness
from orograph.objective import Objective
from orograph.problem import Groups
from orograph.response import influence
from orograph.study.minimum import LEVELS, RADIUS, drawn, measure_minimum
from orograph.study.settings import MetricsSettings
from orograph.training import polish

SIZE = 40
FULL = MetricsSettings(comprehensive=True, top_k=6)


def positive(size: int = SIZE, seed: int = 0) -> Tensor:
    """Six eigenvalues from 10 to 5, many from 0.3 to 0.1, and one of 0.01, in random directions."""
    values = torch.cat([torch.linspace(10, 5, 6), torch.logspace(-0.5, -1, size - 7), torch.tensor([0.01])]).double()
    basis = torch.linalg.qr(symmetric(size, seed))[0]
    matrix = basis @ torch.diag(values) @ basis.T
    return (matrix + matrix.T) / 2


@pytest.fixture(scope="module")
def theta() -> Tensor:
    return torch.randn(SIZE, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


@pytest.fixture(scope="module")
def away(theta: Tensor) -> Tensor:
    """θ − θ*, so that the gradient is not zero."""
    return 0.02 * torch.randn(SIZE, generator=torch.Generator().manual_seed(4), dtype=torch.float64)


@pytest.fixture(scope="module")
def found(theta: Tensor, away: Tensor):
    train = quadratic(positive(), theta, theta - away)
    test = quadratic(symmetric(SIZE, 1, positive=True), theta, theta - 0.1)
    return measure_minimum(train, test, theta, settings=FULL, seed=1)


@pytest.mark.slow
def test_measures_that_are_asked_for_stand_beside_the_rest(found, theta: Tensor, away: Tensor) -> None:
    train, test = quadratic(positive(), theta, theta - away), quadratic(symmetric(SIZE, 1, positive=True), theta, theta - 0.1)
    more = measure_minimum(train, test, theta, settings=FULL, measures=("sharpening", "sam"), seed=1).scalars
    added = {name: more.pop(name) for name in [*more] if name not in found.scalars}
    assert more["failures"] == found.scalars["failures"] == {}
    assert more["lambda_max"] == found.scalars["lambda_max"]
    gradient = positive() @ away
    unit = gradient / gradient.norm()
    assert added["sam_rise"] == pytest.approx((0.05 * gradient.norm() + 0.05**2 / 2 * unit @ positive() @ unit).item(), rel=1e-9)
    assert added["sharpening_rate"] == 0.0  # of a quadratic


def test_eigenvalues_and_what_follows_from_them(found, theta: Tensor) -> None:
    values = torch.linalg.eigvalsh(positive()).flip(0)
    scalars = found.scalars
    assert not scalars["failures"]
    assert scalars["smooth"]
    assert scalars["eigenvalues"] == pytest.approx(values[:6].tolist(), rel=1e-5)  # tolerance² / gap
    assert found.arrays["eigenvalues"].tolist() == scalars["eigenvalues"]
    assert scalars["lambda_max"] == pytest.approx(values[0].item(), rel=1e-5)
    assert scalars["lambda_min"] == pytest.approx(values[-1].item(), rel=1e-3)
    assert scalars["condition_number"] == pytest.approx((values[0] / values[-1]).item(), rel=1e-3)
    assert scalars["condition_number_note"] == ""
    shares = values[:6] / values[:6].sum()
    assert scalars["effective_rank_top_6"] == pytest.approx((values[:6].sum() / values[0]).item(), rel=1e-5)
    assert scalars["entropy_rank_top_6"] == pytest.approx((-(shares * shares.log()).sum()).exp().item(), rel=1e-5)
    square = theta.square().sum().item()
    assert scalars["scaled_lambda_max"] == pytest.approx(square * values[0].item(), rel=1e-5)
    assert scalars["finite_lambda_max"] == pytest.approx(values[0].item(), rel=1e-4)
    assert scalars["finite_eigenvalues"] == pytest.approx(values[:6].tolist(), rel=1e-4)


def test_trace_ranks_and_scalar_curvature_within_their_errors(found, theta: Tensor, away: Tensor) -> None:
    hessian, scalars = positive(), found.scalars
    values = torch.linalg.eigvalsh(hessian)
    trace, square = values.sum().item(), values.square().sum().item()
    # Four standard errors: a seeded estimate that misses by more is wrong, not unlucky.
    assert abs(scalars["trace"] - trace) < 4 * scalars["trace_error"]
    assert scalars["trace_error"] < 0.05 * trace  # the six large eigenvalues are known exactly
    assert abs(scalars["frobenius_square"] - square) < 4 * scalars["frobenius_square_error"] + 1e-6 * square
    assert scalars["participation_ratio"] == pytest.approx(trace**2 / square, rel=0.02)
    assert abs(scalars["scaled_trace"] - theta.square().sum().item() * trace) < 4 * scalars["scaled_trace_error"]
    assert abs(scalars["finite_trace"] - trace) < 4 * scalars["finite_trace_error"]
    gradient = hessian @ away
    beta = 1 / (1 + gradient.square().sum().item())
    bent = (gradient @ hessian @ gradient).item()
    bent_square = (hessian @ gradient).square().sum().item()
    curvature = beta * (trace**2 - square) - 2 * beta**2 * (trace * bent - bent_square)
    assert abs(scalars["scalar_curvature"] - curvature) < 4 * scalars["scalar_curvature_error"]


def test_sharpness_and_flatness_follow_from_the_hessian(found, theta: Tensor, away: Tensor) -> None:
    hessian, scalars = positive(), found.scalars
    norm, trace = theta.norm().item(), hessian.trace().item()
    expected = norm**2 * trace / SIZE / 2 * sum(r**2 for r in RADII) / len(RADII)
    assert abs(scalars["loss_increase"] - expected) < 4 * scalars["loss_increase_error"]
    assert scalars["flatness_measure"] == -scalars["loss_increase"]
    assert scalars["loss_increase_radii"] == list(RADII)
    assert abs(scalars["sharpness_even"] - (RADIUS * norm) ** 2 * trace / SIZE / 2) < 4 * scalars["sharpness_even_error"]
    assert scalars["sharpness_sampled"] <= scalars["sharpness_best_found"]
    assert scalars["adaptive_sharpness_sampled"] <= scalars["adaptive_sharpness_best_found"]
    gradient = hessian @ away
    assert scalars["gradient_norm"] == pytest.approx(gradient.norm().item(), rel=1e-9)
    assert scalars["fisher_rao_norm"] == pytest.approx(abs(theta @ gradient).item(), rel=1e-9)
    assert scalars["parameter_norm"] == pytest.approx(norm, rel=1e-12)
    assert scalars["train_loss"] == pytest.approx((away @ hessian @ away).item() / 2, rel=1e-9)


@pytest.mark.slow
def test_the_largest_rise_at_the_minimum_is_that_along_the_top_eigenvector(theta: Tensor) -> None:
    hessian = positive()
    objective = quadratic(hessian, theta)
    scalars = measure_minimum(objective, objective, theta, settings=FULL).scalars
    top = torch.linalg.eigvalsh(hessian)[-1].item()
    assert scalars["sharpness_best_found"] == pytest.approx(top * (RADIUS * theta.norm().item()) ** 2 / 2, rel=1e-4)
    # Adaptively u = |θ|∘w with ‖w‖ ≤ ε√P, so that the eigenvalue is that of |θ|H|θ|; ascent ends at gains below 1 %.
    scaled = torch.linalg.eigvalsh(theta.abs()[:, None] * hessian * theta.abs())[-1].item()
    assert scalars["adaptive_sharpness_best_found"] == pytest.approx(scaled * RADIUS**2 * SIZE / 2, rel=0.05)
    assert scalars["gradient_norm"] == 0


def test_gap_and_robustness_are_those_of_the_test_data(found, theta: Tensor) -> None:
    scalars = found.scalars
    hessian = symmetric(SIZE, 1, positive=True)
    shift = torch.full_like(theta, 0.1)
    assert scalars["test_loss"] == pytest.approx((shift @ hessian @ shift).item() / 2, rel=1e-9)
    assert scalars["gap"] == scalars["test_loss"] - scalars["train_loss"]
    rise = (0.01 * theta.norm().item()) ** 2 * hessian.trace().item() / SIZE / 2
    assert abs(scalars["noise_loss_rise"] - rise) < 4 * scalars["noise_loss_rise_error"]
    assert not {"test_accuracy", "train_margin", "noise_accuracy_drop"} & scalars.keys()  # no classes
    assert math.isnan(scalars["relative_flatness"])  # no layer


@pytest.mark.slow
@pytest.mark.parametrize(("lowest", "word"), [(-0.5, "negative"), (0.0, "cannot be told from 0")])
def test_a_condition_number_that_means_nothing_is_not_given(theta: Tensor, lowest: float, word: str) -> None:
    values = torch.linspace(1, 3, SIZE, dtype=torch.float64)
    values[0] = lowest
    basis = torch.linalg.qr(symmetric(SIZE))[0]
    objective = quadratic(basis @ torch.diag(values) @ basis.T, theta)
    scalars = measure_minimum(objective, objective, theta, settings=MetricsSettings(fast=True, top_k=2)).scalars
    assert math.isnan(scalars["condition_number"])
    assert word in scalars["condition_number_note"]


@pytest.mark.slow
@pytest.mark.parametrize(("products", "with_density"), [(40, True), (60, False), (150, True)])
def test_no_more_products_are_made_than_the_limit_and_the_record_counts_them(monkeypatch, products: int, with_density) -> None:
    made = 0
    single, block = HessianOperator.product, HessianOperator.block_product
    objective = classifier(nn.Tanh)

    def count(function, columns):
        def counted(self, other):
            nonlocal made
            if self.size == objective.layout.size:  # not those of the last layer alone
                made += columns(other)
            return function(self, other)

        return counted

    monkeypatch.setattr(HessianOperator, "product", count(single, lambda vector: 1))
    monkeypatch.setattr(HessianOperator, "block_product", count(block, lambda columns: columns.shape[1]))
    settings = MetricsSettings(comprehensive=True, products=products, spectrum_plot=with_density)
    found = measure_minimum(objective, objective, objective.theta, settings=settings)
    spent = found.scalars["products"]
    assert made == spent["spent"] == sum(spent["parts"].values()) <= products
    if products == 40:
        assert spent["cut"]
    assert all(isinstance(reason, str) and reason for reason in spent["cut"].values())
    assert ("density_grid" in found.arrays) == (with_density and "no density" not in spent["cut"].get("density", ""))


def test_numbers_of_a_network_are_those_of_its_dense_hessian() -> None:
    objective = classifier(nn.Tanh)
    found = measure_minimum(objective, objective, objective.theta, settings=MetricsSettings(comprehensive=True), seed=5).scalars
    dense = dense_hessians(objective, objective.theta).mean(0)
    values = torch.linalg.eigvalsh(dense).flip(0)
    assert found["lambda_max"] == pytest.approx(values[0].item(), rel=1e-4)
    assert abs(found["trace"] - values.sum().item()) < 4 * found["trace_error"]
    probes = LEVELS["comprehensive"].rows
    expected = relative_flatness(MatrixOperator(dense), objective.theta, objective.layout, "2.weight", probes=probes, seed=5)
    assert found["relative_flatness"] == pytest.approx(expected.value, rel=1e-8)
    assert found["relative_flatness_layer"] == "2.weight"
    assert (found["gap"], found["accuracy_gap"]) == (0, 0)


@pytest.mark.slow
def test_kinks_are_said_and_have_their_companions() -> None:
    objective = classifier(nn.ReLU)
    found = measure_minimum(objective, objective, objective.theta, settings=MetricsSettings(fast=True)).scalars
    assert found["smooth"] is False
    assert all(math.isfinite(found[name]) for name in ("finite_lambda_max", "finite_trace", "finite_trace_error"))


@pytest.mark.slow
def test_the_fast_level_says_which_part_of_the_data_it_looked_at() -> None:
    train, test = classifier(count=2100), classifier(count=50)
    found = measure_minimum(train, test, train.theta, settings=MetricsSettings(fast=True, top_k=3)).scalars
    assert (found["measured"]["images"], found["measured"]["of"], found["measured"]["level"]) == (2000, 2100, "fast")
    assert found["train_loss"] == pytest.approx(train.loss(train.theta), rel=1e-12)  # losses are of all data


@pytest.mark.slow
def test_the_same_seed_gives_the_same_numbers() -> None:
    objective = classifier()
    settings = MetricsSettings(fast=True, top_k=3)
    one, same = (measure_minimum(objective, objective, objective.theta, settings=settings).scalars for _ in range(2))
    assert str(one) == str(same)


@pytest.mark.slow
def test_eigenvectors_are_kept_where_they_are_wanted() -> None:
    objective = classifier()
    settings = MetricsSettings(fast=True, top_k=3, keep_eigenvectors=True)
    kept = measure_minimum(objective, objective, objective.theta, settings=settings).arrays["eigenvectors"]
    assert kept.shape == (3, objective.layout.size)


@pytest.mark.slow
def test_what_fails_is_recorded_and_the_rest_is_measured() -> None:
    objective = classifier()
    zero = torch.zeros_like(objective.theta)
    found = measure_minimum(objective, objective, zero, settings=MetricsSettings(fast=True, top_k=2)).scalars
    assert set(found["failures"]) == {"sharpness", "flatness", "noise robustness"}
    assert found["adaptive_sharpness_best_found"] == 0  # perturbations relative to weights that are zero
    assert all("positive" in reason for reason in found["failures"].values())
    assert found["train_loss"] == pytest.approx(math.log(4))
    assert math.isfinite(found["lambda_max"])


def test_a_diverged_network_is_refused_in_one_sentence() -> None:
    objective = classifier()
    with pytest.raises(DataError, match="diverged"):
        measure_minimum(objective, objective, torch.full_like(objective.theta, math.nan), settings=MetricsSettings())


@pytest.mark.slow
def test_samples_that_help_or_harm_are_numbered_among_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a minimum measured on some samples: as the influence on these finds them, by their places among all."""
    torch.manual_seed(0)
    inputs, targets = torch.randn(60, 3).double(), torch.arange(60) % 2
    model = nn.Linear(3, 2).double()
    train = Objective(model, nn.functional.cross_entropy, [(inputs, targets)], strength=0.05)
    test = Objective(model, nn.functional.cross_entropy, [(torch.randn(30, 3).double(), torch.arange(30) % 2)])
    monkeypatch.setitem(LEVELS, "fast", replace(LEVELS["fast"], images=40))
    places = drawn(train, 40, 3)
    assert places is not None
    some = train.subset(places)
    theta = polish(some, some.theta, hessian=HessianOperator.of(some), tolerance=1e-9, max_products=200).theta
    settings = MetricsSettings(fast=True, top_k=2, products=40)
    groups = Groups(("even", "odd"), targets, torch.arange(30) % 2)
    found = measure_minimum(train, test, theta, settings=settings, measures=("influence",), groups=groups, seed=3).scalars
    values = influence(some, theta, on=test).removed[0]
    assert found["helpful_samples"][0] == places[values.argmax()].item()
    assert found["harmful_samples"][0] == places[values.argmin()].item()
    assert found["measured"]["images"] == 40
