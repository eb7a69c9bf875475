"""Bulk and outliers of a spectrum (Sagun et al. 2017; Ghorbani, Krishnan & Xiao 2019; Papyan 2019).

Two criteria stand side by side. The *log-gap*: the largest step ln(λᵢ/λᵢ₊₁) between neighbours among the largest pairs
separates what is above it. The *bulk edge*: the 99.9 % quantile of the density without these, and the pairs above it. By
definition a thousandth of the bulk lies above its own edge, so that for P ≫ 1000 the edge counts some of the bulk's tail as
well, where the gap does not.
"""

import math
from dataclasses import dataclass

from orograph.errors import ConfigurationError
from orograph.spectral.densities import Density
from orograph.spectral.spectrum import Spectrum

_BULK = 0.999


@dataclass(frozen=True)
class Outliers:
    """Large eigenvalues beyond the bulk.

    Attributes:
        edge: the 99.9 % quantile of the density without the eigenvalues above the gap.
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
            f"which='{spectrum.which}' with k={k} holds {len(values)} positive of the largest eigenvalues; 2 or more are needed."
        )
    steps = (values[:-1] / values[1:]).log()
    above = int(steps.argmax()) + 1
    below = math.sqrt(float(values[above - 1]) * float(values[above]))
    edge = density.quantile(_BULK, below=below)
    count = int((values > edge).sum())
    return Outliers(edge, count, count == len(values), float(steps.max()), above)
