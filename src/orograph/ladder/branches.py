"""Eigenpairs followed along a ladder, so that a curve is one direction and not one rank.

From point to point, directions are matched so that the sum of their squared overlaps is largest (the assignment problem, Kuhn
1955). Members of a cluster have no directions of their own, only a subspace: a direction's overlap with it is the squared length
of its projection, and the cluster's basis is turned to fit the directions that arrive (orthogonal Procrustes), so that a branch
goes through an exact crossing. A direction that overlaps with nothing ends, and what is left begins.

Where two branches meet there are two kinds of meeting (von Neumann & Wigner 1929). At a *crossing* their order changes and each
keeps its direction. At an *avoided crossing* the order stays, the gap has a minimum, and they exchange their directions across
it.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from scipy.optimize import linear_sum_assignment

from orograph.brief import brief
from orograph.spectral.spectrum import Cluster, Spectrum

LEAST_OVERLAP = 0.25  # squared; below it a direction is lost
_APPROACH = 0.5  # the gap at its minimum, relative to the gap on either side of an avoided crossing
_EXCHANGE = 0.5  # least squared overlap that says which direction is which, across a meeting
_REACH = 6  # points on either side in which a gap may recover


@brief
@dataclass(frozen=True, eq=False)
class Pairs:
    """The pairs at one point.

    Attributes:
        values: `(k,)`, descending.
        vectors: `(k, P)`, unit rows.
        clusters: runs of pairs that cannot be told apart.
        noise: `(k,)`, pairs whose direction is rounding; they belong to no branch.
    """

    values: Float[ndarray, " k"]
    vectors: Float[ndarray, "k P"]
    clusters: tuple[Cluster, ...]
    noise: Bool[ndarray, " k"]

    @classmethod
    def of(cls, spectrum: Spectrum) -> "Pairs":
        """Those of a spectrum.

        Args:
            spectrum: of one point.

        Returns:
            Its pairs as numpy arrays.
        """
        values, vectors, noise = (part.cpu().numpy() for part in (spectrum.eigenvalues, spectrum.eigenvectors, spectrum.noise))
        return cls(values, vectors, spectrum.clusters, noise)


@brief
@dataclass(frozen=True, eq=False)
class Branches:
    """Which branch each pair belongs to, at T points.

    Attributes:
        numbers: `(T, k)`, branch of each pair, −1 for none; numbered in order of appearance.
        overlaps: `(T, k)`, squared overlap with the branch's direction at the point before; NaN where it begins.
        angles: `(T, k)`, principal angles between the span of the pairs and that at the point before, in degrees, ascending; NaN
            at the first point.
    """

    numbers: Int[ndarray, "T k"]
    overlaps: Float[ndarray, "T k"]
    angles: Float[ndarray, "T k"]

    @property
    def count(self) -> int:
        return int(self.numbers.max(initial=-1)) + 1

    def values(self, eigenvalues: Float[ndarray, "T k"]) -> Float[ndarray, "T branches"]:
        """The eigenvalue of each branch along the ladder, NaN where it is not.

        Args:
            eigenvalues: `(T, k)`, of the pairs that were followed.

        Returns:
            `(T, branches)`.
        """
        result = np.full((len(eigenvalues), self.count), np.nan)
        rows, columns = np.nonzero(self.numbers >= 0)
        result[rows, self.numbers[rows, columns]] = eigenvalues[rows, columns]
        return result


@brief
@dataclass(frozen=True)
class Meeting:
    """Two branches that meet.

    Attributes:
        kind: `crossing` or `avoided`.
        first: the branch that is the upper one before.
        second: the other.
        strength: where the curves cross, or where the gap is least.
        value: the eigenvalue there (the mean of both).
        gap: least distance on the ladder.
        exchange: squared overlap of the directions that are the same before and after: of `first` with itself at a crossing, with
            `second` at an avoided one.
    """

    kind: Literal["crossing", "avoided"]
    first: int
    second: int
    strength: float
    value: float
    gap: float
    exchange: float


def follow(read: Callable[[int], Pairs], count: int, *, least_overlap: float = LEAST_OVERLAP) -> Branches:
    """Branches along `count` points, which are read once each, in order.

    Args:
        read: gives the pairs at a point, counted from 0.
        count: T.
        least_overlap: squared overlap below which a branch ends.

    Returns:
        The branch of each pair `(T, k)`, and how far pairs turned between points.
    """
    numbers: list[np.ndarray] = []
    overlaps: list[np.ndarray] = []
    angles: list[np.ndarray] = []
    carried: dict[int, np.ndarray] = {}  # the direction of each branch at the point before
    before: Pairs | None = None
    begun = 0
    for index in range(count):
        pairs = read(index)
        own, found, vectors = _match(carried, pairs, least_overlap)
        for pair in np.flatnonzero((own < 0) & ~pairs.noise):
            own[pair] = begun
            begun += 1
        carried = {int(branch): vectors[pair] for pair, branch in enumerate(own) if branch >= 0}
        numbers.append(own)
        overlaps.append(found)
        angles.append(np.full(len(pairs.values), np.nan) if before is None else principal_angles(before.vectors, pairs.vectors))
        before = pairs
    return Branches(np.stack(numbers), np.stack(overlaps), np.stack(angles))


def principal_angles(first: Float[ndarray, "k P"], second: Float[ndarray, "k P"]) -> Float[ndarray, " k"]:
    """Angles between the spans of two sets of rows, in degrees, ascending (Björck & Golub 1973).

    Small angles come from their sines, whose digits cosines near 1 have lost. SciPy's `subspace_angles` loses them where another
    angle is above 45°.
    """
    one, other = (np.linalg.qr(rows.astype(np.float64).T)[0] for rows in (first, second))
    cosines = np.clip(np.linalg.svd(one.T @ other, compute_uv=False), 0, 1)
    sines = np.clip(np.linalg.svd(other - one @ (one.T @ other), compute_uv=False)[::-1], 0, 1)
    return np.degrees(np.where(cosines**2 > 0.5, np.arcsin(sines), np.arccos(cosines)))


def _match(
    carried: dict[int, np.ndarray], pairs: Pairs, least: float
) -> tuple[Int[ndarray, " k"], Float[ndarray, " k"], Float[ndarray, "k P"]]:
    """The branch of each pair (−1 for none), its overlap, and the pairs' directions with clusters turned to fit."""
    k = len(pairs.values)
    own, found = np.full(k, -1), np.full(k, np.nan)
    vectors = pairs.vectors.astype(np.float64)
    if not carried:
        return own, found, vectors
    branches = np.array(list(carried))
    directions = np.stack(list(carried.values()))
    squares = (directions @ vectors.T) ** 2
    shared = squares.copy()
    for start, stop in pairs.clusters:
        shared[:, start:stop] = squares[:, start:stop].sum(1, keepdims=True)
    shared[:, pairs.noise] = 0
    rows, columns = linear_sum_assignment(shared, maximize=True)
    for row, column in zip(rows, columns, strict=True):
        if shared[row, column] >= least:
            own[column], found[column] = branches[row], shared[row, column]
    place = {int(branch): row for row, branch in enumerate(branches)}
    for start, stop in pairs.clusters:
        members = [column for column in range(start, stop) if own[column] >= 0]
        if members:
            arriving = directions[[place[int(own[column])] for column in members]]
            vectors[start:stop] = _turned(vectors[start:stop], arriving, [column - start for column in members])
    return own, found, vectors


def _turned(basis: Float[ndarray, "c P"], arriving: Float[ndarray, "m P"], places: Sequence[int]) -> Float[ndarray, "c P"]:
    """The same subspace with the rows at `places` as near to the arriving directions as orthonormal rows can be."""
    left, _, right = np.linalg.svd(arriving @ basis.T, full_matrices=True)
    turn = np.zeros((len(basis), len(basis)))
    turn[list(places)] = left @ right[: len(places)]
    others = [row for row in range(len(basis)) if row not in places]
    turn[others] = right[len(places) :]
    return turn @ basis


def meetings(
    strengths: Float[ndarray, " T"],
    values: Float[ndarray, "T branches"],
    vector: Callable[[int, int], Float[ndarray, "c P"]],
    *,
    resolution: float = 0.0,
) -> tuple[Meeting, ...]:
    """Crossings and avoided crossings of all pairs of branches.

    Args:
        strengths: λ, `(T,)`, ascending.
        values: the eigenvalue of each branch, `(T, branches)`, NaN where it is not.
        vector: the directions of a branch at a point, `(c, P)`: one row, or the rows of its cluster where it is in one.
        resolution: relative difference below which two eigenvalues count as equal.

    Returns:
        Crossings and avoided crossings, by strength.
    """
    found = []
    for first in range(values.shape[1]):
        for second in range(first + 1, values.shape[1]):
            both = np.flatnonzero(np.isfinite(values[:, first]) & np.isfinite(values[:, second]))
            if len(both) >= 2:
                difference = values[both, first] - values[both, second]
                told = np.abs(difference) > resolution * np.abs(values[both][:, [first, second]]).max(1)
                pair = _Pair(first, second, both, difference, told)
                found += _crossings(strengths, values, vector, pair)
                found += _avoided(strengths, values, vector, pair)
    return tuple(sorted(found, key=lambda meeting: meeting.strength))


@dataclass(frozen=True)
class _Pair:
    """Two branches, the points where both are, how far apart they are there, and whether that is more than errors make of it."""

    first: int
    second: int
    both: ndarray
    difference: ndarray
    told: ndarray


def _crossings(strengths: ndarray, values: ndarray, vector: Callable[[int, int], ndarray], pair: _Pair) -> list[Meeting]:
    first, second, both, difference, told = pair.first, pair.second, pair.both, pair.difference, pair.told
    signs = np.where(told, np.sign(difference), 0.0)
    found = []
    nonzero = np.flatnonzero(signs)
    for a, b in itertools.pairwise(nonzero):
        if signs[a] == signs[b]:
            continue
        low, high = int(both[a]), int(both[b])
        share = difference[a] / (difference[a] - difference[b])
        strength = strengths[low] + share * (strengths[high] - strengths[low])
        mean = values[:, [first, second]].mean(1)
        upper, lower = (first, second) if difference[a] > 0 else (second, first)
        kept = _overlap(vector(low, upper), vector(high, upper))
        if kept >= _EXCHANGE:
            value = mean[low] + share * (mean[high] - mean[low])
            gap = float(np.abs(difference[a : b + 1]).min())
            found.append(Meeting("crossing", upper, lower, float(strength), float(value), gap, kept))
    return found


def _avoided(strengths: ndarray, values: ndarray, vector: Callable[[int, int], ndarray], pair: _Pair) -> list[Meeting]:
    first, second, both, difference, told = pair.first, pair.second, pair.both, pair.difference, pair.told
    gaps = np.abs(difference)
    found = []
    for place in range(1, len(both) - 1):
        if not (gaps[place] < gaps[place - 1] and gaps[place] <= gaps[place + 1]) or gaps[place] == 0:
            continue
        start, stop = max(0, place - _REACH), min(len(both), place + _REACH + 1)
        if len(set(np.sign(difference[start:stop]))) > 1:
            continue
        left = start + int(gaps[start:place].argmax())
        right = place + 1 + int(gaps[place + 1 : stop].argmax())
        if gaps[place] > _APPROACH * min(gaps[left], gaps[right]) or not (told[left] and told[right]):
            continue
        upper, lower = (first, second) if difference[place] > 0 else (second, first)
        # One direction before is the other one after.
        exchanged = _overlap(vector(int(both[left]), upper), vector(int(both[right]), lower))
        if exchanged >= _EXCHANGE:
            middle = both[place]
            value = float(values[middle, [first, second]].mean())
            found.append(Meeting("avoided", upper, lower, float(strengths[middle]), value, float(gaps[place]), exchanged))
    return found


def _overlap(one: Float[ndarray, "c P"], other: Float[ndarray, "d P"]) -> float:
    """The largest squared cosine between two subspaces."""
    return float(np.linalg.norm(one.astype(np.float64) @ other.astype(np.float64).T, 2) ** 2)
