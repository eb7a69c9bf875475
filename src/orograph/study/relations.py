"""How the geometry of minima goes with generalisation, over all minima of a study.

Every metric against test accuracy, test loss and generalisation gap (`geometry.correlation`). All configurations start from the
same seeds, so that neither minima nor, with what a seed does in them, configurations are independent: where several seeds are
pooled, each configuration enters once, with what is common to a seed taken out. Below five independent values only values and
signs are given, because no interval or p-value would mean anything.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from orograph.errors import ConfigurationError
from orograph.geometry.correlation import (
    COEFFICIENTS,
    FEWEST,
    Coefficient,
    Correlation,
    correlation_table,
    granulated_kendall,
)
from orograph.store.lookup import with_role
from orograph.study.grid import VARIABLE

_OF_LOSSES = ("test_r2", "test_rmse", "test_perplexity", "test_next_token_perplexity")  # functions of the test loss

# Metrics that are made of the same measured number as a target, and go with it whatever the geometry.
SHARED = {
    "train_loss": ("gap",),  # test less training loss
    "noise_loss_rise": ("test_loss", "gap", *_OF_LOSSES),  # test loss under noise less test loss
    "noise_accuracy_drop": ("test_accuracy",),
}
RESAMPLES = 5_000  # so many that Holm's rule over a whole table can leave p-values small


def relate(rows: Sequence[Mapping[str, Any]], groups: Sequence[str]) -> dict[str, Any]:
    """Correlations of every metric with test accuracy (or the problem's own metrics), test loss and gap.

    Args:
        rows: one a minimum: metrics by name, and the settings of its configuration. What is missing, None or not finite is left
            out pair by pair.
        groups: the configuration of each row.

    Returns:
        `metrics` and `targets` that were found; `minima` and `configurations`, how many; `note`, what can be said from so many,
        nothing without test data;
        `table`, one mapping for each metric and target: `shared`, whether both are made of one measured number and go together
        whatever the geometry; `count`, `independent`, the coefficients with `value`, `sign` and, from
        five independent values on, `p_value`, `adjusted` (Holm over the table), `low` and `high` (95 %), `kendall_within`
        groups of equal settings, and `granulated` Kendall's coefficients by setting with their `mean` where settings vary.

    Raises:
        ConfigurationError: not one group for each row.
    """
    if len(rows) != len(groups):
        raise ConfigurationError(f"{len(rows)} minima and {len(groups)} groups: each minimum needs one.")
    names = [name for row in rows for name in row]
    metrics = {name: values for name in with_role("metric", names) if (values := _values(rows, name)) is not None}
    targets = {name: values for name in with_role("target", names) if (values := _values(rows, name)) is not None}
    untested = bool(rows) and not with_role("target", names)
    configurations = list(dict.fromkeys(groups))
    pooled = 1 < len(configurations) < len(groups)
    clusters = groups if pooled else None
    seeds = [row.get("seed") for row in rows]
    crossed = seeds if pooled and None not in seeds else None
    table = correlation_table(metrics, targets, clusters=clusters, crossed=crossed, groups=groups, resamples=RESAMPLES)
    varied = {name: labels for name in VARIABLE if len(set(labels := [str(row.get(name)) for row in rows])) > 1}
    independent = len(configurations) if pooled else len(rows)
    return {
        "metrics": list(metrics),
        "targets": list(targets),
        "minima": len(rows),
        "configurations": len(configurations),
        "pooled": pooled,
        "note": "" if untested else _note(len(rows), len(configurations), independent, pooled=pooled),
        "table": [_fields(each) | _granulated(each, metrics, targets, varied) for each in table],
    }


def _note(minima: int, configurations: int, independent: int, *, pooled: bool) -> str:
    what = f"{minima} minima of {configurations} configuration{'' if configurations == 1 else 's'}"
    if independent < FEWEST:
        return f"{what}: fewer than {FEWEST} independent values, so only values and signs are given."
    how = "p-values by permutation, after Holm over the table; 95 % intervals of single coefficients"
    if pooled:
        return f"{what}: each configuration enters once, what is common to a seed taken out; {how}."
    return f"{what}: {how}."


def _values(rows: Sequence[Mapping[str, Any]], name: str) -> np.ndarray | None:
    """One number a row, NaN where it has none; None where fewer than two are finite."""
    found = [row.get(name) for row in rows]
    values = np.array([value if isinstance(value, int | float) else math.nan for value in found], dtype=float)
    return values if np.isfinite(values).sum() > 1 else None


def _fields(found: Correlation) -> dict[str, Any]:
    fields: dict[str, Any] = {name: getattr(found, name) for name in ("metric", "target", "count", "independent")}
    for kind in COEFFICIENTS:
        each: Coefficient = getattr(found, kind)
        fields[kind] = asdict(each) | {"sign": each.sign}
    shared = found.target in SHARED.get(found.metric, ())
    return fields | {"kendall_within": found.kendall_within, "shared": shared}


def _granulated(
    found: Correlation,
    metrics: Mapping[str, np.ndarray],
    targets: Mapping[str, np.ndarray],
    varied: Mapping[str, Sequence[str]],
) -> dict[str, Any]:
    """Kendall's τ where only one setting varies, by setting and on average (Jiang et al., 2020)."""
    if not varied:
        return {}
    x, y = metrics[found.metric], targets[found.target]
    finite = np.flatnonzero(np.isfinite(x) & np.isfinite(y)).tolist()
    settings = {name: [labels[index] for index in finite] for name, labels in varied.items()}
    return {"granulated": granulated_kendall(x[finite], y[finite], settings)}
