"""`landscape_analysis_results.json`: everything that a study found, in one mapping, rebuilt from its records.

```
format, version
of               identity of the run
configuration    the settings of the study
data             name, train_images, test_images (where there are test data), classes, checksum
scores           what is known of each metric that is one number; only where these are others than the accuracy
left_out         what this problem has no numbers of, in a sentence each; only where there is such
configurations   one a combination: name, model, hidden_size, …, optimizer, lr, …, parameters
varied           the settings in which the configurations differ
metrics          one row a minimum: configuration, seed, status, the settings of its configuration, all scalars
histories        one a training: configuration, seed and a list for each of epoch, lr, train_loss, test_loss, train_accuracy,
                 test_accuracy (or the problem's metrics), gradient_norm, gradient_decay, parameter_norm, gap, accuracy_gap; and,
                 where it was tracked, `curvature`: lists epoch, lambda_max, stability, preconditioned_lambda_max,
                 preconditioned_stability
curves           one a pair of minima: configuration, seeds, status, all scalars, `arrays` by name as nested lists
surfaces         one a slice or plane: kind, configuration, name, status, all scalars, `arrays`
spectra          one a minimum: configuration, seed, `arrays`
instability      one a spawn: configuration, seed, epoch, status, all scalars, `arrays`
learning_rates   one a chosen rate: configuration, candidates, held_out_accuracy, held_out_loss, chosen
correlations     of metrics with test accuracy (or the problem's metrics), test loss and gap
```

Accuracies are in percent. Arrays that run over parameters (eigenvectors, control points of curves) are left out; `file` says
where they lie.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from orograph.metrics import ACCURACY
from orograph.store.cells import Cell
from orograph.store.encoding import plain
from orograph.store.findings import Finding, FindingKey
from orograph.store.recorded import facts_of
from orograph.store.records import Record
from orograph.store.run import Run
from orograph.study.grid import Configuration

NAME = "landscape_analysis_results.json"
FORMAT, VERSION = "orograph landscape analysis", 1
USUAL = (facts_of(ACCURACY),)  # what a run without metrics of its own records
_OVER_PARAMETERS = ("eigenvectors", "bezier_bend")


def metric_rows(run: Run, chosen: Sequence[Configuration]) -> list[dict[str, Any]]:
    """One row a network that was trained: what it was, how training ended, and what was measured."""
    by_name = {each.name: each for each in chosen}
    rows = []
    for cell, record in _records(run):
        found = run.findings.get(FindingKey("minimum", cell.configuration, str(cell.seed)))
        trained = {name: value for name, value in record.scalars.items() if name not in ("history", "curvature")}
        status = record.status if found is None or found.status == "done" else found.status
        settings = by_name[cell.configuration].fields() | ({"lr": trained["lr"]} if "lr" in trained else {})
        settings.pop("name")
        row = {"configuration": cell.configuration, "seed": cell.seed, **settings, **trained}
        rows.append(row | (dict(found.scalars) if found else {}) | {"status": status})
    return rows


def histories(run: Run) -> list[dict[str, Any]]:
    """The epochs of each training, a list a quantity."""
    found = []
    for cell, record in _records(run):
        entry: dict[str, Any] = {"configuration": cell.configuration, "seed": cell.seed}
        entry |= columns(record.scalars.get("history", []))
        if record.scalars.get("curvature"):
            entry["curvature"] = columns(record.scalars["curvature"])
        found.append(entry)
    return found


def columns(records: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """A list of records as one list a field."""
    return {name: [record.get(name) for record in records] for name in (records[0] if records else {})}


def study_results(
    run: Run, chosen: Sequence[Configuration], varied: Sequence[str], data: Mapping[str, Any], sizes: Mapping[str, int]
) -> dict[str, Any]:
    """All but the correlations, as plain values."""
    return plain(
        {
            "format": FORMAT,
            "version": VERSION,
            "configuration": run.configuration,
            "numerics": run.numerics,
            "data": data,
            **({} if run.metrics == USUAL else {"scores": [each for each in run.metrics if not run.is_list(each["name"])]}),
            "configurations": [each.fields() | {"parameters": sizes[each.name]} for each in chosen],
            "varied": list(varied),
            "metrics": metric_rows(run, chosen),
            "histories": histories(run),
            "curves": [_entry(run, each, "pair") for each in _of(run, "pair")],
            "surfaces": [_entry(run, each, "surface") for kind in ("slice", "plane") for each in _of(run, kind)],
            "spectra": [_entry(run, each, "spectrum") for each in _of(run, "minimum")],
            "instability": [_entry(run, each, "instability") for each in _of(run, "instability")],
            "learning_rates": [dict(each.scalars) | {"configuration": each.key.configuration} for each in _of(run, "rate")],
        }
    )


def _records(run: Run) -> list[tuple[Cell, Record]]:
    """The trainings, in the order in which they were planned."""
    return [(cell, run.records[cell]) for cell in run.plan.cells if cell in run.records]


def _of(run: Run, kind: str) -> list[Finding]:
    """The findings of a kind, in the order in which they were planned, whatever the order in which they were committed."""
    order = {name: place for place, name in enumerate(dict.fromkeys(cell.configuration for cell in run.plan.cells))}

    def planned(finding: Finding) -> tuple[int, list[int]]:
        return order.get(finding.key.configuration, -1), [int(number) for number in re.findall(r"\d+", finding.key.name)]

    return sorted((finding for key, finding in run.findings.items() if key.kind == kind), key=planned)


def _entry(run: Run, finding: Finding, what: str) -> dict[str, Any]:
    key = finding.key
    arrays = finding.arrays(run.path, lambda name, shape: name not in _OVER_PARAMETERS)
    entry: dict[str, Any] = {"kind": key.kind, "configuration": key.configuration, "name": key.name, "status": finding.status}
    entry |= {"arrays": {name: array.tolist() for name, array in arrays.items()}, "file": next(iter(finding.files), None)}
    if what == "spectrum":
        return entry | {"seed": int(key.name)}
    return entry | dict(finding.scalars)
