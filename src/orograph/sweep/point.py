"""Everything that is recorded at one converged point of a sweep."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from orograph.curvature.cohort import CohortHessian
from orograph.curvature.counting import OnProduct
from orograph.curvature.hessian import HessianOperator
from orograph.curvature.operator import LinearOperator
from orograph.geometry.evaluation import classifies
from orograph.geometry.scores import Value, scores
from orograph.geometry.smoothness import finite_companions, is_smooth
from orograph.measures.table import take
from orograph.metrics import Metric
from orograph.objective import Objective
from orograph.problem import Groups
from orograph.spectral.cohort import lanczos_cohort
from orograph.spectral.eigenpairs import lanczos
from orograph.spectral.morse_index import index
from orograph.spectral.spectrum import Spectrum
from orograph.sweep.settings import SpectrumSettings
from orograph.training.stability import with_buffers

_LOWEST = 3  # eigenvalues of H + 2λI: λ_min, and whether the index goes on
_SIGN = 1e-2  # of their residuals, relative: at a tenth the edge of the bulk passes for λ_min, with the wrong sign


@dataclass
class Instruments:
    """What measures a point: the objectives on both sets and the Hessian over the whole training set.

    Attributes:
        train, test: the objectives; None where there are no test data.
        settings: of the spectrum.
        metrics: beside the losses.
        groups: of the samples; None where there are none.
        of_classes: whether the groups are the classes that the targets name.
        index: whether the lowest eigenvalues of H + 2λI are measured, too.
        measures: what else is, by name.
    """

    train: Objective
    test: Objective | None
    settings: SpectrumSettings
    metrics: Sequence[Metric]
    groups: Groups | None
    of_classes: bool
    index: bool = False
    measures: Sequence[str] = ()
    _cohorts: dict[int, CohortHessian] = field(default_factory=dict)

    @cached_property
    def hessian(self) -> HessianOperator:
        """Of the loss; traced when it is first needed, which is never where workers compute."""
        return HessianOperator.of(self.train)

    @cached_property
    def smooth(self) -> bool:
        """Whether the loss is C²: if not, all second-order results leave out its kinks."""
        return is_smooth(self.train)

    @property
    def classes(self) -> int:
        """How many groups there are."""
        return len(self.groups.names) if self.groups else 0

    @cached_property
    def classifies(self) -> bool:
        """Whether the groups are classes that the outputs are scores of."""
        if not self.of_classes or self.groups is None:
            return False
        return classifies(self.train)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the groups."""
        return self.groups.names if self.groups else ()

    def scores(
        self, objective: Objective, theta: Float[Tensor, " P"], *, by_group: bool
    ) -> tuple[dict[str, Value], dict[str, list[Value]]]:
        """The metrics on one of the two sets, and by group of its samples if asked for."""
        labels = None
        if by_group and self.groups:
            labels = self.groups.train if objective is self.train else self.groups.test
        return scores(objective, theta, self.metrics, labels=labels, groups=self.classes)

    def with_buffers(self, buffers: Mapping[str, Tensor]) -> "Instruments":
        """The same for a network with other buffers."""
        train, test = (None if each is None else with_buffers(each, buffers) for each in (self.train, self.test))
        assert train is not None
        return replace(self, train=train, test=test, _cohorts={})

    def cohort(self, thetas: Float[Tensor, "M P"]) -> CohortHessian:
        """The Hessians of several models, traced once for each number of them."""
        if len(thetas) not in self._cohorts:
            self._cohorts[len(thetas)] = CohortHessian(self.train, thetas)
        return self._cohorts[len(thetas)].at(thetas)


@dataclass(frozen=True)
class Measured:
    """Scalars for the record, ∇L, the spectrum if one was asked for, and the seconds each part took."""

    scalars: dict[str, Any]
    gradient: Float[Tensor, " P"]
    spectrum: Spectrum | None
    seconds: dict[str, float]


def measure_points(
    instruments: Instruments,
    thetas: Sequence[Float[Tensor, " P"]],
    strengths: Sequence[float],
    on_product: OnProduct | None = None,
) -> list[Measured]:
    """Metrics, gradient, spectrum and measures at each θ. Spectra of several are computed in step."""
    hessians = [instruments.hessian.at(theta) for theta in thetas]
    points = [_metrics(instruments, hessian, strength) for hessian, strength in zip(hessians, strengths, strict=True)]
    if instruments.index:
        points = [
            _with_index(point, hessian, strength, on_product)
            for point, hessian, strength in zip(points, hessians, strengths, strict=True)
        ]
    spectra: Sequence[Spectrum | None] = [None] * len(points)
    if instruments.settings.k:
        began = time.perf_counter()
        spectra = decompose(instruments, hessians, strengths, on_product)
        seconds = (time.perf_counter() - began) / len(points)
        points = [
            replace(
                point,
                scalars=point.scalars | {"smooth": instruments.smooth} | _companions(instruments, theta, spectrum, strength),
                spectrum=spectrum,
                seconds=point.seconds | {"spectrum": seconds},
            )
            for point, theta, spectrum, strength in zip(points, thetas, spectra, strengths, strict=True)
        ]
    if instruments.measures:
        points = [
            _with_measures(instruments, point, hessian, strength, on_product)
            for point, hessian, strength in zip(points, hessians, strengths, strict=True)
        ]
    return points


def _with_measures(
    instruments: Instruments, point: Measured, operator: HessianOperator, strength: float, on_product: OnProduct | None
) -> Measured:
    """With the measures that were asked for; of those that this point does not have, why."""
    began = time.perf_counter()
    of_loss = instruments.settings.hessian == "loss" or not strength
    found, missing = take(
        instruments.measures,
        instruments.train.penalised(strength, instruments.train.anchor),
        operator.theta,
        spectrum=point.spectrum if of_loss else None,
        hessian=operator,
        on=instruments.test,
        groups=instruments.groups,
        on_product=on_product,
    )
    scalars = point.scalars | found | ({"failures": missing} if missing else {})
    return replace(point, scalars=scalars, seconds=point.seconds | {"measures": time.perf_counter() - began})


def _companions(instruments: Instruments, theta: Float[Tensor, " P"], spectrum: Spectrum, strength: float) -> dict[str, float]:
    """The first and the last eigenvalue at a finite radius, where the Hessian leaves out kinks."""
    if instruments.smooth:
        return {}
    ends = {"lambda_first": spectrum.eigenvectors[0], "lambda_last": spectrum.eigenvectors[-1]}
    shift = 0.0 if instruments.settings.hessian == "loss" else 2 * strength
    return finite_companions(instruments.train, theta, ends, shift=shift)


def _metrics(instruments: Instruments, operator: HessianOperator, strength: float) -> Measured:
    """All but the spectrum, where the Hessian stands.

    Losses are means over all samples, summed in float64; accuracies are in percent.
    """
    began = time.perf_counter()
    train, test = instruments.train.penalised(strength, instruments.train.anchor), instruments.test
    theta, gradient, loss = operator.theta, operator.gradient, operator.loss
    offset = train.offset(theta)
    values, _ = instruments.scores(train, theta, by_group=False)
    scalars: dict[str, Any] = {"train_loss": loss, "objective": loss + train.penalty(theta)}
    scalars |= {f"train_{name}": value for name, value in values.items()}
    if test is not None:
        values, by_group = instruments.scores(test, theta, by_group=True)
        scalars["test_loss"] = test.loss(theta)
        scalars |= {f"test_{name}": value for name, value in values.items()}
        kind = "class" if instruments.of_classes else "group"
        scalars |= {f"{kind}_{name}": found for name, found in by_group.items()}
    scalars |= {
        "gradient_norm": gradient.double().norm().item(),
        "objective_gradient_norm": (gradient.double() + 2 * strength * offset.double()).norm().item(),
        "parameter_norm": theta.double().norm().item(),
        "anchor_distance": offset.double().norm().item(),
    }
    return Measured(scalars, gradient, None, {"metrics": time.perf_counter() - began})


def _with_index(point: Measured, operator: HessianOperator, strength: float, on_product: OnProduct | None) -> Measured:
    """With λ_min of H + 2λI and the number of its negative eigenvalues.

    From a random start: what begins in a symmetric state sees only what shares its symmetry.
    """
    began = time.perf_counter()
    found = lanczos(
        operator.shifted(2 * strength), min(_LOWEST, operator.size - 1), which="SA", tolerance=_SIGN, on_product=on_product
    )
    low = index(found)
    scalars = {
        "objective_lambda_min": low.lowest,
        "objective_lambda_min_residual": low.residual,
        "objective_lambda_min_noise": found.noise_level,
        "objective_negative_eigenvalues": low.count,
        "objective_negative_eigenvalues_lower_bound": low.lower_bound,
        "index_products": found.products,
    }
    seconds = {"index": time.perf_counter() - began}
    return replace(point, scalars=point.scalars | scalars, seconds=point.seconds | seconds)


def decompose(
    instruments: Instruments,
    hessians: Sequence[HessianOperator],
    strengths: Sequence[float],
    on_product: OnProduct | None,
) -> list[Spectrum]:
    """The spectra of H, or of H + 2λI. A shift changes which pairs are largest in magnitude: LM needs its own Lanczos."""
    settings = instruments.settings
    shifts = [0.0 if settings.hessian == "loss" else 2 * strength for strength in strengths]
    operators: list[LinearOperator] = [
        hessian.shifted(shift) if shift else hessian for hessian, shift in zip(hessians, shifts, strict=True)
    ]
    asked: Any = {"which": settings.which, "tolerance": settings.tolerance, "on_product": on_product}
    if len(operators) == 1:
        return [lanczos(operators[0], settings.k, **asked)]
    thetas = torch.stack([hessian.theta for hessian in hessians])
    cohort, factors = instruments.cohort(thetas), thetas.new_tensor(shifts)[:, None]

    def multiply(vectors: Float[Tensor, "M P"]) -> Float[Tensor, "M P"]:
        return (cohort @ vectors).addcmul_(vectors, factors)

    return lanczos_cohort(operators, multiply, settings.k, memory=instruments.train.memory, **asked)
