"""Series whose neighbours are correlated: how long blocks of them must be, bootstrap in blocks, and autoregressions."""

import math

import numpy as np
from jaxtyping import Float
from numpy import ndarray


def autocorrelation(values: Float[ndarray, " n"]) -> float:
    """Of neighbours, between −0.95 and 0.95; 0 for a constant series."""
    centred = values - values.mean()
    square = float(centred @ centred)
    return float(np.clip(centred[:-1] @ centred[1:] / square, -0.95, 0.95)) if square > 0 else 0.0


def block_length(values: Float[ndarray, " n"]) -> int:
    """(√6 φ/(1 − φ²))^(2/3) n^(1/3), which suits a first-order autoregression φ (Carlstein 1986); at least 1, at most n/3."""
    count, phi = len(values), abs(autocorrelation(values))
    ideal = (math.sqrt(6) * phi / (1 - phi**2)) ** (2 / 3) * count ** (1 / 3)
    return int(np.clip(math.ceil(ideal), 1, max(1, count // 3)))


def block_bootstrap(
    values: Float[ndarray, " n"], length: int, resamples: int, generator: np.random.Generator
) -> Float[ndarray, "resamples n"]:
    """Series made of blocks of a series that begin anywhere, its end joined to its start (Politis & Romano 1992)."""
    count = len(values)
    blocks = -(-count // length)
    starts = generator.integers(count, size=(resamples, blocks, 1))
    picked = (starts + np.arange(length)) % count
    return values[picked.reshape(resamples, -1)[:, :count]]


def autoregressions(phi: float, series: int, count: int, generator: np.random.Generator) -> Float[ndarray, "series count"]:
    """Stationary series of standard deviation 1 in which neighbours have the correlation φ: x_i = φ x_{i−1} + √(1 − φ²) z_i."""
    values = generator.standard_normal((series, count))
    for index in range(1, count):
        values[:, index] = phi * values[:, index - 1] + math.sqrt(1 - phi**2) * values[:, index]
    return values
