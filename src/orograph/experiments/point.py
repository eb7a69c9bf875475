"""Everything that is recorded at one converged point of a sweep."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from orograph.curvature.hessian import HessianOperator
from orograph.curvature.operator import LinearOperator
from orograph.experiments.settings import SpectrumSettings
from orograph.objective import Objective
from orograph.spectral.lanczos import lanczos
from orograph.spectral.spectrum import Spectrum


@dataclass
class Instruments:
    """What measures a point: the objectives on both sets and the Hessian over the whole training set."""

    train: Objective
    test: Objective
    settings: SpectrumSettings
    classes: int

    @cached_property
    def hessian(self) -> HessianOperator:
        """Of the loss; traced when it is first needed, which is never where workers compute."""
        return HessianOperator.of(self.train)


@dataclass(frozen=True)
class Measured:
    """Scalars for the record, ∇L, the spectrum if one was asked for, and the seconds each part took."""

    scalars: dict[str, Any]
    gradient: Float[Tensor, " P"]
    spectrum: Spectrum | None
    seconds: dict[str, float]


def measure_point(
    instruments: Instruments,
    theta: Float[Tensor, " P"],
    strength: float,
    on_product: Callable[[int], None] | None = None,
) -> Measured:
    """Metrics, gradient and spectrum at θ.

    Losses are means over all samples, summed in float64; accuracies are in percent.
    """
    began = time.perf_counter()
    train, test = instruments.train, instruments.test
    train.strength = strength
    operator = instruments.hessian.at(theta)
    gradient, loss = operator.gradient, operator.loss
    offset = train.offset(theta)
    accuracy, by_class = accuracies(test, theta, instruments.classes)
    scalars: dict[str, Any] = {
        "train_loss": loss,
        "objective": loss + train.penalty(theta),
        "train_accuracy": accuracies(train, theta, instruments.classes)[0],
        "test_loss": test.loss(theta),
        "test_accuracy": accuracy,
        "class_accuracy": by_class,
        "gradient_norm": gradient.double().norm().item(),
        "objective_gradient_norm": (gradient.double() + 2 * strength * offset.double()).norm().item(),
        "parameter_norm": theta.double().norm().item(),
        "anchor_distance": offset.double().norm().item(),
    }
    measured = time.perf_counter()
    spectrum = None
    if instruments.settings.k:
        spectrum = decompose(operator, instruments.settings, strength, on_product)
        scalars |= spectrum_scalars(spectrum) | {"hessian": instruments.settings.hessian}
    seconds = {"metrics": measured - began, "spectrum": time.perf_counter() - measured}
    return Measured(scalars, gradient, spectrum, seconds)


def decompose(
    operator: HessianOperator, settings: SpectrumSettings, strength: float, on_product: Callable[[int], None] | None
) -> Spectrum:
    """The spectrum of H, or of H + 2λI. A shift changes which pairs are largest in magnitude: LM needs its own Lanczos."""
    chosen: LinearOperator = operator if settings.hessian == "loss" else operator.shifted(2 * strength)
    return lanczos(chosen, settings.k, which=settings.which, tolerance=settings.tolerance, on_product=on_product)


def spectrum_scalars(spectrum: Spectrum) -> dict[str, Any]:
    """What a record says of a spectrum; the pairs themselves are arrays."""
    loose = ~spectrum.converged & ~spectrum.noise
    return {
        "lambda_first": spectrum.eigenvalues[0].item(),
        "lambda_last": spectrum.eigenvalues[-1].item(),
        "noise_level": spectrum.noise_level,
        "noise_pairs": int(spectrum.noise.sum()),
        "unconverged_pairs": int(loose.sum()),
        "clusters": [list(cluster) for cluster in spectrum.clusters],
        "cut": spectrum.cut,
        "products": spectrum.products,
    }


def spectrum_arrays(spectrum: Spectrum) -> dict[str, Tensor]:
    """What is known of each pair, by the store's names."""
    return {
        "residual": spectrum.residuals,
        "bound": spectrum.bounds,
        "converged": spectrum.converged,
        "noise": spectrum.noise,
        "sign": spectrum.signs,
    }


def accuracies(objective: Objective, theta: Float[Tensor, " P"], classes: int) -> tuple[float, list[float]]:
    """Accuracy over all samples, and by class (NaN for a class without samples), in percent."""
    targets = objective.targets
    right = objective.all_outputs(theta).argmax(1) == targets
    hits = torch.bincount(targets, weights=right.double(), minlength=classes)
    counts = torch.bincount(targets, minlength=classes)
    return 100 * hits.sum().item() / len(targets), (100 * hits / counts).tolist()
