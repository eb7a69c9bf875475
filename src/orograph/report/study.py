"""What the report of a study shows: its results file, which holds everything, with numbers that run over parameters left out."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from orograph.errors import RunError
from orograph.report.about import about
from orograph.report.shapes import Results, require
from orograph.report.topology import topology_data
from orograph.store.analysis import of_another
from orograph.store.connection_quantities import WAYS
from orograph.store.encoding import decode
from orograph.store.former import with_present_names
from orograph.store.lookup import described, in_order, tables_of
from orograph.store.part import WHOLE, Part
from orograph.store.run import Run
from orograph.study.results import NAME

LARGEST = 40_000  # numbers of one array
_NO_CHOICE = ("seed", "failed_epoch")  # numbers that nothing is plotted of
_BY_SEED = ("metrics", "histories", "curves", "surfaces", "spectra", "instability")
_PARTS = ("configurations", "varied", "metrics", "histories", "curves", "surfaces", "spectra", "instability", "learning_rates")


def study_data(run: Run, part: Part = WHOLE) -> dict[str, Any]:
    """All that the page of a study, or of some seeds of it, is made of.

    Raises:
        RunError: the study has not been finished.
    """
    path = run.path / NAME
    if not path.exists():
        raise RunError(f"{run.path} has no {NAME} yet; run its command again, which finishes it.")
    again = "the command that made the study"
    if of_another(run, found := decode(path)):
        raise RunError(f"{path} was found in another run; have it made anew by {again}.")
    results = _of_part(require(Results, found, path, again), part, run)
    surfaces = [with_present_names(entry["kind"], entry) for entry in results.get("surfaces", [])]
    results["surfaces"] = [entry | {"topology": topology_data(entry)} for entry in surfaces]
    names = dict.fromkeys(name for row in results["metrics"] for name in row)
    wording, tables = run.wording, tables_of([each["name"] for each in run.metrics if not run.is_list(each["name"])])
    return {
        "kind": "study",
        "title": f"{results['data']['name'].rpartition('/')[2]}: {run.path.resolve().name}",
        "about": about(run),
        "data": results["data"],
        **{part: _trimmed(results.get(part, [])) for part in _PARTS},
        "correlations": results.get("correlations", {}),
        "quantities": described(names, wording),
        "choices": [name for name in in_order(names) if name not in _NO_CHOICE],
        "tables": tables if "test_images" in results["data"] else {name: _of_training(each) for name, each in tables.items()},
        "by_group": _by_group(run, results["metrics"]),
        "sample": wording.sample,
        "grouping": wording.grouping,
        "classes": list(run.classes),
        "score": wording.score.shown(names) if wording.score else "",
        "left_out": results.get("left_out", []),
        "paths": WAYS,
    }


def _of_part(results: dict[str, Any], part: Part, run: Run) -> dict[str, Any]:
    """What was measured of the seeds of a part and between them; correlations are of all, and left out."""
    if part.seeds is None:
        return results
    held = {name: [one for one in results.get(name, []) if _has(part, one)] for name in _BY_SEED}
    told = f"This is a part of the study: {part.in_words(run)}. Correlations are of all seeds, and not in it."
    return {**results, **held, "correlations": {}, "left_out": [told, *results.get("left_out", [])]}


def _has(part: Part, entry: Mapping[str, Any]) -> bool:
    """Whether all seeds of a training, a minimum, a pair or a surface belong to a part."""
    name = str(entry.get("name", "")).partition("-from-")[0]  # `0-1` of a pair, `0-from-5` of networks that part at an epoch
    known = [entry["seed"]] if "seed" in entry else entry.get("seeds") or re.findall(r"\d+", name)
    return all(part.has_seed(int(seed)) for seed in known)


def _of_training(names: Sequence[str]) -> list[str]:
    """The columns of a table where there are no test data."""
    return list(dict.fromkeys(name.replace("test_", "train_") for name in names))


def _by_group(run: Run, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What was measured by group, a row for each minimum and group."""
    names = [f"{before}group_{each['name']}" for each in run.metrics for before in ("train_", "")]
    found = []
    for row in rows:
        lists = {name: row[name] for name in names if isinstance(row.get(name), list) and len(row[name]) == len(run.classes)}
        for number, group in enumerate(run.classes if lists else ()):
            values = {name: each[number] for name, each in lists.items() if not isinstance(each[number], list)}
            found.append({"configuration": row["configuration"], "seed": row["seed"], "group": group, **values})
    return found


def _trimmed(value: Any) -> Any:
    """Without arrays that no page can show."""
    if isinstance(value, dict):
        return {name: _trimmed(item) for name, item in value.items() if _count(item) <= LARGEST or not _is_array(item)}
    return [_trimmed(item) for item in value] if isinstance(value, list) else value


def _is_array(value: Any) -> bool:
    """Numbers in lists."""
    while isinstance(value, list) and value:
        value = value[0]
    return isinstance(value, int | float)


def _count(value: Any) -> int:
    return sum(map(_count, value)) if isinstance(value, list) else 1
