"""The smallest eigenvalue and the index, the number of descent directions at a critical point.

An eigenvalue counts as negative when |λ| > ‖r‖ + noise: a value that rounding or an unconverged pair could have put below zero
does not.
"""

from dataclasses import dataclass

from orograph.arguments import checked
from orograph.brief import brief
from orograph.errors import ConfigurationError
from orograph.spectral.spectrum import Spectrum


@brief
@dataclass(frozen=True)
class Index:
    """What the low end of a spectrum shows.

    Attributes:
        lowest: λ_min.
        residual: its ‖Hv − λv‖: an eigenvalue lies within it of λ_min.
        count: eigenvalues that are negative beyond residual and noise.
        undecided: further values below minus the noise whose residual does not let a sign be claimed.
        lower_bound: there may be more than `count`: the pairs computed end before the spectrum does and before a value that is
            not negative, or some are undecided.
    """

    lowest: float
    residual: float
    count: int
    undecided: int
    lower_bound: bool


@checked
def index(spectrum: Spectrum, *, negative: int = 0) -> Index:
    """λ_min and the index from pairs computed with `SA` or `BE`.

    Args:
        spectrum: pairs of the low end, computed with `SA` or `BE`.
        negative: how many eigenvalues other pairs of the operator have shown to be negative; there are no fewer.

    Returns:
        λ_min with its residual, and how many eigenvalues are known to be negative.

    Raises:
        ConfigurationError: the pairs are of the other end, or there is none of the lower one.

    Examples:
        >>> import torch, orograph as og
        >>> matrix = og.MatrixOperator(torch.diag(torch.arange(-2.0, 48.0)))
        >>> og.index(og.lanczos(matrix, k=4, which="SA")).count
        2
    """
    k = len(spectrum.eigenvalues)
    reach = {"SA": k, "BE": k // 2}.get(spectrum.which, 0)
    if reach == 0:
        raise ConfigurationError(
            f"{k} pairs of `which` {spectrum.which} hold no smallest eigenvalue; compute them with `which` SA."
        )
    values, signs = spectrum.eigenvalues[k - reach :], spectrum.signs[k - reach :]
    noise = spectrum.noise_level if spectrum.noise_level > 0 else 0.0  # nan: never measured
    undecided = int(((signs == 0) & (values < -noise)).sum())
    whole = k == spectrum.size
    ended = bool(values[0] < -noise) and not whole
    count = max(int((signs < 0).sum()), negative)
    return Index(float(values[-1]), float(spectrum.residuals[-1]), count, undecided, ended or undecided > 0)
