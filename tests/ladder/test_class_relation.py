"""Whether accuracy and share of a class move together: found where they do, rare where they do not, not claimed of few."""

import math

import numpy as np
import pytest
from families import correlated_noise

from orograph.ladder.relations import adjusted_over_classes, block_permutation, class_relation

LADDER = np.linspace(0, 1, 60)


def test_a_class_whose_share_rises_as_its_accuracy_falls() -> None:
    accuracy = 90 - 60 / (1 + np.exp(-(LADDER - 0.5) / 0.03)) + correlated_noise(60, 0.5, 0.0, 0)
    share = 0.1 + 0.4 / (1 + np.exp(-(LADDER - 0.5) / 0.03)) + correlated_noise(60, 0.005, 0.0, 1)
    found = class_relation("seven", LADDER, accuracy, share)
    assert found.correlation < -0.8
    assert found.p_value < 0.02
    assert found.lost_at == pytest.approx(0.5, abs=0.03)
    assert found.lost > 5


def test_two_trends_alone_are_no_relation() -> None:
    """Both fall steadily: raw values correlate perfectly, their changes do not."""
    rare = []
    for seed in range(60):
        accuracy = 90 - 30 * LADDER + correlated_noise(60, 1.0, 0.6, seed)
        share = 1 - LADDER + correlated_noise(60, 0.02, 0.6, 1000 + seed)
        assert np.corrcoef(accuracy, share)[0, 1] > 0.9
        rare.append(class_relation("zero", LADDER, accuracy, share, resamples=199, seed=seed).p_value)
    assert np.mean(np.array(rare) <= 0.1) < 0.25  # 60 draws of a tenth: within four standard errors


def test_few_blocks_give_a_correlation_and_no_p_value() -> None:
    x = np.arange(12.0)
    value, p = block_permutation(x, x, 4, resamples=99, seed=0)
    assert value == pytest.approx(1)
    assert math.isnan(p)
    assert math.isnan(block_permutation(x, np.ones(12), 1, resamples=99, seed=0)[0])


def test_a_class_with_one_point_has_nothing_to_relate() -> None:
    found = class_relation("one", LADDER[:1], np.ones(1), np.ones(1))
    assert math.isnan(found.correlation)
    assert found.count == 0


def test_p_values_of_all_classes_are_corrected_together() -> None:
    fall = 90 - 60 / (1 + np.exp(-(LADDER - 0.5) / 0.03))
    found = [
        class_relation(str(seed), LADDER, fall + correlated_noise(60, 0.5, 0.0, seed), correlated_noise(60, 0.1, 0.0, 9 - seed))
        for seed in range(4)
    ]
    adjusted = [each.adjusted for each in adjusted_over_classes(found)]
    assert min(adjusted) == pytest.approx(min(1.0, 4 * min(each.p_value for each in found)))
    assert all(after >= each.p_value for after, each in zip(adjusted, found, strict=True))
