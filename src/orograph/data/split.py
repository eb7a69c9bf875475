"""Stratified choices of samples: the fixed split of the embedded data sets, and seeded subsets."""

import numpy as np
from jaxtyping import Bool, Int64

from orograph.data.dataset import Labels


def rank_within_class(labels: Labels) -> Int64[np.ndarray, " N"]:
    """For each sample, how many of its own class come before it."""
    ranks = np.empty(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        ranks[members] = np.arange(len(members))
    return ranks


def fixed_split(labels: Labels) -> tuple[Int64[np.ndarray, " a"], Int64[np.ndarray, " b"]]:
    """Indices for training and for testing: every fifth sample of each class is for testing.

    The classes take turns in the order of both parts, so that any stretch of them is balanced. No random numbers: the split
    is the same with every version of every library.

    Args:
        labels: of all samples.

    Returns:
        Indices for training `(a,)` and for testing `(b,)`, int64.
    """
    ranks = rank_within_class(labels)
    order = np.lexsort((labels, ranks))
    testing: Bool[np.ndarray, " N"] = ranks[order] % 5 == 4
    return order[~testing], order[testing]


def stratified_subset(labels: Labels, size: int, seed: int) -> Int64[np.ndarray, " size"]:
    """`size` indices, ascending, drawn at random within each class in proportion to the classes (largest remainders).

    Args:
        labels: of all samples.
        size: at most their number.
        seed: of the draw; the same indices for the same seed.

    Returns:
        `(size,)` int64.
    """
    generator = np.random.default_rng(seed)
    values, counts = np.unique(labels, return_counts=True)
    exact = counts * size
    quotas = exact // len(labels)
    by_remainder = np.argsort(-(exact % len(labels)), kind="stable")
    quotas[by_remainder[: size - quotas.sum()]] += 1
    chosen = [generator.permutation(np.flatnonzero(labels == value))[:quota] for value, quota in zip(values, quotas, strict=True)]
    return np.sort(np.concatenate(chosen))
