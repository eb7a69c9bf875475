"""How many dimensions curve: effective ranks of a spectrum.

*Effective rank* Σλ₊/λ_max: of k pairs it is a lower bound of the whole operator's, so that what it is called carries k.
*Entropy rank* exp(−Σ p log p), p = |λ|/Σ|λ| (Roy & Vetterli 2007): of k pairs, and of the whole spectrum by its density.
*Participation ratio* (tr H)²/tr H² of the whole spectrum, from the probes of its density; (tr H)² is the mean of tᵢtⱼ over i ≠
j, because the square of a mean is biased by its variance.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

from orograph.spectral.densities import Density
from orograph.spectral.spectrum import Spectrum
from orograph.spectral.traces import Estimate


@dataclass(frozen=True)
class Ranks:
    """Ranks of k eigenpairs and of the whole spectrum.

    Attributes:
        k: how many pairs `effective_rank` and `entropy_rank` are of.
        effective_rank: Σλ₊/λ_max of the k pairs; nan where none is positive.
        entropy_rank: exp(−Σ p log p) of the k pairs; nan where all are 0.
        full_entropy_rank: exp(−Σ p log p) of the whole spectrum.
        participation_ratio: (tr H)²/tr H², with its jackknife error.
    """

    k: int
    effective_rank: float
    entropy_rank: float
    full_entropy_rank: float
    participation_ratio: Estimate

    def fields(self) -> dict[str, float]:
        """Names and values to keep; what is of k pairs says so."""
        return {
            f"effective_rank_top_{self.k}": self.effective_rank,
            f"entropy_rank_top_{self.k}": self.entropy_rank,
            "entropy_rank": self.full_entropy_rank,
            "participation_ratio": self.participation_ratio.value,
            "participation_ratio_error": self.participation_ratio.error,
        }


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
    values = spectrum.eigenvalues
    return Ranks(
        len(values), effective_rank(values), entropy_rank(values), full_entropy_rank(density), participation_ratio(density)
    )


def effective_rank(eigenvalues: Float64[Tensor, " k"]) -> float:
    """Σλ₊/λ_max; nan where no eigenvalue is positive.

    Args:
        eigenvalues: `(k,)`, of any sign.

    Returns:
        A pure number between 1 and k.
    """
    positive = eigenvalues.clamp(min=0)
    return float(positive.sum() / positive.max())


def entropy_rank(eigenvalues: Float64[Tensor, " k"]) -> float:
    """exp(−Σ p log p) with p = |λ|/Σ|λ|; nan where all are 0.

    Args:
        eigenvalues: `(k,)`, of any sign.

    Returns:
        A pure number between 1 and k.
    """
    shares = eigenvalues.abs() / eigenvalues.abs().sum()
    return float((-torch.special.xlogy(shares, shares).sum()).exp())


def full_entropy_rank(density: Density) -> float:
    """The same of the whole spectrum: S exp(−Σ|λ| log|λ| / S) with S = Σ|λ|, both by quadrature; nan where S is 0.

    Args:
        density: of the whole spectrum.

    Returns:
        A pure number between 1 and P.
    """
    total = density.trace_of(torch.abs).value
    if total == 0:
        return math.nan
    logarithmic = density.trace_of(lambda values: torch.special.xlogy(values.abs(), values.abs())).value
    return total * math.exp(-logarithmic / total)


def participation_ratio(density: Density) -> Estimate:
    """(tr H)²/tr H²; nan of the zero operator. The error is the jackknife's over probes, nan below three.

    `samples` are the jackknife's pseudo-values; their mean is `value` less the jackknife's estimate of the bias.

    Args:
        density: of the whole spectrum.

    Returns:
        The ratio, between 1 and P where eigenvalues are positive, with its standard error.
    """
    traces, squares = density.trace.samples, density.frobenius.samples
    m = len(traces)
    value = float(_ratio(traces, squares))
    kept = ~torch.eye(m, dtype=torch.bool)
    pseudo = torch.stack([m * value - (m - 1) * _ratio(traces[row], squares[row]) for row in kept])
    return Estimate(value, float(pseudo.std() / math.sqrt(m)), density.products, pseudo)


def _ratio(traces: Float64[Tensor, " m"], squares: Float64[Tensor, " m"]) -> Float64[Tensor, ""]:
    """The mean of tᵢtⱼ over i ≠ j by the mean of the squares; nan of fewer than two."""
    m = len(traces)
    if m < 2:
        return torch.tensor(math.nan, dtype=torch.float64)
    return (traces.sum().square() - traces.square().sum()) / (m * (m - 1)) / squares.mean()
