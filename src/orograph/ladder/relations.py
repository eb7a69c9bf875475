"""Do classes ride on sharp directions? Their losses of accuracy against their shares of curvature, over a ladder."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from orograph.brief import brief
from orograph.geometry.correlation import holm
from orograph.ladder.resampling import block_length


@brief
@dataclass(frozen=True)
class ClassRelation:
    """Whether a class's accuracy and its share of the curvature move together along a ladder.

    Attributes:
        name: the class.
        correlation: Pearson's, of differences between neighbours.
        p_value: two-sided, by block permutation; NaN with too few blocks.
        block: length of the blocks, in differences.
        count: differences.
        lost_at: λ in the middle of the step with the largest loss of the metric, and the loss, in percentage points of accuracy.
        lost: see there.
        adjusted: the p-value after Holm's rule over all classes.
    """

    name: str
    correlation: float
    p_value: float
    block: int
    count: int
    lost_at: float
    lost: float
    adjusted: float = math.nan


def adjusted_over_classes(relations: Sequence[ClassRelation]) -> tuple[ClassRelation, ...]:
    """The relations of all classes of one ladder, their p-values after Holm's rule beside them."""
    values = holm([each.p_value for each in relations])
    return tuple(replace(each, adjusted=value) for each, value in zip(relations, values, strict=True))


def class_relation(
    name: str,
    strengths: Float[ndarray, " T"],
    scores: Float[ndarray, " T"],
    shares: Float[ndarray, " T"],
    *,
    higher_is_better: bool = True,
    resamples: int = 999,
    seed: int = 0,
) -> ClassRelation:
    """The relation of one class's accuracy, or another metric, and share along an ascending ladder.

    Args:
        name: of the class.
        strengths: λ, `(T,)`, ascending.
        scores: of the class, `(T,)`: its accuracy in percent, or another metric.
        shares: of the class in the curvature, `(T,)`.
        higher_is_better: which way the metric is lost.
        resamples: block permutations.
        seed: of them.

    Returns:
        Pearson's coefficient of the differences between neighbours, with its p-value, and where most of the metric is lost.
    """
    known = np.isfinite(scores) & np.isfinite(shares)
    strengths, scores, shares = strengths[known], scores[known], shares[known]
    steps = [np.diff(values) for values in (scores, shares)]
    count = len(steps[0])
    if count == 0:
        return ClassRelation(name, math.nan, math.nan, 1, 0, math.nan, math.nan)
    gained = steps[0] if higher_is_better else -steps[0]
    worst = int(gained.argmin())
    place, lost = (strengths[worst] + strengths[worst + 1]) / 2, max(0.0, -gained[worst])
    length = min(max(block_length(values) for values in steps), max(1, count // (FEWEST_BLOCKS + 1)))
    correlation, p_value = block_permutation(steps[0], steps[1], length, resamples=resamples, seed=seed)
    return ClassRelation(name, correlation, p_value, length, count, float(place), float(lost))


def block_permutation(
    x: Float[ndarray, " n"], y: Float[ndarray, " n"], length: int, *, resamples: int, seed: int
) -> tuple[float, float]:
    """Pearson's correlation, and its two-sided p-value under permutations of blocks of y that begin at a random place.

    NaN where either is constant; the p-value is NaN with fewer than `FEWEST_BLOCKS` blocks.
    """
    count = len(x)
    x, y = x - x.mean(), y - y.mean()
    scale = math.sqrt(float(x @ x) * float(y @ y))
    if count < 3 or scale == 0:
        return math.nan, math.nan
    found = float(x @ y) / scale
    if count // length < FEWEST_BLOCKS:
        return found, math.nan
    generator = np.random.default_rng(seed)
    others = np.empty(resamples)
    for index in range(resamples):
        turned = np.roll(y, generator.integers(count))
        blocks = [turned[start : start + length] for start in range(0, count, length)]
        order = generator.permutation(len(blocks))
        others[index] = x @ np.concatenate([blocks[i] for i in order]) / scale
    exceeding = int((np.abs(others) >= abs(found) - 1e-12).sum())
    return found, (1 + exceeding) / (1 + resamples)


FEWEST_BLOCKS = 5
