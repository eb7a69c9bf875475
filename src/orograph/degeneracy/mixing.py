"""Whether chains have mixed: split R̂, and how many independent draws theirs are worth.

Both as Vehtari, Gelman, Simpson, Carpenter & Bürkner (2021, arXiv 1903.08008) define them, for a mean: R̂ of the halves of all
chains, whose means must agree; effective size m·n/τ with the autocorrelation time τ of all chains together, its sum cut by the
initial monotone sequence of Geyer (1992).
"""

import math

import numpy as np
from jaxtyping import Float


def split_rhat(draws: Float[np.ndarray, "C T"]) -> float:
    """√(variance of all by variance within halves of chains): 1 of chains that agree, and more of those that do not.

    Args:
        draws: `(C, T)`, a chain a row, T at least 4.

    Returns:
        A pure number; nan of shorter chains, or of constant ones.

    Examples:
        >>> import numpy as np, orograph as og
        >>> draws = np.random.default_rng(0).normal(size=(4, 1000))
        >>> bool(og.degeneracy.split_rhat(draws) < 1.01), bool(og.degeneracy.split_rhat(draws + np.arange(4)[:, None]) > 1.5)
        (True, True)
    """
    within, between, count = _variances(_halves(draws))
    return math.sqrt((count - 1) / count + between / within) if within > 0 else math.nan


def effective_size(draws: Float[np.ndarray, "C T"]) -> float:
    """How many independent draws have a mean as sure as these.

    Args:
        draws: `(C, T)`, a chain a row, T at least 4.

    Returns:
        Between 1 and C·T·log₁₀(C·T), the most that anticorrelated draws are taken for; nan of constant chains.

    Examples:
        >>> import numpy as np, orograph as og
        >>> draws = np.random.default_rng(0).normal(size=(4, 1000))
        >>> bool(abs(og.degeneracy.effective_size(draws) / 4000 - 1) < 0.2)
        True
    """
    halves = _halves(draws)
    within, between, count = _variances(halves)
    if not within > 0:
        return math.nan
    centred = halves - halves.mean(1, keepdims=True)
    from scipy import signal  # a second, which sweeps without chains do without

    covariances = np.mean([signal.correlate(row, row)[count - 1 :] / count for row in centred], 0)
    pooled = within * (count - 1) / count + between
    correlations = 1 - (within - covariances * count / (count - 1)) / pooled
    pairs = correlations[: count // 2 * 2].reshape(-1, 2).sum(1)
    positive = pairs[: int(np.argmax(pairs < 0))] if (pairs < 0).any() else pairs
    total = halves.size
    time = max(2 * np.minimum.accumulate(positive).sum() - 1, 1 / math.log10(total))
    return float(max(1.0, total / time))


def _halves(draws: Float[np.ndarray, "C T"]) -> Float[np.ndarray, "D n"]:
    count = draws.shape[1] // 2
    return np.concatenate([draws[:, :count], draws[:, draws.shape[1] - count :]]).astype(float)


def _variances(halves: Float[np.ndarray, "D n"]) -> tuple[float, float, int]:
    """Within chains, of their means, and draws of each."""
    count = halves.shape[1]
    if count < 2:
        return math.nan, math.nan, count
    return float(halves.var(1, ddof=1).mean()), float(halves.mean(1).var(ddof=1)), count
