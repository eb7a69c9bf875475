"""Relations of made-up studies against scipy.stats, and what may and may not be said of few or pooled minima."""

import json
import math

import numpy as np
import pytest
from scipy import stats

from orograph.errors import ConfigurationError
from orograph.store.encoding import plain
from orograph.study.relations import relate
from orograph.study.tables import notes


def study(configurations: int, seeds: int, noise: float = 0.3) -> tuple[list[dict], list[str]]:
    """λ_max falls and accuracy rises with the width, with noise; `trace` is missing in one row."""
    generator = np.random.default_rng(0)
    rows, groups = [], []
    for index in range(configurations):
        for seed in range(seeds):
            width = 2 ** (index + 3)
            quality = index + noise * generator.normal()
            row = {"configuration": f"w{width}", "seed": seed, "hidden_size": width, "lr": 0.001, "optimizer": "AdamW"}
            row |= {"lambda_max": 10 - quality + noise * generator.normal(), "trace": 3 - quality, "status": "done"}
            row |= {"test_accuracy": 90 + quality, "test_loss": 1 - 0.1 * quality, "gap": generator.normal(), "smooth": False}
            row |= {"effective_rank_top_10": generator.normal(), "eigenvalues": [1.0], "products": {"spent": 3}}
            rows.append(row)
            groups.append(f"w{width}")
    rows[0]["trace"] = None
    return rows, groups


def entry(found: dict, metric: str, target: str) -> dict:
    return next(each for each in found["table"] if (each["metric"], each["target"]) == (metric, target))


def test_coefficients_are_those_of_scipy_and_p_values_by_permutation() -> None:
    rows, groups = study(12, 1)
    found = relate(rows, groups)
    each = entry(found, "lambda_max", "test_accuracy")
    x, y = (np.array([row[name] for row in rows]) for name in ("lambda_max", "test_accuracy"))
    for kind, function in (("pearson", stats.pearsonr), ("spearman", stats.spearmanr), ("kendall", stats.kendalltau)):
        expected = function(x, y)
        assert each[kind]["value"] == pytest.approx(expected.statistic, abs=1e-12)
        assert each[kind]["p_value"] == 1 / 5001  # the least of so many permutations
        assert each[kind]["sign"] == -1
        assert each[kind]["low"] - 1e-12 <= each[kind]["value"] <= each[kind]["high"] + 1e-12
        assert each[kind]["adjusted"] >= each[kind]["p_value"]
    assert found["metrics"] == ["lambda_max", "trace", "effective_rank_top_10"]  # no settings, lists, flags or records
    assert found["targets"] == ["test_accuracy", "test_loss", "gap"]
    assert entry(found, "trace", "test_loss")["count"] == 11


def test_of_three_seeds_only_values_and_signs_are_given() -> None:
    rows, groups = study(1, 3)
    found = relate(rows, groups)
    each = entry(found, "lambda_max", "test_accuracy")
    assert (each["count"], each["pearson"]["sign"]) == (3, int(np.sign(each["pearson"]["value"])))
    for kind in ("pearson", "spearman", "kendall"):
        assert all(math.isnan(each[kind][name]) for name in ("p_value", "adjusted", "low", "high"))
    assert "only values and signs" in found["note"]
    assert "granulated" not in each


def test_seeds_of_one_configuration_are_no_independent_evidence() -> None:
    pooled = relate(*study(3, 4))
    assert pooled["pooled"]
    each = entry(pooled, "lambda_max", "test_accuracy")
    assert (each["count"], each["independent"]) == (12, 3)
    assert math.isnan(each["pearson"]["p_value"])
    assert "fewer than 5" in pooled["note"]
    enough = relate(*study(6, 3))
    each = entry(enough, "lambda_max", "test_accuracy")
    assert (each["count"], each["independent"]) == (18, 6)
    assert math.isfinite(each["pearson"]["p_value"])
    assert "each configuration enters once" in enough["note"]


def test_inside_groups_and_by_setting_kendalls_coefficient_is_told_apart() -> None:
    rows, groups = [], []
    for width in (8, 16, 32):
        for seed in range(3):  # both rise with the width; inside a width one rises and the other falls
            rows.append({"hidden_size": width, "lambda_max": width + seed, "test_accuracy": width - seed, "test_loss": 1.0})
            groups.append(f"w{width}")
    each = entry(relate(rows, groups), "lambda_max", "test_accuracy")
    assert each["kendall"]["value"] > 0
    assert each["kendall_within"] == pytest.approx(-1)
    assert each["granulated"]["hidden_size"] == 1  # of pairs of different widths


def test_a_constant_target_and_missing_minima_do_no_harm() -> None:
    rows = [{"lambda_max": float(index), "test_accuracy": 90.0, "test_loss": -float(index)} for index in range(6)]
    rows.append({"status": "failed"})
    found = relate(rows, [str(index) for index in range(7)])
    assert math.isnan(entry(found, "lambda_max", "test_accuracy")["pearson"]["value"])
    assert entry(found, "lambda_max", "test_loss")["pearson"]["value"] == pytest.approx(-1)
    assert json.loads(json.dumps(plain(found), allow_nan=False))["minima"] == 7


def test_a_study_without_measurements_has_an_empty_table() -> None:
    assert relate([], [])["table"] == []
    assert relate([{"test_accuracy": 1.0}], ["a"])["table"] == []


def test_each_minimum_needs_its_group() -> None:
    with pytest.raises(ConfigurationError, match="needs one"):
        relate([{}], [])


def test_seeds_that_all_configurations_share_make_no_correlation() -> None:
    """λ_max and accuracy of all configurations rise and fall with the seed, and have nothing else in common."""
    generator = np.random.default_rng(3)
    rows, groups = [], []
    own, other = generator.normal(size=(2, 8, 4))
    for index in range(8):
        for seed in range(4):
            rows.append(
                {"seed": seed, "lambda_max": own[index, seed] + 30 * seed, "test_accuracy": other[index, seed] + 30 * seed}
            )
            groups.append(str(index))
    order = generator.permutation(32)  # rows come in any order: seeds are known by name
    found = relate([rows[place] for place in order], [groups[place] for place in order])
    each = entry(found, "lambda_max", "test_accuracy")
    assert each["pearson"]["value"] == pytest.approx(np.corrcoef(own.mean(1), other.mean(1))[0, 1], abs=1e-9)
    assert each["pearson"]["p_value"] > 0.05


def test_a_metric_that_is_part_of_a_target_is_marked_and_not_named_among_the_strongest() -> None:
    """The gap is test less training loss, the rise of a loss under noise begins at the test loss, the drop at the accuracy."""
    rows, groups = study(1, 4)
    for row in rows:
        row |= {"train_loss": row["test_loss"] - row["gap"], "noise_loss_rise": row["gap"], "noise_accuracy_drop": row["trace"]}
        row["test_accuracy"] = row["noise_accuracy_drop"] or 0.0
    found = relate(rows, groups)
    marked = {(each["metric"], each["target"]) for each in found["table"] if each["shared"]}
    assert marked == {
        ("train_loss", "gap"),
        ("noise_loss_rise", "gap"),
        ("noise_loss_rise", "test_loss"),
        ("noise_accuracy_drop", "test_accuracy"),
    }
    results = {"learning_rates": [], "metrics": [], "curves": [], "surfaces": [], "instability": [], "correlations": found}
    line = next(line for line in notes(results) if "Spearman" in line)
    assert "noise_accuracy_drop" not in line
    whole = len({each["metric"] for each in found["table"]})
    assert f"the largest 4 of {whole}, chosen by |ρ|" in line
