"""What the report of escapes shows: survival of chains, mean times against the barrier with both laws, states and cells."""

import math
from collections.abc import Mapping
from typing import Any

from orograph.report.about import about
from orograph.store.lookup import TABLES, described
from orograph.store.run import Run


def escape_data(run: Run, results: Mapping[str, Any]) -> dict[str, Any]:
    """All that the page of escapes is made of."""
    columns = {name: list(TABLES[name]) for name in ("wells", "escapes")}
    return {
        "kind": run.kind,
        "title": f"{run.path.resolve().name}: escapes from a metastable state",
        "about": about(run),
        **{name: results[name] for name in ("jump", "laws", "no_laws", "heights", "rule", "rates")},
        "wells": [_known(each) for each in results["wells"]],
        "cells": [_known(each) for each in results["cells"]],
        "tables": columns,
        "quantities": described(name for names in columns.values() for name in names),
    }


def _known(values: Mapping[str, Any]) -> dict[str, Any]:
    """Without numbers that are none."""
    return {name: value for name, value in values.items() if not (isinstance(value, float) and math.isnan(value))}
