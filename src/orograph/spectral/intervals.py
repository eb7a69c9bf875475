"""How far a number from few random vectors may be off: 95 % intervals that hold for small samples.

A standard error from m samples is itself uncertain, so that ± 1.96 of it cover less than 95 %: 86 % for m = 4. What is stated
is Student's (1908) interval; where independent standard errors are added, with the degrees of freedom of Welch (1947).

Quadratic forms zᵀAz of a matrix with few large eigenvalues are skewed: where the mean comes out small their spread does too, and
Student's interval misses the truth (78 to 86 % of 8 signs held it). Three things mend that. The variance of zᵀAz is a mean over
all entries of A, of which the image Az tells far more than the one number (`from_variances`), and so do the products of one
vector with the image of another (`from_crossed`). Of a sum of squares, a ratio or a product it is the logarithm that is less
skewed: the longer side of its interval is taken for both (`skewed`). And where there is nothing but the numbers, their spread
counts for half of its degrees of freedom (`heavy_tailed`).

Functions of several means (ratios, entropies) are biased by their curvature; the jackknife (Quenouille 1956; Tukey 1958) takes
the bias out and gives the error.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Float64
from scipy.special import stdtrit
from torch import Tensor

from orograph.brief import brief

LEVEL = 0.95


def half_width(error: float, degrees: float) -> float:
    """Half of the 95 % interval around an estimate with this standard error and degrees of freedom; NaN without any."""
    if not degrees >= 1:
        return math.nan
    return error * float(stdtrit(degrees, (1 + LEVEL) / 2))


def skewed(half: float, value: float) -> float:
    """Half of the interval of a sum of squares, a ratio or a product, of which `half` is Student's.

    The longer side of the interval of the logarithm, |value|(exp(half/|value|) − 1), to second order; half as much again at most.
    """
    return half * (1 + min(1.0, half / abs(value)) / 2) if value else 1.5 * half


def welch_degrees(errors: Sequence[float], degrees: Sequence[float]) -> float:
    """The degrees of freedom of √Σe², of independent standard errors each with its own."""
    squares = [error**2 for error in errors]
    spread = sum(square**2 / each for square, each in zip(squares, degrees, strict=True) if each > 0)
    return sum(squares) ** 2 / spread if spread else min(degrees)


def jackknifed(function: Callable[..., Float64[Tensor, ""]], *samples: Float64[Tensor, " m"]) -> Float64[Tensor, " m"]:
    """The pseudo-values of a function of samples that belong together.

    Their mean is the function of all samples less the jackknife's estimate of its bias, their spread gives its standard error.
    """
    count = len(samples[0])
    whole = function(*samples)
    kept = ~torch.eye(count, dtype=torch.bool)
    return torch.stack([count * whole - (count - 1) * function(*(each[row] for each in samples)) for row in kept])


@brief
@dataclass(frozen=True)
class Estimate:
    """A number estimated by random vectors.

    Attributes:
        value: the estimate.
        error: its standard error, from the spread of the samples or from what their products tell of it; nan for a single one.
        products: matrix–vector products spent; 0 where it took none.
        samples: `(m,)`, one estimate a random vector, `value` is their mean; none where it was computed from other estimates.
            Independent but for those of Hutch++, which share a basis, and those of XTrace, which share all but one vector.
        degrees: degrees of freedom of the error; infinite where it is known.
        floor: what a sum of squares, or a ratio, cannot lie below; −∞ of numbers that are not skewed for it.

    Examples:
        >>> import torch, orograph as og
        >>> found = og.trace(og.MatrixOperator(torch.eye(100)), method="hutchinson", probes=4)
        >>> found.value, found.error  # of a diagonal matrix every sample is the trace
        (100.0, 0.0)
    """

    value: float
    error: float
    products: int = 0
    samples: Float64[Tensor, " m"] = field(default_factory=lambda: torch.empty(0, dtype=torch.float64), compare=False)
    degrees: float = math.inf
    floor: float = -math.inf

    @property
    def margin(self) -> float:
        """Half of the 95 % interval value ± margin, by Student's quantile; above a floor wider, for what is skewed."""
        half = half_width(self.error, self.degrees)
        return half if math.isinf(self.floor) else skewed(half, self.value - self.floor)


def estimate(samples: Float[Tensor, " m"], products: int = 0, *, floor: float = -math.inf) -> Estimate:
    """The mean of independent samples with its standard error, in float64; `floor`: see `Estimate`."""
    samples, count = samples.double(), len(samples)
    error = samples.std().item() / math.sqrt(count) if count > 1 else math.nan
    return Estimate(samples.mean().item(), error, products, samples, count - 1, floor)


def from_variances(samples: Float64[Tensor, " m"], variances: Float64[Tensor, " n"], products: int = 0) -> Estimate:
    """The mean of independent samples, each of the variance of which there are n estimates that are better than their spread.

    The degrees of freedom are those of a χ² with the spread of the variances (Satterthwaite 1946), between the m − 1 of the
    samples' own spread and twice as many: how even few variances come out is itself chance.
    """
    count, mean = len(samples), variances.mean().item()
    if count < 2:
        return estimate(samples, products)
    degrees = 2.0 * (count - 1)
    spread = variances.var().item() / len(variances) if len(variances) > 1 else math.inf
    if spread > 0:
        degrees = min(degrees, max(count - 1, 2 * mean**2 / spread))
    return Estimate(samples.mean().item(), math.sqrt(mean / count), products, samples, degrees)


def from_crossed(samples: Float64[Tensor, " m"], crossed: Float64[Tensor, "m m"], size: int, products: int) -> Estimate:
    """The mean of samples of a positive tr A by m random signs z, of which z_iᵀAz_j for i ≠ j tell the variance, too.

    The mean of their squares is tr A², the variance of zᵀAz is 2(tr A² − Σ a_kk²), and Σ a_kk² is at least (tr A)²/P. By chance
    little may be left of that difference where A is nearly diagonal or its eigenvalues are even, so that the larger of it and the
    samples' own variance is taken. Each sign is in m − 1 of the squares and each square is of two signs, so that the spread of
    their mean is four times that of the rows' (Hoeffding 1948); it gives the degrees of freedom (Satterthwaite 1946), m − 1 at
    most.
    """
    count = len(samples)
    rows = (crossed.square().sum(1) - crossed.diagonal().square()) / (count - 1)
    least = samples.mean().square() / size
    crosswise = (rows.mean() - least).clamp(min=0)
    spread = 4 * ((rows - least).clamp(min=0) / crosswise).var().item() / count
    degrees = min(count - 1, max(2.0, 2 / spread)) if spread > 0 else count - 1
    variance = max(2 * crosswise.item(), samples.var().item())
    return Estimate(samples.mean().item(), math.sqrt(variance / count), products, samples, degrees, floor=0.0)


def heavy_tailed(samples: Float[Tensor, " m"], *, floor: float = -math.inf) -> Estimate:
    """The mean of independent curvatures along random directions, of which nothing but these numbers is known.

    Where few eigenvalues hold most their squares have heavy tails: a variance of m of them has the degrees of freedom of
    (m − 1)/(1 + κ/2) with an excess kurtosis κ, 12 of one eigenvalue, 2 of six equal ones. The latter is taken: half of m − 1.
    """
    found = estimate(samples, floor=floor)
    return replace(found, degrees=max(min(1.0, found.degrees), found.degrees / 2))


@runtime_checkable
class Uncertain(Protocol):
    """What came out of random vectors."""

    @property
    def value(self) -> float: ...

    @property
    def error(self) -> float: ...

    @property
    def margin(self) -> float: ...


def estimate_fields(name: str, found: Uncertain, scale: float = 1.0) -> dict[str, float]:
    """An estimate as a record keeps it: the value, its standard error, and half of its 95 % interval."""
    return {name: scale * found.value, f"{name}_error": scale * found.error, f"{name}_margin": scale * found.margin}
