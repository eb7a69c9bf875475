"""How many dimensions curve: effective ranks of a spectrum.

*Effective rank* Σλ₊/λ_max: of k pairs it is a lower bound of the whole operator's, so that what it is called carries k.
*Entropy rank* exp(−Σ p log p), p = |λ|/Σ|λ| (Roy & Vetterli 2007): of k pairs, and of the whole spectrum by its density.
*Participation ratio* (tr H)²/tr H² of the whole spectrum, from the probes of its density; (tr H)² is the mean of tᵢtⱼ over i ≠
j, because the square of a mean is biased by its variance. What bias the quotient and the exponential add is the jackknife's to
take out; a density that knows the largest pairs makes it and the error many times smaller.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float64
from torch import Tensor

from orograph.arguments import checked
from orograph.brief import brief
from orograph.spectral.densities import Density
from orograph.spectral.intervals import Estimate, estimate, estimate_fields, jackknifed
from orograph.spectral.spectrum import Spectrum


@brief
@dataclass(frozen=True)
class Ranks:
    """Ranks of k eigenpairs and of the whole spectrum.

    Attributes:
        k: how many pairs `effective_rank` and `entropy_rank` are of.
        effective_rank: Σλ₊/λ_max of the k pairs; nan where none is positive, or where λ_max is not among them.
        entropy_rank: exp(−Σ p log p) of the k pairs; nan where all are 0, or where they are of the lower end.
        full_entropy_rank: exp(−Σ p log p) of the whole spectrum.
        participation_ratio: (tr H)²/tr H².
    """

    k: int
    effective_rank: float
    entropy_rank: float
    full_entropy_rank: Estimate
    participation_ratio: Estimate

    def fields(self) -> dict[str, float]:
        """What is kept of them.

        Returns:
            Pure numbers by name; a name says if it is of the k pairs.
        """
        found = {f"effective_rank_top_{self.k}": self.effective_rank, f"entropy_rank_top_{self.k}": self.entropy_rank}
        for name, each in (("entropy_rank", self.full_entropy_rank), ("participation_ratio", self.participation_ratio)):
            found |= estimate_fields(name, each)
        return found


@checked
def ranks(spectrum: Spectrum, density: Density) -> Ranks:
    """All ranks of one operator, of its largest pairs and its density.

    Args:
        spectrum: the k largest pairs.
        density: of the same operator.

    Returns:
        Pure numbers, those of the whole spectrum with what is known of their errors.

    Examples:
        >>> import torch, orograph as og
        >>> matrix = og.MatrixOperator(torch.diag(torch.arange(1.0, 101.0)))
        >>> found = og.ranks(og.lanczos(matrix, k=2), og.density(matrix, steps=40))
        >>> round(found.effective_rank, 3)  # (100 + 99)/100
        1.99
    """
    values, upper = spectrum.eigenvalues, spectrum.which != "SA"
    return Ranks(
        len(values),
        effective_rank(values) if spectrum.holds_largest else math.nan,
        entropy_rank(values) if upper else math.nan,
        full_entropy_rank(density),
        participation_ratio(density),
    )


@checked
def effective_rank(eigenvalues: Float64[Tensor, " k"]) -> float:
    """Σλ₊/λ_max; nan where no eigenvalue is positive.

    Args:
        eigenvalues: `(k,)`, of any sign.

    Returns:
        A pure number between 1 and k.
    """
    positive = eigenvalues.clamp(min=0)
    return float(positive.sum() / positive.max())


@checked
def entropy_rank(eigenvalues: Float64[Tensor, " k"]) -> float:
    """exp(−Σ p log p) with p = |λ|/Σ|λ|; nan where all are 0.

    Args:
        eigenvalues: `(k,)`, of any sign.

    Returns:
        A pure number between 1 and k.
    """
    shares = eigenvalues.abs() / eigenvalues.abs().sum()
    return float((-torch.special.xlogy(shares, shares).sum()).exp())


def full_entropy_rank(density: Density) -> Estimate:
    """The same of the whole spectrum: S exp(−Σ|λ| log|λ| / S) with S = Σ|λ|, both by quadrature; nan where S is 0.

    Args:
        density: of the whole spectrum.

    Returns:
        A pure number between 1 and P, its bias taken out by the jackknife, with its standard error.
    """
    sums = density.trace_of(torch.abs).samples
    logarithmic = density.trace_of(_weighted).samples
    found = _estimate(_entropy, density.products, sums, logarithmic)
    if density.overlaps is not None or math.isnan(found.error):
        return found
    share = logarithmic.mean() / sums.mean()
    tangent = density.trace_of(lambda values: (-share).exp() * ((1 + share) * values.abs() - _weighted(values)))
    # the nodes' error is too small of one direction, the jackknife's of even spectra and of few probes: seldom both
    return replace(found, error=tangent.error, degrees=tangent.degrees) if tangent.error > found.error else found


def participation_ratio(density: Density) -> Estimate:
    """(tr H)²/tr H²; nan of the zero operator.

    Args:
        density: of the whole spectrum.

    Returns:
        The ratio, between 1 and P where eigenvalues are positive, its bias taken out by the jackknife, with its standard error,
        nan below three probes.
    """
    found = _estimate(quotient, density.products, density.trace.samples, density.frobenius.samples)
    if density.overlaps is not None or math.isnan(found.error):
        return found
    # the quotient changes with both sums as the trace of a polynomial does, whose error the nodes tell better than its spread
    total, square = density.trace.value, density.frobenius.value
    tangent = density.trace_of(lambda values: (2 * total / square) * values - (total / square) ** 2 * values.square())
    return replace(found, error=tangent.error, degrees=tangent.degrees, floor=-math.inf)


def quotient(traces: Float64[Tensor, " m"], squares: Float64[Tensor, " m"]) -> Float64[Tensor, ""]:
    """(tr H)²/tr H² of samples of both: the mean of tᵢtⱼ over i ≠ j by the mean of the squares; nan of fewer than two."""
    m = len(traces)
    if m < 2:
        return torch.tensor(math.nan, dtype=torch.float64)
    return (traces.sum().square() - traces.square().sum()) / (m * (m - 1)) / squares.mean()


def _weighted(values: Float64[Tensor, "*n"]) -> Float64[Tensor, "*n"]:
    return torch.special.xlogy(values.abs(), values.abs())


def _entropy(sums: Float64[Tensor, " m"], logarithmic: Float64[Tensor, " m"]) -> Float64[Tensor, ""]:
    total = sums.mean()
    return total * (-logarithmic.mean() / total).exp()


def _estimate(function: Callable[..., Float64[Tensor, ""]], products: int, *samples: Float64[Tensor, " m"]) -> Estimate:
    """A function of means with the jackknife's error, its bias taken out; below three probes as it is, without an error."""
    if len(samples[0]) < 3:
        value = float(function(*samples))
        return Estimate(value, math.nan, products, torch.tensor([value], dtype=torch.float64), 0)
    return estimate(jackknifed(function, *samples), products, floor=0.0)
