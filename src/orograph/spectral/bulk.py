"""Bulk and outliers of a spectrum (Sagun et al. 2017; Ghorbani, Krishnan & Xiao 2019; Papyan 2019).

Two criteria stand side by side. The *log-gap*: the largest step ln(λᵢ/λᵢ₊₁) between neighbours among the largest pairs
separates what is above it. The *bulk edge*: where the density without the outliers ends, and the pairs above it. A quantile is
no edge, since by definition a share of the bulk lies above it. Bulks of random matrices end like a square root (Wigner 1955;
Marchenko & Pastur 1967): above x remains a share ∝ (E − x)^{3/2}, so that two quantiles give the edge E, and how much the first
of P eigenvalues varies about it (Tracy & Widom 1994). A bulk with a heavier tail reaches beyond that, and the tail is counted.
"""

import math
from dataclasses import dataclass

from orograph.arguments import checked
from orograph.brief import brief
from orograph.errors import ConfigurationError
from orograph.spectral.densities import Density
from orograph.spectral.spectrum import Spectrum

_QUANTILES = (0.9, 0.98)


@brief
@dataclass(frozen=True)
class Outliers:
    """Large eigenvalues beyond the bulk.

    Attributes:
        edge: of the bulk, the density without the outliers, from two of its quantiles.
        count: pairs above the edge.
        lower_bound: all pairs that were looked at are above the edge, so that there may be more.
        gap: the largest ln(λᵢ/λᵢ₊₁) between neighbouring pairs; a small one (ln 2 is a factor of two) separates nothing.
        above_gap: pairs above the gap.
    """

    edge: float
    count: int
    lower_bound: bool
    gap: float
    above_gap: int


@checked
def outliers(spectrum: Spectrum, density: Density) -> Outliers:
    """The bulk edge and the outliers, of the largest pairs and the density of one operator.

    Only pairs with a claimed positive sign are looked at.

    Args:
        spectrum: the largest pairs, computed with `LM` or `LA`.
        density: of the same operator.

    Returns:
        The edge and the gap in the unit of an eigenvalue, and how many pairs lie beyond each.

    Raises:
        ConfigurationError: the pairs are of the lower end, fewer than two are positive, or the density is of another operator.

    Examples:
        >>> import torch, orograph as og
        >>> matrix = og.MatrixOperator(torch.diag(torch.cat([torch.linspace(0, 1, 200), torch.tensor([50.0, 60.0])])))
        >>> og.outliers(og.lanczos(matrix, k=5, which="LA"), og.density(matrix, steps=40)).above_gap
        2
    """
    k = len(spectrum.eigenvalues)
    if spectrum.size != density.size:
        raise ConfigurationError(
            f"eigenvectors of length {spectrum.size} and a density of P = {density.size} do not fit together."
        )
    upper = {"SA": 0, "BE": (k + 1) // 2}.get(spectrum.which, k)
    values = spectrum.eigenvalues[:upper][spectrum.signs[:upper] > 0]
    if len(values) < 2:
        raise ConfigurationError(
            f"{k} pairs of `which` {spectrum.which} hold {len(values)} positive of the largest eigenvalues; compute 2 or more."
        )
    steps = (values[:-1] / values[1:]).log()
    above = int(steps.argmax()) + 1
    taken = above
    while True:  # what lies above the edge is left out of the bulk, whose edge then lies lower
        edge = _edge(density, math.sqrt(float(values[taken - 1]) * float(values[taken])))
        count = int((values > edge).sum())
        if count <= taken or count == len(values):
            break
        taken = count
    return Outliers(edge, count, count == len(values), float(steps.max()), above)


def _edge(density: Density, below: float) -> float:
    """Where the density below a value ends, and the distance beyond that by which the last eigenvalue of a finite bulk varies."""
    inner, outer = (density.quantile(share, below=below) for share in _QUANTILES)
    above_inner, above_outer = (1 - share for share in _QUANTILES)
    rest = (outer - inner) / ((above_inner / above_outer) ** (2 / 3) - 1)  # from the upper quantile to the edge
    return outer + rest * (1 + min(1.0, 1 / (density.size * above_outer)) ** (2 / 3))
