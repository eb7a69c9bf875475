"""All that a study records of one minimum: curvature, sharpness, flatness, robustness, scale-aware companions, generalisation.

How carefully is one of three levels. The published sample counts (10 perturbations at each of 5 radii) hold for the upper two.
Whatever needs Hessian products shares one budget (`curvature`); what fails is recorded with its reason, and the rest goes on.
Accuracies and their differences are in percent, as in all records; losses are means over samples.
"""

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from orograph.curvature.counting import OnProduct
from orograph.curvature.hessian import HessianOperator
from orograph.errors import DataError, OrographError
from orograph.geometry.epsilon_sharpness import RADIUS, SampledSharpness, WorstCase, sharpness, worst_case
from orograph.geometry.evaluation import evaluate
from orograph.geometry.flatness import loss_increase, noise_robustness
from orograph.geometry.perturbations import seeded
from orograph.geometry.scale import fisher_rao_norm, relative_flatness
from orograph.geometry.scores import scores
from orograph.measures.table import SAMPLES, take
from orograph.metrics import Metric
from orograph.objective import Objective
from orograph.parameters import Layout
from orograph.problem import Groups
from orograph.spectral.intervals import estimate_fields
from orograph.spectral.spectrum import Spectrum
from orograph.store.findings import Result
from orograph.study.curvature import measure_curvature
from orograph.study.settings import MetricsSettings

ENOUGH = 0.01  # an ascent ends when a step gains less than this share of the rise


@dataclass(frozen=True)
class Effort:
    """How many samples, probes and steps a level takes.

    Attributes:
        images: of the training set for all but losses and accuracies; None is all of them.
        pairs: of perturbations ±u for sampled sharpness, plain and adaptive.
        ascent: gradients of an ascent, in a row.
        around: perturbations at each radius of `loss_increase`, and for noise robustness.
        probes: of the trace, at most.
        rows: products with the last layer alone for relative flatness.
        tolerance: of eigenpairs.
        finite: eigenvectors along which curvature is taken at a finite radius; None is all.
    """

    images: int | None
    pairs: int
    ascent: int
    around: int
    probes: int
    rows: int
    tolerance: float
    finite: int | None


LEVELS = {
    "fast": Effort(images=2000, pairs=5, ascent=2, around=4, probes=8, rows=10, tolerance=1e-2, finite=1),
    "standard": Effort(images=None, pairs=15, ascent=5, around=10, probes=16, rows=20, tolerance=1e-3, finite=1),
    "comprehensive": Effort(images=None, pairs=50, ascent=10, around=10, probes=30, rows=30, tolerance=1e-3, finite=None),
}


def level(settings: MetricsSettings) -> str:
    """The name of the level that the settings ask for."""
    return "fast" if settings.fast else "comprehensive" if settings.comprehensive else "standard"


def measure_minimum(
    train: Objective,
    test: Objective | None,
    theta: Float[Tensor, " P"],
    *,
    settings: MetricsSettings,
    measures: Sequence[str] = (),
    metrics: Sequence[Metric] = (),
    groups: Groups | None = None,
    seed: int = 0,
    on_product: OnProduct | None = None,
) -> Result:
    """Every metric of a minimum.

    BatchNorm takes the statistics that the objectives hold.

    Args:
        train: on the training data; gives all geometry.
        test: of the same model, on the test data; None without these.
        theta: the minimum; the objectives' own θ plays no part.
        settings: level, number of pairs, and the limit on Hessian products.
        measures: also these, by name; they spend products of their own.
        metrics: beside the losses; the accuracy is there wherever targets are classes.
        groups: of the samples, by which the metrics are measured, too.
        seed: of all random vectors, and of the subset at the level `fast`.
        on_product: called with what is being measured and the Hessian products spent so far.

    Returns:
        Scalars by name. `failures` says of each part that failed why, `products` what the budget was spent on and what it cut
        short, `measured` the level and the samples. Arrays: `eigenvalues` and `residuals` `(k,)`; `density_grid`,
        `density_values` and `density_errors`; `eigenvectors` `(k, P)` where they are to be kept.

    Raises:
        DataError: θ holds NaN or infinity.
    """
    if not torch.isfinite(theta).all():
        raise DataError("this minimum holds NaN or infinity: its training has diverged; lower the learning rate.")
    name = level(settings)
    effort = LEVELS[name]
    places = drawn(train, effort.images, seed)
    some = train if places is None else train.subset(places)
    scalars = generalisation(train, test, theta) | of_metrics(train, test, theta, metrics, groups)
    scalars["gradient_norm"] = train.gradient(theta).double().norm().item()
    failures: dict[str, str] = {}
    spent = 0

    def told(part: str, count: int) -> None:
        nonlocal spent
        spent = count
        if on_product is not None:
            on_product(part, count)

    def attempt(part: str, measured: Callable[[], dict[str, Any]]) -> None:
        told(part, spent)
        try:
            scalars.update(measured())
        except OrographError as error:
            failures[part] = str(error)

    arrays: dict[str, np.ndarray] = {}
    known: list[Spectrum] = []

    def curvature() -> dict[str, Any]:
        found = measure_curvature(
            some,
            theta,
            products=settings.products,
            k=settings.top_k,
            tolerance=effort.tolerance,
            probes=effort.probes,
            with_density=settings.spectrum_plot,
            finite_pairs=effort.finite,
            seed=seed,
            on_product=told,
        )
        arrays.update(found.arrays)
        known.extend([] if found.top is None else [found.top])
        return found.scalars

    attempt("curvature", curvature)
    top = known[0] if known else None
    attempt("sharpness", lambda: _sharpness(some, theta, effort, seed, top))
    attempt("adaptive sharpness", lambda: _adaptive(some, theta, effort, seed))
    attempt("flatness", lambda: _flatness(some, theta, effort, seed, top))
    if test is not None:
        attempt("noise robustness", lambda: _robustness(test, theta, effort, seed))
    attempt("relative flatness", lambda: _relative_flatness(some, theta, effort, seed))
    if some.per_sample:
        attempt("Fisher–Rao norm", lambda: {"fisher_rao_norm": fisher_rao_norm(some, theta)})
    if measures:
        of_some = groups if groups is None or places is None else replace(groups, train=groups.train[places])
        given: dict[str, Any] = {"spectrum": top, "on": test, "groups": of_some}
        found, missing = take(measures, some, theta, **given, seed=seed, on_product=on_product)
        scalars |= found if places is None else _numbered(found, places)
        failures |= missing
    scalars["failures"] = failures
    scalars["measured"] = {**asdict(effort), "level": name, "images": some.count, "of": train.count, "parameters": len(theta)}
    if settings.keep_eigenvectors and top is not None:
        arrays["eigenvectors"] = top.eigenvectors.cpu().numpy()
    return Result(scalars, arrays)


def generalisation(train: Objective, test: Objective | None, theta: Float[Tensor, " P"]) -> dict[str, Any]:
    """Loss and, of classes, accuracy and margin over all data of both sets, and how they differ: test loss less train loss, train
    accuracy less test accuracy."""
    found: dict[str, Any] = {}
    for which, objective in (("train", train), ("test", test)):
        if objective is not None:
            each = evaluate(objective, theta[None])
            found[f"{which}_loss"] = each.losses[0].item()
            if not each.accuracies.isnan():
                found |= {f"{which}_accuracy": 100 * each.accuracies[0].item(), f"{which}_margin": each.margins[0].item()}
    if "test_loss" in found:
        found["gap"] = found["test_loss"] - found["train_loss"]
    if "test_accuracy" in found:
        found["accuracy_gap"] = found["train_accuracy"] - found["test_accuracy"]
    return found


def of_metrics(
    train: Objective, test: Objective | None, theta: Float[Tensor, " P"], metrics: Sequence[Metric], groups: Groups | None
) -> dict[str, Any]:
    """Metrics over all data of both sets, and by group where there are some."""
    found: dict[str, Any] = {}
    labels = (None, None) if groups is None else (groups.train, groups.test)
    for which, before, objective, of in (("train", "train_", train, labels[0]), ("test", "", test, labels[1])):
        if objective is not None:
            values, by_group = scores(objective, theta, metrics, labels=of, groups=len(groups.names) if groups else 0)
            found |= {f"{which}_{name}": value for name, value in values.items()}
            found |= {f"{before}group_{name}": value for name, value in by_group.items()}
    return found


def drawn(train: Objective, images: int | None, seed: int) -> Int[Tensor, " n"] | None:
    """So many samples at random; None, which is all, where that many are not there, or where the loss gives only a mean."""
    if images is None or images >= train.count or not train.per_sample:
        return None
    return torch.randperm(train.count, generator=seeded(seed))[:images]


def _numbered(found: dict[str, Any], places: Int[Tensor, " n"]) -> dict[str, Any]:
    """Samples by their numbers among all."""
    return {name: places[value].tolist() if name in SAMPLES and value else value for name, value in found.items()}


def _sharpness(
    objective: Objective, theta: Float[Tensor, " P"], effort: Effort, seed: int, top: Spectrum | None
) -> dict[str, Any]:
    """ε-sharpness; from the same samples the trace at a finite radius, E[L(θ+Ru) + L(θ−Ru) − 2L]/R² = tr H / P."""
    sampled = sharpness(objective, theta, radius=RADIUS, pairs=effort.pairs, seed=seed, spectrum=top)
    first = None if top is None else top.eigenvectors[0]
    best = worst_case(objective, sampled, top=first, steps=effort.ascent, tolerance=ENOUGH)
    return {
        **_rises("sharpness", sampled, best),
        **estimate_fields("sharpness_even", sampled.even),
        **estimate_fields("sharpness_odd", sampled.odd),
        **estimate_fields("finite_trace", sampled.curvature, len(theta)),
        "finite_trace_radius": sampled.perturbations.radius,
    }


def _adaptive(objective: Objective, theta: Float[Tensor, " P"], effort: Effort, seed: int) -> dict[str, Any]:
    sampled = sharpness(objective, theta, radius=RADIUS, pairs=effort.pairs, seed=seed, adaptive=True)
    best = worst_case(objective, sampled, steps=effort.ascent, tolerance=ENOUGH)
    return _rises("adaptive_sharpness", sampled, best)


def _rises(name: str, sampled: SampledSharpness, best: WorstCase) -> dict[str, Any]:
    """The largest sampled rise (the published number) and the best found, a lower bound of the largest there is."""
    return {f"{name}_sampled": sampled.largest, f"{name}_best_found": best.increase, f"{name}_start": best.start}


def _flatness(
    objective: Objective, theta: Float[Tensor, " P"], effort: Effort, seed: int, top: Spectrum | None
) -> dict[str, Any]:
    found = loss_increase(objective, theta, samples=effort.around, seed=seed, spectrum=top)
    return {
        **estimate_fields("loss_increase", found.loss_increase),
        "loss_increase_by_radius": [each.value for each in found.by_radius],
        "loss_increase_radii": list(found.radii),
        "flatness_measure": found.flatness_measure,
    }


def _robustness(test: Objective, theta: Float[Tensor, " P"], effort: Effort, seed: int) -> dict[str, Any]:
    found = noise_robustness(test, theta, samples=effort.around, seed=seed)
    rise = estimate_fields("noise_loss_rise", found.loss_rise)
    if math.isnan(found.accuracy_drop.value):  # no classes
        return rise
    margins = estimate_fields("noise_margin_drop", found.margin_drop)
    return {**rise, **estimate_fields("noise_accuracy_drop", found.accuracy_drop, 100), **margins}


def _relative_flatness(objective: Objective, theta: Float[Tensor, " P"], effort: Effort, seed: int) -> dict[str, Any]:
    """Of the last weight, by products of the Hessian with respect to that layer alone, which cost next to nothing."""
    name = last_weight(objective.layout)
    if name is None:
        return {"relative_flatness": math.nan, "relative_flatness_layer": ""}
    model = copy.deepcopy(objective.model)
    tensors = {**objective.constants, **objective.layout.arguments(theta)}
    with torch.no_grad():
        for key, value in (*model.named_parameters(), *model.named_buffers()):
            value.copy_(tensors[key])
    whole = list(objective.batches(objective.count))
    layer = Objective(model, objective.output_losses, whole, parameters=name, memory=objective.memory, dtype=objective.dtype)
    layer.chunks = objective.chunks
    operator = HessianOperator.of(layer)
    found = relative_flatness(operator, layer.theta, layer.layout, name, probes=effort.rows, seed=seed)
    return {**estimate_fields("relative_flatness", found), "relative_flatness_layer": name}


def last_weight(layout: Layout) -> str | None:
    """The last parameter of two dimensions or more; None where there is none."""
    names = [name for name, shape in zip(layout.names, layout.shapes, strict=True) if len(shape) > 1]
    return names[-1] if names else None
