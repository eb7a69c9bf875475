"""What follows from the chains of a run: survival, rates, laws, as plain values."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from scipy import stats

from orograph.errors import ConfigurationError
from orograph.escapes.heights import FOLLOWED
from orograph.escapes.laws import Law, escape_laws
from orograph.escapes.survival import LEVEL, departure, exponential_rate, survival_curve
from orograph.geometry.correlation import holm
from orograph.store.escape import cells, cohorts, wells
from orograph.store.run import Run

_SUMMED = ("checked", "led_across", "led_nowhere")
_STABLE = 2.0  # learning rate times largest curvature from which a minimum repels gradient descent itself


def gather(run: Run, jump: Mapping[str, Any]) -> dict[str, Any]:
    """All results.

    Args:
        run: with its states and cohorts.
        jump: what is to be told of the jump.

    Returns:
        `wells`, `cells`, `laws` (None where none can be fitted, and `no_laws` says why), and in words `heights`, `rule` and
        `rates`.
    """
    states = [dict(each.scalars) for each in wells(run)]
    by_strength = {each["strength"]: each for each in states}
    checks = _checks(run)
    known = [
        {**_cell(where, lists, by_strength[where["strength"]]), **checks[tuple(where.values())]} for where, lists in cells(run)
    ]
    laws, why = _laws(known, by_strength, [lists for _, lists in cells(run)])
    return {"jump": dict(jump), "wells": states, "cells": known, "laws": laws, "no_laws": why, **_words(states, known)}


def _cell(where: Mapping[str, float], lists: Mapping[str, Sequence[float]], well: Mapping[str, Any]) -> dict[str, Any]:
    """Survival and rate of one cell, of the chains that stayed finite."""
    finite = ~np.array(lists["diverged"], dtype=bool)
    times = np.array(lists["first_passage"], dtype=float)[finite] * where["lr"]
    escaped = np.array(lists["escaped"], dtype=bool)[finite]
    told = {
        **where,
        "temperature": where["lr"] / where["batch_size"],
        "chains": len(finite),
        "escaped": int(escaped.sum()),
        "diverged": int((~finite).sum()),
        "unstable": bool(where["lr"] * well["objective_lambda_max"] >= _STABLE),
    }
    if not len(times):
        return told
    rate, curve = exponential_rate(times, escaped), survival_curve(times, escaped)
    shape, p_value = departure(times, escaped)
    return {
        **told,
        "rate": rate.value,
        "rate_low": rate.low,
        "rate_high": rate.high,
        "mean_time": 1 / rate.value if rate.escaped else np.nan,
        "weibull_shape": shape,
        "weibull_p_value": p_value,
        "survival": {name: values.tolist() for name, values in asdict(curve).items()},
    }


def _checks(run: Run) -> dict[tuple[float, ...], dict[str, float]]:
    """How many crossings of each cell were checked, and what came of it."""
    found: dict[tuple[float, ...], dict[str, float]] = {}
    for each in cohorts(run):
        where = tuple(float(each.scalars[name]) for name in ("strength", "batch_size", "lr"))
        sums = found.setdefault(where, dict.fromkeys(_SUMMED, 0))
        for name in _SUMMED:
            sums[name] += each.scalars[name]
    return found


def _laws(
    known: Sequence[Mapping[str, Any]], states: Mapping[float, Mapping[str, Any]], lists: Sequence[Mapping[str, Sequence[float]]]
) -> tuple[dict[str, Any] | None, str]:
    """Both laws, fitted to the chains of all cells in which descent itself would stay."""
    columns: list[list[np.ndarray]] = []
    for cell, chains in zip(known, lists, strict=True):
        finite = ~np.array(chains["diverged"], dtype=bool)
        if cell["unstable"] or not finite.any():
            continue
        well = states[cell["strength"]]
        alike = np.ones(finite.sum())
        columns.append(
            [
                well["height"] * alike,
                (well["objective"] + well["height"]) / well["objective"] * alike,
                cell["temperature"] * alike,
                np.array(chains["first_passage"], dtype=float)[finite] * cell["lr"],
                np.array(chains["escaped"], dtype=bool)[finite],
            ]
        )
    if not columns:
        return None, "no cell has chains that descent itself would leave in place; give smaller learning rates."
    try:
        found = escape_laws(*(np.concatenate(each) for each in zip(*columns, strict=True)))
    except ConfigurationError as error:
        return None, str(error).replace("`", "")
    return {
        "arrhenius": _law(found.arrhenius),
        "power": _law(found.power),
        "difference": found.difference,
        "low": found.low,
        "high": found.high,
        "verdict": found.verdict,
    }, ""


def _law(law: Law) -> dict[str, Any]:
    return {name: getattr(law, name) for name in ("coefficients", "margins", "log_likelihood", "aic", "dispersion")}


def _words(states: Sequence[Mapping[str, Any]], known: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """What the heights are of, and by which rule a chain counts as escaped, with its error."""
    paths = [each["strength"] for each in states if each["barrier_source"] != FOLLOWED]
    heights = "heights are those of saddles of index 1 that were followed."
    if paths:
        where = ", ".join(f"{each:g}" for each in paths)
        heights = (
            f"at λ = {where} no saddle was given that is joined to the state: the height is the highest position on the "
            "lowest path found, a bound that the saddle's does not exceed but for what lies between positions."
        )
    checked, across, nowhere = (int(sum(cell[name] for cell in known)) for name in _SUMMED)
    rule = "a chain has escaped when its q crosses that of the saddle, or the middle between both states where none was followed"
    if checked:
        low, high = stats.binomtest(across, checked).proportion_ci(LEVEL, method="wilson")
        rule += (
            f"; descent without noise leads {across} of {checked} crossings that were checked to the other side "
            f"({100 * low:.0f} to {100 * high:.0f} %)" + (f", {nowhere} were not decided" if nowhere else "")
        )
    return {"heights": heights, "rule": f"{rule}.", "rates": _constancy(known)}


def _constancy(known: Sequence[Mapping[str, Any]]) -> str:
    """Whether rates are constant, as the intervals and the laws have it."""
    tested = [cell for cell in known if np.isfinite(cell.get("weibull_p_value", np.nan))]
    adjusted = holm([cell["weibull_p_value"] for cell in tested])
    other = [cell["weibull_shape"] for cell, p_value in zip(tested, adjusted, strict=True) if p_value < 1 - LEVEL]
    if not other:
        return f"in none of the {len(tested)} cells with 5 escapes or more is the rate told from a constant one."
    late = sum(shape > 1 for shape in other)
    told = [f"in {late} it grows (chains first spread in the state), so that intervals are too wide"] if late else []
    told += [f"in {len(other) - late} it falls, so that intervals are too narrow"] if late < len(other) else []
    return f"in {len(other)} of {len(tested)} cells with 5 escapes or more the rate is not constant: {'; '.join(told)}."
